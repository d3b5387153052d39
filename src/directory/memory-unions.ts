import { DirectoryUnavailable } from "../base/errors.ts";
import { currentBinding, type Slot } from "./judge.ts";
import { judgeEntry, type Noted, noteReturn } from "./judge-entry.ts";
import { liveOwners, type MemoryAccess } from "./memory-leases.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { Statement, Transaction } from "./memory-transaction.ts";
import { isAor } from "./rows.ts";
import { FIRST_FENCE, type ListedSubscription, type StoredSubscription } from "./subscriptions.ts";
import { enteredBefore, fateOf, grantRows, nameOf } from "./union-rows.ts";
import {
  type Credit,
  type EnterOutcome,
  type Entry,
  type Fate,
  FRESH_MS,
  type Grant,
  KEPT_MS,
  type Pair,
  RETURNED_MS,
  SENT_ON_MS,
  type UnionStore,
  type Visited,
} from "./unions.ts";

interface VisitedRow extends Omit<Visited, "fresh"> {
  readonly place: number;
  readonly keptUntil: number;
}

/** All that one subscription visits: key is its id. */
interface HolderRow extends Pair {
  readonly rows: readonly VisitedRow[];
}

interface CreditRow extends Credit {
  readonly n: number;
  readonly until: number;
  readonly underWay: boolean;
  readonly spentBy: string | null;
}

const VISITED = "visited";
const CREDITS = "credits";
const SUBSCRIPTIONS = "subscriptions";
/** The locks by number of `postgres/lock-pair.ts`: keys without rows. */
const PAIRS = "pairs";

/** The twin of `postgres/unions.ts`. */
export class MemoryUnions implements UnionStore {
  readonly #store: MemoryStore;
  readonly #access: MemoryAccess;
  readonly #guard: <T>(answer: Promise<T>) => Promise<T>;

  constructor(store: MemoryStore, access: MemoryAccess, guard: <T>(answer: Promise<T>) => Promise<T>) {
    this.#store = store;
    this.#access = access;
    this.#guard = guard;
  }

  async enter(owner: string, subscription: Omit<StoredSubscription, "fence">, entry: Entry): Promise<EnterOutcome> {
    const { id, aor, watcher } = subscription;
    if (!isAor(aor) || !isAor(watcher)) throw new DirectoryUnavailable("A name that cannot be a key watches nobody.");
    return this.#transaction<EnterOutcome>(async (transaction) => {
      await transaction.statement((s) => s.lock(PAIRS, pairKey(subscription)));
      const { known, rows, slot } = await transaction.statement(async (s) => {
        const { epoch, binding } = currentBinding(aor, s.read<Slot>("slots", aor), this.#now());
        return {
          known: s.read(SUBSCRIPTIONS, id) !== undefined,
          rows: this.#rowsOf(s, subscription),
          slot: { server: binding?.server ?? null, epoch },
        };
      });
      if (known) return { ...enteredBefore(id, rows), slot };
      const judged = judgeEntry(id, entry, rows);
      const noted = noteReturn(entry, rows, judged.chain === id);
      if (noted.length > 0) await transaction.statement((s) => this.#note(s, noted));
      if (judged.outcome === "loop") return judged;
      const { chain, servers } = judged;
      const isIn = await transaction.statement((s) => this.#put(s, owner, subscription, entry, chain, servers));
      return isIn ? { ...judged, slot } : { outcome: "over" };
    });
  }

  visit(
    owner: string,
    holder: string,
    fence: number,
    server: string,
    evidence: string | null,
  ): Promise<"taken" | "visited" | "lost"> {
    return this.#transaction(async (transaction) => {
      const pair = await transaction.statement(async (s) => {
        const row = s.read<ListedSubscription>(SUBSCRIPTIONS, holder);
        if (row !== undefined) await s.lock(PAIRS, pairKey(row));
        return row;
      });
      if (pair === undefined) return "lost";
      return transaction.statement(async (s) => {
        if (!(await this.#holds(s, owner, holder, fence))) return "lost";
        const own = await s.lock<HolderRow>(VISITED, holder);
        const start = own?.rows.find((row) => row.role === "start");
        if (own === undefined || start === undefined) return "lost";
        if (own.rows.some((row) => row.role === "leg" && row.server === server && !row.gone)) return "taken";
        const { chain } = start;
        if (this.#rowsOf(s, own).some((row) => row.chain === chain && row.server === server && !row.gone))
          return "visited";
        const leg = this.#row({ chain, server, role: "leg", holder, evidence });
        s.write(VISITED, holder, { ...own, rows: [...own.rows, leg] } satisfies HolderRow);
        return "taken";
      });
    });
  }

  leave(owner: string, holder: string, fence: number, server: string): Promise<void> {
    return this.#access.write(async (s) => {
      if (!(await this.#holds(s, owner, holder, fence))) return;
      const own = await s.lock<HolderRow>(VISITED, holder);
      if (own === undefined) return;
      const rows = own.rows.map((row) => (row.role === "leg" && row.server === server ? { ...row, gone: true } : row));
      s.write(VISITED, holder, { ...own, rows } satisfies HolderRow);
    });
  }

  visited(pair: Pair): Promise<readonly Visited[]> {
    return this.#access.ask(async (s) => this.#rowsOf(s, pair));
  }

  async grant(id: string, credits: readonly Grant[], until: number): Promise<void> {
    const rows = grantRows(credits);
    if (rows.length === 0) return;
    await this.#access.write(async (s) => {
      for (const { count, ...credit } of rows) {
        for (let n = 1; n <= count; n++) {
          const key = `${nameOf(id)}/${credit.server}/${n}`;
          if ((await s.lock(CREDITS, key)) !== undefined) continue;
          s.write(CREDITS, key, { ...credit, n, until, spentBy: null } satisfies CreditRow);
        }
      }
    });
  }

