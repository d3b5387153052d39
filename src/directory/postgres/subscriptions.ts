import type { Runtime } from "../../runtime/runtime.ts";
import { GroupCommit } from "../group-commit.ts";
import { isAor } from "../rows.ts";
import {
  type InsertOutcome,
  type ListedSubscription,
  MOST_LISTED,
  MOST_OWNED,
  MOST_TAKEN,
  type OwnedSubscription,
  RESERVE,
  type StoredSubscription,
  type SubscriptionCount,
  type SubscriptionQuery,
  type SubscriptionState,
  type SubscriptionStore,
  type TakenSubscription,
} from "../subscriptions.ts";
import {
  askOfInsert,
  INSERT_SUBSCRIPTIONS,
  type InsertAsk,
  type InsertRow,
  outcomeOfInsert,
} from "./insert-subscriptions.ts";
import { isConnectionFailure, type Pool } from "./pool.ts";
import {
  COUNT_SUBSCRIPTIONS,
  LOAD_SUBSCRIPTIONS,
  listVerb,
  OWNED_SUBSCRIPTIONS,
  OWNER_OF_SUBSCRIPTION,
} from "./query-subscriptions.ts";
import { askOfRemoval, REMOVE_SUBSCRIPTIONS, type RemoveAsk } from "./remove-subscriptions.ts";
import { listedOf, type SlotRow, type SubscriptionRow, takenOf } from "./subscription-rows.ts";
import { type TakenRow, takeSubscriptions } from "./take-subscriptions.ts";
import { askOfUpdate, UPDATE_SUBSCRIPTIONS, type UpdateAsk } from "./update-subscriptions.ts";

export interface SubscriptionsOptions {
  /** Rows in one statement at most. Default 64. */
  readonly batch?: number;
  /** Who waits at most, for each kind of statement. Default 100,000. */
  readonly maxWaiting?: number;
}

interface OwnedRow extends SlotRow {
  readonly id: string;
  readonly fence: number;
  readonly extended_epoch: number;
}

/** Subscriptions on PostgreSQL. Every verb is one statement; inserts, updates and removals of one moment share theirs. */
export class PostgresSubscriptions implements SubscriptionStore {
  readonly #pool: Pool;
  readonly #inserts: GroupCommit<InsertAsk, InsertOutcome>;
  readonly #updates: GroupCommit<UpdateAsk, "done" | "lost">;
  readonly #removals: GroupCommit<RemoveAsk, undefined>;
  #revision = 0;

  constructor(runtime: Runtime, pool: Pool, options: SubscriptionsOptions = {}) {
    this.#pool = pool;
    const grouped = {
      maxBatch: options.batch ?? 64,
      lanes: 2,
      maxWaiting: options.maxWaiting ?? 100_000,
      splits: (error: unknown) => !isConnectionFailure((error as Error).cause),
      soon: (run: () => void) => runtime.timers.soon(run),
    };
    this.#inserts = new GroupCommit({
      ...grouped,
      key: (ask) => ask.subscription.id,
      run: (batch) => this.#insertAll(batch),
    });
    this.#updates = new GroupCommit({ ...grouped, key: (ask) => ask.id, run: (batch) => this.#updateAll(batch) });
    this.#removals = new GroupCommit({ ...grouped, key: (ask) => ask.id, run: (batch) => this.#removeAll(batch) });
  }

  async insert(owner: string, subscription: Omit<StoredSubscription, "fence">, known: boolean): Promise<InsertOutcome> {
    // One that cannot be stored must not spoil the statement it would share.
    if (!isAor(subscription.aor)) return { outcome: "no-record" };
    return this.#inserts.submit({ owner, subscription, known });
  }

  update(owner: string, id: string, fence: number, state: SubscriptionState): Promise<"done" | "lost"> {
    return this.#updates.submit({ owner, id, fence, revision: ++this.#revision, state });
  }

  remove(owner: string, id: string, fence: number): Promise<void> {
    return this.#removals.submit({ owner, id, fence });
  }

  async take(owner: string, limit: number): Promise<readonly TakenSubscription[]> {
    const most = Math.max(1, Math.min(Math.trunc(limit), MOST_TAKEN));
    for (;;) {
      const rows = await this.#pool.run<TakenRow>(takeSubscriptions(most), [owner, RESERVE]);
      const taken = rows.filter((row): row is SubscriptionRow & SlotRow => row.id !== null);
      // Nothing but expired ones: there may be others behind them.
      if (taken.length > 0 || rows.length < most) return taken.map(takenOf);
    }
  }

  async owned(owner: string, after: string, limit: number): Promise<readonly OwnedSubscription[]> {
    const rows = await this.#pool.run<OwnedRow>(OWNED_SUBSCRIPTIONS, [owner, after, clamp(limit, MOST_OWNED)]);
    return rows.map(({ id, fence, extended_epoch, server, epoch }) => ({
      id,
      fence,
      extendedEpoch: extended_epoch,
      slot: { server, epoch },
    }));
  }

  async load(owner: string, ids: readonly string[]): Promise<readonly TakenSubscription[]> {
    const rows = await this.#pool.run<SubscriptionRow & SlotRow>(LOAD_SUBSCRIPTIONS, [owner, ids.slice(0, MOST_OWNED)]);
    return rows.map(takenOf);
  }

  async ownerOf(id: string): Promise<{ readonly owner: string; readonly contact: string | null } | null> {
    // It comes from a tag of anybody's.
    if (id.includes("\0")) return null;
    const [row] = await this.#pool.run<{ owner: string; contact: string | null }>(OWNER_OF_SUBSCRIPTION, [id]);
    return row === undefined ? null : { owner: row.owner, contact: row.contact };
  }

  async list(query: SubscriptionQuery): Promise<readonly ListedSubscription[]> {
    const { after = "", kind = null, aor = null, watcher = null, held = null } = query;
    const values = [after, kind, aor, watcher, held, clamp(query.limit, MOST_LISTED)];
    return (await this.#pool.run<SubscriptionRow>(listVerb(query), values)).map(listedOf);
  }

  async count(): Promise<SubscriptionCount> {
    const [row] = await this.#pool.run<SubscriptionCount>(COUNT_SUBSCRIPTIONS, []);
    const { held = 0, live = 0, composed = 0, reg = 0, winfo = 0 } = row ?? {};
    return { held, live, composed, reg, winfo };
  }

  async #insertAll(batch: readonly InsertAsk[]): Promise<InsertOutcome[]> {
    const rows = await this.#pool.run<InsertRow>(INSERT_SUBSCRIPTIONS, [JSON.stringify(batch.map(askOfInsert))]);
    const byId = new Map(rows.map((row) => [row.id, row]));
    return batch.map((ask) => outcomeOfInsert(byId.get(ask.subscription.id) as InsertRow));
  }

  async #updateAll(batch: readonly UpdateAsk[]): Promise<Array<"done" | "lost">> {
    const rows = await this.#pool.run<{ id: string }>(UPDATE_SUBSCRIPTIONS, [JSON.stringify(batch.map(askOfUpdate))]);
    const done = new Set(rows.map((row) => row.id));
    return batch.map((ask) => (done.has(ask.id) ? "done" : "lost"));
  }

  async #removeAll(batch: readonly RemoveAsk[]): Promise<undefined[]> {
    await this.#pool.run(REMOVE_SUBSCRIPTIONS, [JSON.stringify(batch.map(askOfRemoval))]);
    return batch.map(() => undefined);
  }
}

function clamp(limit: number, most: number): number {
  return Math.max(0, Math.min(Math.trunc(limit), most));
}
