import { describe, expect, it } from "vitest";
import {
  beginNotifier,
  judgeFirst,
  type NotifierAction,
  type NotifierEvent,
  type NotifierRules,
  type NotifierState,
  notifierWakeAt,
  resumeNotifier,
  stepNotifier,
} from "../../../src/sip/dialog/notifier.ts";
import type { Answer } from "../../../src/sip/dialog/usage.ts";
import { fc } from "../../support/fast-check.ts";

const RULES: NotifierRules = {
  minExpires: 60,
  maxExpires: 3600,
  defaultExpires: 3600,
  minIntervalMs: 0,
  backOff: { firstMs: 4000, mostMs: 300_000 },
  reserve: 16,
};

/** A machine with its actions collected. */
class Driven {
  state: NotifierState;
  readonly rules: NotifierRules;
  now = 0;

  constructor(rules: NotifierRules = RULES, phase: "pending" | "active" = "active", expires = 600) {
    this.rules = rules;
    const step = beginNotifier(phase, { now: 0, cseq: 1, expires }, 16, rules);
    this.state = step.state;
    this.first = step.actions;
  }

  readonly first: readonly NotifierAction[];

  do(event: NotifierEvent): readonly NotifierAction[] {
    const step = stepNotifier(this.state, event, this.rules);
    this.state = step.state;
    return step.actions;
  }

  answered(answer: Answer, retryAfter?: number): readonly NotifierAction[] {
    return this.do({ kind: "answered", now: this.now, answer, retryAfter });
  }

  changed(phase: "pending" | "active" = "active"): readonly NotifierAction[] {
    return this.do({ kind: "changed", now: this.now, phase });
  }

  subscribe(cseq: number, expires?: number): readonly NotifierAction[] {
    return this.do({ kind: "subscribe", now: this.now, cseq, expires });
  }

  time(now: number): readonly NotifierAction[] {
    this.now = now;
    return this.do({ kind: "time", now });
  }
}

const notify = (cseq: number, state: string) => expect.objectContaining({ do: "notify", cseq, state });

describe("4.2.1.1: the first SUBSCRIBE", () => {
  it('"the server MAY shorten the interval but MUST NOT lengthen it"', () => {
    expect(judgeFirst(7200, RULES)).toEqual({ do: "answer", status: 200, expires: 3600 });
    expect(judgeFirst(600, RULES)).toEqual({ do: "answer", status: 200, expires: 600 });
    expect(judgeFirst(undefined, RULES)).toEqual({ do: "answer", status: 200, expires: 3600 });
  });

  it("423 if and only if the interval is greater than zero and smaller than an hour and below the minimum", () => {
    expect(judgeFirst(59, RULES)).toEqual({ do: "answer", status: 423, minExpires: 60 });
    expect(judgeFirst(60, RULES).status).toBe(200);
    expect(judgeFirst(0, RULES).status).toBe(200);
    expect(judgeFirst(3600, { ...RULES, minExpires: 7200 }).status).toBe(200);
    expect(judgeFirst(3599, { ...RULES, minExpires: 7200 })).toEqual({ do: "answer", status: 423, minExpires: 3600 });
  });
});

describe("4.2.1.2, 4.2.2: confirmation", () => {
  it("MUST immediately construct and send a NOTIFY when a SUBSCRIBE is answered with a 200-class response", () => {
    expect(new Driven().first).toEqual([{ do: "answer", status: 200, expires: 600 }, notify(1, "active;expires=600")]);
  });

  it("does so regardless of whether the subscription has been authorized: pending", () => {
    expect(new Driven(RULES, "pending").first).toContainEqual(notify(1, "pending;expires=600"));
  });

  it("MUST send a NOTIFY upon a refresh, whatever the rate and the back-off", () => {
    const one = new Driven({ ...RULES, minIntervalMs: 10_000 });
    one.answered("timeout");
    expect(one.subscribe(2, 900)).toEqual([
      { do: "answer", status: 200, expires: 900 },
      notify(2, "active;expires=900"),
    ]);
  });

  it("a refresh while a NOTIFY is in flight is confirmed by the next one", () => {
    const one = new Driven();
    expect(one.subscribe(2, 900)).toEqual([{ do: "answer", status: 200, expires: 900 }]);
    expect(one.answered(200)).toEqual([notify(2, "active;expires=900")]);
  });

  it("4.4.3: a SUBSCRIBE with Expires 0 triggers terminated with reason timeout, and nothing after", () => {
    const fetch = new Driven(RULES, "active", 0);
    expect(fetch.first).toEqual([{ do: "answer", status: 200, expires: 0 }, notify(1, "terminated;reason=timeout")]);
    expect(fetch.changed()).toEqual([]);
    expect(fetch.answered(200)).toEqual([{ do: "ended", answer: null }]);
    expect(notifierWakeAt(fetch.state)).toBe(Number.POSITIVE_INFINITY);
  });

  it("unsubscribes: after the NOTIFY in flight, a last one; further SUBSCRIBEs get 481", () => {
    const one = new Driven();
    expect(one.subscribe(2, 0)).toEqual([{ do: "answer", status: 200, expires: 0 }]);
    expect(one.subscribe(3, 600)).toEqual([{ do: "answer", status: 481 }]);
    expect(one.answered(200)).toEqual([notify(2, "terminated;reason=timeout")]);
    expect(one.answered("timeout")).toEqual([{ do: "ended", answer: "timeout" }]);
    expect(one.subscribe(4, 600)).toEqual([{ do: "answer", status: 481 }]);
  });
});