  async arrived(id: string, server: string): Promise<void> {
    await this.#eachOf(id, server, (row) => {
      if (!row.underWay) return row;
      const until = row.spentBy === null ? Math.min(row.until, this.#now() + SENT_ON_MS) : row.until;
      return { ...row, underWay: false, until };
    });
  }

  async revoke(id: string, server: string): Promise<void> {
    await this.#eachOf(id, server, (row) => (row.spentBy === null || row.underWay ? undefined : row));
  }

  async #eachOf(id: string, server: string, change: (row: CreditRow) => CreditRow | undefined): Promise<void> {
    await this.#access.write(async (s) => {
      const start = `${nameOf(id)}/${server}/`;
      for (const [key, seen] of s.scan<CreditRow>(CREDITS)) {
        if (!key.startsWith(start) || change(seen) === seen) continue;
        const row = await s.lock<CreditRow>(CREDITS, key);
        if (row !== undefined && change(row) !== row) s.write(CREDITS, key, change(row));
      }
    });
  }

  fate(credit: Credit, by: string): Promise<Fate> {
    const name = nameOf(by);
    return this.#access.ask(async (s) => {
      const isIts = (row: CreditRow) => isOf(row, credit) && row.until > this.#now() && row.spentBy === name;
      const rows = s.scan<CreditRow>(CREDITS).filter(([, row]) => isIts(row));
      return fateOf(rows.map(([, row]) => row.underWay));
    });
  }

  async spend(credit: Credit, by: string): Promise<boolean> {
    if (!isAor(credit.aor) || !isAor(credit.watcher)) return false;
    const name = nameOf(by);
    return this.#access.write(async (s) => {
      const now = this.#now();
      const canBe = (row: CreditRow) => row.until > now && (row.spentBy === null || row.spentBy === name);
      const found = s
        .scan<CreditRow>(CREDITS)
        .filter(([, row]) => isOf(row, credit) && canBe(row))
        .sort(
          ([a, x], [b, y]) =>
            Number(x.spentBy === null) - Number(y.spentBy === null) || x.until - y.until || (a < b ? -1 : 1),
        );
      for (const [key] of found) {
        const row = await s.lock<CreditRow>(CREDITS, key);
        if (row === undefined || !canBe(row)) continue;
        const spent = this.#store.options.unsafeUnspent ? `${key}/${name}` : key;
        if (spent !== key) await s.lock(CREDITS, spent);
        s.write(CREDITS, spent, { ...row, spentBy: name } satisfies CreditRow);
        return true;
      }
      return false;
    });
  }

  /** What has lapsed. */
  async sweep(): Promise<void> {
    if (this.#store.table(CREDITS).size === 0 && this.#store.table(VISITED).size === 0) return;
    await this.#access.write(async (s) => {
      for (const [holder, seen] of s.scan<HolderRow>(VISITED)) {
        if (!seen.rows.some((row) => this.#hasLapsed(row))) continue;
        const own = await s.lock<HolderRow>(VISITED, holder);
        const rows = own?.rows.filter((row) => !this.#hasLapsed(row)) ?? [];
        s.write(VISITED, holder, own === undefined || rows.length === 0 ? undefined : { ...own, rows });
      }
      for (const [key, row] of s.scan<CreditRow>(CREDITS)) {
        if (row.until >= this.#now()) continue;
        await s.lock(CREDITS, key);
        s.write(CREDITS, key, undefined);
      }
    });
  }

  async #put(
    s: Statement,
    owner: string,
    subscription: Omit<StoredSubscription, "fence">,
    { origin, evidence, sent }: Entry,
    chain: string,
    servers: readonly string[],
  ): Promise<boolean> {
    const { id: holder, watcher, aor, event } = subscription;
    if (!liveOwners(s).has(owner)) return false;
    await s.lock(SUBSCRIPTIONS, holder);
    s.write(SUBSCRIPTIONS, holder, { ...subscription, owner, fence: FIRST_FENCE, revision: 0 });
    const start = this.#row({ chain, server: origin, role: "start", holder, evidence });
    const legs = servers.map((server) => this.#row({ chain, server, role: "leg", holder, evidence: sent }));
    const before = (await s.lock<HolderRow>(VISITED, holder))?.rows ?? [];
    if (this.#store.options.unsafeWithoutVisited) return true;
    s.write(VISITED, holder, { watcher, aor, event, rows: [...before, start, ...legs] } satisfies HolderRow);
    return true;
  }

  /** Whether the subscription is its owner's, and locked for this statement's transaction. */
  async #holds(s: Statement, owner: string, holder: string, fence: number): Promise<boolean> {
    const row = await s.lock<ListedSubscription>(SUBSCRIPTIONS, holder);
    return row !== undefined && row.owner === owner && row.fence === fence;
  }

  async #transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const transaction = this.#store.begin();
    try {
      return await this.#guard(
        (async () => {
          const result = await work(transaction);
          await transaction.commit();
          return result;
        })(),
      );
    } finally {
      transaction.rollback();
    }
  }

  async #note(s: Statement, noted: readonly Noted[]): Promise<void> {
    const until = this.#now() + RETURNED_MS;
    for (const { row, echoed } of noted) {
      const own = await s.lock<HolderRow>(VISITED, row.holder);
      if (own === undefined) continue;
      const rows = own.rows.map((each) =>
        each.role === "leg" && each.server === row.server
          ? { ...each, echoed, returned: true, keptUntil: Math.min(each.keptUntil, until) }
          : each,
      );
      s.write(VISITED, row.holder, { ...own, rows } satisfies HolderRow);
    }
  }

  #row(row: Omit<VisitedRow, "echoed" | "returned" | "gone" | "place" | "keptUntil">): VisitedRow {
    const place = this.#store.takeAuditId();
    return { ...row, echoed: false, returned: false, gone: false, place, keptUntil: this.#now() + KEPT_MS };
  }

  #rowsOf(s: Statement, pair: Pair): Visited[] {
    return s
      .scan<HolderRow>(VISITED)
      .flatMap(([, row]) => (pairKey(row) === pairKey(pair) ? row.rows : []))
      .filter((row) => !this.#hasLapsed(row))
      .sort((a, b) => a.place - b.place)
      .map(({ place: _, keptUntil, ...row }) => ({ ...row, fresh: row.role === "start" && this.#isFresh(keptUntil) }));
  }

  #isFresh(keptUntil: number): boolean {
    return keptUntil > this.#now() + KEPT_MS - FRESH_MS;
  }

  #hasLapsed(row: VisitedRow): boolean {
    return row.gone && (row.keptUntil <= this.#now() || this.#store.options.unsafeForgetsGone);
  }

  #now(): number {
    return this.#store.runtime.clock.wall();
  }
}

/** The foreign key's `on delete set null`, in the statement that removes the subscription and has locked it. */
export async function dropVisited(store: MemoryStore, s: Statement, holder: string): Promise<void> {
  if (!store.table(VISITED).has(holder)) return;
  const own = await s.lock<HolderRow>(VISITED, holder);
  const legs = own?.rows.filter((row) => row.role === "leg").map((row) => ({ ...row, gone: true })) ?? [];
  s.write(VISITED, holder, own === undefined || legs.length === 0 ? undefined : { ...own, rows: legs });
}

function pairKey({ aor, watcher, event }: Pair): string {
  return `${aor}\n${watcher}\n${event}`;
}

function isOf(row: Credit, credit: Credit): boolean {
  return row.server === credit.server && row.digest === credit.digest && pairKey(row) === pairKey(credit);
}
