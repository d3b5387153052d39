import { DirectoryUnavailable } from "../base/errors.ts";
import { FIRST_FENCE, type InsertOutcome, RESERVE, type StoredSubscription } from "../directory/subscriptions.ts";
import type { Sender } from "../federation/sender.ts";
import { packDialog, uasDialog } from "../sip/dialog/dialog.ts";
import { beginNotifier, judgeFirst } from "../sip/dialog/notifier.ts";
import { buildResponse, type HeaderPair } from "../sip/message/build.ts";
import { Accepts } from "./accepts.ts";
import { ownText } from "./documents.ts";
import { newId } from "./leg.ts";
import type { Handed } from "./ports.ts";
import { RecentRequests } from "./recent.ts";
import { isUnreadable, unkeepable, unsupported } from "./refusals.ts";
import type { Subscriptions } from "./service.ts";
import { type Identity, Subscription, stateOf } from "./subscription.ts";
import { answerSubscribe } from "./watcher-side.ts";

/** What is to be subscribed to, as it was decided. */
export interface Asked {
  readonly kind: StoredSubscription["kind"];
  /** Canonical AoR; of a `reg` subscription to a whole server `server:NAME`. */
  readonly aor: string;
  /** The server that has the user; null: none has, or none is needed. */
  readonly server: string | null;
  /** Of the slot as the decision saw it. */
  readonly epoch: number;
  /** True: refused with 404 where the user has no record and was never bound. */
  readonly known: boolean;
}

/**
 * A SUBSCRIBE outside a dialog that is answered by us (RFC 6665 4.2.1): in the index by user before its row is written, so
 * that no binding passes it by unseen, and written before it is answered, so that no crash loses what was accepted.
 */
export class Accepting {
  readonly #subscriptions: Subscriptions;
  readonly #recent: RecentRequests;
  readonly #accepts = new Accepts();

  constructor(subscriptions: Subscriptions) {
    this.#subscriptions = subscriptions;
    this.#recent = new RecentRequests(subscriptions.parts.runtime.clock);
  }

