import type { ForkResult } from "../directory/directory.ts";
import { type Ending, meaningOf, type NotifyState, provesHere } from "./answers.ts";
import { bestAnswer, type Ended } from "./best-answer.ts";
import type { ForkPlan } from "./plan.ts";

/**
 * One fork, from its first stage to its result: (state, event) -> (state, effects), without I/O or clock (models.md,
 * "Partitioned"). A *branch* is one server; retries over its nodes are below this. The life of a fork:
 *
 *   asking stage n --all not here--> asking stage n+1 --last branch ended--> one final answer --> closed
 *        |                                                                       ^
 *        +--- 2xx: forwarded at once; an answer that is no 404; the deadline ----+
 *
 * It is *closed* when nothing more can be concluded: every branch has ended and every prover that accepted a SUBSCRIBE
 * has sent a NOTIFY, or the deadline has passed. Until then the same request from a server being asked is known for what
 * it is. What arrives later still teaches, and is answered to nobody (RFC 4320).
 */

/** What is forked: of a search for the one server that has a user, or of a user who is on several. */
export interface ForkOrder extends ForkPlan {
  /**
   * What leads to the next stage, where it is not only that all of the last said *not here*: that none of it has taken the
   * request (`untaken`), or any final response but 2xx and 6xx (`failed`, RFC 3841 9.1).
   */
  readonly moveOn?: "untaken" | "failed";
  /** Of a server that sends it on to those below it by itself: who is asked in its place where it does not have the user. */
  readonly instead?: Readonly<Record<string, readonly string[]>>;
  /** A success cancels nobody: the caller has said that this is his to do (`no-cancel`, RFC 3841 9.1). INVITE only. */
  readonly ringsOn?: boolean;
}

export interface ForkState {
  readonly method: string;
  readonly plan: ForkOrder;
  /** Position of the stage being asked. */
  readonly stage: number;
  readonly asked: readonly string[];
  /** In order of arrival; one a server. */
  readonly ended: readonly Ended[];
  /** What each server notified: active once is active; SUBSCRIBE only. */
  readonly notified: Readonly<Record<string, NotifyState>>;
  /** Whose dialog it is: the first whose NOTIFY or 2xx came (RFC 6665 4.4.1, RFC 3856 6.9); SUBSCRIBE only. */
  readonly chosen: string | null;
  /** Servers that proved to have the user; two are a conflict. */
  readonly proven: readonly string[];
  /** A final answer went upstream. */
  readonly answered: boolean;
  /** Nobody else is asked: the deadline passed, the sender gave up, or a 6xx or a success came. */
  readonly stopped: boolean;
  readonly closed: boolean;
}

export type ForkEvent =
  /** A branch came to its end. INVITE may bring several 2xx of one server. */
  | { readonly kind: "ended"; readonly server: string; readonly ending: Ending }
  /** A NOTIFY of this server arrived for the forked SUBSCRIBE. */
  | { readonly kind: "notify"; readonly server: string; readonly state: NotifyState }
  /** The time for the decision is over. */
  | { readonly kind: "deadline" }
  /** The sender took his INVITE back. */
  | { readonly kind: "cancelled" };

export type ForkEffect =
  /** `inPlaceOf`: another was asked for them, who does not have him. */
  | { readonly kind: "ask"; readonly servers: readonly string[]; readonly inPlaceOf?: string }
  /** The server's answer goes upstream, its status line changed where `status` differs. */
  | {
      readonly kind: "forward";
      readonly server: string;
      readonly status: number;
      readonly challenges: readonly string[];
    }
  /** An answer of ours goes upstream; 480 with Retry-After. */
  | { readonly kind: "answer"; readonly status: 404 | 480 }
  | { readonly kind: "cancel"; readonly servers: readonly string[] }
  /** What becomes of the NOTIFY of this event: it goes on to the watcher, or is answered 481. */
  | { readonly kind: "notify"; readonly server: string; readonly accepted: boolean }
  | { readonly kind: "learn"; readonly server: string }
  /** Taken back on the epoch that the learning had. */
  | { readonly kind: "unlearn"; readonly server: string }
  | { readonly kind: "conflict"; readonly servers: readonly string[] }
  | { readonly kind: "close"; readonly result: ForkResult };

