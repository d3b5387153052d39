import { mapBody } from "../presence/map-identity.ts";
import {
  firstHop,
  okWithin,
  packDialog,
  requestWithin,
  uacDialog,
  unpackDialog,
  withTarget,
} from "../sip/dialog/dialog.ts";
import {
  beginSubscriber,
  type SubscriberAction,
  type SubscriberEvent,
  type SubscriberStep,
  stepSubscriber,
  subscriberWakeAt,
} from "../sip/dialog/subscriber.ts";
import { buildResponse } from "../sip/message/build.ts";
import { MalformedHeader } from "../sip/message/errors.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { Outbound, Reply } from "../sip/transaction/outbound.ts";
import { type TimerOwner, WheelTimer } from "../sip/transaction/timer-wheel.ts";
import type { Flow } from "../sip/transport/transport.ts";
import type { Child } from "./child.ts";
import { isDenial } from "./composed-decision.ts";
import { contactAt } from "./contact.ts";
import { meaningOfGone } from "./decision.ts";
import type { Desk } from "./desk.ts";
import type { Content, Documents } from "./documents.ts";
import { Leg, legTag } from "./leg.ts";
import { assertedHeaders, sessionOfLeg, subscribeForLeg, subscribeHeaders } from "./leg-request.ts";
import { LAPSED_MS, LeaseLapsed } from "./owner.ts";
import { Pace } from "./pace.ts";
import type { Handed, ServerDesk } from "./ports.ts";
import { sessionOf } from "./session-id.ts";
import type { Subscription } from "./subscription.ts";
import { secondsOf } from "./watcher-side.ts";

type Subscribe = Extract<SubscriberAction, { readonly do: "subscribe" }>;
type Gone = Extract<SubscriberAction, { readonly do: "gone" }>;

/**
 * The legs' side: drives the subscriber's machine (RFC 6665 4.1) of each leg, sends and answers what it says, and tells
 * what the server said in the words of the decision table. A leg that is no longer wanted stays here until its server has
 * said so too, so that its last NOTIFY is answered and swallowed.
 */
export class LegSide {
  readonly #desk: Desk;
  readonly #outbound: Outbound;
  readonly #servers: ServerDesk;
  readonly #documents: Documents;
  /** By our tag. */
  readonly #leaving = new Map<string, Leaving>();
  readonly #pace: Pace;

  constructor(desk: Desk, outbound: Outbound, servers: ServerDesk, documents: Documents) {
    this.#desk = desk;
    this.#outbound = outbound;
    this.#servers = servers;
    this.#documents = documents;
    this.#pace = new Pace(desk.options.legs.asking);
  }

  /** Legs that are being ended. */
  get leaving(): number {
    return this.#leaving.size;
  }

