import type { Change } from "./directory.ts";

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

/**
 * The outbox of the simulated database: transaction ids, ids that are taken before the commit, and what each reader may
 * see of the rows (concurrency.md 5).
 */
export class ChangeLog {
  readonly #kept: number;
  readonly #openXids = new Set<number>();
  readonly #readers = new Set<FeedReader>();
  #changes: StoredChange[] = [];
  #nextXid = 1;
  #nextId = 1;

  /** @param kept rows kept for the slowest reader. */
  constructor(kept: number) {
    this.#kept = kept;
  }

  get openTransactions(): number {
    return this.#openXids.size;
  }

  /** From here on: every row whose transaction is not over yet, or not begun. */
  openReader(): FeedReader {
    const reader: FeedReader = { cursor: { xid: this.#xmin(), id: 0 }, lost: false };
    this.#readers.add(reader);
    return reader;
  }

  closeReader(reader: FeedReader): void {
    this.#readers.delete(reader);
    this.#prune();
  }

  /** What a reader may see: committed, past its cursor, and older than every open transaction. `held`: there is more. */
  feed(reader: FeedReader): { changes: readonly StoredChange[]; held: boolean } {
    const xmin = this.#xmin();
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
    const excess = this.#changes.length - this.#kept;
    if (excess <= 0) return;
    const dropped = this.#changes.filter((each) => each.committed).slice(0, excess);
    this.#changes = this.#changes.filter((each) => !dropped.includes(each));
    for (const reader of readers) if (dropped.some((each) => after(each, reader.cursor))) reader.lost = true;
  }

  #xmin(): number {
    let least = this.#nextXid;
    for (const xid of this.#openXids) if (xid < least) least = xid;
    return least;
  }

  takeXid(): number {
    const xid = this.#nextXid++;
    this.#openXids.add(xid);
    return xid;
  }

  record(xid: number, change: Change): StoredChange {
    const stored: StoredChange = { xid, id: this.#nextId++, change, committed: false };
    this.#changes.push(stored);
    return stored;
  }

  finish(xid: number | null): void {
    if (xid !== null) this.#openXids.delete(xid);
  }

  abandon(changes: readonly StoredChange[]): void {
    if (changes.length > 0) this.#changes = this.#changes.filter((each) => !changes.includes(each));
  }
}

function after(change: StoredChange, cursor: FeedReader["cursor"]): boolean {
  return change.xid > cursor.xid || (change.xid === cursor.xid && change.id > cursor.id);
}
