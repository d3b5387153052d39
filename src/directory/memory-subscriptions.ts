import type { UserRecord } from "./directory.ts";
import { GroupCommit } from "./group-commit.ts";
import { currentBinding, type Slot } from "./judge.ts";
import { contactIn, liveOwners, type MemoryAccess, type ProxyRow } from "./memory-leases.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { Statement } from "./memory-transaction.ts";
import { dropVisited } from "./memory-unions.ts";
import { isAor } from "./rows.ts";
import {
  FIRST_FENCE,
  type InsertOutcome,
  isHeld,
  type ListedSubscription,
  MOST_LISTED,
  MOST_OWNED,
  MOST_TAKEN,
  type OwnedSubscription,
  RESERVE,
  type SlotState,
  type StoredSubscription,
  type SubscriptionCount,
  type SubscriptionQuery,
  type SubscriptionState,
  type SubscriptionStore,
  type TakenSubscription,
} from "./subscriptions.ts";

interface SubscriptionRow extends ListedSubscription {
  /** Of the last update, as its owner counts them. */
  readonly revision: number;
}

interface InsertAsk {
  readonly owner: string;
  readonly subscription: Omit<StoredSubscription, "fence">;
  readonly known: boolean;
}

interface UpdateAsk {
  readonly owner: string;
  readonly id: string;
  readonly fence: number;
  readonly revision: number;
  readonly state: SubscriptionState;
}

interface RemoveAsk {
  readonly owner: string;
  readonly id: string;
  readonly fence: number;
}

const TABLE = "subscriptions";

/** The twin of `postgres/subscriptions.ts`. */
export class MemorySubscriptions implements SubscriptionStore {
  readonly #store: MemoryStore;
  readonly #access: MemoryAccess;
  readonly #inserts: GroupCommit<InsertAsk, InsertOutcome>;
  readonly #updates: GroupCommit<UpdateAsk, "done" | "lost">;
  readonly #removals: GroupCommit<RemoveAsk, undefined>;
  #revision = 0;

