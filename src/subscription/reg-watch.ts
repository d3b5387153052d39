import { parseReginfo, REGINFO_TYPE, type RegistrationState } from "../presence/reginfo.ts";
import { applyReginfo, EMPTY_TABLE, type ReginfoTable } from "../presence/reginfo-table.ts";
import { MalformedDocument } from "../presence/xml.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import { type Dialog, firstHop, okWithin, requestWithin, uacDialog, withTarget } from "../sip/dialog/dialog.ts";
import {
  type Again,
  beginSubscriber,
  type SubscriberAction,
  type SubscriberEvent,
  type SubscriberRules,
  type SubscriberState,
  type SubscriberStep,
  stepSubscriber,
  subscriberWakeAt,
} from "../sip/dialog/subscriber.ts";
import { buildRequest, buildResponse, type HeaderPair } from "../sip/message/build.ts";
import { MalformedHeader, MalformedUri } from "../sip/message/errors.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import { parseUri, tryAorOf } from "../sip/message/uri.ts";
import type { Outbound, Reply } from "../sip/transaction/outbound.ts";
import { contactAt } from "./contact.ts";
import type { Pace } from "./pace.ts";
import type { Handed } from "./ports.ts";
import { secondsOf } from "./watcher-side.ts";

/** What a server says of a user's registration with it. */
export interface Registered {
  /** Seconds until the last of his contacts there ends; null: not said. */
  readonly expires: number | null;
  /** Of the REGISTER that was last heard of; null: not said. */
  readonly order: { readonly callId: string; readonly cseq: number } | null;
}

export interface RegWatchParts {
  readonly runtime: Runtime;
  readonly outbound: Outbound;
  readonly pace: Pace;
  /** Our own name as the watcher: `user@domain`. */
  readonly self: string;
  /** What the server says; null: nobody is registered there under this name. Not called before it says something. */
  said(watch: RegWatch, registered: Registered | null): void;
  /** It is over; another one may be begun as `again` says. */
  over(watch: RegWatch, again: Again): void;
  /** A SUBSCRIBE could not be made: a name that stands in no message. */
  failed(watch: RegWatch, error: Error): void;
}

/** Seconds asked for. */
export const WATCH_SECONDS = 3600;
const RULES: SubscriberRules = {
  maxExpires: 86_400,
  timerNMs: 32_000,
  backOff: { firstMs: 10_000, mostMs: 600_000 },
  reserve: 1,
};
/** Nobody takes such a dialog over: after a restart there is a new one. */
const EVERY_CSEQ = 0x7fff_ffff;

/** One subscription of ours to event reg at a server, for one user (RFC 3680 4); kept in memory only. */
export class RegWatch {
  readonly aor: string;
  readonly server: string;
  /** Full AoR by which the server knows him. */
  readonly identity: string;
  /** Our tag. */
  readonly tag: string;
  readonly callId: string;
  /** What was said last; undefined: nothing yet. */
  registered: boolean | undefined;
  /** CSeq of the NOTIFY that said it. */
  heard = 0;
  readonly #parts: RegWatchParts;
  #machine: SubscriberState;
  #table: ReginfoTable = EMPTY_TABLE;
  #dialog: Dialog | null = null;
  #sent: SipRequest | null = null;
  #notified = false;
  #timer: Timer | null = null;

  constructor(parts: RegWatchParts, aor: string, server: string, identity: string, tag: string) {
    this.#parts = parts;
    this.aor = aor;
    this.server = server;
    this.identity = identity;
    this.tag = tag;
    this.callId = parts.runtime.random.token(24);
    const begun = beginSubscriber(this.#now(), WATCH_SECONDS, EVERY_CSEQ, RULES);
    this.#machine = begun.state;
    this.#take(begun, null);
  }

  leave(): void {
    this.#step({ kind: "leave", now: this.#now() });
  }

  /** Without a word to the server. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** A NOTIFY with our tag. */
  notified(handed: Handed): void {
    const { request } = handed;
    const state = request.subscriptionState;
    const foreign = this.#notified && request.from.tag !== this.#dialog?.remoteTag;
    if (request.callId !== this.callId || foreign) return refuse(handed, 481);
    if (request.event?.package !== "reg") return refuse(handed, 489);
    if (state === undefined) return refuse(handed, 400);
    if (!this.#notified && this.#sent !== null) {
      // RFC 6665 4.4.1: the NOTIFY makes the dialog.
      this.#dialog = uacDialog(this.#sent, request);
      this.#notified = true;
    } else if (this.#dialog !== null) this.#dialog = withTarget(this.#dialog, request);
    const { expires, reason, retryAfter } = state;
    const facts = { now: this.#now(), cseq: request.cseq.number, expires, reason, retryAfter };
    this.#step({ kind: "notified", ...facts, state: state.state.toLowerCase() }, handed);
  }

  #now(): number {
    return this.#parts.runtime.clock.now();
  }

  #step(event: SubscriberEvent, handed: Handed | null = null): void {
    this.#take(stepSubscriber(this.#machine, event, RULES), handed);
  }

  #take(step: SubscriberStep, handed: Handed | null): void {
    this.#machine = step.state;
    for (const action of step.actions) this.#do(action, handed);
    this.#arm();
  }

