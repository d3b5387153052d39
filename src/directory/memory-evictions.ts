import { type Eviction, type Evictions, type GivenUp, KEPT_MS, retryMs } from "./evictions.ts";
import { currentBinding, type Slot } from "./judge.ts";
import type { MemoryAccess } from "./memory-leases.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { Statement } from "./memory-transaction.ts";

interface Row extends Eviction {
  readonly dueAt: number;
  readonly since: number;
}

const TABLE = "evictions";
/** As long as Postgres keeps changes. */
const LATELY_MS = 600_000;

/** The twin of `postgres/evictions.ts`. */
export class MemoryEvictions implements Evictions {
  readonly #store: MemoryStore;
  readonly #access: MemoryAccess;
  readonly #now: () => number;
  #servers: readonly string[] = [];

  /** @param now milliseconds since 1970. */
  constructor(store: MemoryStore, access: MemoryAccess, now: () => number) {
    this.#store = store;
    this.#access = access;
    this.#now = now;
  }

  configure(servers: readonly string[]): void {
    this.#servers = servers;
  }

  /** In the statement of a claim that took him from there. */
  async note(s: Statement, aor: string, server: string, epoch: number): Promise<void> {
    if (!this.#servers.includes(server)) return;
    const now = this.#now();
    const key = keyOf({ aor, server });
    await s.lock(TABLE, key);
    s.write(TABLE, key, { aor, server, epoch, tries: 0, dueAt: now, since: now } satisfies Row);
  }

  take(limit: number): Promise<{ readonly taken: readonly Eviction[]; readonly givenUp: readonly GivenUp[] }> {
    return this.#access.write(async (s) => {
      const taken: Eviction[] = [];
      const givenUp: GivenUp[] = [];
      const now = this.#now();
      const due = s.scan<Row>(TABLE).filter(([, row]) => row.dueAt <= now);
      for (const [key] of due.sort(([, a], [, b]) => a.dueAt - b.dueAt).slice(0, limit)) {
        const row = await s.lock<Row>(TABLE, key);
        if (row === undefined || row.dueAt > now) continue;
        const { aor, server, epoch } = row;
        const back = currentBinding(aor, s.read<Slot>("slots", aor), now).binding?.server === server;
        if (back || row.since <= now - KEPT_MS) {
          s.write(TABLE, key, undefined);
          givenUp.push({ aor, server, reason: back ? "back" : "too-old" });
        } else {
          const tries = row.tries + 1;
          s.write(TABLE, key, { ...row, tries, dueAt: now + retryMs(tries) } satisfies Row);
          taken.push({ aor, server, epoch, tries });
        }
      }
      return { taken, givenUp };
    });
  }

  end(eviction: Eviction): Promise<void> {
    return this.#access.write(async (s) => {
      const key = keyOf(eviction);
      const row = await s.lock<Row>(TABLE, key);
      if (row?.epoch === eviction.epoch) s.write(TABLE, key, undefined);
    });
  }

  lostLately(server: string, limit: number): Promise<readonly string[]> {
    return this.#access.ask(async () => {
      const since = this.#now() - LATELY_MS;
      const lost = this.#store.losses.filter((each) => each.server === server && each.at > since);
      return [...new Set(lost.map((each) => each.aor).reverse())].slice(0, limit);
    });
  }
}

function keyOf({ aor, server }: { readonly aor: string; readonly server: string }): string {
  return `${server} ${aor}`;
}
