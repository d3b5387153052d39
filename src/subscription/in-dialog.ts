import { DirectoryUnavailable } from "../base/errors.ts";
import { packDialog, unpackDialog, withTarget } from "../sip/dialog/dialog.ts";
import { judgeWithin } from "../sip/dialog/notifier.ts";
import { buildResponse, type HeaderPair } from "../sip/message/build.ts";
import { parseUri } from "../sip/message/uri.ts";
import { connectionOf } from "./accept.ts";
import { isId, readTag } from "./leg.ts";
import type { Handed, InDialog } from "./ports.ts";
import { isUnreadable, unkeepable, unsupported } from "./refusals.ts";
import type { Subscriptions } from "./service.ts";
import type { Subscription } from "./subscription.ts";
import { answerSubscribe } from "./watcher-side.ts";

/**
 * Requests within our dialogs: SUBSCRIBEs of watchers, NOTIFYs of servers on legs. What another proxy owns is sent there;
 * whose owner is away, or not known for the moment, is to come back.
 */
export class InDialogs {
  readonly #subscriptions: Subscriptions;

  constructor(subscriptions: Subscriptions) {
    this.#subscriptions = subscriptions;
  }

  handle(handed: Handed): InDialog | Promise<InDialog> {
    const { request } = handed;
    const tag = request.to.tag ?? "";
    const { id, leg: number } = readTag(tag);
    const subscription = this.#subscriptions.find(id);
    if (number === null) {
      // Over his connection to this proxy no other can reach him: he is to subscribe anew, here.
      if (subscription === undefined && connectionOf(handed) !== 0 && isDirect(handed)) return gone(handed);
      if (subscription === undefined || !subscription.stored) return this.#elsewhere(handed, id);
      return this.#fromWatcher(handed, subscription);
    }
    const found = this.#subscriptions.legs.find(subscription, tag, number);
    if (found === undefined) return subscription === undefined ? this.#elsewhere(handed, id) : gone(handed);
    if (request.method !== "NOTIFY") return refuse(handed, 405, [["Allow", "NOTIFY"]]);
    // A list's (RFC 4662) among them: it is active whatever its members' servers say, so that it shows nobody's consent.
    const required = unsupported(request);
    if (required !== null) return refuse(handed, 420, [["Unsupported", required]]);
    // Whether it is still ours to take nobody knows now; a copy of it will be asked for later.
    if (!this.#subscriptions.maySend()) return this.#later(handed);
    this.#subscriptions.legs.notified(handed, found.subscription, found.leg);
    return "answered";
  }

  #fromWatcher(handed: Handed, subscription: Subscription): InDialog | Promise<InDialog> {
    const { request } = handed;
    const dialog = unpackDialog(subscription.dialog);
    if (request.callId !== dialog.callId || (request.from.tag ?? "") !== dialog.remoteTag) return gone(handed);
    if (request.method !== "SUBSCRIBE") return refuse(handed, 405, [["Allow", "SUBSCRIBE"]]);
    const unfit = unkeepable(request);
    if (unfit !== null) return refuse(handed, unfit, []);
    const required = unsupported(request);
    if (required !== null) return refuse(handed, 420, [["Unsupported", required]]);
    if (isUnreadable(request)) return refuse(handed, 415, [["Accept", ""]]);
    if (request.event?.package !== subscription.event || (request.event.id ?? null) !== subscription.eventId) {
      return refuse(handed, 489, [["Allow-Events", subscription.event]]);
    }
    const { watchers, notifierRules } = this.#subscriptions;
    const facts = { now: this.#subscriptions.now(), cseq: request.cseq.number, expires: request.expires };
    const judged = judgeWithin(subscription.notifier, facts, notifierRules);
    if (judged.status === 200 && judged.expires > 0) return this.#refresh(handed, subscription, judged.expires);
    if (judged.status === 200) this.#learnTarget(handed, subscription);
    if (judged.status === 200) this.#subscriptions.refreshing(subscription);
    // Who leaves is let go of at once; that his row goes is seen to afterwards.
    if (judged.status === 200) watchers.step(subscription, { kind: "subscribe", ...facts }, handed);
    else answerSubscribe(handed, subscription.id, judged);
    return "answered";
  }

  /** Written before it is answered: what was granted outlives a crash. */
  async #refresh(handed: Handed, subscription: Subscription, seconds: number): Promise<InDialog> {
    const { request } = handed;
    const { watchers } = this.#subscriptions;
    const cseq = request.cseq.number;
    const { until } = subscription.notifier;
    this.#learnTarget(handed, subscription);
    const granted = this.#subscriptions.now() + seconds * 1000;
    subscription.notifier = { ...subscription.notifier, heard: cseq, until: granted };
    const saved = await this.#subscriptions.save(subscription);
    if (saved === "lost") return this.#elsewhere(handed, subscription.id);
    if (saved === "away") {
      if (subscription.notifier.until === granted) subscription.notifier = { ...subscription.notifier, until };
      this.#subscriptions.arm(subscription);
      return this.#later(handed);
    }
    if (!this.#subscriptions.isOurs(subscription)) return this.#elsewhere(handed, subscription.id);
    const facts = { now: this.#subscriptions.now(), cseq, expires: request.expires };
    const judged = judgeWithin(subscription.notifier, facts, this.#subscriptions.notifierRules);
    if (judged.status === 200) {
      this.#subscriptions.refreshing(subscription);
      watchers.step(subscription, { kind: "subscribe", ...facts }, handed);
      this.#subscriptions.whole(subscription);
    } else answerSubscribe(handed, subscription.id, judged);
    return "answered";
  }

  #learnTarget(handed: Handed, subscription: Subscription): void {
    const dialog = unpackDialog(subscription.dialog);
    const moved = withTarget(dialog, handed.request);
    if (moved !== dialog) subscription.dialog = packDialog(moved);
    // What another proxy has sent on came over a connection of its, not of the watcher's.
    if (isDirect(handed)) subscription.connectionId = connectionOf(handed);
  }

  /** Not in this process: another owns it, or nobody has it. */
  async #elsewhere(handed: Handed, id: string): Promise<InDialog> {
    const { parts, owner, rows } = this.#subscriptions;
    // What nobody can have made costs no look into the database.
    if (!isId(id)) return gone(handed);
    try {
      const row = await parts.directory.subscriptions.ownerOf(id);
      if (row === null || rows.isLeaving(id)) return gone(handed);
      // On its way to us, or to somebody else, or under an answer that was lost.
      if (row.owner === owner.name || row.contact === null) return this.#later(handed);
      const uri = parseUri(row.contact);
      return uri.kind === "sip" ? { forwardTo: uri } : this.#later(handed);
    } catch (error) {
      if (error instanceof DirectoryUnavailable) return this.#later(handed);
      throw error;
    }
  }

  #later(handed: Handed): "answered" {
    return refuse(handed, 500, [["Retry-After", String(this.#subscriptions.options.retryAfterS)]]);
  }
}

function isDirect({ request }: Handed): boolean {
  return !request.hasLowerVia;
}

function gone(handed: Handed): "answered" {
  handed.respond(buildResponse(handed.transaction.request, 481, "Subscription Does Not Exist"));
  return "answered";
}

function refuse(handed: Handed, status: number, headers: readonly HeaderPair[]): "answered" {
  handed.respond(buildResponse(handed.transaction.request, status, undefined, { headers }));
  return "answered";
}