  #arm(): void {
    this.stop();
    const at = subscriberWakeAt(this.#machine);
    if (at === Number.POSITIVE_INFINITY) return;
    const now = this.#now();
    this.#timer = this.#parts.runtime.timers.after(Math.max(0, at - now), () =>
      this.#step({ kind: "time", now: this.#now() }),
    );
  }

  #do(action: SubscriberAction, handed: Handed | null): void {
    switch (action.do) {
      case "answer":
        if (handed !== null) this.#answer(handed, action.status);
        return;
      case "take":
        if (action.phase === "active" && handed !== null) this.#read(handed.request);
        return;
      case "subscribe":
        void this.#subscribe(action.cseq, action.expires);
        return;
      case "reserve":
        return;
      case "gone":
        this.#parts.over(this, action.again);
    }
  }

  #answer(handed: Handed, status: 200 | 481 | 500): void {
    if (status !== 200) return refuse(handed, status);
    const contact = contactAt(handed.transaction.flow.point);
    handed.respond(okWithin(handed.request, 200, { localTag: this.tag, contact }));
  }

  /** A document that cannot be read says nothing. */
  #read(notify: SipRequest): void {
    if (notify.header("Content-Type")?.split(";")[0]?.trim().toLowerCase() !== REGINFO_TYPE) return;
    try {
      const applied = applyReginfo(this.#table, parseReginfo(notify.body));
      if (applied.outcome === "discarded") return;
      this.#table = applied.table;
      // RFC 3680 5.2: "the subscriber SHOULD generate a refresh request to trigger a full state notification".
      if (applied.gap) this.#parts.runtime.timers.soon(() => this.#step({ kind: "refresh", now: this.#now() }));
    } catch (error) {
      if (error instanceof MalformedDocument) return;
      throw error;
    }
    this.heard = notify.cseq.number;
    this.#parts.said(this, this.#state());
  }

  #state(): Registered | null {
    let expires: number | null | undefined;
    let order: Registered["order"] = null;
    for (const { state, contacts } of this.#own()) {
      if (state !== "active") continue;
      for (const contact of contacts) {
        const ends = contact.expires ?? null;
        expires = expires === undefined ? ends : expires === null || ends === null ? null : Math.max(expires, ends);
        const { callId, cseq } = contact;
        // The server lists them as it has them: of the last one it is that it was heard of last.
        if (callId != null && cseq != null) order = { callId, cseq };
      }
    }
    return expires === undefined ? null : { expires, order };
  }

  /** His registration; others' may come with it (RFC 5628). Of one alone it is his, however he is called there. */
  #own(): readonly RegistrationState[] {
    const all = [...this.#table.registrations.values()];
    return all.length === 1 ? all : all.filter(({ aor }) => aorIn(aor) === this.identity);
  }

  async #subscribe(cseq: number, expires: number): Promise<void> {
    const release = await this.#parts.pace.turn(this.server);
    let reply: Reply = "unreachable";
    try {
      if (this.#dialog !== null) reply = await this.#within(this.#dialog, cseq, expires);
      else if (this.#machine.phase !== "leaving") reply = await this.#first(cseq, expires);
    } catch (error) {
      this.#parts.failed(this, error as Error);
    } finally {
      release();
    }
    if (typeof reply !== "string" && reply.status < 300) this.#accepted(reply);
    const read =
      typeof reply === "string"
        ? { answer: reply }
        : {
            answer: reply.status,
            expires: secondsOf(reply.header("Expires")),
            minExpires: secondsOf(reply.header("Min-Expires")),
            retryAfter: secondsOf(reply.header("Retry-After")),
          };
    if (this.#machine.phase !== "terminated") this.#step({ kind: "answered", now: this.#now(), ...read });
  }

  #first(cseq: number, expires: number): Promise<Reply> {
    return this.#parts.outbound.toServer(this.server, (flow) => {
      this.#sent = buildRequest({
        method: "SUBSCRIBE",
        uri: `sip:${this.identity}`,
        headers: [
          ["Max-Forwards", "70"],
          ["From", `<sip:${this.#parts.self}>;tag=${this.tag}`],
          ["To", `<sip:${this.identity}>`],
          ["Call-ID", this.callId],
          ["CSeq", `${cseq} SUBSCRIBE`],
          ["Contact", `<${contactAt(flow.point)}>`],
          ...headersFor(expires),
        ],
      });
      return this.#sent;
    });
  }

  #within(dialog: Dialog, cseq: number, expires: number): Promise<Reply> {
    return this.#parts.outbound.toUri(firstHop(dialog), 0, (flow) =>
      requestWithin(dialog, {
        method: "SUBSCRIBE",
        cseq,
        contact: contactAt(flow.point),
        headers: headersFor(expires),
      }),
    );
  }

  #accepted(response: SipResponse): void {
    try {
      if (this.#dialog !== null) this.#dialog = withTarget(this.#dialog, response);
      else if (this.#sent !== null) this.#dialog = uacDialog(this.#sent, response);
    } catch (error) {
      // A Contact nobody can use: the NOTIFY will bring a better one, or none comes.
      if (!(error instanceof MalformedHeader)) throw error;
    }
  }
}

function aorIn(uri: string): string | undefined {
  try {
    return tryAorOf(parseUri(uri));
  } catch (error) {
    if (error instanceof MalformedUri) return undefined;
    throw error;
  }
}

function headersFor(expires: number): HeaderPair[] {
  return [
    ["Event", "reg"],
    ["Accept", REGINFO_TYPE],
    ["Expires", String(expires)],
  ];
}

function refuse(handed: Handed, status: number): void {
  handed.respond(buildResponse(handed.transaction.request, status));
}
