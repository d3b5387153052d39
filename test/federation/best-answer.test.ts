import { describe, expect, it } from "vitest";
import type { Ending } from "../../src/federation/answers.ts";
import { bestAnswer } from "../../src/federation/best-answer.ts";

/** Endings in order of arrival, of servers s0, s1, … */
function best(endings: readonly Ending[], complete = true) {
  return bestAnswer(
    endings.map((ending, index) => ({ server: `s${index}`, ending })),
    complete,
  );
}

function forwards(endings: readonly Ending[], server: string, status: number): void {
  expect(best(endings)).toMatchObject({ kind: "forward", server, status });
}

describe("the best of a fork's failures", () => {
  it("all not here: 404, as it came", () => {
    forwards([410, 404, 604], "s1", 404);
  });

  it("a 604 alone goes upstream as 404", () => {
    forwards([604, 604], "s0", 404);
  });

  it("410 and 482 alone: a 404 of ours", () => {
    expect(best([410, 482])).toEqual({ kind: "answer", status: 404 });
  });

  it("one that could not be asked makes 404 a 480", () => {
    for (const ending of [408, 480, 500, 503, "timeout", "transport-error"] as const) {
      expect(best([404, ending])).toEqual({ kind: "answer", status: 480 });
      expect(best([ending, 404])).toEqual({ kind: "answer", status: 480 });
    }
  });

  it("servers not asked at all make 404 a 480", () => {
    expect(best([404, 404], false)).toEqual({ kind: "answer", status: 480 });
    expect(best([], true)).toEqual({ kind: "answer", status: 480 });
  });

  it("what was answered is forwarded in preference to 404", () => {
    for (const status of [401, 403, 405, 406, 407, 415, 420, 423, 429, 486, 488, 489, 501, 505, 513, 600, 603]) {
      forwards([404, status, 404], "s1", status);
    }
  });

  it("what was answered is forwarded in preference to 480", () => {
    forwards(["timeout", 403, 503], "s1", 403);
  });

  it("a 604 of one partition is never more than its 404: another's 486 wins", () => {
    forwards([604, 486], "s1", 486);
  });

  it("6xx wins over every other failure (RFC 3261 16.7 step 6)", () => {
    forwards([302, 401, 603], "s2", 603);
  });

  it("else the lowest class wins", () => {
    forwards([513, 486], "s1", 486);
    forwards([486, 302], "s1", 302);
  });

  it("within 4xx what tells how to ask again wins", () => {
    for (const helpful of [401, 407, 415, 420, 484]) forwards([486, 403, helpful], "s2", helpful);
  });

  it("else the first that came", () => {
    forwards([403, 486], "s0", 403);
    forwards([486, 403], "s0", 486);
  });

  it("a challenge carries those of the other challengers (RFC 3261 16.7 step 7)", () => {
    expect(best([407, 404, 401, 407])).toEqual({
      kind: "forward",
      server: "s0",
      status: 407,
      challenges: ["s2", "s3"],
    });
    expect(best([486, 603, 401])).toMatchObject({ status: 603, challenges: [] });
  });
});
