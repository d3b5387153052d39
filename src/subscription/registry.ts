import type { Leg } from "./leg.ts";
import type { SubscriptionOptions } from "./options.ts";
import type { Subscription } from "./subscription.ts";

/**
 * The subscriptions this process owns: by id, by user, and how many each watcher and origin has. Users' lists are chained
 * through the subscriptions themselves, so that one costs no array and leaving a long one costs nothing.
 */
export class Registry {
  readonly #byId = new Map<string, Subscription>();
  readonly #byUser = new Map<string, Users>();
  readonly #byWatcher = new Map<string, Count>();
  readonly #byOrigin = new Map<string, Count>();
  /** Told of every user who gets his first subscription here, and of every one who loses his last. */
  watched: (aor: string, isWatched: boolean) => void = () => undefined;

  #live = 0;
  #composed = 0;

  /** With a leg. */
  get live(): number {
    return this.#live;
  }

  /** Of several servers. */
  get composed(): number {
    return this.#composed;
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): Subscription | undefined {
    return this.#byId.get(id);
  }

  /** In the order they were added; safe while it is changed. */
  all(): IterableIterator<Subscription> {
    return this.#byId.values();
  }

  users(): IterableIterator<string> {
    return this.#byUser.keys();
  }

  /** Those to this user's state. May be changed meanwhile. */
  ofUser(aor: string): Subscription[] {
    const found: Subscription[] = [];
    for (let each = this.#byUser.get(aor)?.first ?? null; each !== null; each = each.nextOfUser) found.push(each);
    return found;
  }

  /** How many a watcher has. */
  ofWatcher(watcher: string): number {
    return this.#byWatcher.get(watcher)?.count ?? 0;
  }

  /** Which limit one more would pass; null: none. */
  full(caps: SubscriptionOptions["caps"], aor: string, watcher: string, origin: string | null): string | null {
    if (this.size >= caps.inAll) return "subscriptions in all";
    if ((this.#byUser.get(aor)?.count ?? 0) >= caps.perUser) return "subscriptions to one user";
    if ((this.#byWatcher.get(watcher)?.count ?? 0) >= caps.perWatcher) return "subscriptions of one watcher";
    if ((this.#byOrigin.get(origin ?? CLIENTS)?.count ?? 0) >= caps.perOrigin) return "subscriptions from one origin";
    return null;
  }

  /** The one text kept of a name, so that a thousand subscriptions do not hold a thousand copies. */
  share(kind: "user" | "watcher" | "origin", text: string): string {
    const known = kind === "user" ? this.#byUser : kind === "watcher" ? this.#byWatcher : this.#byOrigin;
    return known.get(text)?.name ?? text;
  }

  add(subscription: Subscription): void {
    const { id, aor, watcher, origin } = subscription;
    this.#byId.set(id, subscription);
    if (subscription.leg !== null) this.#live++;
    if (subscription.composed !== null) this.#composed++;
    const users = this.#byUser.get(aor);
    if (users === undefined) {
      this.#byUser.set(aor, { name: aor, count: 1, first: subscription });
      this.watched(aor, true);
    } else {
      users.count++;
      subscription.nextOfUser = users.first;
      users.first.previousOfUser = subscription;
      users.first = subscription;
    }
    countUp(this.#byWatcher, watcher);
    countUp(this.#byOrigin, origin ?? CLIENTS);
  }

  /** Does nothing where it is not in here. */
  remove(subscription: Subscription): boolean {
    if (this.#byId.get(subscription.id) !== subscription) return false;
    this.#byId.delete(subscription.id);
    if (subscription.leg !== null) this.#live--;
    if (subscription.composed !== null) this.#composed--;
    const { aor, previousOfUser: previous, nextOfUser: next } = subscription;
    const users = this.#byUser.get(aor)!;
    users.count--;
    if (previous !== null) previous.nextOfUser = next;
    else if (next !== null) users.first = next;
    if (next !== null) next.previousOfUser = previous;
    if (users.count === 0) {
      this.#byUser.delete(aor);
      this.watched(aor, false);
    }
    subscription.previousOfUser = null;
    subscription.nextOfUser = null;
    countDown(this.#byWatcher, subscription.watcher);
    countDown(this.#byOrigin, subscription.origin ?? CLIENTS);
    return true;
  }

  /** Legs are set here, so that those that have one are counted. */
  setLeg(subscription: Subscription, leg: Leg | null): void {
    if (this.#byId.get(subscription.id) === subscription) {
      if (subscription.leg === null && leg !== null) this.#live++;
      if (subscription.leg !== null && leg === null) this.#live--;
    }
    subscription.leg = leg;
  }

  clear(): void {
    for (const aor of this.#byUser.keys()) this.watched(aor, false);
    this.#live = 0;
    this.#composed = 0;
    this.#byId.clear();
    this.#byUser.clear();
    this.#byWatcher.clear();
    this.#byOrigin.clear();
  }
}

interface Count {
  readonly name: string;
  count: number;
}

interface Users extends Count {
  first: Subscription;
}

/** What no server's name is. */
const CLIENTS = "";

function countUp(counts: Map<string, Count>, name: string): void {
  const known = counts.get(name);
  if (known === undefined) counts.set(name, { name, count: 1 });
  else known.count++;
}

function countDown(counts: Map<string, Count>, name: string): void {
  const known = counts.get(name);
  if (known === undefined) return;
  known.count--;
  if (known.count === 0) counts.delete(name);
}
