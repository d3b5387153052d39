import { describe, expect, it } from "vitest";
import { backOff, judgeReply } from "../../src/messaging/judge.ts";
import { buildRequest, buildResponse } from "../../src/sip/message/build.ts";
import { fc } from "../support/fast-check.ts";

const REQUEST = buildRequest({
  method: "MESSAGE",
  uri: "sip:alice@example.com",
  headers: [
    ["Via", "SIP/2.0/UDP a;branch=z9hG4bK1"],
    ["From", "<sip:b@example.com>;tag=1"],
    ["To", "<sip:alice@example.com>"],
    ["Call-ID", "c"],
    ["CSeq", "1 MESSAGE"],
  ],
});

function answered(status: number, retryAfter?: string) {
  const headers = retryAfter === undefined ? [] : [["Retry-After", retryAfter] as const];
  return judgeReply(buildResponse(REQUEST, status, undefined, { toTag: "t", headers }), "west");
}

describe("what an answer means for a stored message (models.md, Stored messages)", () => {
  for (const status of [200, 202]) {
    it(`${status} delivers it`, () => expect(answered(status).verdict).toBe("delivered"));
  }
  for (const status of [404, 410, 482, 604, 408, 480, 500, 502, 503, 504, 580, 429]) {
    it(`${status} keeps it`, () => expect(answered(status).verdict).toBe("kept"));
  }
  for (const status of [
    301, 302, 400, 401, 403, 405, 407, 413, 415, 420, 486, 488, 493, 501, 505, 513, 600, 603, 606,
  ]) {
    it(`${status} is final`, () => expect(answered(status).verdict).toBe("final"));
  }
  for (const none of ["timeout", "unreachable"] as const) {
    it(`${none}: it is kept`, () => expect(judgeReply(none, "west")).toMatchObject({ verdict: "kept", status: 0 }));
  }

  it("every status there can be has a meaning", () => {
    fc.assert(fc.property(fc.integer({ min: 200, max: 699 }), (status) => answered(status).detail.includes("west")));
  });

  it("RFC 3261 20.33: Retry-After in seconds, comments and parameters aside", () => {
    expect(answered(503, "120 (in a meeting);duration=60")).toMatchObject({ retryAfterMs: 120_000 });
    expect(answered(503, "soon")).toMatchObject({ retryAfterMs: 0 });
    expect(answered(429)).toMatchObject({ retryAfterMs: 0 });
  });
});

describe("back-off", () => {
  it("doubles, within a quarter, and never goes over the most", () => {
    const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(fc.nat(1_000), draw, (tries, chance) => {
        const wait = backOff(tries, 2_000, 300_000, chance);
        const plain = Math.min(300_000, 2_000 * 2 ** Math.min(tries, 20));
        expect(wait).toBeGreaterThanOrEqual(Math.round(plain * 0.75));
        expect(wait).toBeLessThanOrEqual(Math.min(300_000, Math.round(plain * 1.25)));
      }),
    );
  });
});