export interface ForkStep {
  readonly state: ForkState;
  readonly effects: readonly ForkEffect[];
}

export function startFork(method: string, plan: ForkOrder): ForkStep {
  const asked = plan.stages[0] ?? [];
  const state: ForkState = {
    method,
    plan,
    stage: 0,
    asked,
    ended: [],
    notified: {},
    chosen: null,
    proven: [],
    answered: false,
    stopped: false,
    closed: false,
  };
  return { state, effects: [{ kind: "ask", servers: asked }] };
}

export function stepFork(state: ForkState, event: ForkEvent): ForkStep {
  const effects: ForkEffect[] = [];
  let next: ForkState;
  switch (event.kind) {
    case "ended":
      next = ended(state, event.server, event.ending, effects);
      break;
    case "notify":
      next = notified(state, event.server, event.state, effects);
      break;
    case "deadline":
      // An INVITE may ring for minutes; Timer C ends it. Every other request is decided now.
      next = { ...state, stopped: state.stopped || state.method !== "INVITE" || state.plan.moveOn === undefined };
      if (state.method !== "INVITE") next = conclude(next, effects);
      next = close(next, effects);
      break;
    case "cancelled":
      next = cancelPending({ ...state, stopped: true }, effects);
      break;
  }
  return { state: settle(next, effects), effects };
}

function ended(state: ForkState, server: string, ending: Ending, effects: ForkEffect[]): ForkState {
  if (!state.asked.includes(server)) return state;
  const before = state.ended.find((each) => each.server === server);
  if (before !== undefined) {
    // RFC 3261 16.7 step 5: every 2xx to an INVITE goes upstream, whatever went before.
    const another = state.method === "INVITE" && meaningOf(before.ending) === "here" && meaningOf(ending) === "here";
    return another ? forward(state, server, ending as number, effects) : state;
  }
  let next: ForkState = { ...state, ended: [...state.ended, { server, ending }] };
  if (meaningOf(ending) === "here") {
    next = succeeded(next, server, ending as number, effects);
  } else if (typeof ending === "number" && ending >= 600 && ending !== 604) {
    // RFC 3261 16.7 step 5: no new branch after a 6xx, and the open ones of an INVITE are cancelled.
    next = cancelPending({ ...next, stopped: true }, effects);
  }
  return askInstead(next, server, ending, effects);
}

/** A message is for all of them, so that whoever has taken it keeps nobody from being asked; a call is taken then. */
function askInstead(state: ForkState, server: string, ending: Ending, effects: ForkEffect[]): ForkState {
  const below = state.plan.instead?.[server]?.filter((each) => !state.asked.includes(each)) ?? [];
  // Who says that it has looped has sent it on already.
  const isOut = ending !== 482 && (meaningOf(ending) === "not-here" || meaningOf(ending) === "could-not-ask");
  const refused = state.ended.some(
    (each) => typeof each.ending === "number" && each.ending >= 600 && each.ending !== 604,
  );
  const isOver = state.closed || refused || (state.stopped && state.method !== "MESSAGE");
  if (below.length === 0 || !isOut || isOver) return state;
  effects.push({ kind: "ask", servers: below, inPlaceOf: server });
  return { ...state, asked: [...state.asked, ...below] };
}

function succeeded(state: ForkState, server: string, status: number, effects: ForkEffect[]): ForkState {
  let next = { ...state, stopped: true };
  if (state.method === "INVITE") {
    next = forward(next, server, status, effects);
    if (state.plan.ringsOn !== true) next = cancelPending(next, effects);
  } else if (state.method === "SUBSCRIBE" && (state.chosen ?? server) !== server) {
    // The dialog is another server's: this success is absorbed, and its NOTIFY is refused.
  } else {
    if (state.method === "SUBSCRIBE") next = { ...next, chosen: server };
    if (!state.answered) next = forward(next, server, status, effects);
  }
  return prove(next, server, effects);
}

