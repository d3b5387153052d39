import { type Answer, type BackOff, backOffMs, endsUsage, isPassing } from "./usage.ts";

/**
 * The notifier's end of one subscription (RFC 6665 4.2): (state, event) -> state and what to do. No I/O, no clock: events bring
 * `now`. The driver does the actions in their order, feeds back how each NOTIFY fared, and calls with `time` at `notifierWakeAt`.
 *
 * One NOTIFY is in flight at a time; what changes meanwhile is told by the next one, which carries what is true when it is sent.
 * Unlike 4.2.2 ("SHOULD remove the subscription"), a NOTIFY that nobody answers is tried again until the subscription expires: its
 * watcher may be behind a proxy that is away, and would be left with a state that nobody corrects.
 */
export interface NotifierState {
  /** `ending`: the last NOTIFY is due or in flight. */
  readonly phase: "pending" | "active" | "ending" | "terminated";
  /** Milliseconds on the clock of the events: expiry. */
  readonly until: number;
  /** CSeq of the last SUBSCRIBE taken. */
  readonly heard: number;
  /** CSeq of the last NOTIFY; the next one has one more. */
  readonly sent: number;
  /** The last CSeq that may be used; then the driver has to reserve more. */
  readonly reserved: number;
  readonly reserving: boolean;
  readonly inFlight: boolean;
  /** A NOTIFY is owed; `now`: whatever the rate or the back-off. */
  readonly owed: "no" | "later" | "now";
  /** No owed NOTIFY leaves before: rate, back-off. */
  readonly notBefore: number;
  /** NOTIFYs in a row that failed in passing. */
  readonly failures: number;
  /** What follows `terminated`: `;reason=timeout`. Empty until it ends. */
  readonly end: string;
}

/** RFC 6665 4.1.3. */
export type EndReason = "deactivated" | "probation" | "rejected" | "timeout" | "giveup" | "noresource" | "invariant";

export interface SubscribeFacts {
  readonly now: number;
  readonly cseq: number;
  /** The Expires header, seconds; undefined: absent. */
  readonly expires: number | undefined;
}

export type NotifierEvent =
  /** A SUBSCRIBE within the dialog: refresh, fetch, unsubscription. */
  | ({ readonly kind: "subscribe" } & SubscribeFacts)
  /** There is something new to tell. From `pending` to `active` it goes; never back. */
  | { readonly kind: "changed"; readonly now: number; readonly phase: "pending" | "active" }
  | { readonly kind: "end"; readonly now: number; readonly reason: EndReason; readonly retryAfter?: number }
  /** How the NOTIFY in flight fared. `retryAfter`: seconds. */
  | {
      readonly kind: "answered";
      readonly now: number;
      readonly answer: Answer;
      readonly retryAfter?: number | undefined;
    }
  /** CSeqs up to this one may be used from now on. */
  | { readonly kind: "reserved"; readonly now: number; readonly upTo: number }
  | { readonly kind: "time"; readonly now: number };

export type NotifierAction =
  /** Answer the SUBSCRIBE: 200 with Expires, 423 with Min-Expires, 500 with Retry-After, 481. Seconds. */
  | { readonly do: "answer"; readonly status: 200; readonly expires: number }
  | { readonly do: "answer"; readonly status: 423; readonly minExpires: number }
  | { readonly do: "answer"; readonly status: 500; readonly retryAfter: number }
  | { readonly do: "answer"; readonly status: 481 }
  /** Send a NOTIFY with what is true now. `state`: the value of Subscription-State. */
  | {
      readonly do: "notify";
      readonly cseq: number;
      readonly phase: "pending" | "active" | "terminated";
      readonly state: string;
    }
  /** Fewer than half of the reserved CSeqs are left: reserve more, then say `reserved`. */
  | { readonly do: "reserve" }
  /** Nothing will happen any more. `answer`: what ended it, where it was not ended by a NOTIFY that arrived. */
  | { readonly do: "ended"; readonly answer: Answer | null };

export interface NotifierRules {
  /** Seconds. Shorter ones get 423, unless they are an hour or more (4.2.1.1). */
  readonly minExpires: number;
  readonly maxExpires: number;
  /** Of the event package, where Expires is absent (5.4.4). */
  readonly defaultExpires: number;
  /** Least distance of two NOTIFYs (RFC 6446 5.2: local policy); 0: none. */
  readonly minIntervalMs: number;
  readonly backOff: BackOff;
  /** CSeqs reserved at a time. */
  readonly reserve: number;
}

export interface NotifierStep {
  readonly state: NotifierState;
  readonly actions: readonly NotifierAction[];
}

/** How a SUBSCRIBE is to be answered, seconds. */
export type Judgement = Extract<NotifierAction, { readonly do: "answer" }>;

const HOUR = 3600;
/** Seconds; RFC 3261 14.2 has the same case. */
const OUT_OF_ORDER_RETRY = 1;

