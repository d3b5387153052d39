import { DirectoryUnavailable } from "../base/errors.ts";
import { FIRST_FENCE, RESERVE, type StoredSubscription } from "../directory/subscriptions.ts";
import type { Loop } from "../directory/unions.ts";
import { warningValue } from "../federation/claim-answer.ts";
import { isPrivate } from "../federation/privacy.ts";
import { principalOf, type Sender } from "../federation/sender.ts";
import type { WatcherVerdict } from "../policy/policy.ts";
import { packDialog, uasDialog } from "../sip/dialog/dialog.ts";
import { beginNotifier, judgeFirst } from "../sip/dialog/notifier.ts";
import { buildResponse, type HeaderPair } from "../sip/message/build.ts";
import { ownText } from "./documents.ts";
import { breadthIn, forwardsAfter } from "./hops.ts";
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
  /** True: he is partitioned. */
  readonly searched?: boolean;
}

/**
 * A SUBSCRIBE outside a dialog that is answered by us (RFC 6665 4.2.1): in the index by user before its row is written, so
 * that no binding passes it by unseen, and written before it is answered, so that no crash loses what was accepted.
 */
export class Accepting {
  readonly #subscriptions: Subscriptions;
  readonly #recent: RecentRequests;

  constructor(subscriptions: Subscriptions) {
    this.#subscriptions = subscriptions;
    this.#recent = new RecentRequests(subscriptions.parts.runtime.clock);
  }

  async subscribe(handed: Handed, asked: Asked): Promise<void> {
    const expires = this.judge(handed);
    if (expires === null) return;
    const answer = this.permit(handed, asked);
    const permit = answer instanceof Promise ? await answer : answer;
    if (permit === null) return;
    if (expires === 0) return this.#fetch(handed, asked, permit);
    if (this.isFull(handed, asked.aor)) return;
    const subscription = this.make(handed, asked, permit);
    const kept = await this.keep(handed, subscription, (owner, row) =>
      this.#subscriptions.parts.directory.subscriptions.insert(owner, row, asked.known),
    );
    if (kept === null) return;
    this.#subscriptions.following.learn(subscription, kept.slot.server, kept.slot.epoch);
    this.#subscriptions.whole(subscription);
    this.#subscriptions.gate.settle(subscription);
  }

  /** What the rules say of who asks (gate.ts); at once where they say it at once. Null: he may not, and was answered. */
  permit(handed: Handed, { kind, aor }: Pick<Asked, "kind" | "aor">): Permit | null | Promise<Permit | null> {
    const { gate } = this.#subscriptions;
    if (!gate.governs({ kind, aor })) return UNGOVERNED;
    const { changes } = gate;
    const { aor: watcher, trusted } = watcherOf(handed);
    const verdict = gate.ask({ watcher, trusted, aor, event: handed.event });
    return verdict instanceof Promise
      ? verdict.then((each) => this.#permitted(handed, each, changes))
      : this.#permitted(handed, verdict, changes);
  }

  #permitted(handed: Handed, verdict: WatcherVerdict | null, changes: number): Permit | null {
    if (verdict === null) return this.away(handed);
    // RFC 5025 3.2.1; RFC 6665 4.2.1.3.
    const isRefused = verdict.handling === "block" && !verdict.bySphere;
    return isRefused ? this.refuse(handed, 403) : { verdict, changes };
  }

