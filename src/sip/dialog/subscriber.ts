import { type Answer, type BackOff, backOffMs, endsUsage, isPassing } from "./usage.ts";

/**
 * The subscriber's end of one subscription (RFC 6665 4.1): (state, event) -> state and what to do. No I/O, no clock: events bring
 * `now`. The driver does the actions in their order and calls with `time` at `subscriberWakeAt`. The dialog is the driver's: made of
 * the first NOTIFY or the 2xx, whichever comes first (`uacDialog`).
 *
 * One SUBSCRIBE is in flight at a time: what is asked for meanwhile follows it.
 */
export interface SubscriberState {
  /** `waiting`: no NOTIFY yet (notify_wait of 4.1.2). `leaving`: an unsubscription is due, or was sent. */
  readonly phase: "waiting" | "pending" | "active" | "leaving" | "terminated";
  /** A 2xx or a NOTIFY has made the dialog. */
  readonly made: boolean;
  /** Milliseconds on the clock of the events: expiry, by the last 2xx and what NOTIFYs shortened. */
  readonly until: number;
  /** The shortest expiry a NOTIFY told of while a SUBSCRIBE was in flight; Infinity: none. */
  readonly told: number;
  /** When the next refresh is due. Infinity: none. */
  readonly refreshAt: number;
  /** Timer N; Infinity: it does not run. */
  readonly timerN: number;
  /** Seconds to ask for. */
  readonly wanted: number;
  /** CSeq of the last SUBSCRIBE. */
  readonly sent: number;
  readonly reserved: number;
  readonly reserving: boolean;
  /** The SUBSCRIBE in flight: the seconds it asks for; -1: none is. */
  readonly inFlight: number;
  /** CSeq of the newest NOTIFY; -1: none came. */
  readonly heard: number;
  /** SUBSCRIBEs in a row that failed. */
  readonly failures: number;
}

export interface NotifyFacts {
  readonly now: number;
  readonly cseq: number;
  /** The value of Subscription-State, parsed; seconds. */
  readonly state: string;
  readonly expires?: number | undefined;
  readonly reason?: string | undefined;
  readonly retryAfter?: number | undefined;
}

export type SubscriberEvent =
  /** How the SUBSCRIBE in flight fared. Expires of a 2xx, Min-Expires of a 423, Retry-After: seconds. */
  | {
      readonly kind: "answered";
      readonly now: number;
      readonly answer: Answer;
      readonly expires?: number | undefined;
      readonly minExpires?: number | undefined;
      readonly retryAfter?: number | undefined;
    }
  | ({ readonly kind: "notified" } & NotifyFacts)
  /** Refresh now: a new Contact, or the whole state is wanted. */
  | { readonly kind: "refresh"; readonly now: number }
  /** Unsubscribe (4.1.2.3). */
  | { readonly kind: "leave"; readonly now: number }
  | { readonly kind: "reserved"; readonly now: number; readonly upTo: number }
  | { readonly kind: "time"; readonly now: number };

/** When another subscription, with a new Call-ID, may be asked for (4.1.3). `later`: after a back-off of the driver's choosing. */
export type Again = "never" | "at-once" | { readonly afterSeconds: number } | "later";

export type GoneCause =
  /** A NOTIFY said terminated; the reason may be "". */
  | { readonly by: "notifier"; readonly reason: string }
  /** The SUBSCRIBE was refused, or could not be sent, or nobody answered. */
  | { readonly by: "answer"; readonly answer: Answer }
  /** Accepted, and no NOTIFY came for 64*T1. */
  | { readonly by: "timer-n" }
  | { readonly by: "expiry" };

export type SubscriberAction =
  /** Send a SUBSCRIBE: without a To tag while no dialog is made. */
  | { readonly do: "subscribe"; readonly cseq: number; readonly expires: number }
  /** Answer the NOTIFY: 200, 481, 500. */
  | { readonly do: "answer"; readonly status: 200 | 481 | 500 }
  /** The NOTIFY is newer than all before: its body is the state. */
  | { readonly do: "take"; readonly phase: "pending" | "active" | "terminated" }
  | { readonly do: "reserve" }
  /** The subscription is no more. `left`: because it was to be. */
  | { readonly do: "gone"; readonly left: boolean; readonly cause: GoneCause; readonly again: Again };

