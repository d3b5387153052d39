import { DirectoryUnavailable } from "../base/errors.ts";
import { FIRST_FENCE, type InsertOutcome, type StoredSubscription } from "../directory/subscriptions.ts";
import type { EnterOutcome, Entry } from "../directory/unions.ts";
import { splitBreadth } from "../federation/loop-hash.ts";
import type { ComposePlan } from "../federation/plan.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { Accepting, NotKept } from "./accept.ts";
import type { Child } from "./child.ts";
import { Composed, evidenceOf } from "./composed.ts";
import { ownText } from "./documents.ts";
import { breadthIn, forwardsAfter } from "./hops.ts";
import { isId, readTag } from "./leg.ts";
import { takesPresence } from "./partial-content.ts";
import type { Handed } from "./ports.ts";
import { RecentCounts } from "./recent-counts.ts";
import type { Subscriptions } from "./service.ts";
import { sessionOf } from "./session-id.ts";
import type { Subscription } from "./subscription.ts";

/**
 * A SUBSCRIBE to a user of several servers (models.md, "Composition"): answered by us, and asked of each of them. Among
 * peers it comes in by `UnionStore.enter`, which is the loop check; in a tree only so many of one watcher from one server.
 */
export class ComposedAccepting {
  readonly #subscriptions: Subscriptions;
  readonly #accepting: Accepting;
  readonly #begun: RecentCounts;

  constructor(subscriptions: Subscriptions, accepting: Accepting) {
    this.#subscriptions = subscriptions;
    this.#accepting = accepting;
    this.#begun = new RecentCounts(subscriptions.parts.runtime.clock);
    subscriptions.onFetched = (fetch) => this.#hasCome(fetch);
  }

  async subscribe(handed: Handed, plan: ComposePlan): Promise<void> {
    const accepting = this.#accepting;
    const { aor, request } = handed;
    const expires = accepting.judge(handed);
    if (expires === null) return;
    // RFC 3261 21.4.7: what there is to be told is a presence document.
    if (!takesPresence(request.values("Accept").join(", "))) return void accepting.refuse(handed, 406);
    // RFC 7332 5: it would go on with none left.
    if (request.maxForwards === 0) return void accepting.refuse(handed, 483);
    if (this.#isTooNarrow(request, plan)) return void accepting.refuse(handed, 440);
    const asked = { kind: "composed", aor, server: null, epoch: 0 } as const;
    const answer = accepting.permit(handed, asked);
    const permit = answer instanceof Promise ? await answer : answer;
    if (permit === null || handed.transaction.completed) return;
    if (!plan.visited && this.#comesBack(handed, plan)) return void accepting.refuse(handed, 404);
    const sentOn = plan.visited ? null : this.#legSentOn(handed, plan);
    if (sentOn === "copy")
      return void accepting.loop(handed, "this server's children are on this subscription already");
    const isFetch = expires === 0;
    if (isFetch ? accepting.isFetched(handed) : accepting.isFull(handed, aor)) return;
    const subscription = accepting.make(handed, asked, permit);
    subscription.composed = this.#composed(handed, plan, isFetch);
    if (sentOn !== null && !isFetch) sentOn.wentOn = subscription.id;
    if (!plan.visited && this.#goesRound(subscription)) {
      return void accepting.turnAway(handed, "subscriptions of one watcher from one server of a tree");
    }
    if (isFetch) return this.#fetch(handed, plan, subscription);
    const kept = await accepting.keep(handed, subscription, (owner, row) =>
      this.#insert(handed, plan, subscription, owner, row),
    );
    if (kept === null) return;
    this.#begin(subscription, plan, kept);
    this.#subscriptions.gate.settle(subscription);
  }

  #begin(subscription: Subscription, { servers }: ComposePlan, kept: InsertOutcome | EnterOutcome): void {
    if ("slot" in kept) subscription.epoch = kept.slot.epoch;
    if ("chain" in kept) subscription.composed!.isBehind = kept.chain !== subscription.id;
    this.#subscriptions.composing.begin(subscription, servers, "servers" in kept ? kept.servers : servers);
    if (subscription.composed!.visits) this.#askAfterOlder(subscription);
  }

  /** Its server may have forgotten those it began before: one that it does not know ends with the answer to a NOTIFY. */
  #askAfterOlder(subscription: Subscription): void {
    const { aor, watcher, origin } = subscription;
    const { registry, watchers } = this.#subscriptions;
    if (origin === null) return;
    for (const each of registry.ofUser(aor)) {
      if (each === subscription || each.watcher !== watcher || each.origin !== origin || !each.stored) continue;
      const phase = each.active ? "active" : "pending";
      if (each.composed !== null) watchers.step(each, { kind: "changed", now: this.#subscriptions.now(), phase });
    }
  }

  #insert(
    handed: Handed,
    plan: ComposePlan,
    subscription: Subscription,
    owner: string,
    row: Omit<StoredSubscription, "fence">,
  ): Promise<InsertOutcome | EnterOutcome> {
    const { unions, subscriptions } = this.#subscriptions.parts.directory;
    if (!plan.visited) return subscriptions.insert(owner, row, false);
    return unions.enter(owner, row, this.#entry(handed, plan, subscription.composed!));
  }

  /** Nothing is kept of a fetch but, among peers, what it visits while it lasts. */
  async #fetch(handed: Handed, plan: ComposePlan, subscription: Subscription): Promise<void> {
    const accepting = this.#accepting;
    const { gate, owner, rows } = this.#subscriptions;
    if (gate.follows(subscription) !== true) return accepting.endFetch(handed, subscription);
    let kept: EnterOutcome | null = null;
    if (plan.visited) {
      const name = owner.name;
      if (name === null || !owner.maySend()) return void accepting.away(handed);
      const row = { ...accepting.row(subscription), expiresAt: this.#subscriptions.moment().wall + FETCH_ROW_MS };
      this.#subscriptions.expectFetch(subscription);
      try {
        const entered = await this.#insert(handed, plan, subscription, name, row);
        if (entered.outcome !== "entered") {
          this.#subscriptions.forgetFetch(subscription);
          return void accepting.notKept(handed, subscription, name, entered as NotKept);
        }
        kept = entered;
      } catch (error) {
        this.#subscriptions.forgetFetch(subscription);
        rows.remove(subscription.id, FIRST_FENCE);
        if (error instanceof DirectoryUnavailable) return void accepting.away(handed);
        throw error;
      }
    }
    accepting.beginFetch(handed, subscription);
    const { servers } = plan;
    this.#subscriptions.fetch(subscription, () =>
      this.#subscriptions.composing.begin(subscription, servers, kept?.servers ?? servers),
    );
  }

  #composed({ request, spender }: Handed, plan: ComposePlan, isFetch: boolean): Composed {
    const { view, visited, credits } = plan;
    return new Composed({
      view,
      visits: visited,
      union: { servers: plan.servers, visited, credits, below: {}, fromRoot: false },
      isFetch,
      spender,
      maxForwards: forwardsAfter(request),
      session: sessionOf(request) ?? this.#newSession(),
      instance: instanceOf(request) ?? "",
    });
  }