describe("4.2.1.4: refresh and expiry", () => {
  it("removes what is not refreshed in time, saying terminated with reason timeout", () => {
    const one = new Driven();
    one.answered(200);
    expect(notifierWakeAt(one.state)).toBe(600_000);
    expect(one.time(599_999)).toEqual([]);
    expect(one.time(600_000)).toEqual([notify(2, "terminated;reason=timeout")]);
    expect(one.answered(481)).toEqual([{ do: "ended", answer: 481 }]);
  });

  it("answers 481 to a refresh that comes after expiry, swept or not", () => {
    const one = new Driven();
    one.answered(200);
    one.now = 600_000;
    expect(one.subscribe(2, 600)).toEqual([{ do: "answer", status: 481 }]);
  });

  it('of a refresh too "the server MAY shorten the amount of time until expiration but MUST NOT increase it"', () => {
    const one = new Driven();
    expect(one.subscribe(2, 9000)).toEqual([{ do: "answer", status: 200, expires: 3600 }]);
    expect(one.state.until).toBe(3_600_000);
  });

  it("423 leaves the subscription as it was", () => {
    const one = new Driven();
    one.answered(200);
    const before = one.state;
    expect(one.subscribe(2, 5)).toEqual([{ do: "answer", status: 423, minExpires: 60 }]);
    expect(one.state).toEqual(before);
  });

  it("RFC 3261 12.2.2: a lower CSeq MUST be rejected with a 500; gaps are no error", () => {
    const one = new Driven();
    one.answered(200);
    expect(one.subscribe(7, 600)).toContainEqual({ do: "answer", status: 200, expires: 600 });
    expect(one.subscribe(6, 600)).toEqual([{ do: "answer", status: 500, retryAfter: 1 }]);
  });

  it("the same CSeq again is the same request, answered the same", () => {
    const one = new Driven();
    one.subscribe(2, 900);
    expect(one.subscribe(2, 900)).toEqual([{ do: "answer", status: 200, expires: 900 }]);
  });
});