export interface SubscriberRules {
  /** Seconds at most that a 423 can make us ask for. */
  readonly maxExpires: number;
  /** 64*T1. */
  readonly timerNMs: number;
  readonly backOff: BackOff;
  /** CSeqs reserved at a time. */
  readonly reserve: number;
}

export interface SubscriberStep {
  readonly state: SubscriberState;
  readonly actions: readonly SubscriberAction[];
}

const NEVER = Number.POSITIVE_INFINITY;
/** A refresh leaves this long before expiry at least, and halfway at the latest: an attempt can take 32 s. */
const LEAD_MS = 120_000;
/** Times that one SUBSCRIBE is sent again because of a 423. */
const MAX_TOO_BRIEF = 3;

/**
 * The first SUBSCRIBE.
 * @param reserved the last CSeq that may be used; the first is 1.
 * @param maySend as of `stepSubscriber`.
 */
export function beginSubscriber(
  now: number,
  wanted: number,
  reserved: number,
  rules: SubscriberRules,
  maySend = true,
): SubscriberStep {
  const state: SubscriberState = {
    phase: "waiting",
    made: false,
    until: now + wanted * 1000,
    told: NEVER,
    refreshAt: 0,
    timerN: NEVER,
    wanted,
    sent: 0,
    reserved,
    reserving: false,
    inFlight: -1,
    heard: -1,
    failures: 0,
  };
  return advance(state, now, rules, maySend);
}

/** One that was another owner's, its dialog known: its first `time` refreshes, with our Contact. */
export function resumeSubscriber(
  stored: Pick<SubscriberState, "until" | "heard" | "sent" | "reserved" | "wanted"> & {
    readonly phase: "waiting" | "pending" | "active" | "leaving";
  },
): SubscriberState {
  const rest = { told: NEVER, timerN: NEVER, reserving: false, inFlight: -1, failures: 0 };
  return { ...stored, ...rest, made: true, refreshAt: 0 };
}

/** All there is to one that is active while nothing is under way: what is kept of it, where many are. */
export type SubscriberAtRest = Pick<SubscriberState, "until" | "refreshAt" | "wanted" | "sent" | "reserved" | "heard">;

export function isSubscriberAtRest(state: SubscriberState): boolean {
  const { phase, made, told, timerN, reserving, inFlight, failures } = state;
  return (
    phase === "active" && made && told === NEVER && timerN === NEVER && !reserving && inFlight < 0 && failures === 0
  );
}

export function subscriberAtRest(kept: SubscriberAtRest): SubscriberState {
  const { until, refreshAt, wanted, sent, reserved, heard } = kept;
  const rest = { told: NEVER, timerN: NEVER, reserving: false, inFlight: -1, failures: 0 };
  return { phase: "active", made: true, until, refreshAt, wanted, sent, reserved, heard, ...rest };
}

/** When `time` is due next; Infinity: never. */
export function subscriberWakeAt(state: SubscriberState): number {
  if (state.phase === "terminated") return NEVER;
  const usedUp = state.sent >= state.reserved && state.reserving;
  const sends = state.inFlight < 0 && !usedUp ? state.refreshAt : NEVER;
  return Math.min(deadline(state), sends);
}

/** @param maySend false: nothing may leave now (the owner's lease has run out); what is due leaves with a later `time`. */
export function stepSubscriber(
  state: SubscriberState,
  event: SubscriberEvent,
  rules: SubscriberRules,
  maySend = true,
): SubscriberStep {
  // 4.1.3: a NOTIFY of no outstanding subscription "MUST return a 481".
  if (state.phase === "terminated")
    return { state, actions: event.kind === "notified" ? [{ do: "answer", status: 481 }] : [] };
  switch (event.kind) {
    case "answered":
      return answered(state, event, rules, maySend);
    case "notified":
      return notified(state, event, rules, maySend);
    case "refresh":
      return state.phase === "leaving"
        ? { state, actions: [] }
        : advance({ ...state, refreshAt: 0 }, event.now, rules, maySend);
    case "leave":
      if (state.phase === "leaving") return { state, actions: [] };
      // Never asked for: there is nothing to be taken back, and nobody will answer.
      if (!state.made && state.inFlight < 0) return gone({ ...state, phase: "leaving" }, { by: "expiry" }, "never");
      return advance({ ...state, phase: "leaving", refreshAt: 0 }, event.now, rules, maySend);
    case "reserved": {
      const reserved = Math.max(state.reserved, event.upTo);
      return advance({ ...state, reserved, reserving: false }, event.now, rules, maySend);
    }
    case "time":
      if (event.now < deadline(state)) return advance(state, event.now, rules, maySend);
      return gone(state, { by: state.timerN < NEVER ? "timer-n" : "expiry" }, "later");
  }
}