  #entry({ request, origin }: Handed, { servers }: ComposePlan, composed: Composed): Entry {
    const { traits } = this.#subscriptions.parts.servers;
    const from = origin.kind === "server" ? origin.server : null;
    const preserves = from === null ? null : (traits(from)?.preserves ?? []);
    const session = preserves?.includes("session-id") === false ? undefined : sessionOf(request);
    const instance = preserves?.includes("instance") === false ? undefined : instanceOf(request);
    const { id } = readTag(request.from.tag ?? "");
    return {
      origin: from,
      // A client's own is what its legs carry: whatever comes back with it is this very subscription.
      evidence: from === null ? evidenceOf(composed) : (session ?? instance ?? null),
      sent: evidenceOf(composed),
      within: isId(id) ? id : null,
      servers,
      onward: [...servers, ...(from === null ? [] : [from])].filter((each) =>
        FANS_OUT.has(traits(each)?.onward ?? "none"),
      ),
      most: MOST_FROM_SERVER,
    };
  }

  /**
   * RFC 7332 6: legs are asked in parallel. What comes from one peer's server goes on to whom nobody has visited, which is
   * a bound of its own.
   */
  #isTooNarrow(request: SipRequest, { view, visited, servers }: ComposePlan): boolean {
    if (visited && view.from !== null) return false;
    return splitBreadth(breadthIn(request), servers.length) === null;
  }

  /**
   * models.md, "Default routes point at us": a server that is asked for a user it lacks sends the request back, as proxy or
   * under a new Call-ID. While its leg has not been answered the same from there is its "not mine".
   */
  #comesBack({ request, origin, aor, event, sender }: Handed, { view }: ComposePlan): boolean {
    if (origin.kind !== "server" || view.direction === "down") return false;
    const { id } = readTag(request.from.tag ?? "");
    if (isId(id)) return true;
    const now = this.#subscriptions.now();
    return this.#legsTo(origin.server, { aor, event, sender }).some(({ leg, standing, askedAt }) => {
      if (leg !== null) return leg.dialog === null;
      return standing === "out" && now - askedAt < COMES_BACK_MS;
    });
  }

  /**
   * A server that sends on what it was sent may do so once for each of its children, and once is enough: all of them are
   * asked then. The leg that the request comes of; null: none of ours, or nobody can tell.
   */
  #legSentOn(handed: Handed, { view }: ComposePlan): Child | "copy" | null {
    const { origin, aor } = handed;
    const { parts, registry } = this.#subscriptions;
    if (origin.kind !== "server" || !FANS_OUT.has(parts.servers.traits(origin.server)?.onward ?? "none")) return null;
    const union = parts.servers.union(aor, view);
    if (typeof union === "string" || union instanceof Promise || union.fromRoot) return null;
    // Later than this it comes of a leg of another proxy's, or is for a user of that server's own.
    const now = this.#subscriptions.now();
    const legs = this.#legsTo(origin.server, handed).filter(
      ({ leg, askedAt }) => leg !== null && now - askedAt < COPIES_MS,
    );
    if (view.direction === "up") return legs.some(({ wentOn }) => wentOn !== null) ? "copy" : null;
    const free = legs.find(({ wentOn }) => wentOn === null || registry.get(wentOn) === undefined);
    // One that has one child has paid for it with the one credit of its leg, whichever that was.
    return free ?? (legs.length === 0 || union.credits[origin.server] === 1 ? null : "copy");
  }

  /** Children of this pair's compositions that are this server. */
  #legsTo(server: string, { aor, event, sender }: Pick<Handed, "aor" | "event" | "sender">): Child[] {
    const { registry } = this.#subscriptions;
    if (registry.ofWatcher(sender.aor) === 0) return [];
    return registry
      .ofUser(aor)
      .filter((each) => each.watcher === sender.aor && each.event === event)
      .flatMap((each) => each.composed?.children.filter((child) => child.server === server) ?? []);
  }

  /**
   * models.md, "Unioned, hierarchical": credits tell what goes down from what goes up; this is for what they do not see.
   * Counted are those that live, and those that were begun a moment ago, but for fetches that got what they wanted: what is
   * denied at once can go round, too. It is 480:
   * with a 482 the server would go on with its own data, and the watcher see it whatever others say.
   */
  #goesRound({ aor, watcher, origin, composed }: Subscription): boolean {
    if (origin === null || composed!.view.direction === "down") return false;
    const round = roundOf({ origin, watcher, aor });
    const isTooMany = this.#begun.count(round) > MOST_FROM_SERVER || this.#isFull(origin, watcher, aor);
    // Who is turned away tries again, and does not keep himself out by that.
    if (isTooMany) this.#begun.uncount(round);
    return isTooMany;
  }

  #isFull(origin: string, watcher: string, aor: string): boolean {
    const { registry } = this.#subscriptions;
    if (registry.ofWatcher(watcher) < MOST_FROM_SERVER) return false;
    const same = registry
      .ofUser(aor)
      .filter((each) => each.watcher === watcher && each.origin === origin && each.composed?.view.direction === "up");
    return same.length >= MOST_FROM_SERVER;
  }

  /** All have told what they have, and nothing of it goes on. */
  #hasCome(fetch: Subscription): void {
    const { origin, composed } = fetch;
    if (origin !== null && composed?.visits === false && composed.view.direction === "up")
      this.#begun.uncount(roundOf(fetch));
  }

  /** RFC 7989 5: 32 digits of lower case, which are not all 0. */
  #newSession(): string {
    const { random } = this.#subscriptions.parts.runtime;
    return Buffer.from(random.bytes(16)).toString("hex");
  }
}

function roundOf({ origin, watcher, aor }: Pick<Subscription, "origin" | "watcher" | "aor">): string {
  return `${origin} ${watcher} ${aor}`;
}

/** Live ones of one watcher to one user that one server may have: his devices, each of which subscribes by itself. */
const MOST_FROM_SERVER = 8;
/** A server that sends more than one copy back does so at once; what comes later is for a user of its own. */
const COMES_BACK_MS = 1_000;
/** In which a server that sends its requests on more often than it has children does so, with three of them lost. */
const COPIES_MS = 5_000;
const FANS_OUT: ReadonlySet<string> = new Set(["children", "both"]);
/** A fetch is over before. */
const FETCH_ROW_MS = 10_000;

/** RFC 5626 4.1; undefined: the Contact has none, or one nobody would write. */
function instanceOf(request: SipRequest): string | undefined {
  const instance = /;[ \t]*\+sip\.instance[ \t]*=[ \t]*"(<[^"<>\\]{1,200}>)"/i.exec(
    request.header("Contact") ?? "",
  )?.[1];
  return instance === undefined ? undefined : ownText(instance);
}
