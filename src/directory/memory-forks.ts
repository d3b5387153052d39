import type { Change, ForkKey, ForkResult, OpenFork, OpenForkOutcome } from "./directory.ts";
import type { MemoryAccess } from "./memory-leases.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { Statement } from "./memory-transaction.ts";

/** The twin of `postgres/open-fork.ts` and `postgres/close-fork.ts`. */
export class MemoryForks {
  readonly #store: MemoryStore;
  readonly #access: MemoryAccess;
  readonly #proxy: string;
  readonly #emit: (change: Change) => void;

  constructor(store: MemoryStore, access: MemoryAccess, proxy: string, emit: (change: Change) => void) {
    this.#store = store;
    this.#access = access;
    this.#proxy = proxy;
    this.#emit = emit;
  }

  open(fork: ForkKey & { asked: readonly string[]; expiresAt: number }, join: boolean): Promise<OpenForkOutcome> {
    const id = `${this.#proxy}-${this.#store.runtime.random.token(16)}`;
    return this.#access.write(async (s) => {
      // The unique keys: one fork per (recipient, sender, method, event), one joinable fork per recipient.
      const own = `own/${fork.recipient}/${fork.sender}/${fork.method}/${fork.event}`;
      const primary = `primary/${fork.recipient}`;
      const now = this.#now();
      const live = (await this.#forksOf(s, fork.recipient)).filter((each) => each.expiresAt > now);
      const holders = [
        await s.lock<OpenFork>("forks", own),
        join ? await s.lock<OpenFork>("forks", primary) : undefined,
      ];
      for (const holder of holders) {
        if (holder !== undefined && holder.expiresAt > now && !live.some((each) => each.id === holder.id))
          live.push(holder);
      }
      const taken = join ? live.length > 0 : holders.some((holder) => holder !== undefined && holder.expiresAt > now);
      if (taken) return { outcome: "open-elsewhere", forks: live };
      const { sender, recipient, method, event, asked, expiresAt } = fork;
      const opened: OpenFork = { sender, recipient, method, event, asked, expiresAt, id, owner: this.#proxy };
      s.write("forks", own, opened);
      if (join) s.write("forks", primary, opened);
      return { outcome: "opened", id };
    });
  }

  openFor(recipient: string): Promise<readonly OpenFork[]> {
    return this.#access.ask(async (s) => {
      const now = this.#now();
      return (await this.#forksOf(s, recipient)).filter((each) => each.expiresAt > now);
    });
  }

  /** Without a server that was learned: then the claim's statement does it. */
  async close(id: string, recipient: string, result: ForkResult): Promise<void> {
    await this.#access.write(async (s) => {
      await this.closeRows(s, id, recipient);
      s.tell({ kind: "fork-closed", aor: recipient, fork: id, result });
    });
    this.#emit({ kind: "fork-closed", aor: recipient, fork: id, result });
  }

  /** In the statement that closes it. */
  async closeRows(s: Statement, id: string, recipient: string): Promise<void> {
    for (const [key, fork] of s.scan<OpenFork>("forks")) {
      if (fork.recipient !== recipient || fork.id !== id) continue;
      const newest = await s.lock<OpenFork>("forks", key);
      if (newest?.id === id) s.write("forks", key, undefined);
    }
  }

  /** In the statement of the sweep. */
  async sweep(s: Statement): Promise<void> {
    const now = this.#now();
    for (const [key, fork] of s.scan<OpenFork>("forks")) {
      if (fork.expiresAt > now) continue;
      const newest = await s.lock<OpenFork>("forks", key);
      if (newest !== undefined && newest.expiresAt <= now) s.write("forks", key, undefined);
    }
  }

  async #forksOf(s: Statement, recipient: string): Promise<OpenFork[]> {
    const found = new Map<string, OpenFork>();
    for (const [, fork] of s.scan<OpenFork>("forks")) if (fork.recipient === recipient) found.set(fork.id, fork);
    return [...found.values()];
  }

  #now(): number {
    return this.#store.runtime.clock.wall();
  }
}