/** What a first SUBSCRIBE gets, before anything is written down. */
export function judgeFirst(expires: number | undefined, rules: NotifierRules): Judgement {
  const asked = expires ?? rules.defaultExpires;
  // 4.2.1.1: "If and only if the expiration interval is greater than zero AND smaller than one hour AND less than a
  // notifier-configured minimum, the notifier MAY return a 423".
  if (asked > 0 && asked < HOUR && asked < rules.minExpires)
    return { do: "answer", status: 423, minExpires: Math.min(rules.minExpires, HOUR) };
  // "the server MAY shorten the interval but MUST NOT lengthen it."
  return { do: "answer", status: 200, expires: Math.min(asked, rules.maxExpires) };
}

/** What a SUBSCRIBE within the dialog gets. The same CSeq again is the same request again: it is granted again. */
export function judgeWithin(state: NotifierState, facts: SubscribeFacts, rules: NotifierRules): Judgement {
  if (isOver(state) || facts.now >= state.until) return { do: "answer", status: 481 };
  // RFC 3261 12.2.2: "lower than the remote sequence number, the request is out of order and MUST be rejected with a 500".
  if (facts.cseq < state.heard) return { do: "answer", status: 500, retryAfter: OUT_OF_ORDER_RETRY };
  return judgeFirst(facts.expires, rules);
}

/**
 * A subscription whose first SUBSCRIBE was judged 200: the answer, and the NOTIFY that goes "immediately" (4.2.1.2). A fetch
 * (Expires 0) ends with it (4.4.3).
 * @param reserved the last CSeq for NOTIFYs; the first is 1.
 */
export function beginNotifier(
  phase: "pending" | "active",
  facts: SubscribeFacts,
  reserved: number,
  rules: NotifierRules,
): NotifierStep {
  const state: NotifierState = {
    phase,
    until: facts.now,
    heard: facts.cseq,
    sent: 0,
    reserved,
    reserving: false,
    inFlight: false,
    owed: "no",
    notBefore: 0,
    failures: 0,
    end: "",
  };
  const judged = judgeFirst(facts.expires, rules);
  return judged.status === 200 ? granted(state, facts, judged, rules, true) : { state, actions: [judged] };
}

/** One that was another owner's: its first `time` sends the full state, with our Contact. */
export function resumeNotifier(
  stored: Pick<NotifierState, "until" | "heard" | "sent" | "reserved"> & { readonly phase: "pending" | "active" },
): NotifierState {
  return { ...stored, reserving: false, inFlight: false, owed: "now", notBefore: 0, failures: 0, end: "" };
}

/** All there is to one of which nothing is under way: what is kept of it, where many are. */
export type NotifierAtRest = Pick<NotifierState, "until" | "heard" | "sent" | "reserved" | "notBefore"> & {
  readonly phase: "pending" | "active";
};

export function isNotifierAtRest(state: NotifierState): state is NotifierState & NotifierAtRest {
  const { reserving, inFlight, owed, failures } = state;
  return !isOver(state) && !reserving && !inFlight && owed === "no" && failures === 0;
}

export function notifierAtRest(kept: NotifierAtRest): NotifierState {
  const { phase, until, heard, sent, reserved, notBefore } = kept;
  const rest = { reserving: false, inFlight: false, owed: "no", failures: 0, end: "" } as const;
  return { phase, until, heard, sent, reserved, notBefore, ...rest };
}

/** When `time` is due next; Infinity: never. */
export function notifierWakeAt(state: NotifierState): number {
  if (isOver(state)) return state.owed === "no" || state.inFlight ? Number.POSITIVE_INFINITY : 0;
  if (state.inFlight || state.owed === "no" || (isUsedUp(state) && state.reserving)) return state.until;
  return Math.min(state.until, state.owed === "now" ? 0 : state.notBefore);
}

/** @param maySend false: nothing may leave now (the owner's lease has run out); what is owed leaves with a later `time`. */
export function stepNotifier(
  state: NotifierState,
  event: NotifierEvent,
  rules: NotifierRules,
  maySend = true,
): NotifierStep {
  if (state.phase === "terminated")
    return event.kind === "subscribe" ? { state, actions: [GONE] } : { state, actions: [] };
  switch (event.kind) {
    case "subscribe": {
      const judged = judgeWithin(state, event, rules);
      return judged.status === 200 ? granted(state, event, judged, rules, maySend) : { state, actions: [judged] };
    }
    case "changed": {
      if (isOver(state)) return { state, actions: [] };
      // RFC 6446 5.2: no rate holds back "when the subscription state is changing from "pending" to "active" state".
      const granting = state.phase === "pending" && event.phase === "active";
      const phase = granting ? "active" : state.phase;
      return advance({ ...state, phase, owed: granting ? "now" : raised(state.owed) }, event.now, rules, [], maySend);
    }
    case "end":
      if (isOver(state)) return { state, actions: [] };
      return advance(ending(state, event.reason, event.retryAfter), event.now, rules, [], maySend);
    case "answered":
      return answered(state, event.answer, event.retryAfter, event.now, rules, maySend);
    case "reserved": {
      const reserved = Math.max(state.reserved, event.upTo);
      return advance({ ...state, reserved, reserving: false }, event.now, rules, [], maySend);
    }
    case "time": {
      // 4.2.1.4: "If no refresh […] is received before its expiration time, the subscription is removed."
      const expired = event.now >= state.until && !isOver(state);
      return advance(expired ? ending(state, "timeout") : state, event.now, rules, [], maySend);
    }
  }
}

