import { describe, expect, it } from "vitest";
import { Sfc32 } from "../../../src/runtime/sfc32.ts";
import { beginNotifier, type NotifierState, notifierWakeAt, stepNotifier } from "../../../src/sip/dialog/notifier.ts";
import {
  beginSubscriber,
  type SubscriberState,
  type SubscriberStep,
  stepSubscriber,
  subscriberWakeAt,
} from "../../../src/sip/dialog/subscriber.ts";
import type { Answer } from "../../../src/sip/dialog/usage.ts";
import { fc } from "../../support/fast-check.ts";

/**
 * Both machines joined by a wire that delays and loses. Transactions are done away with: a request arrives once or never, sometimes
 * after its sender has given up, who hears the answer, or a timeout after 64*T1.
 */
const BACK_OFF = { firstMs: 2000, mostMs: 8000 };
const NOTIFIER = {
  minExpires: 60,
  maxExpires: 3600,
  defaultExpires: 3600,
  minIntervalMs: 0,
  backOff: BACK_OFF,
  reserve: 16,
};
const SUBSCRIBER = { maxExpires: 86_400, timerNMs: 32_000, backOff: BACK_OFF, reserve: 16 };
const TIMER_F = 32_000;

class Joined {
  now = 0;
  /** What is there to be told, and what the subscriber has taken last. */
  version = 0;
  readonly taken: number[] = [];
  subscriber: SubscriberState;
  notifier: NotifierState | undefined;
  lossless = false;
  gone = false;
  readonly #random: () => number;
  readonly #loss: number;
  readonly #due: Array<{ readonly at: number; readonly run: () => void }> = [];

  constructor(seed: number, loss: number) {
    const generator = new Sfc32(seed, 1);
    this.#random = () => generator.next() / 2 ** 32;
    this.#loss = loss;
    const begun = beginSubscriber(0, 600, 16, SUBSCRIBER);
    this.subscriber = begun.state;
    this.#subscriberDoes(begun);
  }

  after(ms: number, run: () => void): void {
    this.#due.push({ at: this.now + ms, run });
  }

  change(): void {
    this.version++;
    if (this.notifier !== undefined) this.#notifierDoes({ kind: "changed", now: this.now, phase: "active" });
  }

  leave(): void {
    this.#subscriberDoes(stepSubscriber(this.subscriber, { kind: "leave", now: this.now }, SUBSCRIBER));
  }

  /** Until this moment; what both have to do in their own time is done. */
  run(until: number): void {
    for (;;) {
      this.#due.sort((a, b) => a.at - b.at);
      const next = this.#due[0]?.at ?? Number.POSITIVE_INFINITY;
      const subscriber = subscriberWakeAt(this.subscriber);
      const notifier = this.notifier === undefined ? Number.POSITIVE_INFINITY : notifierWakeAt(this.notifier);
      const at = Math.max(this.now, Math.min(next, subscriber, notifier));
      if (at > until) break;
      this.now = at;
      if (next <= at) this.#due.shift()?.run();
      else if (subscriber <= at) {
        this.#subscriberDoes(stepSubscriber(this.subscriber, { kind: "time", now: at }, SUBSCRIBER));
      } else this.#notifierDoes({ kind: "time", now: at });
    }
    this.now = until;
  }

  /** A request: `arrive` gives the answer. */
  #send(arrive: () => number | undefined, answered: (answer: Answer) => void): void {
    const lost = (): boolean => !this.lossless && this.#random() < this.#loss;
    const delay = (): number => 1 + Math.floor(this.#random() * (lost() ? 45_000 : 3000));
    let waiting = true;
    const heard = (answer: Answer): void => {
      if (!waiting) return;
      waiting = false;
      answered(answer);
    };
    this.after(TIMER_F, () => heard("timeout"));
    if (lost()) return;
    this.after(delay(), () => {
      const status = arrive();
      if (status !== undefined && !lost()) this.after(delay(), () => heard(status));
    });
  }

