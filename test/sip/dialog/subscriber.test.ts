import { describe, expect, it } from "vitest";
import {
  againAfter,
  beginSubscriber,
  resumeSubscriber,
  type SubscriberAction,
  type SubscriberEvent,
  type SubscriberRules,
  type SubscriberState,
  stepSubscriber,
  subscriberWakeAt,
} from "../../../src/sip/dialog/subscriber.ts";
import type { Answer } from "../../../src/sip/dialog/usage.ts";
import { fc } from "../../support/fast-check.ts";

const RULES: SubscriberRules = {
  maxExpires: 86_400,
  timerNMs: 32_000,
  backOff: { firstMs: 4000, mostMs: 300_000 },
  reserve: 16,
};

class Driven {
  state: SubscriberState;
  now = 0;
  readonly first: readonly SubscriberAction[];

  constructor(wanted = 600) {
    const step = beginSubscriber(0, wanted, 16, RULES);
    this.state = step.state;
    this.first = step.actions;
  }

  do(event: SubscriberEvent): readonly SubscriberAction[] {
    const step = stepSubscriber(this.state, event, RULES);
    this.state = step.state;
    return step.actions;
  }

  answered(answer: Answer, more: { expires?: number; minExpires?: number; retryAfter?: number } = {}) {
    return this.do({ kind: "answered", now: this.now, answer, ...more });
  }

  notified(cseq: number, state = "active", more: { expires?: number; reason?: string; retryAfter?: number } = {}) {
    return this.do({ kind: "notified", now: this.now, cseq, state, ...more });
  }

  leave(): readonly SubscriberAction[] {
    return this.do({ kind: "leave", now: this.now });
  }

  refresh(): readonly SubscriberAction[] {
    return this.do({ kind: "refresh", now: this.now });
  }

  time(now: number): readonly SubscriberAction[] {
    this.now = now;
    return this.do({ kind: "time", now });
  }

  /** Accepted and confirmed. */
  static live(wanted = 600): Driven {
    const one = new Driven(wanted);
    one.answered(200, { expires: wanted });
    one.notified(1, "active", { expires: wanted });
    return one;
  }
}

const OK: SubscriberAction = { do: "answer", status: 200 };
const subscribe = (cseq: number, expires: number): SubscriberAction => ({ do: "subscribe", cseq, expires });
const take = (phase: "pending" | "active" | "terminated"): SubscriberAction => ({ do: "take", phase });

describe("4.1.2.1: requesting a subscription", () => {
  it("sends one SUBSCRIBE and waits for both its answer and the first NOTIFY", () => {
    const one = new Driven();
    expect(one.first).toEqual([subscribe(1, 600)]);
    expect(one.answered(200, { expires: 600 })).toEqual([]);
    expect(one.state.phase).toBe("waiting");
    expect(one.notified(1)).toEqual([OK, take("active")]);
    expect(one.state.phase).toBe("active");
  });

  it("4.1.2.4: MUST be prepared to receive NOTIFY requests before the SUBSCRIBE transaction has completed", () => {
    const one = new Driven();
    expect(one.notified(1, "pending", { expires: 600 })).toEqual([OK, take("pending")]);
    expect(one.answered(200, { expires: 600 })).toEqual([]);
    expect(one.state).toMatchObject({ phase: "pending", until: 600_000 });
  });

  it("takes 202 for what 200 is, and neither for a confirmation", () => {
    const one = new Driven();
    one.answered(202, { expires: 600 });
    expect(one.state.phase).toBe("waiting");
    expect(one.time(32_000)).toEqual([{ do: "gone", left: false, cause: { by: "timer-n" }, again: "later" }]);
  });

  it("takes the Expires of the 2xx where it is smaller, never where it is larger, and its own where there is none", () => {
    for (const [expires, until] of [
      [300, 300_000],
      [7200, 600_000],
      [undefined, 600_000],
    ] as const) {
      const one = new Driven();
      one.answered(200, expires === undefined ? {} : { expires });
      expect(one.state.until).toBe(until);
    }
  });

  it("a non-200-class answer means that there is no subscription", () => {
    for (const answer of [403, 404, 480, 489, 500, "timeout", "unreachable"] as const) {
      const one = new Driven();
      expect(one.answered(answer)).toEqual([
        { do: "gone", left: false, cause: { by: "answer", answer }, again: "later" },
      ]);
      expect(one.notified(1)).toEqual([{ do: "answer", status: 481 }]);
    }
  });

  it("is subscribed where the NOTIFY came and only the answer was lost", () => {
    const one = new Driven();
    one.notified(1, "active", { expires: 600 });
    one.now = 32_000;
    expect(one.answered("timeout")).toEqual([]);
    expect(one.state.phase).toBe("active");
    expect(one.time(36_000)).toEqual([subscribe(2, 600)]);
  });

  it("waits as long as the Retry-After of a refusal says", () => {
    const one = new Driven();
    expect(one.answered(503, { retryAfter: 20 })).toContainEqual(
      expect.objectContaining({ again: { afterSeconds: 20 } }),
    );
  });

  it("423: asks again for Min-Expires, within bounds and not for ever", () => {
    const one = new Driven(60);
    expect(one.answered(423, { minExpires: 300 })).toEqual([subscribe(2, 300)]);
    expect(one.answered(423, { minExpires: 300 })).toContainEqual(expect.objectContaining({ do: "gone" }));
    const other = new Driven(60);
    for (let i = 1; i <= 3; i++)
      expect(other.answered(423, { minExpires: 60 + i })).toEqual([subscribe(1 + i, 60 + i)]);
    expect(other.answered(423, { minExpires: 90 })).toContainEqual(expect.objectContaining({ do: "gone" }));
    expect(new Driven(60).answered(423, { minExpires: 86_401 })).toContainEqual(
      expect.objectContaining({ do: "gone" }),
    );
  });
});