/**
 * 4.1.2.2, 4.1.2.4: where no NOTIFY comes before Timer N fires, the subscription is terminated, or never was. While it runs,
 * expiry waits for it: a SUBSCRIBE is on its way.
 */
function deadline(state: SubscriberState): number {
  return state.timerN < NEVER ? state.timerN : state.until;
}

/** 4.1.3: what each reason says about trying again. */
export function againAfter(reason: string | undefined, retryAfter: number | undefined): Again {
  switch (reason) {
    case "deactivated":
    case "timeout":
      return "at-once";
    case "rejected":
    case "noresource":
    case "invariant":
      return "never";
    case "probation":
      return retryAfter === undefined ? "later" : { afterSeconds: retryAfter };
    default:
      // giveup, none, or one we do not know: "MAY attempt to re-subscribe at any time (unless a "retry-after" parameter is present".
      return retryAfter === undefined ? "at-once" : { afterSeconds: retryAfter };
  }
}

function answered(
  state: SubscriberState,
  event: Extract<SubscriberEvent, { readonly kind: "answered" }>,
  rules: SubscriberRules,
  maySend: boolean,
): SubscriberStep {
  const { answer, now } = event;
  if (state.inFlight < 0) return { state, actions: [] };
  const asked = state.inFlight;
  const idle: SubscriberState = { ...state, inFlight: -1 };
  if (typeof answer === "number" && answer >= 200 && answer < 300) {
    // 4.1.2.1: the value "might be smaller […] but cannot be larger".
    const until = Math.min(now + Math.min(event.expires ?? asked, asked) * 1000, state.told);
    // RFC 5839: 204 says that no NOTIFY follows, and "MUST cancel Timer N" (4.1.2.2).
    const timerN = answer === 204 ? NEVER : state.timerN;
    if (asked === 0 && answer === 204) return gone(idle, { by: "answer", answer }, "never");
    // 0: while it was in flight, `leave` or `refresh` asked for another.
    const refreshAt = state.refreshAt === 0 ? 0 : asked === 0 ? NEVER : refreshTime(until, now);
    return advance({ ...idle, made: true, told: NEVER, timerN, failures: 0, until, refreshAt }, now, rules, maySend);
  }
  const failures = state.failures + 1;
  const failed: SubscriberState = { ...idle, failures, told: NEVER };
  const again: Again = event.retryAfter === undefined ? "later" : { afterSeconds: event.retryAfter };
  if (asked === 0) return gone(failed, { by: "answer", answer }, "never");
  if (answer === 423 && failures <= MAX_TOO_BRIEF && state.phase !== "leaving") {
    const minimum = event.minExpires ?? 0;
    const next: SubscriberState = { ...failed, wanted: minimum, timerN: NEVER, refreshAt: 0 };
    if (minimum > asked && minimum <= rules.maxExpires) return advance(next, now, rules, maySend);
  }
  // A first SUBSCRIBE that failed made nothing, unless its NOTIFY has come: then only its answer was lost.
  if (!state.made) return gone(failed, { by: "answer", answer }, again);
  if (endsUsage(answer)) return gone(failed, { by: "answer", answer }, answer === 481 ? "at-once" : again);
  // Timer N, where it still runs, has run as long as Timer F: it tells about a timeout. After a refusal no NOTIFY is due.
  const timerN = answer === "timeout" ? state.timerN : NEVER;
  // 4.1.2.2: "the original subscription is still considered valid for the duration of the most recently known "Expires"".
  const wait = backOffMs(rules.backOff, failures, event.retryAfter);
  const passes = isPassing(answer) || event.retryAfter !== undefined;
  const refreshAt = state.phase === "leaving" ? 0 : passes ? now + wait : NEVER;
  return advance({ ...failed, timerN, refreshAt }, now, rules, maySend);
}

