import { describe, expect, it } from "vitest";
import {
  decidePlace,
  type LegEvent,
  type LegRole,
  type LegStep,
  meaningOfEnd,
  meaningOfGone,
  meaningOfRefusal,
  ON_LEG,
  type PlaceStep,
  type Situation,
} from "../../src/subscription/decision.ts";
import { fc } from "../support/fast-check.ts";

const EVENTS = Object.keys(ON_LEG.serving) as LegEvent[];
const ROLES = Object.keys(ON_LEG) as LegRole[];
const ENDS: readonly LegStep[] = ["reject", "noresource", "invariant"];

const epoch = fc.integer({ min: 1, max: 4 });
const server = fc.constantFrom("east", "west");
const situation: fc.Arbitrary<Situation> = fc.record({
  server: fc.option(server),
  epoch,
  takesLegs: fc.boolean(),
  extendedEpoch: fc.integer({ min: 0, max: 4 }),
  active: fc.boolean(),
  leg: fc.option(fc.record({ epoch })),
  next: fc.option(fc.record({ epoch: fc.integer({ min: 0, max: 4 }), server, ahead: fc.boolean() })),
  waiting: fc.boolean(),
});

/** What the steps make of a situation, as `following.ts` does; null: the subscription has ended. */
function carriedOut(now: Situation, steps: readonly PlaceStep[]): Situation | null {
  let then: Situation | null = now;
  for (const step of steps) {
    if (then === null) break;
    switch (step) {
      case "hold":
        then = { ...then, leg: null, next: then.next?.ahead ? then.next : null, extendedEpoch: then.epoch };
        break;
      case "note":
        then = { ...then, extendedEpoch: then.epoch };
        break;
      case "deactivate":
        then = null;
        break;
      case "adopt":
        then = { ...then, next: { ...then.next!, ahead: false, epoch: then.epoch } };
        break;
      case "drop-next":
        then = { ...then, next: null };
        break;
      case "open":
        then = { ...then, next: { epoch: then.epoch, server: then.server!, ahead: false } };
    }
  }
  return then;
}

describe("where the user is", () => {
  it("once acted upon asks for nothing more: looking again is safe", () => {
    fc.assert(
      fc.property(situation, (now) => {
        const then = carriedOut(now, decidePlace(now));
        if (then !== null) expect(decidePlace(then)).toEqual([]);
      }),
      { numRuns: 5_000 },
    );
  });

  it("leaves a leg of his present server, one on its way there, or a try that is due: nobody is stranded", () => {
    fc.assert(
      fc.property(situation, (now) => {
        const then = carriedOut(now, decidePlace(now));
        if (then === null || then.server === null) return;
        const served = then.leg?.epoch === then.epoch;
        const coming = then.next !== null && !then.next.ahead && then.next.epoch === then.epoch;
        expect(served || coming || then.waiting).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });

  it("nowhere: no leg is left but one that is ahead of a move", () => {
    fc.assert(
      fc.property(situation, (now) => {
        const then = carriedOut({ ...now, server: null }, decidePlace({ ...now, server: null }));
        expect([then?.leg, then?.next?.ahead ?? true]).toEqual([null, true]);
      }),
      { numRuns: 5_000 },
    );
  });

  it("never opens a second leg beside one that is coming", () => {
    fc.assert(
      fc.property(situation, (now) => {
        const steps = decidePlace(now);
        const free = now.next === null || steps.includes("drop-next");
        if (steps.includes("open")) expect(free).toBe(true);
      }),
    );
  });
});

describe("what a leg's server said", () => {
  it("is shown of a serving or coming leg only: of a superseded one nothing ever", () => {
    for (const event of EVENTS) {
      expect(ON_LEG.superseded[event].filter((step) => step === "show" || step === "keep")).toEqual([]);
      expect(ON_LEG.ahead[event].filter((step) => step === "show" || step === "close")).toEqual([]);
    }
  });

  it("denied by any leg that counts is denied (privacy)", () => {
    expect(ROLES.filter((role) => ON_LEG[role].denied.includes("reject"))).toEqual(["serving", "coming", "superseded"]);
  });

  it("ends nothing for the watcher but denied, unfit and final", () => {
    for (const role of ROLES) {
      for (const event of EVENTS) {
        const ends = ON_LEG[role][event].some((step) => ENDS.includes(step));
        if (ends) expect(["denied", "unfit", "final"]).toContain(event);
      }
    }
  });

  it("a leg that is dropped is followed by another, or by none that is wanted", () => {
    for (const role of ["serving", "coming"] as const) {
      for (const event of EVENTS) {
        const steps = ON_LEG[role][event];
        if (steps.includes("drop")) expect(steps.some((step) => step === "again" || step === "retry")).toBe(true);
      }
    }
  });
});

describe("answers and ends", () => {
  it("of a SUBSCRIBE that was to open a leg", () => {
    const of = (meaning: LegEvent): number[] =>
      [400, 401, 403, 404, 405, 406, 407, 408, 410, 415, 480, 482, 489, 500, 501, 503, 600, 603, 604].filter(
        (status) => meaningOfRefusal(status) === meaning,
      );
    expect(of("denied")).toEqual([403, 600, 603]);
    expect(of("unfit")).toEqual([405, 406, 415, 489, 501]);
    expect(of("absent")).toEqual([400, 401, 404, 407, 408, 410, 480, 482, 500, 503, 604]);
    expect([meaningOfRefusal("timeout"), meaningOfRefusal("unreachable")]).toEqual(["absent", "absent"]);
  });

  it.each([
    ["deactivated", undefined, "gone"],
    ["deactivated", 30, "gone"],
    ["timeout", undefined, "gone"],
    ["probation", undefined, "later"],
    ["probation", 30, "later"],
    ["giveup", undefined, "gone"],
    ["giveup", 30, "later"],
    ["rejected", undefined, "denied"],
    ["noresource", undefined, "unfit"],
    ["invariant", undefined, "final"],
    [undefined, undefined, "gone"],
    ["unheard-of", 5, "later"],
  ] as const)("terminated;reason=%s;retry-after=%s: %s (RFC 6665 4.1.3)", (reason, retryAfter, meaning) => {
    expect(meaningOfEnd(reason, retryAfter)).toBe(meaning);
  });

  it("a subscription that was and is no more may be made again; one that never was did not come about", () => {
    expect(meaningOfGone({ by: "answer", answer: 481 }, true, undefined)).toBe("gone");
    expect(meaningOfGone({ by: "timer-n" }, true, undefined)).toBe("gone");
    expect(meaningOfGone({ by: "timer-n" }, false, undefined)).toBe("absent");
    expect(meaningOfGone({ by: "answer", answer: 603 }, false, undefined)).toBe("denied");
  });
});