const GONE: NotifierAction = { do: "answer", status: 481 };

function isOver(state: NotifierState): boolean {
  return state.phase === "ending" || state.phase === "terminated";
}

/** The last one reserved is for the end: where its row cannot be removed, another may take it over and begins behind the reserve. */
function isUsedUp({ sent, reserved }: NotifierState): boolean {
  return sent >= reserved - 1;
}

function raised(owed: NotifierState["owed"]): NotifierState["owed"] {
  return owed === "now" ? "now" : "later";
}

/** 4.2.1.2: "Upon successfully accepting or refreshing a subscription, notifiers MUST send a NOTIFY request immediately". */
function granted(
  state: NotifierState,
  facts: SubscribeFacts,
  judged: { readonly do: "answer"; readonly status: 200; readonly expires: number },
  rules: NotifierRules,
  maySend: boolean,
): NotifierStep {
  const until = facts.now + judged.expires * 1000;
  const heard: NotifierState = { ...state, heard: facts.cseq, until, owed: "now" };
  const next = judged.expires === 0 ? ending(heard, "timeout") : heard;
  return advance(next, facts.now, rules, [judged], maySend);
}

/** 4.2.2: "the notifier SHOULD also include a "reason" parameter." */
function ending(state: NotifierState, reason: EndReason, retryAfter?: number): NotifierState {
  const end = `;reason=${reason}${retryAfter === undefined ? "" : `;retry-after=${retryAfter}`}`;
  return { ...state, phase: "ending", owed: "now", end };
}

function answered(
  state: NotifierState,
  answer: Answer,
  retryAfter: number | undefined,
  now: number,
  rules: NotifierRules,
  maySend: boolean,
): NotifierStep {
  if (!state.inFlight) return { state, actions: [] };
  // The last NOTIFY was sent: whatever became of it, "a subscription is destroyed after" it (4.4.1).
  const last = state.phase === "ending" && state.owed === "no";
  if (last || endsUsage(answer)) {
    const isAnswered = typeof answer === "number" && answer < 300;
    const state_: NotifierState = { ...state, phase: "terminated", inFlight: false, owed: "no" };
    return { state: state_, actions: [{ do: "ended", answer: isAnswered ? null : answer }] };
  }
  const again = isPassing(answer) || (typeof answer === "number" && answer >= 300 && retryAfter !== undefined);
  if (!again) return advance({ ...state, inFlight: false, failures: 0 }, now, rules, [], maySend);
  const failures = state.failures + 1;
  const notBefore = Math.max(state.notBefore, now + backOffMs(rules.backOff, failures, retryAfter));
  return advance({ ...state, inFlight: false, failures, notBefore, owed: raised(state.owed) }, now, rules, [], maySend);
}

/** Sends what is owed, where it may leave now. */
function advance(
  state: NotifierState,
  now: number,
  rules: NotifierRules,
  before: readonly NotifierAction[],
  maySend: boolean,
): NotifierStep {
  const actions = [...before];
  if (!maySend) return { state, actions };
  let next = state;
  const due = next.owed === "now" || (next.owed === "later" && now >= next.notBefore);
  if (due && !next.inFlight && (next.phase === "ending" || !isUsedUp(next))) {
    const cseq = next.sent + 1;
    const phase = next.phase === "ending" || next.phase === "terminated" ? "terminated" : next.phase;
    // 4.2.2: active and pending "MUST also include […] an "expires" parameter that indicates the time remaining", rounded so
    // that it never lengthens the subscription.
    const left = Math.max(0, Math.floor((next.until - now) / 1000));
    const value = phase === "terminated" ? `terminated${next.end}` : `${phase};expires=${left}`;
    actions.push({ do: "notify", cseq, phase, state: value });
    next = { ...next, sent: cseq, inFlight: true, owed: "no", notBefore: now + rules.minIntervalMs };
  }
  if (next.phase !== "ending" && !next.reserving && next.reserved - next.sent < rules.reserve / 2) {
    actions.push({ do: "reserve" });
    next = { ...next, reserving: true };
  }
  return { state: next, actions };
}
