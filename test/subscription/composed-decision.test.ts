import { describe, expect, it } from "vitest";
import {
  type ChildEvent,
  type ChildStep,
  type ChildView,
  childEvent,
  decideAsked,
  decideChildren,
  decideShown,
  isDenial,
  meaningOfAnswer,
  ON_CHILD,
  partOf,
  type Standing,
} from "../../src/subscription/composed-decision.ts";
import { fc } from "../support/fast-check.ts";

const STANDINGS = Object.keys(ON_CHILD) as Standing[];

function child(standing: Standing, rest: Partial<ChildView> = {}): ChildView {
  return {
    standing,
    withdrew: false,
    heard: standing === "confirmed",
    late: false,
    optional: false,
    away: false,
    ...rest,
  };
}

const anyChild = fc.record({
  standing: fc.constantFrom(...STANDINGS),
  withdrew: fc.boolean(),
  heard: fc.boolean(),
  late: fc.boolean(),
  optional: fc.boolean(),
  away: fc.boolean(),
});

describe("what a child's server said (models.md, Composition)", () => {
  const rows: readonly (readonly [Standing, Partial<Record<ChildEvent, ChildStep>>])[] = [
    ["asked", { active: "confirm", pending: "withhold", denied: "deny", out: "out", elsewhere: "elsewhere" }],
    ["asked", { absent: "retry", gone: "again", later: "retry", final: "fix" }],
    [
      "confirmed",
      { active: "confirm", pending: "withhold", denied: "deny", out: "out", absent: "retry", gone: "again" },
    ],
    ["pending", { active: "confirm", pending: "withhold", denied: "deny", out: "out", absent: "retry" }],
    ["out", { active: "confirm", pending: "withhold", denied: "deny", out: "out", absent: "drop", gone: "drop" }],
    ["visited", { active: "confirm", denied: "deny", absent: "retry", gone: "drop" }],
  ];
  it.each(rows)("%s: %j", (standing, steps) => {
    expect(ON_CHILD[standing]).toMatchObject(steps);
  });

  it("denies the whole wherever a child stands", () => {
    for (const standing of STANDINGS) expect(ON_CHILD[standing].denied).toBe("deny");
  });
});

describe("what an answer means", () => {
  it.each([
    [[401, 403, 407, 600, 603], "denied"],
    [[404, 410, 604, 405, 406, 415, 489, 501], "out"],
    [[482], "elsewhere"],
    [[302, 400, 408, 416, 420, 429, 480, 481, 486, 488, 500, 503, 504, 505, 513, 606], "absent"],
  ] as const)("%j: %s", (answers, meaning) => {
    for (const answer of answers) expect([answer, meaningOfAnswer(answer)]).toEqual([answer, meaning]);
  });

  it("none, or no way to ask, is no yes", () => {
    expect([meaningOfAnswer("timeout"), meaningOfAnswer("unreachable")]).toEqual(["absent", "absent"]);
  });

  it("a denial is one whatever it answers", () => {
    for (let status = 200; status < 700; status++) expect(isDenial(status)).toBe(meaningOfAnswer(status) === "denied");
  });

  it("to the SUBSCRIBE that was to open a leg counts by itself, to a later one as the end of a subscription", () => {
    const cause = { by: "answer", answer: 404 } as const;
    expect(childEvent("absent", { cause, hadCome: false })).toBe("out");
    expect(childEvent("gone", { cause, hadCome: true })).toBe("gone");
    expect(childEvent("unfit", { cause: { by: "notifier", reason: "noresource" }, hadCome: true })).toBe("out");
  });
});

