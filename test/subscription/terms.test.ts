import { describe, expect, it } from "vitest";
import { KnownTerms, PLAIN } from "../../src/subscription/terms.ts";

describe("what many SUBSCRIBEs say alike", () => {
  it("is kept once, and what says anything else is another", () => {
    const known = new KnownTerms();
    const one = known.share({ ...PLAIN, accept: "application/pidf+xml" });
    expect(known.share({ ...PLAIN, accept: "application/pidf+xml" })).toBe(one);
    const others = [
      { trusted: true },
      { secretive: true },
      { secure: true },
      { searched: true },
      { isTakenOver: true },
    ];
    for (const other of [...others, { maxForwards: 1 }, { maxBreadth: 1 }, { accept: "" }]) {
      const terms = { ...PLAIN, accept: "application/pidf+xml", ...other };
      expect(known.share(terms)).toEqual(terms);
    }
  });

  it("is bounded, in length and in number", () => {
    const known = new KnownTerms();
    expect(known.share({ ...PLAIN, accept: "x".repeat(10_000) }).accept).toHaveLength(500);
    for (let i = 0; i < 5_000; i++) known.share({ ...PLAIN, accept: `application/${i}` });
    const last = { ...PLAIN, accept: "application/4999" };
    expect(known.share(last)).toEqual(last);
    expect(known.share(last)).not.toBe(known.share(last));
  });
});
