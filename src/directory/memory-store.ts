import { DirectoryUnavailable } from "../base/errors.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Change } from "./directory.ts";

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
}

interface Version {
  readonly seq: number;
  readonly value: unknown;
}

interface Row {
  versions: Version[];
  owner: Transaction | null;
  readonly waiters: Array<() => void>;
}

export interface StoredChange {
  readonly xid: number;
  readonly id: number;
  readonly change: Change;
  committed: boolean;
}

/** A reader of the feed: the last (xid, id) it was given, read in that order (concurrency.md 5). */
export interface FeedReader {
  cursor: { xid: number; id: number };
  /** Rows it had not read are gone. */
  lost: boolean;
}

export class MemoryStore {
  readonly runtime: Runtime;
  readonly options: Required<MemoryOptions>;
  readonly #tables = new Map<string, Map<string, Row>>();
  readonly #snapshots = new Map<number, number>();
  readonly #openXids = new Set<number>();
  readonly #committed = new Set<() => void>();
  readonly #readers = new Set<FeedReader>();
  #changes: StoredChange[] = [];
  #seq = 0;
  #nextXid = 1;
  #nextId = 1;
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
    };
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

  get openTransactions(): number {
    return this.#openXids.size;
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
    const result = await transaction.statement(work);
    transaction.rollback();
    return result;
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

  /** From here on: every row whose transaction is not over yet, or not begun. */
  openReader(): FeedReader {
    const reader: FeedReader = { cursor: { xid: this.xmin(), id: 0 }, lost: false };
    this.#readers.add(reader);
    return reader;
  }

  closeReader(reader: FeedReader): void {
    this.#readers.delete(reader);
    this.#prune();
  }

  /** What a reader may see: committed, past its cursor, and older than every open transaction. `held`: there is more. */
  feed(reader: FeedReader): { changes: readonly StoredChange[]; held: boolean } {
    const xmin = this.xmin();
    const passed = this.#changes.filter((each) => each.committed && after(each, reader.cursor));
    const changes = passed.filter((each) => each.xid < xmin).sort((a, b) => a.xid - b.xid || a.id - b.id);
    const last = changes.at(-1);
    if (last !== undefined) reader.cursor = { xid: last.xid, id: last.id };
    this.#prune();
    return { changes, held: changes.length < passed.length };
  }

  #prune(): void {
    const readers = [...this.#readers];
    this.#changes = this.#changes.filter(
      (each) => !each.committed || readers.some((reader) => after(each, reader.cursor)),
    );
    const excess = this.#changes.length - this.options.changesKept;
    if (excess <= 0) return;
    const dropped = this.#changes.splice(0, excess);
    for (const reader of readers) if (dropped.some((each) => after(each, reader.cursor))) reader.lost = true;
  }

  xmin(): number {
    let least = this.#nextXid;
    for (const xid of this.#openXids) if (xid < least) least = xid;
    return least;
  }

  takeXid(): number {
    const xid = this.#nextXid++;
    this.#openXids.add(xid);
    return xid;
  }

  /** From a sequence: taken before the commit, never given back. */
  takeAuditId(): number {
    return this.#nextAuditId++;
  }

  record(xid: number, change: Change): StoredChange {
    const stored: StoredChange = { xid, id: this.#nextId++, change, committed: false };
    this.#changes.push(stored);
    return stored;
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
    for (const change of changes) change.committed = true;
    this.finish(xid);
    if (changes.length > 0) for (const run of [...this.#committed]) run();
  }

  finish(xid: number | null): void {
    if (xid !== null) this.#openXids.delete(xid);
  }

  abandon(changes: readonly StoredChange[]): void {
    if (changes.length > 0) this.#changes = this.#changes.filter((each) => !changes.includes(each));
  }

  dropIfDead(table: string, key: string): void {
    const row = this.table(table).get(key);
    if (row === undefined || row.owner !== null || row.waiters.length > 0 || this.#snapshots.size > 0) return;
    const newest = row.versions.at(-1);
    if (newest === undefined || newest.value === undefined) this.table(table).delete(key);
  }
}

export class Transaction {
  readonly #store: MemoryStore;
  readonly #writes = new Map<string, readonly [string, string, unknown]>();
  readonly #locks = new Map<string, readonly [string, string, Row]>();
  readonly #changes: StoredChange[] = [];
  #xid: number | null = null;
  #over = false;

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  async statement<T>(work: (statement: Statement) => Promise<T>): Promise<T> {
    await this.#store.travel();
    this.#store.reach();
    const result = await this.execute(work);
    await this.#store.travel();
    this.#store.reach();
    return result;
  }

  async execute<T>(work: (statement: Statement) => Promise<T>): Promise<T> {
    const seq = this.#store.snapshot();
    try {
      return await work(new Statement(this, seq));
    } finally {
      this.#store.release(seq);
    }
  }

  read(table: string, key: string, seq: number): unknown {
    const own = this.#writes.get(`${table}/${key}`);
    if (own !== undefined) return own[2];
    const row = this.#store.table(table).get(key);
    return row?.versions.findLast((version) => version.seq <= seq)?.value;
  }

  keys(table: string): string[] {
    return [...this.#store.table(table).keys()];
  }

  async lock(table: string, key: string, seq: number): Promise<unknown> {
    if (this.#store.options.unsafeWithoutLocks) {
      const value = this.read(table, key, seq);
      await this.#store.travel();
      return value;
    }
    const name = `${table}/${key}`;
    if (!this.#locks.has(name)) {
      let row = this.#store.row(table, key);
      while (row.owner !== null) {
        await this.#wait(row);
        row = this.#store.row(table, key);
      }
      row.owner = this;
      this.#locks.set(name, [table, key, row]);
    }
    const own = this.#writes.get(name);
    return own !== undefined ? own[2] : this.#store.row(table, key).versions.at(-1)?.value;
  }

  #wait(row: Row): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = () => {
        timer.cancel();
        resolve();
      };
      const timer = this.#store.runtime.timers.after(this.#store.options.lockTimeoutMs, () => {
        row.waiters.splice(row.waiters.indexOf(wake), 1);
        reject(new DirectoryUnavailable("A row stayed locked for too long (simulated)."));
      });
      row.waiters.push(wake);
    });
  }

  write(table: string, key: string, value: unknown): void {
    this.#xid ??= this.#store.takeXid();
    this.#writes.set(`${table}/${key}`, [table, key, value]);
  }

  tell(change: Change): void {
    this.#xid ??= this.#store.takeXid();
    this.#changes.push(this.#store.record(this.#xid, change));
  }

  apply(): void {
    if (this.#over) return;
    this.#over = true;
    this.#store.install(this.#xid, [...this.#writes.values()], this.#changes);
    this.#unlock();
  }

  rollback(): void {
    if (this.#over) return;
    this.#over = true;
    this.#store.finish(this.#xid);
    this.#store.abandon(this.#changes);
    this.#unlock();
  }

  commit(): Promise<void> {
    return this.#store.commit(this);
  }

  #unlock(): void {
    for (const [table, key, row] of this.#locks.values()) {
      row.owner = null;
      const next = row.waiters.shift();
      if (next !== undefined) next();
      else this.#store.dropIfDead(table, key);
    }
    this.#locks.clear();
  }
}

