import { DirectoryUnavailable } from "../base/errors.ts";
import type { Change } from "./directory.ts";
import type { StoredChange } from "./memory-changes.ts";
import type { MemoryStore, Row } from "./memory-store.ts";

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
    if (this.#writes.size > 0) {
      const own = this.#writes.get(`${table}/${key}`);
      if (own !== undefined) return own[2];
    }
    return visible(this.#store.table(table).get(key), seq);
  }

  /** What a statement with this snapshot sees of a table. */
  all(table: string, seq: number): Array<[string, unknown]> {
    const found: Array<[string, unknown]> = [];
    for (const [key, row] of this.#store.table(table)) {
      const value = this.#writes.size > 0 ? this.read(table, key, seq) : visible(row, seq);
      if (value !== undefined) found.push([key, value]);
    }
    return found;
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

  /** `for update skip locked`: undefined where another holds the row, or there is none. */
  tryLock(table: string, key: string, seq: number): unknown {
    if (this.#store.options.unsafeWithoutLocks) return this.read(table, key, seq);
    const name = `${table}/${key}`;
    const row = this.#store.table(table).get(key);
    if (row === undefined || (row.owner !== null && row.owner !== this)) return undefined;
    row.owner = this;
    this.#locks.set(name, [table, key, row]);
    const own = this.#writes.get(name);
    return own !== undefined ? own[2] : row.versions.at(-1)?.value;
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
    this.#xid ??= this.#store.log.takeXid();
    this.#writes.set(`${table}/${key}`, [table, key, value]);
  }

  tell(change: Change): void {
    this.#xid ??= this.#store.log.takeXid();
    this.#changes.push(this.#store.log.record(this.#xid, change));
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
    this.#store.log.finish(this.#xid);
    this.#store.log.abandon(this.#changes);
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

function visible(row: Row | undefined, seq: number): unknown {
  if (row === undefined) return undefined;
  const { versions } = row;
  for (let i = versions.length - 1; i >= 0; i--) if (versions[i]!.seq <= seq) return versions[i]!.value;
  return undefined;
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
    return this.#transaction.all(table, this.#seq) as Array<[string, T]>;
  }

  /** Waits for whoever holds the row, then the newest committed value. A key that has no row yet can be locked too. */
  async lock<T>(table: string, key: string): Promise<T | undefined> {
    return (await this.#transaction.lock(table, key, this.#seq)) as T | undefined;
  }

  /** The newest committed value where nobody holds the row, which is then locked; else undefined, at once. */
  tryLock<T>(table: string, key: string): T | undefined {
    return this.#transaction.tryLock(table, key, this.#seq) as T | undefined;
  }

  write(table: string, key: string, value: unknown): void {
    this.#transaction.write(table, key, value);
  }

  tell(change: Change): void {
    this.#transaction.tell(change);
  }
}