describe("what is shown", () => {
  it.each([
    ["nothing yet while one was only asked", false, [child("confirmed"), child("asked")], "wait"],
    ["nothing yet while one is pending", false, [child("confirmed"), child("pending")], "wait"],
    ["the whole when all have confirmed", false, [child("confirmed"), child("confirmed")], "show"],
    ["or have dropped out", false, [child("confirmed"), child("out"), child("visited")], "show"],
    ["nothing where all have dropped out", false, [child("out"), child("visited")], "noresource"],
    ["nothing where all have, later too", true, [child("out"), child("out")], "noresource"],
    [
      "closed where one has not decided any more",
      true,
      [child("confirmed"), child("pending", { withdrew: true })],
      "close",
    ],
    ["as it was while one that is new has not decided", true, [child("confirmed"), child("pending")], "wait"],
    ["closed where it does not decide", true, [child("confirmed"), child("pending", { late: true })], "close"],
    ["as it was while one that is new was asked a moment ago", true, [child("confirmed"), child("asked")], "wait"],
    ["closed where it says nothing", true, [child("confirmed"), child("asked", { late: true })], "close"],
    [
      "the rest where one that has consented is away",
      true,
      [child("confirmed"), child("confirmed", { late: true })],
      "show",
    ],
    [
      "as it was for a new owner until all have spoken",
      true,
      [child("confirmed"), child("confirmed", { heard: false })],
      "wait",
    ],
    [
      "without one that never denies",
      false,
      [child("confirmed"), child("asked", { optional: true, away: true })],
      "show",
    ],
    ["but not without one that may", false, [child("confirmed"), child("asked", { away: true })], "wait"],
    [
      "nor where it has said that it has not decided",
      false,
      [child("confirmed"), child("pending", { optional: true, away: true })],
      "wait",
    ],
    ["nor where nobody is left", false, [child("asked", { optional: true, away: true })], "wait"],
  ] as const)("%s", (_, active, children, verdict) => {
    expect(decideShown(active, children)).toBe(verdict);
  });

  it("is never anything while somebody inside has not consented, but one that never denies and is away", () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(anyChild, { maxLength: 8 }), (active, children) => {
        if (decideShown(active, children) !== "show") return;
        for (const each of children) {
          const consents = ["confirmed", "out", "visited"].includes(each.standing);
          expect(consents || (each.standing === "asked" && each.optional && each.away)).toBe(true);
        }
      }),
    );
  });

  it("does not depend on the order of the children", () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(anyChild, { maxLength: 8 }), (active, children) => {
        expect(decideShown(active, [...children].reverse())).toBe(decideShown(active, children));
      }),
    );
  });

  it("has the own elements of who is confirmed, heard and there; of who is visited what others tell", () => {
    expect(partOf(child("confirmed"))).toBe("own");
    expect(partOf(child("confirmed", { late: true }))).toBe("gone");
    expect(partOf(child("confirmed", { heard: false }))).toBe("gone");
    expect(partOf(child("out"))).toBe("gone");
    expect(partOf(child("visited"))).toBe("not-asked");
  });
});

describe("which children there are", () => {
  it("comes and goes: what is wanted and not there, and what is there and not wanted", () => {
    expect(decideChildren(["a", "b", "c"], ["b", "d"])).toEqual({ come: ["a", "c"], go: ["d"] });
    expect(decideChildren(["a"], ["a"])).toEqual({ come: [], go: [] });
  });

  const below = { a: ["b", "c"], c: ["d"] };
  const asked = (stands: Record<string, boolean | null>, there: readonly string[] = []): readonly string[] =>
    decideAsked(["a"], below, there, (server) => stands[server] ?? null);

  it("who sends on stands for those below it while it is there", () => {
    expect(asked({ a: true })).toEqual(["a"]);
    expect(asked({ a: null })).toEqual(["a"]);
  });

  it("where it is not, they are asked; and so on downward", () => {
    expect(asked({ a: false })).toEqual(["a", "b", "c"]);
    expect(asked({ a: false, c: false })).toEqual(["a", "b", "c", "d"]);
  });

  it("and while nobody knows, who is asked already stays", () => {
    expect(asked({ a: null }, ["a", "b", "c"])).toEqual(["a", "b", "c"]);
    expect(asked({ a: true }, ["a", "b", "c"])).toEqual(["a"]);
  });

  it("nobody is asked twice, whatever a tree says", () => {
    expect(decideAsked(["a", "b"], { a: ["b", "a"], b: ["a"] }, [], () => false)).toEqual(["a", "b"]);
  });
});