  /**
   * Subscribes at a server.
   * @param epoch of the binding; 0: it is opened ahead, or there is none.
   * @param expires seconds; 0: a fetch.
   * @param child whose leg it is; null: it is `next` until somebody says otherwise.
   */
  begin(subscription: Subscription, server: string, epoch: number, expires: number, child: Child | null): Leg {
    const now = this.#desk.now();
    const begun = beginSubscriber(now, expires, FIRST_CSEQS, this.#desk.subscriberRules, this.#desk.maySend());
    subscription.legs++;
    const leg = new Leg(
      subscription,
      subscription.legs,
      server,
      epoch,
      this.#desk.token(CALL_ID_CHARACTERS),
      begun.state,
    );
    if (child === null) subscription.next = leg;
    else child.leg = leg;
    this.#take(subscription, leg, begun, null);
    return leg;
  }

  /** Unsubscribes; whose leg it was has let go of it. */
  end(subscription: Subscription, leg: Leg): void {
    this.#documents.release(leg.content);
    leg.content = null;
    if (leg.machine.phase === "terminated") return;
    const tag = legTag(subscription.id, leg.number);
    const leaving = new Leaving(subscription, leg, (each) => this.#due(each));
    this.#leaving.set(tag, leaving);
    this.step(subscription, leg, { kind: "leave", now: this.#desk.now() });
    this.#arm(leaving);
  }

  /** Its server was away, and may have come back without it: it is refreshed then, if not before. */
  renew(subscription: Subscription, leg: Leg, at: number): void {
    const { machine } = leg;
    if (machine.phase === "leaving" || machine.phase === "terminated" || machine.inFlight >= 0) return;
    leg.machine = { ...machine, refreshAt: Math.min(machine.refreshAt, at) };
    this.#desk.arm(subscription);
  }

  /** The whole document is wanted, now. */
  refresh(subscription: Subscription, leg: Leg): void {
    this.step(subscription, leg, { kind: "refresh", now: this.#desk.now() });
  }

  /** The leg that a NOTIFY with this tag of ours is for. */
  find(subscription: Subscription | undefined, tag: string, number: number): Found | undefined {
    const leg = subscription?.legNumbered(number) ?? null;
    if (subscription !== undefined && leg !== null) return { subscription, leg };
    return this.#leaving.get(tag);
  }

  /** The lease is over: no leg is ours any more. */
  clear(): void {
    for (const leaving of this.#leaving.values()) this.#desk.wheel.stop(leaving.timer);
    this.#leaving.clear();
    this.#pace.clear();
  }

  step(subscription: Subscription, leg: Leg, event: SubscriberEvent, handed: Handed | null = null): void {
    if (!this.#isLive(subscription, leg)) return;
    // A lease that has run out lets nothing leave; when it runs again, `time` sends what is due.
    const step = stepSubscriber(leg.machine, event, this.#desk.subscriberRules, this.#desk.maySend());
    this.#take(subscription, leg, step, handed);
  }

  /** A NOTIFY in a leg's dialog, or what claims to be one. */
  notified(handed: Handed, subscription: Subscription, leg: Leg): void {
    const { request } = handed;
    const state = request.subscriptionState;
    const refused = this.#refusal(request, subscription, leg);
    if (refused !== null) return handed.respond(buildResponse(request, refused));
    if (state === undefined) return handed.respond(buildResponse(request, 400, "Missing Subscription-State"));
    const cseq = request.cseq.number;
    leg.peer = sessionOf(request) ?? leg.peer;
    if (cseq > leg.machine.heard) this.#learnDialog(leg, request);
    const { expires, reason, retryAfter } = state;
    const facts = { now: this.#desk.now(), cseq, state: state.state.toLowerCase(), expires, reason, retryAfter };
    this.step(subscription, leg, { kind: "notified", ...facts }, handed);
  }

  #refusal(request: SipRequest, { event }: Subscription, leg: Leg): number | null {
    if (request.callId !== leg.callId) return 481;
    // RFC 3856 6.9: of a SUBSCRIBE that forked behind the server one dialog is made, the first.
    if (leg.notified && request.from.tag !== unpackDialog(leg.dialog!).remoteTag) return 481;
    return request.event?.package === event ? null : 489;
  }

  /** RFC 6665 4.4.1: the first NOTIFY makes the dialog; the ones after it may move its target. */
  #learnDialog(leg: Leg, notify: SipRequest): void {
    if (!leg.notified && leg.sent !== null) {
      leg.dialog = packDialog(uacDialog(leg.sent, notify));
      leg.sent = null;
      leg.notified = true;
      leg.since = this.#desk.now();
      return;
    }
    this.#retarget(leg, notify);
  }

  #retarget(leg: Leg, message: SipRequest | SipResponse): void {
    if (leg.dialog === null) return;
    const dialog = unpackDialog(leg.dialog);
    const moved = withTarget(dialog, message);
    if (moved !== dialog) leg.dialog = packDialog(moved);
  }

  #isLive(subscription: Subscription, leg: Leg): boolean {
    if (this.#leaving.get(legTag(subscription.id, leg.number))?.leg === leg) return true;
    return subscription.legNumbered(leg.number) === leg && this.#desk.isOurs(subscription);
  }

  #take(subscription: Subscription, leg: Leg, step: SubscriberStep, handed: Handed | null): void {
    const hadCome = leg.notified;
    leg.machine = step.state;
    for (const action of step.actions) this.#do(subscription, leg, action, handed, hadCome);
    const leaving = this.#leaving.get(legTag(subscription.id, leg.number));
    if (leaving !== undefined) this.#arm(leaving);
    else if (this.#isLive(subscription, leg)) this.#desk.arm(subscription);
  }

  #do(subscription: Subscription, leg: Leg, action: SubscriberAction, handed: Handed | null, hadCome: boolean): void {
    switch (action.do) {
      case "answer":
        if (handed !== null) answerNotify(handed, subscription, leg, action.status);
        return;
      case "take":
        if (action.phase !== "terminated" && handed !== null) this.#tell(subscription, leg, action.phase, handed);
        return;
      case "subscribe":
        void this.#subscribe(subscription, leg, action);
        return;
      case "reserve":
        this.#reserve(subscription, leg);
        return;
      case "gone":
        this.#gone(subscription, leg, action, handed, hadCome);
    }
  }

  #tell(subscription: Subscription, leg: Leg, phase: "active" | "pending", handed: Handed): void {
    const unsafe = this.#desk.options.unsafe?.showsSuperseded === true;
    if (this.#leaving.has(legTag(subscription.id, leg.number)) && !unsafe) return;
    leg.active = phase === "active";
    if (leg.active && subscription.searched) this.#servers.learned(subscription.aor, leg.server, leg.epoch, true);
    const content = leg.active ? this.#contentOf(handed.request, subscription, leg) : null;
    this.#desk.said(subscription, leg, phase, { content, retryAfter: undefined, gone: null, what: phase });
  }

  #gone(subscription: Subscription, leg: Leg, { cause, again }: Gone, handed: Handed | null, hadCome: boolean): void {
    const tag = legTag(subscription.id, leg.number);
    const leaving = this.#leaving.get(tag);
    if (leaving?.leg === leg) {
      this.#desk.wheel.stop(leaving.timer);
      this.#leaving.delete(tag);
      return;
    }
    const retryAfter = typeof again === "object" ? again.afterSeconds : undefined;
    const content = handed === null ? null : this.#contentOf(handed.request, subscription, leg);
    const what =
      cause.by === "notifier"
        ? `terminated;reason=${cause.reason}`
        : String("answer" in cause ? cause.answer : cause.by);
    if (subscription.searched && NOT_HERE.has(what))
      this.#servers.learned(subscription.aor, leg.server, leg.epoch, false);
    const event = meaningOfGone(cause, hadCome, retryAfter);
    this.#desk.said(subscription, leg, event, { content, retryAfter, gone: { cause, hadCome }, what });
  }

  /** concurrency.md 7. What the row does not know yet nobody can take over: there is nothing to reserve for. */
  #reserve(subscription: Subscription, leg: Leg): void {
    if (subscription.stored && subscription.isWritten(leg)) void this.#desk.save(subscription);
    else leg.machine = { ...leg.machine, reserved: leg.machine.reserved + FIRST_CSEQS, reserving: false };
  }

  async #subscribe(subscription: Subscription, leg: Leg, action: Subscribe): Promise<void> {
    const release = await this.#pace.turn(leg.server);
    let reply: Reply = "unreachable";
    try {
      reply = await this.#ask(subscription, leg, action);
    } catch (error) {
      this.#desk.failed("a SUBSCRIBE could not be made", error as Error);
    } finally {
      release();
    }
    if (typeof reply !== "string" && reply.status < 300) {
      this.#accepted(leg, reply);
      this.#desk.accepted(subscription, leg);
    }
    if (typeof reply !== "string") this.#heedDenial(subscription, leg, reply.status);
    this.step(subscription, leg, { kind: "answered", now: this.#desk.now(), ...readReply(reply) });
  }

  /**
   * models.md, "Composition": of several servers each may deny at any time, a refresh too, which ends no subscription by
   * itself (RFC 6665 4.1.2.2).
   */
  #heedDenial(subscription: Subscription, leg: Leg, status: number): void {
    if (subscription.composed === null || !leg.notified || !isDenial(status) || !this.#isLive(subscription, leg))
      return;
    if (this.#leaving.has(legTag(subscription.id, leg.number))) return;
    const said = { content: null, retryAfter: undefined, gone: null, what: String(status) };
    this.#desk.said(subscription, leg, "denied", said);
  }

  async #ask(subscription: Subscription, leg: Leg, action: Subscribe): Promise<Reply> {
    for (;;) {
      await this.#leaseOf(subscription, leg);
      try {
        // It may have waited long: nobody may want it any more.
        const wanted = this.#isLive(subscription, leg);
        if (wanted && leg.dialog !== null) return await this.#refresh(subscription, leg, leg.dialog, action);
        if (wanted && leg.machine.phase !== "leaving") return await this.#open(subscription, leg, action);
        return "unreachable";
      } catch (error) {
        if (!(error instanceof LeaseLapsed)) throw error;
      }
    }
  }

  /** concurrency.md 7: what was to be sent waits for the lease to run again, or for the end of what it was for. */
  async #leaseOf(subscription: Subscription, leg: Leg): Promise<void> {
    while (!this.#desk.maySend() && this.#isLive(subscription, leg)) await this.#desk.after(LAPSED_MS);
  }

  async #open(subscription: Subscription, leg: Leg, action: Subscribe): Promise<Reply> {
    const [user, watcher] = await Promise.all([
      this.#servers.nameOn(subscription.aor, leg.server),
      this.#servers.nameOn(subscription.watcher, leg.server),
    ]);
    const asked = user.uri.slice(user.uri.indexOf(":") + 1);
    // Most are called there as they are here: then it is that very text.
    const identity = user.identity === subscription.aor ? subscription.aor : user.identity;
    leg.identity = asked === user.identity ? identity : [identity, asked].join(" ");
    // The directory may have taken its time to say how they are called.
    await this.#leaseOf(subscription, leg);
    if (!this.#isLive(subscription, leg) || leg.machine.phase === "leaving") return "unreachable";
    const build = (flow: Flow): SipRequest => {
      if (!this.#desk.maySend()) throw new LeaseLapsed();
      leg.sent = subscribeForLeg(subscription, leg, { user, watcher }, flow, action);
      return leg.sent;
    };
    return this.#outbound.toServer(leg.server, build, { secure: subscription.secure });
  }

  async #refresh(subscription: Subscription, leg: Leg, packed: string, { cseq, expires }: Subscribe): Promise<Reply> {
    const dialog = unpackDialog(packed);
    const watcher = await this.#servers.nameOn(subscription.watcher, leg.server);
    await this.#leaseOf(subscription, leg);
    if (!this.#isLive(subscription, leg)) return "unreachable";
    const build = ({ point, remoteHost, remotePort }: Flow): SipRequest => {
      if (!this.#desk.maySend()) throw new LeaseLapsed();
      const isServer = this.#servers.isServer(remoteHost, remotePort);
      const headers = [
        ...assertedHeaders(subscription, watcher, isServer),
        ...subscribeHeaders(subscription, expires, leg),
      ];
      return requestWithin(dialog, { method: "SUBSCRIBE", cseq, contact: contactAt(point), headers });
    };
    return this.#outbound.toUri(firstHop(dialog), 0, build, { secure: subscription.secure });
  }

  #accepted(leg: Leg, response: SipResponse): void {
    leg.peer = sessionOf(response) ?? leg.peer;
    try {
      if (leg.dialog !== null) this.#retarget(leg, response);
      else if (leg.sent !== null) leg.dialog = packDialog(uacDialog(leg.sent, response));
    } catch (error) {
      // A Contact nobody can use: the NOTIFY will bring a better one, or none comes.
      if (!(error instanceof MalformedHeader)) throw error;
    }
  }

  /** The document, under the name we know the user by; null: the NOTIFY has none. */
  #contentOf(notify: SipRequest, { aor }: Subscription, { identity }: Leg): Content | null {
    const { body } = notify;
    const type = notify.header("Content-Type");
    if (body === "" || type === undefined) return null;
    const names = identity.split(" ").filter((name) => name !== "" && name !== aor);
    const own = names.reduce((text, name) => mapBody(type, text, name, aor), body);
    return this.#documents.hold(type, own);
  }

  #due({ subscription, leg }: Leaving): void {
    this.step(subscription, leg, { kind: "time", now: this.#desk.now() });
  }

  #arm(leaving: Leaving): void {
    const now = this.#desk.now();
    const at = subscriberWakeAt(leaving.leg.machine);
    if (at === Number.POSITIVE_INFINITY) this.#desk.wheel.stop(leaving.timer);
    else this.#desk.wheel.start(leaving.timer, Math.max(at - now, this.#desk.maySend() ? 0 : LAPSED_MS), "due", now);
  }
}

export interface Found {
  readonly subscription: Subscription;
  readonly leg: Leg;
}

/** A leg that nobody wants any more, until its server has said so too. */
class Leaving implements Found, TimerOwner<"due"> {
  readonly subscription: Subscription;
  readonly leg: Leg;
  readonly timer: WheelTimer<"due">;
  readonly #due: (leaving: Leaving) => void;

  constructor(subscription: Subscription, leg: Leg, due: (leaving: Leaving) => void) {
    this.subscription = subscription;
    this.leg = leg;
    this.#due = due;
    this.timer = new WheelTimer<"due">(this);
  }

  fired(): void {
    this.#due(this);
  }
}

/** models.md, "What answers mean". */
const NOT_HERE: ReadonlySet<string> = new Set(["404", "410", "604"]);
const FIRST_CSEQS = 16;
const CALL_ID_CHARACTERS = 24;

function answerNotify(handed: Handed, subscription: Subscription, leg: Leg, status: 200 | 481 | 500): void {
  const { request, flow } = handed.transaction;
  const localTag = legTag(subscription.id, leg.number);
  const headers = sessionOfLeg(subscription, leg);
  if (status === 200)
    return handed.respond(okWithin(request, 200, { localTag, contact: contactAt(flow.point), headers }));
  handed.respond(
    buildResponse(request, status, status === 481 ? "Subscription Does Not Exist" : undefined, { headers }),
  );
}

function readReply(reply: Reply): Omit<Extract<SubscriberEvent, { readonly kind: "answered" }>, "kind" | "now"> {
  if (typeof reply === "string") return { answer: reply };
  return {
    answer: reply.status,
    expires: secondsOf(reply.header("Expires")),
    minExpires: secondsOf(reply.header("Min-Expires")),
    retryAfter: secondsOf(reply.header("Retry-After")),
  };
}