  constructor(store: MemoryStore, access: MemoryAccess) {
    this.#store = store;
    this.#access = access;
    const grouped = {
      maxBatch: 64,
      lanes: 2,
      maxWaiting: 100_000,
      splits: () => false,
      soon: (run: () => void) => void Promise.resolve().then(run),
    };
    this.#inserts = new GroupCommit({
      ...grouped,
      key: (ask) => ask.subscription.id,
      run: (batch) => this.#access.write((s) => this.#insertAll(s, batch)),
    });
    this.#updates = new GroupCommit({
      ...grouped,
      key: (ask) => ask.id,
      run: (batch) => this.#access.write((s) => this.#updateAll(s, batch)),
    });
    this.#removals = new GroupCommit({
      ...grouped,
      key: (ask) => ask.id,
      run: (batch) => this.#access.write((s) => this.#removeAll(s, batch)),
    });
  }

  async insert(owner: string, subscription: Omit<StoredSubscription, "fence">, known: boolean): Promise<InsertOutcome> {
    if (!isAor(subscription.aor)) return { outcome: "no-record" };
    return this.#inserts.submit({ owner, subscription, known });
  }

  update(owner: string, id: string, fence: number, state: SubscriptionState): Promise<"done" | "lost"> {
    return this.#updates.submit({ owner, id, fence, revision: ++this.#revision, state });
  }

  remove(owner: string, id: string, fence: number): Promise<void> {
    return this.#removals.submit({ owner, id, fence });
  }

  take(owner: string, limit: number): Promise<readonly TakenSubscription[]> {
    return this.#access.write(async (s) => {
      const live = liveOwners(s);
      const taken: TakenSubscription[] = [];
      if (!live.has(owner)) return taken;
      for (const [id, seen] of s.scan<SubscriptionRow>(TABLE)) {
        if (taken.length >= Math.min(limit, MOST_TAKEN)) break;
        if (live.has(seen.owner)) continue;
        const row = s.tryLock<SubscriptionRow>(TABLE, id);
        if (row === undefined || row.owner !== seen.owner) continue;
        if (row.expiresAt <= this.#now()) {
          await this.#drop(s, id);
          continue;
        }
        const next: SubscriptionRow = {
          ...row,
          owner,
          fence: row.fence + 1,
          revision: 0,
          ...this.#kept(row, {
            ...row,
            notifyReserved: row.notifyReserved + RESERVE,
            legReserved: row.legReserved + RESERVE,
          }),
        };
        s.write(TABLE, id, next);
        taken.push({ subscription: storedOf(next), slot: this.#slot(s, row.aor) });
      }
      return taken;
    });
  }

  owned(owner: string, after: string, limit: number): Promise<readonly OwnedSubscription[]> {
    return this.#access.ask(async (s) =>
      sorted(s, (row) => row.owner === owner && row.id > after)
        .slice(0, Math.min(limit, MOST_OWNED))
        .map(({ id, fence, extendedEpoch, aor }) => ({ id, fence, extendedEpoch, slot: this.#slot(s, aor) })),
    );
  }

  load(owner: string, ids: readonly string[]): Promise<readonly TakenSubscription[]> {
    return this.#access.ask(async (s) => {
      const rows = ids.slice(0, MOST_OWNED).map((id) => s.read<SubscriptionRow>(TABLE, id));
      return rows
        .filter((row): row is SubscriptionRow => row?.owner === owner)
        .map((row) => ({ subscription: storedOf(row), slot: this.#slot(s, row.aor) }));
    });
  }

  ownerOf(id: string): Promise<{ readonly owner: string; readonly contact: string | null } | null> {
    return this.#access.ask(async (s) => {
      const row = s.read<SubscriptionRow>(TABLE, id);
      return row === undefined ? null : { owner: row.owner, contact: contactIn(s, row.owner, this.#now()) };
    });
  }

  list(query: SubscriptionQuery): Promise<readonly ListedSubscription[]> {
    const { kind, aor, watcher, held, after = "" } = query;
    return this.#access.ask(async (s) =>
      sorted(
        s,
        (row) =>
          row.id > after &&
          (kind === undefined || row.kind === kind) &&
          (aor === undefined || row.aor === aor) &&
          (watcher === undefined || row.watcher === watcher) &&
          (held === undefined || (held ? isHeld(row) : row.leg !== null)),
      )
        .slice(0, Math.max(0, Math.min(query.limit, MOST_LISTED)))
        .map((row) => ({ ...storedOf(row), owner: row.owner })),
    );
  }

  count(): Promise<SubscriptionCount> {
    return this.#access.ask(async (s) => {
      const rows = s.scan<SubscriptionRow>(TABLE).map(([, row]) => row);
      const of = (kind: StoredSubscription["kind"]) => rows.filter((row) => row.kind === kind).length;
      const held = rows.filter(isHeld).length;
      return { held, live: of("presence") - held, composed: of("composed"), reg: of("reg"), winfo: of("winfo") };
    });
  }

  /** Expired rows of owners that are over, and what is known of those, once nothing is left of them. */
  async sweep(): Promise<void> {
    if (this.#store.table("proxies").size === 0) return;
    await this.#access.write(async (s) => {
      const live = liveOwners(s);
      const owners = new Set<string>();
      for (const [id, seen] of s.scan<SubscriptionRow>(TABLE)) {
        owners.add(seen.owner);
        if (live.has(seen.owner) || seen.expiresAt > this.#now()) continue;
        const row = s.tryLock<SubscriptionRow>(TABLE, id);
        if (row !== undefined && row.owner === seen.owner && row.expiresAt <= this.#now()) await this.#drop(s, id);
      }
      for (const [owner, row] of s.scan<ProxyRow>("proxies")) {
        if (!row.over || owners.has(owner) || row.leaseUntil > this.#now() - OVER_KEPT_MS) continue;
        if (s.tryLock("proxies", owner) !== undefined) s.write("proxies", owner, undefined);
      }
    });
  }

  async #insertAll(s: Statement, batch: readonly InsertAsk[]): Promise<InsertOutcome[]> {
    const live = liveOwners(s);
    const outcomes: InsertOutcome[] = [];
    for (const { owner, subscription, known } of batch) {
      const { id, aor } = subscription;
      const slot = this.#slot(s, aor);
      const repeated = s.read<SubscriptionRow>(TABLE, id)?.owner === owner;
      const nobody = known && !repeated && slot.epoch === 0 && s.read<UserRecord>("users", aor) === undefined;
      if (!live.has(owner)) outcomes.push({ outcome: "over" });
      else if (nobody) outcomes.push({ outcome: "no-record" });
      else {
        const there = await s.lock<SubscriptionRow>(TABLE, id);
        if (there === undefined) {
          s.write(TABLE, id, { ...subscription, owner, fence: FIRST_FENCE, revision: 0 } satisfies SubscriptionRow);
        }
        outcomes.push({ outcome: "inserted", slot });
      }
    }
    return outcomes;
  }

  async #updateAll(s: Statement, batch: readonly UpdateAsk[]): Promise<Array<"done" | "lost">> {
    const answers: Array<"done" | "lost"> = [];
    for (const { owner, id, fence, revision, state } of batch) {
      const row = await s.lock<SubscriptionRow>(TABLE, id);
      const mine = row !== undefined && this.#isTheirs(row, owner, fence) && row.revision < revision;
      if (mine) s.write(TABLE, id, { ...row, ...this.#kept(row, state), revision } satisfies SubscriptionRow);
      answers.push(mine ? "done" : "lost");
    }
    return answers;
  }

  async #removeAll(s: Statement, batch: readonly RemoveAsk[]): Promise<undefined[]> {
    for (const { owner, id, fence } of batch) {
      const row = await s.lock<SubscriptionRow>(TABLE, id);
      if (row !== undefined && this.#isTheirs(row, owner, fence)) await this.#drop(s, id);
    }
    return batch.map(() => undefined);
  }

  /** With what it visits. Locked before. */
  async #drop(s: Statement, id: string): Promise<void> {
    s.write(TABLE, id, undefined);
    await dropVisited(this.#store, s, id);
  }

  #isTheirs(row: SubscriptionRow, owner: string, fence: number): boolean {
    return this.#store.options.unsafeWithoutFences || (row.owner === owner && row.fence === fence);
  }

  /** Nothing but the state, whatever else the object has. */
  #kept(row: SubscriptionRow, state: SubscriptionState): SubscriptionState {
    const { dialog, expiresAt, notifyReserved, leg, legServer, legReserved, extendedEpoch } = state;
    const reserves = this.#store.options.unsafeWithoutReserves ? row : { notifyReserved, legReserved };
    const { notifyReserved: notify, legReserved: ofLeg } = reserves;
    return { dialog, expiresAt, notifyReserved: notify, leg, legServer, legReserved: ofLeg, extendedEpoch };
  }

  #slot(s: Statement, aor: string): SlotState {
    const { epoch, binding } = currentBinding(aor, s.read<Slot>("slots", aor), this.#now());
    return { server: binding?.server ?? null, epoch };
  }

  #now(): number {
    return this.#store.runtime.clock.wall();
  }
}

const OVER_KEPT_MS = 86_400_000;

function sorted(s: Statement, wanted: (row: SubscriptionRow) => boolean): SubscriptionRow[] {
  const rows = s.scan<SubscriptionRow>(TABLE).map(([, row]) => row);
  return rows.filter(wanted).sort((a, b) => (a.id < b.id ? -1 : 1));
}

function storedOf(row: SubscriptionRow): StoredSubscription {
  const { owner: _owner, revision: _revision, ...stored } = row;
  return stored;
}
