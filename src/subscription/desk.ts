import type { NotifierRules } from "../sip/dialog/notifier.ts";
import type { GoneCause, SubscriberRules } from "../sip/dialog/subscriber.ts";
import type { TimerWheel } from "../sip/transaction/timer-wheel.ts";
import type { LegEvent } from "./decision.ts";
import type { Content } from "./documents.ts";
import type { Gate } from "./gate.ts";
import type { Leg } from "./leg.ts";
import type { SubscriptionOptions } from "./options.ts";
import type { Saved } from "./rows.ts";
import type { Moment, Subscription } from "./subscription.ts";

/** What the two sides of a subscription ask of the service around them. */
export interface Desk {
  readonly options: SubscriptionOptions;
  readonly notifierRules: NotifierRules;
  /** Of watcher information (RFC 3857 4.10). */
  readonly winfoRules: NotifierRules;
  readonly subscriberRules: SubscriberRules;
  /** Monotonic milliseconds. */
  now(): number;
  moment(): Moment;
  readonly wheel: TimerWheel;
  /** What a watcher may see. */
  readonly gate: Pick<Gate, "follows" | "hasNews" | "isOpen" | "shown">;
  token(length: number): string;
  after(ms: number): Promise<void>;
  /** concurrency.md 7: our lease has not run out. */
  maySend(): boolean;
  /** False: it has ended, or was lost to another proxy; nothing may be done for it any more. */
  isOurs(subscription: Subscription): boolean;
  /** What cannot happen did: it is reported, and concerns nobody else. */
  failed(what: string, error: Error): void;
  /** Its next moment may have changed. */
  arm(subscription: Subscription): void;
  save(subscription: Subscription): Promise<Saved>;
  /** The database says that it is another's, or gone. */
  lost(subscription: Subscription): void;
  /** A fetch has what there is to tell. */
  fetched(subscription: Subscription, reason: "timeout" | "rejected" | "noresource" | "deactivated"): void;
  /** Its end was decided: it takes no more requests, its legs and its row go. */
  ending(subscription: Subscription): void;
  /** Nothing will happen any more. `answer`: of a NOTIFY that he refused; null: none did. */
  ended(subscription: Subscription, answer: string | null): void;
  /** Of a kind that follows no binding: where its user is was learned, or looked at again. */
  moved(subscription: Subscription): void;
  /** A leg's server has accepted the SUBSCRIBE that opened it, or a refresh. */
  accepted(subscription: Subscription, leg: Leg): void;
  /** What a leg's server said. */
  said(subscription: Subscription, leg: Leg, event: LegEvent, said: Said): void;
}

export interface Said {
  /** Held for the listener, who shows it, keeps it or gives it back. */
  readonly content: Content | null;
  /** Seconds. */
  readonly retryAfter: number | undefined;
  /** How it came to an end, and whether a NOTIFY had come before; null: it has not. */
  readonly gone: { readonly cause: GoneCause; readonly hadCome: boolean } | null;
  /** What it was, for the log: `480`, `terminated;reason=probation`. */
  readonly what: string;
}
