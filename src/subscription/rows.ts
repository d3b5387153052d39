import { DirectoryUnavailable } from "../base/errors.ts";
import type { SubscriptionState, SubscriptionStore } from "../directory/subscriptions.ts";
import { type Moment, type Subscription, stateOf } from "./subscription.ts";

/** What became of a write. `lost`: the row is another's, or gone. `away`: the database did not answer; it may have happened. */
export type Saved = "done" | "lost" | "away";

export interface RowsEvents {
  /** CSeqs up to these are ours now. */
  reserved(subscription: Subscription, state: SubscriptionState): void;
  moment(): Moment;
}

/** Writes the rows of this process's subscriptions: one write of a row at a time, of which the last says it all. */
export class Rows {
  readonly #store: SubscriptionStore;
  readonly #owner: () => string | null;
  readonly #events: RowsEvents;
  /** Rows being written, and those who changed something since their write began. */
  readonly #writing = new Map<Subscription, Array<(saved: Saved) => void>>();
  /** Rows that are to go: id -> fence. */
  readonly #leaving = new Map<string, number>();
  /** Of these, those whose removal is under way. */
  readonly #removing = new Set<string>();

  constructor(store: SubscriptionStore, owner: () => string | null, events: RowsEvents) {
    this.#store = store;
    this.#owner = owner;
    this.#events = events;
  }

  /** Removals that are still to be made. */
  get leaving(): number {
    return this.#leaving.size;
  }

  /** Resolves once what the subscription is now was written. Reserves are raised by it. */
  save(subscription: Subscription): Promise<Saved> {
    const waiting = this.#writing.get(subscription);
    if (waiting === undefined) return this.#write(subscription);
    return new Promise((resolve) => waiting.push(resolve));
  }

  async #write(subscription: Subscription): Promise<Saved> {
    const waiting: Array<(saved: Saved) => void> = [];
    this.#writing.set(subscription, waiting);
    const state = stateOf(subscription, this.#events.moment());
    const saved = await this.#update(subscription, state);
    this.#writing.delete(subscription);
    if (waiting.length > 0) {
      const later = this.#isSaid(subscription, state, saved) ? Promise.resolve(saved) : this.#write(subscription);
      void later.then((result) => {
        for (const resolve of waiting) resolve(result);
      });
    }
    return saved;
  }

  /** True: another write would say nothing that this one did not. */
  #isSaid(subscription: Subscription, written: SubscriptionState, saved: Saved): boolean {
    if (saved !== "done") return saved === "lost";
    return isSame(written, stateOf(subscription, this.#events.moment()));
  }

  async #update(subscription: Subscription, state: SubscriptionState): Promise<Saved> {
    const owner = this.#owner();
    if (owner === null) return "away";
    try {
      const saved = await this.#store.update(owner, subscription.id, subscription.fence, state);
      if (saved === "lost") return saved;
    } catch (error) {
      return away(error);
    }
    this.#events.reserved(subscription, state);
    return "done";
  }

  /** Goes on trying until it was done, or the lease is over. */
  remove(id: string, fence: number): void {
    this.#leaving.set(id, fence);
    void this.#remove(id, fence);
  }

  isLeaving(id: string): boolean {
    return this.#leaving.has(id);
  }

  /** What could not be removed is tried again, some of it at a time. */
  retry(): void {
    let tried = 0;
    for (const [id, fence] of this.#leaving) {
      if (this.#removing.has(id)) continue;
      void this.#remove(id, fence);
      if (++tried === RETRIED) return;
    }
  }

  async #remove(id: string, fence: number): Promise<void> {
    const owner = this.#owner();
    if (owner === null) return;
    this.#removing.add(id);
    try {
      await this.#store.remove(owner, id, fence);
      this.#leaving.delete(id);
    } catch (error) {
      away(error);
    } finally {
      this.#removing.delete(id);
    }
  }

  /** The lease is over: nothing of this is ours any more. */
  clear(): void {
    this.#leaving.clear();
  }
}

const RETRIED = 1_000;
/** Milliseconds: one moment read from two clocks at different times is not quite the same. */
const CLOCKS_APART = 5;

function isSame(a: SubscriptionState, b: SubscriptionState): boolean {
  return (
    a.dialog === b.dialog &&
    Math.abs(a.expiresAt - b.expiresAt) <= CLOCKS_APART &&
    a.notifyReserved === b.notifyReserved &&
    a.leg === b.leg &&
    a.legServer === b.legServer &&
    a.legReserved === b.legReserved &&
    a.extendedEpoch === b.extendedEpoch
  );
}

function away(error: unknown): "away" {
  if (error instanceof DirectoryUnavailable) return "away";
  throw error;
}
