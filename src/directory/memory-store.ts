import { DirectoryUnavailable } from "../base/errors.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Change } from "./directory.ts";
import { ChangeLog, type StoredChange } from "./memory-changes.ts";
import { type Statement, Transaction } from "./memory-transaction.ts";

/**
 * A small model of PostgreSQL under READ COMMITTED, for the simulation: a statement reads one snapshot, taken when it
 * starts; a row lock waits for the transaction that holds it and then yields the newest committed row; ids of the change
 * feed are taken before the commit; an answer to a commit can be lost. A store that was simply serial could prove nothing.
 */

export interface MemoryOptions {
  /** Milliseconds a statement takes to reach the database and as many back, drawn per statement. Default [0, 0]. */
  readonly latencyMs?: readonly [number, number];
  /** In how many of 1000 commits the answer is lost: the caller is told DirectoryUnavailable, the commit stands. Default 0. */
  readonly lostAnswers?: number;
  /** A transaction waits this long for a row lock, then gives up. Default 5000. */
  readonly lockTimeoutMs?: number;
  /** Rows of the feed kept for the slowest reader; one that is further behind is reset. Default 10,000. */
  readonly changesKept?: number;
  /** For tests only: verbs read the slot from their snapshot in place of locking it. The races are then to be seen. */
  readonly unsafeWithoutLocks?: boolean;
  /** For tests only: updates and removals of subscriptions do not ask whose the row is. */
  readonly unsafeWithoutFences?: boolean;
  /** For tests only: Call-ID and CSeq of a claim are not looked at, so that a late refresh claims. */
  readonly unsafeRefreshClaims?: boolean;
  /** For tests only: the CSeqs that rows reserve are those of their insert. */
  readonly unsafeWithoutReserves?: boolean;
  /** For tests only: a stored message is removed when a server is about to be asked, before its 2xx. */
  readonly unsafeRemovesFirst?: boolean;
  /** For tests only: what comes in takes no visited rows. */
  readonly unsafeWithoutVisited?: boolean;
  /** For tests only: the visited rows of what has ended are not kept. */
  readonly unsafeForgetsGone?: boolean;
  /** For tests only: a credit that was spent can be spent again. */
  readonly unsafeUnspent?: boolean;
}

interface Version {
  readonly seq: number;
  readonly value: unknown;
}

const LOSSES_KEPT = 10_000;

export interface Row {
  versions: Version[];
  owner: Transaction | null;
  readonly waiters: Array<() => void>;
}

export class MemoryStore {
  readonly runtime: Runtime;
  readonly options: Required<MemoryOptions>;
  readonly log: ChangeLog;
  /** Who lost whom, in the order of the commits: the outbox forgets what everybody has read. */
  readonly losses: Array<{ readonly aor: string; readonly server: string; readonly at: number }> = [];
  readonly #tables = new Map<string, Map<string, Row>>();
  readonly #snapshots = new Map<number, number>();
  readonly #committed = new Set<() => void>();
  #seq = 0;
  #nextAuditId = 1;
  #away = false;
  #loseNext = 0;

  constructor(runtime: Runtime, options: MemoryOptions) {
    this.runtime = runtime;
    this.options = {
      latencyMs: options.latencyMs ?? [0, 0],
      lostAnswers: options.lostAnswers ?? 0,
      lockTimeoutMs: options.lockTimeoutMs ?? 5000,
      changesKept: options.changesKept ?? 10_000,
      unsafeWithoutLocks: options.unsafeWithoutLocks ?? false,
      unsafeWithoutFences: options.unsafeWithoutFences ?? false,
      unsafeRefreshClaims: options.unsafeRefreshClaims ?? false,
      unsafeWithoutReserves: options.unsafeWithoutReserves ?? false,
      unsafeRemovesFirst: options.unsafeRemovesFirst ?? false,
      unsafeWithoutVisited: options.unsafeWithoutVisited ?? false,
      unsafeForgetsGone: options.unsafeForgetsGone ?? false,
      unsafeUnspent: options.unsafeUnspent ?? false,
    };
    this.log = new ChangeLog(this.options.changesKept);
  }

  get isAway(): boolean {
    return this.#away;
  }

  setAway(away: boolean): void {
    this.#away = away;
  }

  loseNextAnswers(count: number): void {
    this.#loseNext = count;
  }

  onCommit(run: () => void): () => void {
    this.#committed.add(run);
    return () => this.#committed.delete(run);
  }