  #subscriberDoes(step: SubscriberStep): number | undefined {
    this.subscriber = step.state;
    let status: number | undefined;
    for (const action of step.actions) {
      if (action.do === "answer") status = action.status;
      else if (action.do === "gone") this.gone = true;
      else if (action.do === "reserve") {
        const upTo = this.subscriber.reserved + 16;
        this.after(5, () =>
          this.#subscriberDoes(stepSubscriber(this.subscriber, { kind: "reserved", now: this.now, upTo }, SUBSCRIBER)),
        );
      } else if (action.do === "subscribe") {
        const { cseq, expires } = action;
        let granted: number | undefined;
        this.#send(
          () => {
            const facts = { now: this.now, cseq, expires };
            const [answer] =
              this.notifier === undefined && !this.gone
                ? this.#begin(facts)
                : this.#notifierDoes({ kind: "subscribe", ...facts });
            if (answer?.do !== "answer") return undefined;
            granted = answer.status === 200 ? answer.expires : undefined;
            return answer.status;
          },
          (answer) => {
            const event = { kind: "answered", now: this.now, answer, expires: granted } as const;
            this.#subscriberDoes(stepSubscriber(this.subscriber, event, SUBSCRIBER));
          },
        );
      }
    }
    return status;
  }

  #begin(facts: { now: number; cseq: number; expires: number }) {
    const step = beginNotifier("active", facts, 16, NOTIFIER);
    return this.#notifierActions(step.state, step.actions);
  }

  #notifierDoes(event: Parameters<typeof stepNotifier>[1]) {
    if (this.notifier === undefined) return [];
    const step = stepNotifier(this.notifier, event, NOTIFIER);
    return this.#notifierActions(step.state, step.actions);
  }

  #notifierActions(state: NotifierState, actions: ReturnType<typeof stepNotifier>["actions"]) {
    this.notifier = state;
    for (const action of actions) {
      if (action.do === "reserve") {
        const upTo = state.reserved + 16;
        this.after(5, () => this.#notifierDoes({ kind: "reserved", now: this.now, upTo }));
      } else if (action.do === "notify") {
        const { cseq, phase } = action;
        const carried = this.version;
        const expires = Number(/expires=(\d+)/.exec(action.state)?.[1] ?? 0);
        this.#send(
          () => {
            const event = { kind: "notified", now: this.now, cseq, state: phase, expires } as const;
            const step = stepSubscriber(this.subscriber, event, SUBSCRIBER);
            if (step.actions.some((each) => each.do === "take")) this.taken.push(carried);
            return this.#subscriberDoes(step);
          },
          (answer) => this.#notifierDoes({ kind: "answered", now: this.now, answer }),
        );
      }
    }
    return actions;
  }
}

describe("both ends of a subscription, over a wire that delays and loses", () => {
  it("what the subscriber shows never goes back, and is what is true once nothing is lost any more", () => {
    const property = fc.property(
      fc.nat(),
      fc.constantFrom(0, 0.1, 0.4),
      fc.array(fc.nat(8_000), { minLength: 1, maxLength: 30 }),
      (seed, loss, changes) => {
        const joined = new Joined(seed, loss);
        for (const wait of changes) {
          joined.run(joined.now + wait);
          joined.change();
        }
        joined.lossless = true;
        // One that is in flight and was lost, the longest back-off, and the way of the next: no refresh is needed.
        joined.run(joined.now + TIMER_F + BACK_OFF.mostMs + 7_000);
        expect(joined.taken).toEqual([...joined.taken].sort((a, b) => a - b));
        if (!joined.gone) expect(joined.taken.at(-1)).toBe(joined.version);
        // Without loss nothing ends.
        if (loss === 0) expect(joined.gone).toBe(false);
      },
    );
    fc.assert(property, { numRuns: 200 });
  });

  it("what the subscriber has left or lost, the notifier ends as well, by an answer or by expiry", () => {
    const property = fc.property(fc.nat(), fc.constantFrom(0, 0.2, 0.5), fc.nat(100_000), (seed, loss, stay) => {
      const joined = new Joined(seed, loss);
      joined.run(stay);
      joined.leave();
      joined.run(stay + 5_000_000);
      expect(joined.gone).toBe(true);
      expect(joined.notifier === undefined || joined.notifier.phase === "terminated").toBe(true);
    });
    fc.assert(property, { numRuns: 200 });
  });
});