  async subscribe(handed: Handed, asked: Asked): Promise<void> {
    const { request } = handed;
    const { notifierRules, owner } = this.#subscriptions;
    if (this.#recent.isMerged(request.from.tag ?? "", request.callId, request.cseq.number)) {
      return this.#refuse(handed, 482);
    }
    const required = unsupported(request);
    if (required !== null) return this.#refuse(handed, 420, [["Unsupported", required]]);
    if (isUnreadable(request)) return this.#refuse(handed, 415, [["Accept", ""]]);
    // RFC 6665 4.1.2.1 has one Event in every SUBSCRIBE; 7.2: what is none of ours is a bad one.
    if (handed.event === "") return this.#refuse(handed, 489, [["Allow-Events", "presence"]]);
    const judged = judgeFirst(request.expires, notifierRules);
    if (judged.status !== 200) return answerSubscribe(handed, this.#tag(), judged);
    const unfit = unkeepable(request);
    if (unfit !== null) return this.#refuse(handed, unfit);
    if (judged.expires === 0) return this.#fetch(handed, asked);
    const full = this.#full(handed, asked.aor);
    if (full !== null) return this.#turnAway(handed, full);
    const { name } = owner;
    if (name === null || !owner.maySend()) return this.#away(handed);
    await this.#store(handed, asked, this.#make(handed, asked), name);
  }

  async #store(handed: Handed, asked: Asked, subscription: Subscription, owner: string): Promise<void> {
    const { registry, rows, following, watchers, parts, notifierRules } = this.#subscriptions;
    // Its transaction may answer at any time from now on; the machine begins when the row stands.
    const begun = beginNotifier("pending", this.#facts(handed), RESERVE, notifierRules);
    subscription.notifier = begun.state;
    const { unsafe } = this.#subscriptions.options;
    if (unsafe?.indexedLate !== true) registry.add(subscription);
    let outcome: InsertOutcome;
    try {
      outcome = await parts.directory.subscriptions.insert(owner, this.#row(subscription), asked.known);
    } catch (error) {
      // It may have been written all the same.
      if (registry.remove(subscription)) rows.remove(subscription.id, FIRST_FENCE);
      if (error instanceof DirectoryUnavailable) return this.#away(handed);
      throw error;
    }
    if (unsafe?.indexedLate === true) registry.add(subscription);
    if (outcome.outcome === "over") this.#subscriptions.owner.declaredOver(owner);
    if (outcome.outcome === "no-record") registry.remove(subscription);
    if (outcome.outcome === "no-record") return this.#refuse(handed, 404);
    if (outcome.outcome === "over" || !this.#subscriptions.isOurs(subscription)) return this.#away(handed);
    if (!this.#subscriptions.maySend()) {
      registry.remove(subscription);
      rows.remove(subscription.id, FIRST_FENCE);
      return this.#away(handed);
    }
    subscription.stored = true;
    watchers.take(subscription, begun, handed);
    this.#report(subscription);
    following.learn(subscription, outcome.slot.server, outcome.slot.epoch);
    this.#subscriptions.whole(subscription);
  }

  /** Expires 0 (RFC 6665 4.4.3): nothing is kept; of a user who is somewhere his server is asked the same. */
  #fetch(handed: Handed, asked: Asked): void {
    const { watchers, notifierRules, parts, options } = this.#subscriptions;
    if (this.#subscriptions.fetching >= MOST_FETCHES) return this.#turnAway(handed, "fetches under way");
    const subscription = this.#make(handed, asked);
    const begun = beginNotifier("pending", this.#facts(handed), FETCH_CSEQS, notifierRules);
    const server = asked.kind === "presence" ? asked.server : null;
    if (server === null || !parts.servers.takesLegs(server)) {
      subscription.notifier = begun.state;
      this.#subscriptions.tellOnly(subscription);
      this.#subscriptions.whole(subscription);
      return watchers.take(subscription, begun, handed);
    }
    answerSubscribe(handed, subscription.id, { do: "answer", status: 200, expires: 0 });
    const until = this.#subscriptions.now() + options.legs.fetchMs * 2;
    subscription.notifier = { ...begun.state, phase: "pending", end: "", sent: 0, inFlight: false, owed: "no", until };
    this.#subscriptions.fetch(subscription, server);
  }

  #make(handed: Handed, asked: Asked): Subscription {
    const { request, origin } = handed;
    const watcher = watcherOf(handed);
    const { registry, notifierRules } = this.#subscriptions;
    const id = this.#tag();
    const identity: Identity = {
      id,
      kind: asked.kind,
      aor: registry.share("user", ownText(asked.aor)),
      watcher: registry.share("watcher", ownText(watcher.aor)),
      origin: origin.kind === "server" ? registry.share("origin", origin.server) : null,
      event: eventName(handed.event),
      fence: FIRST_FENCE,
      extendedEpoch: asked.server === null ? asked.epoch : 0,
    };
    const { state } = beginNotifier("pending", this.#facts(handed), RESERVE, notifierRules);
    const subscription = new Subscription(this.#subscriptions, identity, packDialog(uasDialog(request, id)), state);
    subscription.eventId = request.event?.id === undefined ? null : ownText(request.event.id);
    subscription.accept = this.#accepts.share(request.values("Accept").join(", "));
    subscription.trusted = watcher.trusted;
    subscription.secure = /^sips:/i.test(request.requestUri);
    subscription.connectionId = connectionOf(handed);
    subscription.server = asked.server;
    subscription.epoch = asked.epoch;
    return subscription;
  }

  #row(subscription: Subscription): Omit<StoredSubscription, "fence"> {
    const { id, kind, aor, watcher, origin, event } = subscription;
    return { id, kind, aor, watcher, origin, event, ...stateOf(subscription, this.#subscriptions.moment()) };
  }

  #facts({ request }: Handed) {
    return { now: this.#subscriptions.now(), cseq: request.cseq.number, expires: request.expires };
  }

  #full(handed: Handed, aor: string): string | null {
    const { origin } = handed;
    const { registry, options } = this.#subscriptions;
    return registry.full(options.caps, aor, watcherOf(handed).aor, origin.kind === "server" ? origin.server : null);
  }

  #tag(): string {
    return newId((length) => this.#subscriptions.token(length));
  }

  #turnAway(handed: Handed, what: string): void {
    this.#subscriptions.parts.telemetry.emit("limited", { what, source: watcherOf(handed).aor });
    this.#refuse(handed, 480, [["Retry-After", String(this.#subscriptions.options.retryAfterS)]]);
  }

  /** models.md, "Always": what must be stored and cannot be gets 500. */
  #away(handed: Handed): void {
    this.#refuse(handed, 500, [["Retry-After", String(this.#subscriptions.options.retryAfterS)]]);
  }

  #refuse(handed: Handed, status: number, headers: readonly HeaderPair[] = []): void {
    handed.respond(buildResponse(handed.transaction.request, status, undefined, { headers }));
  }

  #report({ id, aor, watcher, event, epoch, server }: Subscription): void {
    const change = "accepted";
    this.#subscriptions.parts.telemetry.emit("subscription", { id, aor, watcher, event, epoch, server, change });
  }
}

const MOST_FETCHES = 10_000;
/** A fetch has no row and needs no reserve. */
const FETCH_CSEQS = Number.MAX_SAFE_INTEGER;

/**
 * A client who has proved who he is watches as himself, whatever his From says: behind us From is believed. One who
 * wants to stay unknown (RFC 3323 4.1.1.3) is asserted nowhere.
 */
function watcherOf({ origin, sender }: Handed): Sender {
  if (origin.kind !== "client" || origin.authenticated === null || /@anonymous\.invalid$/.test(sender.aor))
    return sender;
  return { aor: origin.authenticated, trusted: true };
}

/** Usual names are kept once for all. */
function eventName(name: string): string {
  return name === "presence" ? "presence" : name === "reg" ? "reg" : ownText(name);
}

/** A client that came over a connection is reached by no other way (RFC 5626); a server by its Contact. */
export function connectionOf({ origin, transaction }: Handed): number {
  return origin.kind === "server" ? 0 : transaction.flow.connectionId;
}