describe("4.2.2: what becomes of a NOTIFY", () => {
  it("404, 405, 410, 416, 480-485, 489, 501, 604 MUST remove the subscription; 502 by RFC 5057", () => {
    for (const status of [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 502, 604]) {
      const one = new Driven();
      expect(one.answered(status, 5)).toEqual([{ do: "ended", answer: status }]);
      expect(one.changed()).toEqual([]);
    }
  });

  it("408 is not 481: neither it, nor a timeout, nor other 5xx end anything; they are tried again with back-off", () => {
    for (const answer of [408, 491, 500, 503, 504, 599, "timeout", "unreachable"] as const) {
      const one = new Driven();
      expect(one.answered(answer)).toEqual([]);
      expect(notifierWakeAt(one.state)).toBe(4000);
      expect(one.time(3999)).toEqual([]);
      expect(one.time(4000)).toEqual([notify(2, "active;expires=596")]);
      one.answered(answer);
      expect(notifierWakeAt(one.state)).toBe(12_000);
    }
  });

  it("waits as long as Retry-After says, and no shorter than its own back-off", () => {
    const one = new Driven();
    one.answered(503, 30);
    expect(notifierWakeAt(one.state)).toBe(30_000);
    one.changed();
    expect(notifierWakeAt(one.state)).toBe(30_000);
    one.time(30_000);
    one.answered(503, 1);
    expect(notifierWakeAt(one.state)).toBe(38_000);
  });

  it("a refusal of one NOTIFY ends nothing, and the same is not sent again until there is something new", () => {
    for (const status of [400, 403, 415, 488, 505, 513, 603]) {
      const one = new Driven();
      expect(one.answered(status)).toEqual([]);
      expect(notifierWakeAt(one.state)).toBe(600_000);
      expect(one.changed()).toEqual([notify(2, "active;expires=600")]);
    }
  });

  it("many changes during one NOTIFY are one NOTIFY", () => {
    const one = new Driven();
    for (let i = 0; i < 5; i++) expect(one.changed()).toEqual([]);
    expect(one.answered(200)).toEqual([notify(2, "active;expires=600")]);
    expect(one.answered(200)).toEqual([]);
  });

  it('"MUST NOT be used to lengthen": the time told is rounded down', () => {
    const one = new Driven();
    one.answered(200);
    one.now = 100_001;
    expect(one.changed()).toEqual([notify(2, "active;expires=499")]);
  });

  it("pending goes to active, never back", () => {
    const one = new Driven(RULES, "pending");
    one.answered(200);
    expect(one.changed("active")).toEqual([notify(2, "active;expires=600")]);
    one.answered(200);
    expect(one.changed("pending")).toEqual([notify(3, "active;expires=600")]);
  });

  it("terminated carries its reason, and retry-after where it was given", () => {
    const one = new Driven();
    one.answered(200);
    expect(one.do({ kind: "end", now: 0, reason: "probation", retryAfter: 30 })).toEqual([
      notify(2, "terminated;reason=probation;retry-after=30"),
    ]);
    expect(one.do({ kind: "end", now: 0, reason: "rejected" })).toEqual([]);
  });
});

describe("RFC 6446 5.2: the rate", () => {
  it("holds changes back, but not pending to active, not the last NOTIFY", () => {
    const one = new Driven({ ...RULES, minIntervalMs: 5000 }, "pending");
    one.answered(200);
    expect(one.changed("pending")).toEqual([]);
    expect(notifierWakeAt(one.state)).toBe(5000);
    expect(one.changed("active")).toEqual([notify(2, "active;expires=600")]);
    one.answered(200);
    expect(one.changed()).toEqual([]);
    expect(one.time(5000)).toEqual([notify(3, "active;expires=595")]);
    one.answered(200);
    expect(one.do({ kind: "end", now: 5001, reason: "noresource" })).toEqual([
      notify(4, "terminated;reason=noresource"),
    ]);
  });
});

describe("CSeqs are reserved ahead", () => {
  it("asks for more when fewer than half are left, once, and waits where the end alone has one left", () => {
    const one = new Driven();
    const seen: NotifierAction[] = [];
    for (let i = 0; i < 20; i++) seen.push(...one.answered(200), ...one.changed());
    expect(seen.filter((action) => action.do === "reserve")).toHaveLength(1);
    expect(seen.filter((action) => action.do === "notify")).toHaveLength(14);
    expect(one.state.sent).toBe(15);
    expect(one.do({ kind: "reserved", now: 0, upTo: 32 })).toEqual([notify(16, "active;expires=600")]);
  });
});

describe("while nothing may be sent", () => {
  it("nothing leaves, whatever happens; what is owed leaves with the first time that may, the last NOTIFY too", () => {
    const one = new Driven();
    one.answered(200);
    let { state } = one;
    const unsent = (event: NotifierEvent): void => {
      const step = stepNotifier(state, event, RULES, false);
      state = step.state;
      expect(step.actions.filter((each) => each.do !== "answer")).toEqual([]);
      expect(notifierWakeAt(state)).toBe(0);
    };
    unsent({ kind: "subscribe", now: 1, cseq: 2, expires: 600 });
    unsent({ kind: "reserved", now: 2, upTo: 40 });
    unsent({ kind: "end", now: 3, reason: "rejected" });
    expect(stepNotifier(state, { kind: "time", now: 4 }, RULES).actions).toEqual([
      notify(2, "terminated;reason=rejected"),
    ]);
  });

  it("with no CSeq left it is clear all the same that it goes on: more are reserved then", () => {
    const taken = resumeNotifier({ phase: "active", until: 600_000, heard: 1, sent: 32, reserved: 32 });
    const unsent = stepNotifier(taken, { kind: "time", now: 0 }, RULES, false);
    expect(unsent.actions).toEqual([]);
    expect(notifierWakeAt(unsent.state)).toBe(0);
    expect(stepNotifier(unsent.state, { kind: "time", now: 1 }, RULES).actions).toEqual([{ do: "reserve" }]);
  });
});