  /** What the request itself is refused for. @returns seconds granted; 0: a fetch; null: it was answered. */
  judge(handed: Handed): number | null {
    const { request } = handed;
    if (this.#recent.isMerged(request.from.tag ?? "", request.callId, request.cseq.number)) {
      return this.refuse(handed, 482);
    }
    const required = unsupported(request);
    if (required !== null) return this.refuse(handed, 420, [["Unsupported", required]]);
    if (isUnreadable(request)) return this.refuse(handed, 415, [["Accept", ""]]);
    // RFC 6665 4.1.2.1 has one Event in every SUBSCRIBE; 7.2: what is none of ours is a bad one.
    if (handed.event === "") return this.refuse(handed, 489, [["Allow-Events", "presence"]]);
    const judged = judgeFirst(request.expires, this.#subscriptions.notifierRules);
    if (judged.status !== 200) {
      answerSubscribe(handed, this.#tag(), judged);
      return null;
    }
    const unfit = unkeepable(request);
    return unfit === null ? judged.expires : this.refuse(handed, unfit);
  }

  /** True: a cap is reached, and it was turned away. */
  isFull(handed: Handed, aor: string): boolean {
    const full = this.#full(handed, aor);
    if (full !== null) this.turnAway(handed, full);
    return full !== null;
  }

  /**
   * In the index, then in the database, then answered, with the NOTIFY that follows at once.
   * @param insert writes the row; durable where it says so.
   * @returns what `insert` said; null: it is not kept, and was answered or will be.
   */
  async keep<Kept extends { readonly outcome: string }>(
    handed: Handed,
    subscription: Subscription,
    insert: (owner: string, row: Omit<StoredSubscription, "fence">) => Promise<Kept | NotKept>,
  ): Promise<Exclude<Kept, NotKept> | null> {
    const { registry, rows, watchers, notifierRules, owner: lease } = this.#subscriptions;
    const owner = lease.name;
    if (owner === null || !lease.maySend()) return this.away(handed);
    // Its transaction may answer at any time from now on; the machine begins when the row stands.
    const begun = beginNotifier("pending", this.facts(handed), RESERVE, notifierRules);
    subscription.notifier = begun.state;
    const { unsafe } = this.#subscriptions.options;
    if (unsafe?.indexedLate !== true) registry.add(subscription);
    let kept: Kept | NotKept;
    try {
      kept = await insert(owner, this.row(subscription));
    } catch (error) {
      // It may have been written all the same.
      if (this.#subscriptions.drop(subscription)) rows.remove(subscription.id, FIRST_FENCE);
      if (error instanceof DirectoryUnavailable) return this.away(handed);
      throw error;
    }
    if (unsafe?.indexedLate === true) registry.add(subscription);
    if (isNotKept(kept)) return this.notKept(handed, subscription, owner, kept);
    if (!this.#subscriptions.isOurs(subscription)) return this.away(handed);
    // Ended meanwhile, its row may have been removed before it was written.
    if (subscription.ending) rows.remove(subscription.id, FIRST_FENCE);
    if (!this.#subscriptions.maySend()) {
      this.#subscriptions.drop(subscription);
      rows.remove(subscription.id, FIRST_FENCE);
      return this.away(handed);
    }
    subscription.stored = true;
    this.#subscriptions.gate.recheck(subscription);
    watchers.take(subscription, { ...begun, state: subscription.notifier }, handed);
    if (subscription.ending) return null;
    this.#report(subscription);
    return kept as Exclude<Kept, NotKept>;
  }

  notKept(handed: Handed, subscription: Subscription, owner: string, { outcome, chain, lives }: NotKept): null {
    if (outcome === "over") this.#subscriptions.owner.declaredOver(owner);
    else this.#subscriptions.drop(subscription);
    if (outcome === "no-record") return this.refuse(handed, 404);
    if (outcome === "over") return this.away(handed);
    const { callId } = handed.request;
    if (!lives) {
      // What an ended leg has set off does not care; a server that asks for somebody of its own is to ask again.
      const why = `what chain ${chain} has set off, and it is over`;
      this.#subscriptions.parts.telemetry.emit("loop", { callId, status: 480, reason: why });
      return this.refuse(handed, 480, [["Retry-After", String(SETTLES_S)]]);
    }
    const reason = `on chain ${chain} every server was visited`;
    this.#subscriptions.parts.telemetry.emit("loop", { callId, status: 482, reason });
    return this.loop(handed, "every server of the user is on this chain of subscriptions already");
  }

  /** models.md, "Unioned, peer": the server that gets this goes on with its own data. */
  loop(handed: Handed, why: string): null {
    const agent = handed.aor.slice(handed.aor.lastIndexOf("@") + 1);
    return this.refuse(handed, 482, [["Warning", warningValue(agent, why)]], "Loop Detected");
  }

  /** Expires 0 (RFC 6665 4.4.3): nothing is kept; of a user who is somewhere his server is asked the same. */
  #fetch(handed: Handed, asked: Asked, permit: Permit): void {
    const { parts, gate } = this.#subscriptions;
    if (this.isFetched(handed)) return;
    const subscription = this.make(handed, asked, permit);
    const server = asked.kind === "presence" && gate.follows(subscription) ? asked.server : null;
    if (server === null || !parts.servers.takesLegs(server)) return this.endFetch(handed, subscription);
    this.beginFetch(handed, subscription);
    this.#subscriptions.fetch(subscription, () => this.#subscriptions.legs.begin(subscription, server, 0, 0, null));
  }

  /** A fetch for which nobody is asked: answered, with its one NOTIFY, of what is known here or may be shown anyway. */
  endFetch(handed: Handed, subscription: Subscription): void {
    const { watchers, gate, notifierRules } = this.#subscriptions;
    const begun = beginNotifier("pending", this.facts(handed), FETCH_CSEQS, notifierRules);
    subscription.notifier = begun.state;
    subscription.active = gate.showsClosed(subscription);
    gate.putOff(subscription);
    this.#subscriptions.tellOnly(subscription);
    this.#subscriptions.whole(subscription);
    watchers.take(subscription, begun, handed);
  }

  /** True: too many are under way, and it was turned away. */
  isFetched(handed: Handed): boolean {
    const isFull = this.#subscriptions.fetching >= MOST_FETCHES;
    if (isFull) this.turnAway(handed, "fetches under way");
    return isFull;
  }

  /** Answered 200; its one NOTIFY follows when there is something to tell, or time is up. */
  beginFetch(handed: Handed, subscription: Subscription): void {
    const { notifierRules, options } = this.#subscriptions;
    const { state } = beginNotifier("pending", this.facts(handed), FETCH_CSEQS, notifierRules);
    answerSubscribe(handed, subscription.id, { do: "answer", status: 200, expires: 0 });
    const until = this.#subscriptions.now() + options.legs.fetchMs * 2;
    subscription.notifier = { ...state, phase: "pending", end: "", sent: 0, inFlight: false, owed: "no", until };
  }

  make(
    handed: Handed,
    asked: Pick<Asked, "kind" | "aor" | "server" | "epoch" | "searched">,
    { verdict, changes }: Permit,
  ): Subscription {
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
    const { state } = beginNotifier("pending", this.facts(handed), RESERVE, notifierRules);
    const terms = this.#subscriptions.terms.share({
      trusted: watcher.trusted,
      secretive: watcher.trusted && isPrivate(request),
      secure: /^sips:/i.test(request.requestUri),
      searched: asked.searched === true,
      accept: request.values("Accept").join(", "),
      maxForwards: forwardsAfter(request),
      maxBreadth: breadthIn(request),
      isTakenOver: false,
    });
    const dialog = packDialog(uasDialog(request, id));
    const subscription = new Subscription(this.#subscriptions, identity, dialog, state, terms);
    subscription.eventId = request.event?.id === undefined ? null : ownText(request.event.id);
    this.#subscriptions.gate.enter(subscription, verdict, changes);
    subscription.connectionId = connectionOf(handed);
    subscription.server = asked.server;
    subscription.epoch = asked.epoch;
    return subscription;
  }

  row(subscription: Subscription): Omit<StoredSubscription, "fence"> {
    const { id, kind, aor, watcher, origin, event } = subscription;
    return { id, kind, aor, watcher, origin, event, ...stateOf(subscription, this.#subscriptions.moment()) };
  }

  facts({ request }: Handed) {
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

  turnAway(handed: Handed, what: string): null {
    this.#subscriptions.parts.telemetry.emit("limited", { what, source: watcherOf(handed).aor });
    return this.refuse(handed, 480, [["Retry-After", String(this.#subscriptions.options.retryAfterS)]]);
  }

  /** models.md, "Always": what must be stored and cannot be gets 500. */
  away(handed: Handed): null {
    return this.refuse(handed, 500, [["Retry-After", String(this.#subscriptions.options.retryAfterS)]]);
  }

  refuse(handed: Handed, status: number, headers: readonly HeaderPair[] = [], phrase?: string): null {
    handed.respond(buildResponse(handed.transaction.request, status, phrase, { headers }));
    return null;
  }

  #report({ id, aor, watcher, event, epoch, server }: Subscription): void {
    const change = "accepted";
    this.#subscriptions.parts.telemetry.emit("subscription", { id, aor, watcher, event, epoch, server, change });
  }
}

/** A row that was not written. */
export type NotKept =
  | { readonly outcome: "over" | "no-record"; readonly chain?: undefined; readonly lives?: undefined }
  | Loop;

/** Seconds after which a server may ask again whose SUBSCRIBE may be what an ended leg has set off. */
const SETTLES_S = 5;

function isNotKept(kept: { readonly outcome: string }): kept is NotKept {
  return kept.outcome === "over" || kept.outcome === "no-record" || kept.outcome === "loop";
}

/** Leave to come in, under these rules. */
export interface Permit {
  /** Null: nobody decides here. */
  readonly verdict: WatcherVerdict | null;
  /** `Gate.changes` when it was asked for. */
  readonly changes: number;
}

const UNGOVERNED: Permit = { verdict: null, changes: 0 };
const MOST_FETCHES = 10_000;
/** A fetch has no row and needs no reserve. */
const FETCH_CSEQS = Number.MAX_SAFE_INTEGER;

function watcherOf({ origin, sender }: Handed): Sender {
  return principalOf(origin, sender);
}

/** Usual names are kept once for all. */
function eventName(name: string): string {
  return name === "presence" ? "presence" : name === "reg" ? "reg" : ownText(name);
}

/** A client that came over a connection is reached by no other way (RFC 5626); a server by its Contact. */
export function connectionOf({ origin, transaction }: Handed): number {
  return origin.kind === "server" ? 0 : transaction.flow.connectionId;
}
