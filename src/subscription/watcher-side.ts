import { firstHop, okWithin, packDialog, requestWithin, unpackDialog, withTarget } from "../sip/dialog/dialog.ts";
import {
  type EndReason,
  type NotifierAction,
  type NotifierEvent,
  type NotifierStep,
  stepNotifier,
} from "../sip/dialog/notifier.ts";
import { buildResponse, type HeaderPair } from "../sip/message/build.ts";
import { MalformedHeader } from "../sip/message/errors.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { Outbound, Reply } from "../sip/transaction/outbound.ts";
import type { Flow } from "../sip/transport/transport.ts";
import { contactAt } from "./contact.ts";
import type { Desk } from "./desk.ts";
import type { Content } from "./documents.ts";
import { bodyFor } from "./names.ts";
import { LAPSED_MS, LeaseLapsed } from "./owner.ts";
import type { Handed } from "./ports.ts";
import { sessionOf, sessionValue } from "./session-id.ts";
import type { Subscription } from "./subscription.ts";

type Notify = Extract<NotifierAction, { readonly do: "notify" }>;

/**
 * The watcher's side: drives the notifier's machine (RFC 6665 4.2) of each subscription, and sends and answers what it
 * says. What a NOTIFY carries is found out when it leaves, so that the latest state wins.
 */
export class WatcherSide {
  readonly #desk: Desk;
  readonly #outbound: Outbound;
  #sent = 0;
  #answered = 0;

  constructor(desk: Desk, outbound: Outbound) {
    this.#desk = desk;
    this.#outbound = outbound;
  }