describe("the last NOTIFY", () => {
  it("has a CSeq of the reserve kept for it: where the row cannot be removed, who takes it over begins behind that", () => {
    const step = beginNotifier("active", { now: 0, cseq: 1, expires: 600 }, 2, RULES);
    const idle = stepNotifier(step.state, { kind: "answered", now: 1, answer: 200 }, RULES);
    const ended = stepNotifier(idle.state, { kind: "end", now: 2, reason: "timeout" }, RULES);
    expect(ended.actions).toEqual([notify(2, "terminated;reason=timeout")]);
  });
});

describe("a take-over", () => {
  it("sends the full state at once, with a CSeq above the old owner's reserve", () => {
    const state = resumeNotifier({ phase: "active", until: 600_000, heard: 9, sent: 16, reserved: 32 });
    expect(notifierWakeAt(state)).toBe(0);
    const step = stepNotifier(state, { kind: "time", now: 1000 }, RULES);
    expect(step.actions).toEqual([notify(17, "active;expires=599")]);
  });
});

const answers: fc.Arbitrary<Answer> = fc.constantFrom<Answer[]>(
  200,
  202,
  400,
  403,
  408,
  481,
  489,
  500,
  503,
  "timeout",
  "unreachable",
);
const events = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("subscribe" as const),
      cseq: fc.nat(30),
      expires: fc.constantFrom(0, 5, 60, 600, 9000),
    }),
    fc.record({ kind: fc.constant("changed" as const), phase: fc.constantFrom("pending" as const, "active" as const) }),
    fc.record({ kind: fc.constant("end" as const), reason: fc.constantFrom("rejected" as const, "giveup" as const) }),
    fc.record({
      kind: fc.constant("answered" as const),
      answer: answers,
      retryAfter: fc.option(fc.nat(60), { nil: undefined }),
    }),
    fc.record({ kind: fc.constant("reserved" as const), upTo: fc.nat(60) }),
    fc.record({ kind: fc.constant("time" as const) }),
  ),
  { maxLength: 60 },
);

describe("whatever happens", () => {
  it("no two NOTIFYs in flight, CSeqs by one and within the reserve but for the last, nothing after terminated, expiry is noticed", () => {
    const property = fc.property(
      events,
      fc.array(fc.nat(200_000), { minLength: 60, maxLength: 60 }),
      fc.constantFrom(0, 600),
      fc.constantFrom(0, 3000),
      (script, gaps, expires, minIntervalMs) => {
        const rules: NotifierRules = { ...RULES, minIntervalMs };
        let now = 0;
        let step = beginNotifier("pending", { now, cseq: 1, expires }, 4, rules);
        let flying = false;
        let last = 0;
        let terminated = false;
        let ended = false;
        const look = (event: NotifierEvent | null): void => {
          if (event?.kind === "answered") flying = false;
          for (const action of step.actions) {
            expect(ended, "an action after the end").toBe(action.do === "answer" ? ended : false);
            if (action.do === "ended") ended = true;
            if (action.do !== "notify") continue;
            expect(flying, "two in flight").toBe(false);
            expect(terminated, "a NOTIFY after terminated").toBe(false);
            expect(action.cseq).toBe(last + 1);
            // 4.2.2: Subscription-State always, with the time that is left, or the reason.
            const left = /^(?:pending|active);expires=(\d+)$/.exec(action.state)?.[1];
            expect(left !== undefined || /^terminated;reason=[a-z]+$/.test(action.state), action.state).toBe(true);
            expect(now + Number(left ?? 0) * 1000, "it lengthens").toBeLessThanOrEqual(Math.max(now, step.state.until));
            if (action.phase !== "terminated") expect(action.cseq).toBeLessThanOrEqual(step.state.reserved);
            flying = true;
            last = action.cseq;
            terminated = action.phase === "terminated";
          }
          if (!ended && !flying) {
            // It is always clear when it goes on: by time, or by the reserve that was asked for.
            const waiting = notifierWakeAt(step.state) < Number.POSITIVE_INFINITY;
            expect(waiting || step.state.reserving, "stuck").toBe(true);
          }
        };
        look(null);
        script.forEach((made, i) => {
          now += gaps[i]!;
          if (made.kind === "answered" && !flying) return;
          const event: NotifierEvent = { ...made, now };
          step = stepNotifier(step.state, event, rules);
          look(event);
        });
      },
    );
    fc.assert(property, { numRuns: 500 });
  });
});
