import type { Timer } from "../runtime/runtime.ts";
import type { Change } from "./directory.ts";
import type { FeedReader } from "./memory-changes.ts";
import type { MemoryStore } from "./memory-store.ts";

const POLL_MS = 1000;
const HELD_POLL_MS = 50;

/** The reader of the twin's outbox: as `postgres/feed.ts`, woken by commits, by a poll, sooner while rows are held back. */
export class MemoryFeed {
  readonly #store: MemoryStore;
  readonly #emit: (change: Change) => void;
  #reader: FeedReader | null = null;
  #forgetCommits: (() => void) | null = null;
  #poll: Timer | null = null;
  #reading = false;
  #again = false;

  constructor(store: MemoryStore, emit: (change: Change) => void) {
    this.#store = store;
    this.#emit = emit;
  }

  get running(): boolean {
    return this.#reader !== null;
  }

  start(): void {
    this.#reader = this.#store.log.openReader();
    this.#forgetCommits = this.#store.onCommit(() => void this.#read());
    this.#schedule(POLL_MS);
  }

  stop(): void {
    if (this.#reader !== null) this.#store.log.closeReader(this.#reader);
    this.#reader = null;
    this.#forgetCommits?.();
    this.#forgetCommits = null;
    this.#poll?.cancel();
    this.#poll = null;
  }

  /** The connection was lost and is back: nobody knows what was missed. */
  reset(): void {
    this.#emit({ kind: "reset" });
    void this.#read();
  }

  #schedule(ms: number): void {
    this.#poll?.cancel();
    this.#poll = this.#store.runtime.timers.after(ms, () => void this.#read());
  }

  /** Reads the feed to its end; a wake-up while it reads makes it read once more. */
  async #read(): Promise<void> {
    this.#again = true;
    if (this.#reading) return;
    this.#reading = true;
    let held = false;
    while (this.#again && this.#reader !== null) {
      this.#again = false;
      await this.#store.travel();
      if (this.#store.isAway || this.#reader === null) break;
      const read = this.#store.log.feed(this.#reader);
      held = read.held;
      if (this.#reader.lost) {
        this.#reader.lost = false;
        this.#emit({ kind: "reset" });
      }
      for (const each of read.changes) this.#emit(each.change);
    }
    this.#reading = false;
    if (this.#reader !== null) this.#schedule(held ? HELD_POLL_MS : POLL_MS);
  }
}