  /** One way of the wire. */
  async travel(): Promise<void> {
    const [least, most] = this.options.latencyMs;
    if (most <= 0) {
      await Promise.resolve();
      return;
    }
    const ms = least + this.runtime.random.integer(Math.max(1, Math.round((most - least) * 1000) + 1)) / 1000;
    await new Promise<void>((resolve) => {
      this.runtime.timers.after(ms, resolve);
    });
  }

  reach(): void {
    if (this.#away) throw new DirectoryUnavailable("The database does not answer (simulated).");
  }

  begin(): Transaction {
    return new Transaction(this);
  }

  /** A statement that writes nothing. */
  async ask<T>(work: (statement: Statement) => Promise<T>): Promise<T> {
    const transaction = this.begin();
    try {
      return await transaction.statement(work);
    } finally {
      transaction.rollback();
    }
  }

  /** Statement and commit in one round trip. */
  async autocommit<T>(work: (statement: Statement) => Promise<T>): Promise<T> {
    const transaction = this.begin();
    await this.travel();
    try {
      this.reach();
      const result = await transaction.execute(work);
      transaction.apply();
      await this.#answer();
      return result;
    } catch (error) {
      transaction.rollback();
      throw error;
    }
  }

  async #answer(): Promise<void> {
    const lost = this.#loseNext > 0 || this.runtime.random.integer(1000) < this.options.lostAnswers;
    if (this.#loseNext > 0) this.#loseNext--;
    await this.travel();
    if (lost) throw new DirectoryUnavailable("The answer to a commit was lost (simulated).");
    this.reach();
  }

  async commit(transaction: Transaction): Promise<void> {
    await this.travel();
    try {
      this.reach();
    } catch (error) {
      transaction.rollback();
      throw error;
    }
    transaction.apply();
    await this.#answer();
  }

  /** From a sequence: taken before the commit, never given back. */
  takeAuditId(): number {
    return this.#nextAuditId++;
  }

  row(table: string, key: string): Row {
    const rows = this.table(table);
    let row = rows.get(key);
    if (row === undefined) {
      row = { versions: [], owner: null, waiters: [] };
      rows.set(key, row);
    }
    return row;
  }

  table(name: string): Map<string, Row> {
    let rows = this.#tables.get(name);
    if (rows === undefined) {
      rows = new Map();
      this.#tables.set(name, rows);
    }
    return rows;
  }

  newest(name: string): Array<[string, unknown]> {
    return [...this.table(name)]
      .map(([key, row]): [string, unknown] => [key, row.versions.at(-1)?.value])
      .filter(([, value]) => value !== undefined);
  }

  snapshot(): number {
    this.#snapshots.set(this.#seq, (this.#snapshots.get(this.#seq) ?? 0) + 1);
    return this.#seq;
  }

  release(seq: number): void {
    const count = (this.#snapshots.get(seq) ?? 1) - 1;
    if (count === 0) this.#snapshots.delete(seq);
    else this.#snapshots.set(seq, count);
  }

  /** Makes a transaction's writes the newest committed rows, at one moment. */
  install(
    xid: number | null,
    writes: ReadonlyArray<readonly [string, string, unknown]>,
    changes: readonly StoredChange[],
  ): void {
    const seq = ++this.#seq;
    let oldest = seq;
    for (const each of this.#snapshots.keys()) if (each < oldest) oldest = each;
    for (const [table, key, value] of writes) {
      const row = this.row(table, key);
      const needed = row.versions.findLastIndex((version) => version.seq <= oldest);
      row.versions = [...row.versions.slice(Math.max(0, needed)), { seq, value }];
    }
    for (const each of changes) {
      each.committed = true;
      if (each.change.kind === "binding") this.#lose(each.change);
    }
    this.log.finish(xid);
    if (changes.length > 0) for (const run of [...this.#committed]) run();
  }

  #lose({ aor, server, previous }: Change & { readonly kind: "binding" }): void {
    if (previous === null || previous === server) return;
    this.losses.push({ aor, server: previous, at: this.runtime.clock.wall() });
    if (this.losses.length > LOSSES_KEPT) this.losses.shift();
  }

  dropIfDead(table: string, key: string): void {
    const row = this.table(table).get(key);
    if (row === undefined || row.owner !== null || row.waiters.length > 0 || this.#snapshots.size > 0) return;
    const newest = row.versions.at(-1);
    if (newest === undefined || newest.value === undefined) this.table(table).delete(key);
  }
}