function notified(
  state: SubscriberState,
  event: NotifyFacts,
  rules: SubscriberRules,
  maySend: boolean,
): SubscriberStep {
  const { now, cseq } = event;
  // RFC 3261 12.2.2: lower than the last is out of order. The same again is a copy that was answered: 200, and nothing new.
  if (cseq < state.heard) return { state, actions: [{ do: "answer", status: 500 }] };
  if (cseq === state.heard) return { state, actions: [OK] };
  // 4.4.1: the NOTIFY makes the dialog, and shows that the SUBSCRIBE was accepted whatever became of its answer.
  const heard: SubscriberState = { ...state, made: true, heard: cseq };
  if (event.state === "terminated") {
    // "The "expires" parameter has no semantics for "terminated"": it is not looked at.
    const cause: GoneCause = { by: "notifier", reason: event.reason ?? "" };
    const end = gone(heard, cause, againAfter(event.reason, event.retryAfter));
    return { state: end.state, actions: [OK, { do: "take", phase: "terminated" }, ...end.actions] };
  }
  // Extensions aside (8.4), what is neither is no state we can show: taken as pending, which promises nothing.
  const phase = event.state === "active" ? "active" : "pending";
  const next: SubscriberState = {
    ...heard,
    phase: state.phase === "leaving" ? "leaving" : phase,
    // Leaving, it is the last NOTIFY that Timer N waits for.
    timerN: state.phase === "leaving" ? state.timerN : NEVER,
  };
  const taken: SubscriberAction = { do: "take", phase };
  const step = advance(shortened(next, event.expires, now), now, rules, maySend);
  return { state: step.state, actions: [OK, taken, ...step.actions] };
}

const OK: SubscriberAction = { do: "answer", status: 200 };

/** 4.1.3: "expires" in a NOTIFY is authoritative, and by 4.2.2 "MUST NOT be used to lengthen a subscription". */
function shortened(state: SubscriberState, expires: number | undefined, now: number): SubscriberState {
  if (expires === undefined || state.inFlight === 0) return state;
  const said = now + expires * 1000;
  // The answer to the SUBSCRIBE in flight is still to come and may not make it longer again.
  const told = state.inFlight > 0 ? Math.min(state.told, said) : state.told;
  if (said >= state.until) return { ...state, told };
  const refreshAt = state.refreshAt === 0 ? 0 : Math.min(state.refreshAt, refreshTime(said, now));
  return { ...state, told, until: said, refreshAt: state.phase === "leaving" ? state.refreshAt : refreshAt };
}

function refreshTime(until: number, now: number): number {
  return until - Math.min(LEAD_MS, Math.ceil((until - now) / 2));
}

function gone(state: SubscriberState, cause: GoneCause, again: Again): SubscriberStep {
  const left = state.phase === "leaving";
  const over: SubscriberState = { ...state, phase: "terminated", inFlight: -1, timerN: NEVER, refreshAt: NEVER };
  return { state: over, actions: [{ do: "gone", left, cause, again: left ? "never" : again }] };
}

/** Sends what is due, once nothing is in flight; within the dialog, or to make one. */
function advance(state: SubscriberState, now: number, rules: SubscriberRules, maySend: boolean): SubscriberStep {
  const due = maySend && now >= state.refreshAt && state.inFlight < 0 && (state.made || state.phase === "waiting");
  if (!due) return { state, actions: [] };
  const actions: SubscriberAction[] = [];
  let next = state;
  if (state.sent < state.reserved) {
    const cseq = state.sent + 1;
    const expires = state.phase === "leaving" ? 0 : state.wanted;
    actions.push({ do: "subscribe", cseq, expires });
    const timerN = now + rules.timerNMs;
    next = { ...next, sent: cseq, inFlight: expires, told: NEVER, refreshAt: NEVER, timerN };
  }
  if (next.inFlight !== 0 && !next.reserving && next.reserved - next.sent < rules.reserve / 2) {
    actions.push({ do: "reserve" });
    next = { ...next, reserving: true };
  }
  return { state: next, actions };
}
