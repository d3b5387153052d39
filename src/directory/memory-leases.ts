import type { Leases } from "./leases.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { Statement } from "./memory-transaction.ts";
import type { ListedSubscription } from "./subscriptions.ts";

/** How a part of the simulated directory reaches the database: a statement that reads, a statement that writes. */
export interface MemoryAccess {
  ask<T>(work: (statement: Statement) => Promise<T>): Promise<T>;
  write<T>(work: (statement: Statement) => Promise<T>): Promise<T>;
}

export interface ProxyRow {
  readonly contact: string;
  readonly leaseUntil: number;
  readonly over: boolean;
}

/** The twin of `postgres/leases.ts`. */
export class MemoryLeases implements Leases {
  readonly #store: MemoryStore;
  readonly #access: MemoryAccess;
  readonly #proxy: string;

  constructor(store: MemoryStore, access: MemoryAccess, proxy: string) {
    this.#store = store;
    this.#access = access;
    this.#proxy = proxy;
  }

  async open(contact: string, leaseMs: number): Promise<string> {
    const owner = `${this.#proxy}-${this.#store.runtime.random.token(12)}`;
    await this.#access.write(async (s) => {
      s.write("proxies", owner, { contact, leaseUntil: this.#now() + leaseMs, over: false } satisfies ProxyRow);
    });
    return owner;
  }

  renew(owner: string, leaseMs: number): Promise<"renewed" | "over"> {
    return this.#access.write(async (s) => {
      const row = await s.lock<ProxyRow>("proxies", owner);
      if (row === undefined || row.over) return "over";
      s.write("proxies", owner, { ...row, leaseUntil: this.#now() + leaseMs } satisfies ProxyRow);
      return "renewed";
    });
  }

  close(owner: string): Promise<void> {
    return this.#access.write(async (s) => {
      const row = await s.lock<ProxyRow>("proxies", owner);
      if (row !== undefined) s.write("proxies", owner, { ...row, over: true } satisfies ProxyRow);
    });
  }

  endLapsed(): Promise<readonly string[]> {
    return this.#access.write(async (s) => {
      const ended = new Set<string>();
      for (const [owner, seen] of s.scan<ProxyRow>("proxies")) {
        if (seen.over || seen.leaseUntil > this.#now()) continue;
        const row = await s.lock<ProxyRow>("proxies", owner);
        if (row === undefined || row.over || row.leaseUntil > this.#now()) continue;
        s.write("proxies", owner, { ...row, over: true } satisfies ProxyRow);
        ended.add(owner);
      }
      const live = liveOwners(s);
      const owners = new Set(s.scan<ListedSubscription>("subscriptions").map(([, row]) => row.owner));
      return [...owners].filter((owner) => ended.has(owner) || !live.has(owner)).sort();
    });
  }

  contactOf(owner: string): Promise<string | null> {
    return this.#access.ask(async (s) => contactIn(s, owner, this.#now()));
  }

  #now(): number {
    return this.#store.runtime.clock.wall();
  }
}

export function contactIn(s: Statement, owner: string, now: number): string | null {
  const row = s.read<ProxyRow>("proxies", owner);
  return row === undefined || row.over || row.leaseUntil <= now ? null : row.contact;
}

/** Owners whose lease is not declared over. Of whom nothing is known is over. */
export function liveOwners(s: Statement): ReadonlySet<string> {
  return new Set(
    s
      .scan<ProxyRow>("proxies")
      .filter(([, row]) => !row.over)
      .map(([owner]) => owner),
  );
}
