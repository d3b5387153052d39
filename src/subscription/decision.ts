import type { GoneCause } from "../sip/dialog/subscriber.ts";

/**
 * What a subscription does next: pure, two tables. The first is about where the user is, the second about what a leg's
 * server said (models.md, "Exclusive"; RFC 6665 4.1.2 and 4.1.3).
 */

/** Where the user is, and what the subscription has made of it so far. */
export interface Situation {
  /** The server that has the user; null: none has. */
  readonly server: string | null;
  /** Of his slot. */
  readonly epoch: number;
  /** Whether a dialog with that server can be a leg of ours. */
  readonly takesLegs: boolean;
  /** The epoch that was acted upon last. */
  readonly extendedEpoch: number;
  /** The watcher was told `active`. */
  readonly active: boolean;
  readonly leg: { readonly epoch: number } | null;
  readonly next: { readonly epoch: number; readonly server: string; readonly ahead: boolean } | null;
  /** A further try at the present epoch is due later. */
  readonly waiting: boolean;
}

export type PlaceStep =
  /** He is nowhere: the watcher is shown a closed document, legs end, and it is held again. */
  | "hold"
  /** Held before and held now: nobody needs to be told. */
  | "note"
  /** Its server cannot be a leg: the watcher is to subscribe again, and will be passed on. */
  | "deactivate"
  /** The leg that was opened ahead of the move is the one. */
  | "adopt"
  /** One that was coming up, for another binding, is no longer wanted. */
  | "drop-next"
  /** A leg to the server that has him now. */
  | "open";

export function decidePlace(now: Situation): readonly PlaceStep[] {
  const { server, epoch, leg, next } = now;
  if (server === null) return absent(now);
  if (!now.takesLegs) return ["deactivate"];
  if (leg !== null && leg.epoch === epoch) return [];
  if (next !== null && !next.ahead && next.epoch === epoch) return [];
  if (next?.ahead && next.server === server) return ["adopt"];
  if (now.waiting) return next === null || next.ahead ? [] : ["drop-next"];
  return next === null ? ["open"] : ["drop-next", "open"];
}

function absent(now: Situation): readonly PlaceStep[] {
  const coming = now.next !== null && !now.next.ahead;
  if (now.leg !== null || coming || (now.active && now.extendedEpoch < now.epoch)) return ["hold"];
  return now.extendedEpoch < now.epoch ? ["note"] : [];
}

export type LegRole =
  /** Its documents are shown. */
  | "serving"
  /** It is to take over for the present binding, or to begin. */
  | "coming"
  /** It was opened ahead of a move, and waits. */
  | "ahead"
  /** The user has moved on: it is kept until the next one is confirmed, and nothing of it is shown. */
  | "superseded";

export type LegEvent =
  /** A NOTIFY, active: with a document. */
  | "active"
  /** A NOTIFY, pending: the server has not decided whether this watcher may see. */
  | "pending"
  /** 403, 600, 603, or terminated;reason=rejected. */
  | "denied"
  /** The server has no such thing: 405, 406, 415, 489, 501, or terminated;reason=noresource. */
  | "unfit"
  /** A leg that was to be did not come about: every other answer, none, or no NOTIFY in time. */
  | "absent"
  /** The subscription there is over and may be made again at once: 481, Timer N, terminated with deactivated, timeout, no reason. */
  | "gone"
  /** The same, later: terminated with probation, giveup, or a retry-after. */
  | "later"
  /** terminated;reason=invariant: what was shown stays true for ever. */
  | "final";

export type LegStep =
  /** The document to the watcher. */
  | "show"
  /** No document of this user may be seen now: a closed one, if he was ever told `active`. */
  | "close"
  /** It becomes the serving one; the one before it is ended. */
  | "promote"
  /** The document is kept for when its time comes. */
  | "keep"
  /** Forgotten: the server has ended it. */
  | "drop"
  /** Another at once (with back-off where it lived but a moment), the watcher undisturbed. */
  | "again"
  /** Another after a while. */
  | "retry"
  /** Ended for the watcher too, and so are both legs, with this reason. */
  | "reject"
  | "noresource"
  | "invariant";

type Reactions = Readonly<Record<LegEvent, readonly LegStep[]>>;

export const ON_LEG: Readonly<Record<LegRole, Reactions>> = {
  serving: {
    active: ["show"],
    pending: ["close"],
    denied: ["reject"],
    unfit: ["noresource"],
    absent: ["drop", "close", "retry"],
    gone: ["drop", "again"],
    later: ["drop", "retry"],
    final: ["show", "invariant"],
  },
  coming: {
    active: ["promote", "show"],
    pending: ["promote", "close"],
    denied: ["reject"],
    unfit: ["noresource"],
    absent: ["drop", "close", "retry"],
    gone: ["drop", "again"],
    later: ["drop", "close", "retry"],
    final: ["promote", "show", "invariant"],
  },
  ahead: {
    active: ["keep"],
    pending: ["keep"],
    denied: ["drop"],
    unfit: ["drop"],
    absent: ["drop"],
    gone: ["drop"],
    later: ["drop"],
    final: ["drop"],
  },
  superseded: {
    active: [],
    pending: [],
    // Any reason but rejected is swallowed while a newer epoch exists.
    denied: ["reject"],
    unfit: ["drop"],
    absent: ["drop"],
    gone: ["drop"],
    later: ["drop"],
    final: ["drop"],
  },
};

/** What a final answer to the SUBSCRIBE that was to open a leg means; 423 and 2xx are none of these. */
export function meaningOfRefusal(answer: number | "timeout" | "unreachable"): LegEvent {
  switch (answer) {
    case 403:
    case 600:
    case 603:
      return "denied";
    case 405:
    case 406:
    case 415:
    case 489:
    case 501:
      return "unfit";
    default:
      return "absent";
  }
}

/** RFC 6665 4.1.3: what the reason of a `terminated` asks the subscriber to do. */
export function meaningOfEnd(reason: string | undefined, retryAfter: number | undefined): LegEvent {
  switch (reason?.toLowerCase()) {
    case "rejected":
      return "denied";
    case "noresource":
      return "unfit";
    case "invariant":
      return "final";
    // "the client SHOULD retry immediately with a new subscription"; a retry-after "has no semantics" with these.
    case "deactivated":
    case "timeout":
      return "gone";
    case "probation":
      return "later";
    default:
      return retryAfter === undefined ? "gone" : "later";
  }
}

/**
 * How a leg's end is to be read.
 * @param hadCome a NOTIFY had come: it was a subscription, and is one no more.
 */
export function meaningOfGone(cause: GoneCause, hadCome: boolean, retryAfter: number | undefined): LegEvent {
  switch (cause.by) {
    case "notifier":
      return meaningOfEnd(cause.reason === "" ? undefined : cause.reason, retryAfter);
    case "answer":
      return hadCome ? "gone" : meaningOfRefusal(cause.answer);
    // 4.1.2.2, 4.1.2.4: a refresh that brings no NOTIFY in 64*T1 ends it, too.
    case "timer-n":
    case "expiry":
      return hadCome ? "gone" : "absent";
  }
}