describe("4.1.2.2: refreshing", () => {
  it("refreshes ahead of expiry, with time for an attempt that fails", () => {
    const one = Driven.live(3600);
    expect(subscriberWakeAt(one.state)).toBe(3_480_000);
    expect(one.time(3_480_000)).toEqual([subscribe(2, 3600)]);
    expect(one.answered(200, { expires: 3600 })).toEqual([]);
    expect(one.state.until).toBe(7_080_000);
    expect(subscriberWakeAt(Driven.live(60).state)).toBe(30_000);
  });

  it("404, 405, 410, 416, 480-485, 489, 501, 604: MUST consider the subscription terminated", () => {
    for (const status of [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604]) {
      const one = Driven.live();
      one.refresh();
      const again = status === 481 ? "at-once" : "later";
      expect(one.answered(status)).toEqual([
        { do: "gone", left: false, cause: { by: "answer", answer: status }, again },
      ]);
    }
  });

  it("with any other error it is still valid for as long as was known", () => {
    for (const status of [400, 403, 408, 500, 503, 504, 600, 603]) {
      const one = Driven.live();
      one.refresh();
      expect(one.answered(status)).toEqual([]);
      expect(one.state).toMatchObject({ phase: "active", until: 600_000 });
      expect(one.notified(2)).toEqual([OK, take("active")]);
    }
  });

  it("tries again what may pass, with back-off and as Retry-After says", () => {
    const one = Driven.live();
    one.refresh();
    one.answered(503, { retryAfter: 10 });
    expect(one.time(9999)).toEqual([]);
    expect(one.time(10_000)).toEqual([subscribe(3, 600)]);
    one.answered("unreachable");
    expect(subscriberWakeAt(one.state)).toBe(18_000);
  });

  it("is gone at expiry where no refresh succeeded", () => {
    const one = Driven.live();
    one.refresh();
    one.answered(403);
    expect(subscriberWakeAt(one.state)).toBe(600_000);
    expect(one.time(600_000)).toEqual([{ do: "gone", left: false, cause: { by: "expiry" }, again: "later" }]);
  });

  it("starts Timer N with a refresh: no NOTIFY before it fires, no subscription", () => {
    const one = Driven.live();
    one.refresh();
    one.answered(200, { expires: 600 });
    expect(subscriberWakeAt(one.state)).toBe(32_000);
    expect(one.time(32_000)).toContainEqual(expect.objectContaining({ do: "gone", cause: { by: "timer-n" } }));
  });

  it("MUST cancel Timer N on a success response that indicates that no NOTIFY will be generated (204)", () => {
    const one = Driven.live();
    one.refresh();
    one.answered(204, { expires: 600 });
    expect(one.time(32_000)).toEqual([]);
    expect(one.state.phase).toBe("active");
  });

  it("refreshes that overlap follow one another", () => {
    const one = Driven.live();
    expect(one.refresh()).toEqual([subscribe(2, 600)]);
    expect(one.refresh()).toEqual([]);
    expect(one.answered(200, { expires: 600 })).toEqual([subscribe(3, 600)]);
    expect(one.answered(200, { expires: 600 })).toEqual([]);
  });

  it("423 to a refresh: asks again for Min-Expires", () => {
    const one = Driven.live(60);
    one.refresh();
    expect(one.answered(423, { minExpires: 120 })).toEqual([subscribe(3, 120)]);
  });
});