  /** NOTIFYs sent so far, and how many of them were answered, or given up. */
  get told(): { readonly sent: number; readonly answered: number } {
    return { sent: this.#sent, answered: this.#answered };
  }

  /** Shows him another document, or none, where he may be shown any. From now on he is `active`. */
  show(subscription: Subscription): void {
    if (!this.#desk.gate.hasNews(subscription)) return;
    const granting = !subscription.active;
    subscription.active = true;
    this.step(subscription, { kind: "changed", now: this.#desk.now(), phase: "active" });
    // Whoever takes it over must know: no machine goes back to pending.
    if (granting && subscription.stored) void this.#desk.save(subscription);
  }

  /**
   * One that was taken over with a leg, or with a newer binding still to be acted upon: its owner may have told him
   * `active` already and not have come to write it down, and nobody goes back to pending.
   */
  presumeActive(subscription: Subscription): void {
    subscription.active = true;
    subscription.notifier = { ...subscription.notifier, phase: "active" };
  }

  end(subscription: Subscription, reason: EndReason, retryAfter?: number): void {
    const now = this.#desk.now();
    this.step(subscription, { kind: "end", now, reason, ...(retryAfter === undefined ? {} : { retryAfter }) });
  }

  /** @param handed the SUBSCRIBE that the event is, to be answered. */
  step(subscription: Subscription, event: NotifierEvent, handed: Handed | null = null): void {
    if (!this.#desk.isOurs(subscription)) return;
    const { notifierRules, winfoRules } = this.#desk;
    const rules = subscription.kind === "winfo" ? winfoRules : notifierRules;
    // A lease that has run out lets nothing leave; when it runs again, `time` sends what is owed.
    this.take(subscription, stepNotifier(subscription.notifier, event, rules, this.#desk.maySend()), handed);
  }

  /** Takes over a step of the machine, and does what it says, in its order. */
  take(subscription: Subscription, step: NotifierStep, handed: Handed | null): void {
    const before = subscription.ending;
    subscription.notifier = step.state;
    if (subscription.ending && !before) this.#desk.ending(subscription);
    for (const action of step.actions) this.#do(subscription, action, handed);
    this.#desk.arm(subscription);
  }

  #do(subscription: Subscription, action: NotifierAction, handed: Handed | null): void {
    switch (action.do) {
      case "answer":
        if (handed !== null) answerSubscribe(handed, subscription.id, action);
        return;
      case "notify":
        void this.#notify(subscription, action);
        return;
      case "reserve":
        void this.#reserve(subscription);
        return;
      case "ended":
        this.#desk.ended(subscription, action.answer === null ? null : String(action.answer));
    }
  }

  /** concurrency.md 7: no CSeq is used that the row does not say is ours. A save that fails is made again by `due`. */
  async #reserve(subscription: Subscription): Promise<void> {
    if (!subscription.stored) return;
    await this.#desk.save(subscription);
  }

  async #notify(subscription: Subscription, notify: Notify): Promise<void> {
    this.#sent++;
    const reply = await this.#sendUnderLease(subscription, notify).catch((error: Error): Reply => {
      this.#desk.failed("a NOTIFY could not be made", error);
      return "unreachable";
    });
    this.#answered++;
    const answer = typeof reply === "string" ? reply : reply.status;
    if (typeof answer === "number" && answer < 300) subscription.heard = true;
    const retryAfter = typeof reply === "string" ? undefined : secondsOf(reply.header("Retry-After"));
    const given = isNobody(subscription) ? NOBODY : answer;
    this.step(subscription, { kind: "answered", now: this.#desk.now(), answer: given, retryAfter });
  }

  /** concurrency.md 7: what was to be sent waits for the lease to run again, or for the end of what it was for. */
  async #sendUnderLease(subscription: Subscription, notify: Notify): Promise<Reply> {
    for (;;) {
      try {
        return await this.#send(subscription, notify);
      } catch (error) {
        if (!(error instanceof LeaseLapsed)) throw error;
      }
      while (!this.#desk.maySend() && this.#desk.isOurs(subscription)) await this.#desk.after(LAPSED_MS);
      if (!this.#desk.isOurs(subscription)) return "unreachable";
    }
  }

  async #send(subscription: Subscription, { cseq, phase, state }: Notify): Promise<Reply> {
    const packed = subscription.dialog;
    const dialog = unpackDialog(packed);
    const found = (): Content | null =>
      phase === "pending" || !mayBeShown(subscription, phase, state) ? null : this.#desk.gate.shown(subscription);
    const textOf = (each: Content | null): string =>
      each === null ? "" : bodyFor(subscription, dialog, each.type, each.body(cseq));
    let shown = found();
    let body = textOf(shown);
    // Until there is a way to him some time may pass, and what he may see be another: a name is asked for, a connection made.
    const build = (flow: Flow): SipRequest => {
      if (!this.#desk.maySend()) throw new LeaseLapsed();
      const isOver = phase !== "terminated" && (subscription.ending || !this.#desk.isOurs(subscription));
      const now = isOver ? null : found();
      if (now !== shown && isOfUser(subscription)) {
        shown?.skipped?.();
        now?.skipped?.();
        shown = now;
        body = textOf(now);
      }
      const headers = headersFor(subscription, state, shown);
      return requestWithin(dialog, { method: "NOTIFY", cseq, contact: contactAt(flow.point), headers, body });
    };
    const reply = await this.#outbound.toUri(firstHop(dialog), subscription.connectionId, build, {
      size: HEAD_OCTETS + body.length,
    });
    shown?.answered?.(typeof reply !== "string" && reply.status < 300);
    // What has come from him meanwhile is newer than the answer.
    if (typeof reply !== "string" && subscription.dialog === packed) learnTarget(subscription, reply);
    return reply;
  }
}

/** Documents that servers and rules let a watcher see, or not; what is told of bindings and watchers counts what it has told. */
function isOfUser({ kind }: Subscription): boolean {
  return kind === "presence" || kind === "composed";
}

/** The answer of who is not there (RFC 6665 4.2.2). */
const NOBODY = 481;
const TRIES_UNHEARD = 4;

/**
 * Who has never answered is told only so often: a SUBSCRIBE with a foreign Contact would make us send there for an hour.
 * One who was there before is told on until his subscription expires.
 */
function isNobody({ heard, notifier }: Subscription): boolean {
  return !heard && notifier.failures + 1 >= TRIES_UNHEARD;
}

/** RFC 3261 12.2.1.2: a 2xx to a target refresh request, which a NOTIFY is (RFC 6665 4.4.1), brings the target. */
function learnTarget(subscription: Subscription, response: SipResponse): void {
  const dialog = unpackDialog(subscription.dialog);
  try {
    const moved = withTarget(dialog, response);
    if (moved === dialog || moved.remoteTarget.length > MOST_TARGET) return;
    subscription.dialog = packDialog(moved);
  } catch (error) {
    // A Contact nobody can use: the one before is kept.
    if (!(error instanceof MalformedHeader)) throw error;
  }
}

/** Characters: what is kept of a subscription is bounded. */
const MOST_TARGET = 2_000;

/** A NOTIFY without its body, roughly. */
const HEAD_OCTETS = 800;

/** A document is for a watcher who may see it: while active, and once more at an end that denies him nothing. */
function mayBeShown(subscription: Subscription, phase: Notify["phase"], state: string): boolean {
  return subscription.active && (phase === "active" || /;reason=(timeout|invariant)\b/.test(state));
}

function headersFor({ event, eventId, composed }: Subscription, state: string, shown: Content | null): HeaderPair[] {
  const headers: HeaderPair[] = [
    ["Event", eventId === null ? event : `${event};id=${eventId}`],
    ["Subscription-State", state],
  ];
  if (shown !== null) headers.push(["Content-Type", shown.type]);
  // RFC 7989 7: of several servers none is his peer.
  if (composed !== null && composed.session !== "") headers.push(["Session-ID", sessionValue("", composed.session)]);
  return headers;
}

/** The answers a SUBSCRIBE gets by RFC 6665 4.2.1. */
export function answerSubscribe(
  handed: Handed,
  localTag: string,
  answer: Extract<NotifierAction, { readonly do: "answer" }>,
): void {
  const { request, flow } = handed.transaction;
  const session = sessionFor(request);
  const reject = (headers: readonly HeaderPair[], phrase?: string): void =>
    handed.respond(
      buildResponse(request, answer.status, phrase, { toTag: localTag, headers: [...headers, ...session] }),
    );
  switch (answer.status) {
    case 200:
      return handed.respond(
        okWithin(request, 200, {
          localTag,
          contact: contactAt(flow.point),
          headers: [["Expires", String(answer.expires)], ...session],
        }),
      );
    case 423:
      return reject([["Min-Expires", String(answer.minExpires)]]);
    case 500:
      return reject([["Retry-After", String(answer.retryAfter)]]);
    case 481:
      return reject([], "Subscription Does Not Exist");
  }
}

/** RFC 7989 7: an answer of ours tells who asks his own UUID. */
function sessionFor(request: SipRequest): HeaderPair[] {
  const session = sessionOf(request);
  return session === undefined ? [] : [["Session-ID", sessionValue("", session)]];
}

/** Delta-seconds of a Retry-After, its comment and parameters left aside. */
export function secondsOf(value: string | undefined): number | undefined {
  const seconds = value === undefined ? Number.NaN : Number.parseInt(value, 10);
  return Number.isNaN(seconds) || seconds < 0 ? undefined : Math.min(seconds, MOST_SECONDS);
}

const MOST_SECONDS = 86_400;