function notified(state: ForkState, server: string, notify: NotifyState, effects: ForkEffect[]): ForkState {
  if (state.method !== "SUBSCRIBE" || !state.asked.includes(server)) return state;
  const chosen = state.chosen ?? server;
  effects.push({ kind: "notify", server, accepted: chosen === server });
  // A proof stays one, whatever the subscription's state becomes later.
  const shown = state.notified[server] === "active" ? "active" : notify;
  const next = { ...state, chosen, stopped: true, notified: { ...state.notified, [server]: shown } };
  return prove(next, server, effects);
}

/** One proof is learned at once; a second one, of another server, takes it back and is reported. */
function prove(state: ForkState, server: string, effects: ForkEffect[]): ForkState {
  const ending = state.ended.find((each) => each.server === server)?.ending;
  if (typeof ending !== "number" || state.proven.includes(server)) return state;
  const marks = state.plan.provers.includes(server) ? [state.method] : [];
  if (!provesHere(marks, state.method, ending, state.notified[server])) return state;
  const proven = [...state.proven, server];
  if (proven.length === 1) effects.push({ kind: "learn", server });
  if (proven.length === 2) {
    effects.push({ kind: "unlearn", server: proven[0]! }, { kind: "conflict", servers: proven });
  }
  return { ...state, proven };
}

/** What follows where nobody is left to answer: the next stage, the final answer, the end. */
function settle(state: ForkState, effects: ForkEffect[]): ForkState {
  if (pending(state).length > 0) return state;
  let next = state;
  if (!state.answered) {
    const stage = state.plan.stages[state.stage + 1];
    if (stage !== undefined && !state.stopped && movesOn(state)) {
      effects.push({ kind: "ask", servers: stage });
      return { ...state, stage: state.stage + 1, asked: [...state.asked, ...stage] };
    }
    next = conclude(state, effects);
  }
  return awaitsNotify(next) ? next : close(next, effects);
}

function movesOn({ ended, plan }: ForkState): boolean {
  return ended.every(({ ending }) => {
    const meaning = meaningOf(ending);
    return (
      meaning === "not-here" || (meaning === "could-not-ask" ? plan.moveOn !== undefined : plan.moveOn === "failed")
    );
  });
}

/** The one final answer where no success was forwarded. */
function conclude(state: ForkState, effects: ForkEffect[]): ForkState {
  if (state.answered) return state;
  const failures = state.ended.filter((each) => meaningOf(each.ending) !== "here");
  // A success that was absorbed for another's NOTIFY makes no 404 either.
  effects.push(bestAnswer(failures, everybodyAsked(state) && failures.length === state.asked.length));
  return { ...state, answered: true };
}

function close(state: ForkState, effects: ForkEffect[]): ForkState {
  if (state.closed) return state;
  effects.push({ kind: "close", result: resultOf(state) });
  return { ...state, closed: true };
}

function resultOf(state: ForkState): ForkResult {
  if (state.proven.length === 1) return { result: "learned", server: state.proven[0]! };
  const nowhere =
    everybodyAsked(state) &&
    pending(state).length === 0 &&
    state.ended.every((each) => meaningOf(each.ending) === "not-here");
  return { result: nowhere ? "all-said-404" : "inconclusive" };
}

function forward(state: ForkState, server: string, status: number, effects: ForkEffect[]): ForkState {
  effects.push({ kind: "forward", server, status, challenges: [] });
  return { ...state, answered: true };
}

/** CANCEL is for INVITE (RFC 3261 9.1). */
function cancelPending(state: ForkState, effects: ForkEffect[]): ForkState {
  const servers = pending(state);
  if (state.method === "INVITE" && servers.length > 0) effects.push({ kind: "cancel", servers });
  return state;
}

function pending(state: ForkState): readonly string[] {
  return state.asked.filter((server) => !state.ended.some((each) => each.server === server));
}

function everybodyAsked(state: ForkState): boolean {
  return state.plan.unasked.length === 0 && state.stage === state.plan.stages.length - 1;
}

function awaitsNotify(state: ForkState): boolean {
  if (state.method !== "SUBSCRIBE") return false;
  return state.ended.some(
    (each) =>
      meaningOf(each.ending) === "here" &&
      state.plan.provers.includes(each.server) &&
      state.notified[each.server] === undefined,
  );
}
