import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { incomingBreadth, type LoopInput, loopHash, splitBreadth } from "../../src/federation/loop-hash.ts";
import { runs } from "./make.ts";

const INPUT: LoopInput = {
  requestUri: "sip:alice@example.com",
  route: "",
  callId: "c1@host",
  origin: "server:east",
  direction: "up",
  epoch: 7,
};

describe("the loop detection value (RFC 5393 4.2.1)", () => {
  it("is eight hexadecimal digits, the same for the same way", () => {
    expect(loopHash(INPUT)).toMatch(/^[0-9a-f]{8}$/);
    expect(loopHash({ ...INPUT })).toBe(loopHash(INPUT));
  });

  const changes: ReadonlyArray<readonly [string, Partial<LoopInput>]> = [
    ["Request-URI", { requestUri: "sip:bob@example.com" }],
    ["Route", { route: "<sip:p2.example.com;lr>" }],
    ["Call-ID", { callId: "c2@host" }],
    ["origin server", { origin: "server:west" }],
    ["direction", { direction: "down" }],
    ["epoch", { epoch: 8 }],
    ["a great epoch", { epoch: 7 + 2 ** 32 }],
  ];
  for (const [field, change] of changes) {
    it(`varies with ${field}: that is a spiral, no loop`, () => {
      expect(loopHash({ ...INPUT, ...change })).not.toBe(loopHash(INPUT));
    });
  }

  it("keeps the fields apart", () => {
    expect(loopHash({ ...INPUT, requestUri: "ab", route: "c" })).not.toBe(
      loopHash({ ...INPUT, requestUri: "a", route: "bc" }),
    );
  });

  it("spreads over many ways: at most a few of 20,000 share a value", () => {
    const seen = new Set<string>();
    for (let i = 0; i < 20_000; i++) seen.add(loopHash({ ...INPUT, callId: `c${i}@host` }));
    // 20,000 of 2^32 values: 0.05 collisions are to be expected.
    expect(seen.size).toBeGreaterThan(19_995);
  });
});

describe("Max-Breadth (RFC 5393 5.3.3)", () => {
  it("is 60 where it is missing, and at most", () => {
    expect(incomingBreadth(undefined)).toBe(60);
    expect(incomingBreadth(61)).toBe(60);
    expect(incomingBreadth(9)).toBe(9);
  });

  it("is handed out whole", () => {
    expect(splitBreadth(60, 1)).toEqual([60]);
    expect(splitBreadth(60, 7)).toEqual([9, 9, 9, 9, 8, 8, 8]);
    expect(splitBreadth(3, 3)).toEqual([1, 1, 1]);
  });

  it("too small for the fork: 440", () => {
    expect(splitBreadth(2, 3)).toBeNull();
    expect(splitBreadth(0, 1)).toBeNull();
    expect(splitBreadth(5, 0)).toBeNull();
  });

  it("never sends out more than came in, and no share below 1", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 1, max: 100 }), (breadth, branches) => {
        const shares = splitBreadth(breadth, branches);
        if (shares === null) {
          expect(breadth).toBeLessThan(branches);
          return;
        }
        expect(shares).toHaveLength(branches);
        expect(shares.reduce((sum, share) => sum + share, 0)).toBe(breadth);
        expect(Math.min(...shares)).toBeGreaterThanOrEqual(1);
      }),
      runs(500),
    );
  });
});