/** What one SQL statement can do. A value of `undefined` is a row that is not there. */
export class Statement {
  readonly #transaction: Transaction;
  readonly #seq: number;

  constructor(transaction: Transaction, seq: number) {
    this.#transaction = transaction;
    this.#seq = seq;
  }

  /** From the statement's snapshot, and the transaction's own writes. */
  read<T>(table: string, key: string): T | undefined {
    return this.#transaction.read(table, key, this.#seq) as T | undefined;
  }

  scan<T>(table: string): Array<[string, T]> {
    const found: Array<[string, T]> = [];
    for (const key of this.#transaction.keys(table)) {
      const value = this.read<T>(table, key);
      if (value !== undefined) found.push([key, value]);
    }
    return found;
  }

  /** Waits for whoever holds the row, then the newest committed value. A key that has no row yet can be locked too. */
  async lock<T>(table: string, key: string): Promise<T | undefined> {
    return (await this.#transaction.lock(table, key, this.#seq)) as T | undefined;
  }

  write(table: string, key: string, value: unknown): void {
    this.#transaction.write(table, key, value);
  }

  tell(change: Change): void {
    this.#transaction.tell(change);
  }
}

function after(change: StoredChange, cursor: FeedReader["cursor"]): boolean {
  return change.xid > cursor.xid || (change.xid === cursor.xid && change.id > cursor.id);
}