describe("4.1.2.3: unsubscribing", () => {
  it("asks for 0 seconds and is gone with the last NOTIFY", () => {
    const one = Driven.live();
    expect(one.leave()).toEqual([subscribe(2, 0)]);
    expect(one.answered(200, { expires: 0 })).toEqual([]);
    expect(one.notified(2, "active", { expires: 5 })).toEqual([OK, take("active")]);
    expect(one.notified(3, "terminated", { reason: "timeout" })).toEqual([
      OK,
      take("terminated"),
      { do: "gone", left: true, cause: { by: "notifier", reason: "timeout" }, again: "never" },
    ]);
  });

  it("does not wait longer than Timer N for it, nor at all after a refusal or a 204", () => {
    const silent = Driven.live();
    silent.leave();
    silent.answered(200, { expires: 0 });
    expect(silent.time(32_000)).toContainEqual(expect.objectContaining({ do: "gone", left: true }));
    for (const answer of [481, 500, "timeout", 204] as const) {
      const one = Driven.live();
      one.leave();
      expect(one.answered(answer)).toContainEqual(expect.objectContaining({ do: "gone", left: true, again: "never" }));
    }
  });

  it("waits for the SUBSCRIBE in flight, and for the dialog", () => {
    const one = new Driven();
    expect(one.leave()).toEqual([]);
    expect(one.answered(200, { expires: 600 })).toEqual([subscribe(2, 0)]);
    const refused = new Driven();
    refused.leave();
    expect(refused.answered(404)).toContainEqual(expect.objectContaining({ do: "gone", left: true, again: "never" }));
  });

  it("of what was never asked for there is nothing to take back: gone at once", () => {
    const { state } = beginSubscriber(0, 600, 16, RULES, false);
    const left = stepSubscriber(state, { kind: "leave", now: 0 }, RULES, false);
    expect(left.actions).toEqual([expect.objectContaining({ do: "gone", left: true, again: "never" })]);
    expect(subscriberWakeAt(left.state)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("while nothing may be sent", () => {
  it("nothing leaves, whatever happens; what is due leaves with the first time that may", () => {
    let { state, actions } = beginSubscriber(0, 600, 4, RULES, false);
    expect(actions).toEqual([]);
    for (const event of [{ kind: "reserved", now: 1, upTo: 40 } as const, { kind: "time", now: 2 } as const]) {
      ({ state, actions } = stepSubscriber(state, event, RULES, false));
      expect(actions).toEqual([]);
    }
    expect(subscriberWakeAt(state)).toBe(0);
    expect(stepSubscriber(state, { kind: "time", now: 3 }, RULES).actions).toEqual([subscribe(1, 600)]);
  });

  it("with no CSeq left it is clear all the same that it goes on: more are reserved then", () => {
    const taken = resumeSubscriber({ phase: "active", until: 600_000, heard: 1, sent: 32, reserved: 32, wanted: 600 });
    const unsent = stepSubscriber(taken, { kind: "time", now: 0 }, RULES, false);
    expect(unsent.actions).toEqual([]);
    expect(subscriberWakeAt(unsent.state)).toBe(0);
    expect(stepSubscriber(unsent.state, { kind: "time", now: 1 }, RULES).actions).toEqual([{ do: "reserve" }]);
  });
});

describe("4.1.3: NOTIFY", () => {
  it("of no outstanding subscription MUST get a 481", () => {
    const one = Driven.live();
    one.notified(2, "terminated");
    expect(one.notified(3)).toEqual([{ do: "answer", status: 481 }]);
  });

  it("RFC 3261 12.2.2: out of order MUST be rejected with a 500; a copy gets its 200 and is not taken twice", () => {
    const one = Driven.live();
    expect(one.notified(5)).toEqual([OK, take("active")]);
    expect(one.notified(4)).toEqual([{ do: "answer", status: 500 }]);
    expect(one.notified(4, "terminated")).toEqual([{ do: "answer", status: 500 }]);
    expect(one.notified(5)).toEqual([OK]);
  });

  it("its expires is the authoritative duration where it is shorter; it never lengthens", () => {
    const one = Driven.live();
    one.notified(2, "active", { expires: 3600 });
    expect(one.state.until).toBe(600_000);
    one.notified(3, "active", { expires: 100 });
    expect(one.state.until).toBe(100_000);
    expect(subscriberWakeAt(one.state)).toBe(50_000);
  });

  it("what it shortened before the 2xx came stays short", () => {
    const one = new Driven();
    one.notified(1, "active", { expires: 100 });
    one.answered(200, { expires: 600 });
    expect(one.state.until).toBe(100_000);
  });

  it("terminated: MUST consider the subscription terminated, and MUST ignore expires", () => {
    const one = Driven.live();
    expect(one.notified(2, "terminated", { expires: 500, reason: "noresource" })).toEqual([
      OK,
      take("terminated"),
      { do: "gone", left: false, cause: { by: "notifier", reason: "noresource" }, again: "never" },
    ]);
    expect(subscriberWakeAt(one.state)).toBe(Number.POSITIVE_INFINITY);
  });

  it("each reason says when to try again", () => {
    expect(againAfter("deactivated", 30)).toBe("at-once");
    expect(againAfter("probation", 30)).toEqual({ afterSeconds: 30 });
    expect(againAfter("probation", undefined)).toBe("later");
    expect(againAfter("rejected", 30)).toBe("never");
    expect(againAfter("timeout", 30)).toBe("at-once");
    expect(againAfter("giveup", 30)).toEqual({ afterSeconds: 30 });
    expect(againAfter("giveup", undefined)).toBe("at-once");
    expect(againAfter("noresource", undefined)).toBe("never");
    expect(againAfter("invariant", 31_536_000)).toBe("never");
    expect(againAfter(undefined, 5)).toEqual({ afterSeconds: 5 });
    expect(againAfter("no-such-reason", undefined)).toBe("at-once");
  });
});

describe("a take-over", () => {
  it("refreshes at once, with a CSeq above the old owner's reserve", () => {
    const stored = { phase: "active", until: 600_000, heard: 4, sent: 16, reserved: 32, wanted: 600 } as const;
    const state = resumeSubscriber(stored);
    expect(subscriberWakeAt(state)).toBe(0);
    expect(stepSubscriber(state, { kind: "time", now: 1000 }, RULES).actions).toEqual([subscribe(17, 600)]);
  });
});

const events = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("answered" as const),
      answer: fc.constantFrom<Answer[]>(200, 202, 204, 403, 404, 408, 423, 481, 500, 503, "timeout", "unreachable"),
      expires: fc.constantFrom(undefined, 0, 60, 600, 9000),
      minExpires: fc.constantFrom(undefined, 60, 900),
      retryAfter: fc.constantFrom(undefined, 5),
    }),
    fc.record({
      kind: fc.constant("notified" as const),
      cseq: fc.nat(20),
      state: fc.constantFrom("active", "active", "pending", "terminated", "odd"),
      expires: fc.constantFrom(undefined, 0, 60, 600, 9000),
    }),
    fc.record({ kind: fc.constantFrom("refresh" as const, "leave" as const, "time" as const) }),
    fc.record({ kind: fc.constant("reserved" as const), upTo: fc.nat(40) }),
  ),
  { maxLength: 60 },
);

describe("whatever happens", () => {
  it("one SUBSCRIBE in flight, CSeqs by one and within the reserve, no NOTIFY taken out of order, nothing after gone, always a way on", () => {
    const gaps = fc.array(fc.constantFrom(0, 1, 500, 4000, 32_000, 120_000), { minLength: 60, maxLength: 60 });
    const property = fc.property(events, gaps, (script, waits) => {
      let now = 0;
      let step = beginSubscriber(0, 600, 3, RULES);
      let flying = false;
      let sent = 0;
      let heard = -1;
      let gone = false;
      const look = (event: SubscriberEvent | null): void => {
        if (event?.kind === "answered") flying = false;
        for (const action of step.actions) {
          if (gone) expect(action).toEqual({ do: "answer", status: 481 });
          if (action.do === "subscribe") {
            expect(flying, "two in flight").toBe(false);
            expect(action.cseq).toBe(sent + 1);
            expect(action.cseq).toBeLessThanOrEqual(step.state.reserved);
            flying = true;
            sent = action.cseq;
          } else if (action.do === "take") {
            expect(event?.kind === "notified" && event.cseq).toBeGreaterThan(heard);
            if (event?.kind === "notified") heard = event.cseq;
          } else if (action.do === "gone") gone = true;
        }
        if (event?.kind === "notified") {
          expect(step.actions.filter((action) => action.do === "answer")).toHaveLength(1);
        }
        if (!gone) expect(subscriberWakeAt(step.state), "waits for nothing").toBeLessThan(Number.POSITIVE_INFINITY);
      };
      look(null);
      script.forEach((made, i) => {
        now += waits[i]!;
        if (made.kind === "answered" && !flying) return;
        const event: SubscriberEvent = { ...made, now };
        const before = step.state.until;
        step = stepSubscriber(step.state, event, RULES);
        if (event.kind === "notified") expect(step.state.until, "a NOTIFY lengthened it").toBeLessThanOrEqual(before);
        look(event);
      });
    });
    fc.assert(property, { numRuns: 500 });
  });
});
