import type { MemoryAccess } from "./memory-leases.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { Statement } from "./memory-transaction.ts";
import { isAor } from "./rows.ts";
import type { ListedSubscription } from "./subscriptions.ts";
import {
  MOST_OF_USER,
  MOST_OF_WATCHER,
  MOST_TOLD,
  type PutOffWatcher,
  type WaitingWatcher,
  type WatcherStore,
} from "./watchers.ts";

interface Row extends WaitingWatcher {
  readonly until: number;
}

const TABLE = "put-off-watchers";

/** The twin of `postgres/watchers.ts`. */
export class MemoryWatchers implements WatcherStore {
  readonly #store: MemoryStore;
  readonly #access: MemoryAccess;
  readonly #told: (aor: string) => void;

  constructor(store: MemoryStore, access: MemoryAccess, told: (aor: string) => void) {
    this.#store = store;
    this.#access = access;
    this.#told = told;
  }

  async putOff({ aor, watcher, trusted, event }: PutOffWatcher, keptMs: number): Promise<void> {
    if (!isAor(aor) || !isAor(watcher)) return;
    await this.#access.write(async (s) => {
      const key = keyOf({ aor, watcher, trusted, event });
      const now = this.#now();
      const live = this.#rows(s);
      const others = live.filter((each) => each.aor === aor && keyOf(each) !== key).sort(believedFirst);
      const dropped = others.slice(MOST_OF_USER - 1).map(keyOf);
      const isFull = live.filter((each) => each.watcher === watcher && each.aor !== aor).length >= MOST_OF_WATCHER;
      for (const each of [...dropped, ...(isFull ? [] : [key])].sort()) {
        const row = await s.lock<Row>(TABLE, each);
        if (each !== key) s.write(TABLE, each, undefined);
        else {
          const since = row !== undefined && row.until > now ? row.since : now;
          s.write(TABLE, key, { aor, watcher, trusted, event, since, until: now + keptMs } satisfies Row);
        }
      }
    });
  }

  async decided(watchers: readonly PutOffWatcher[]): Promise<void> {
    const keys = watchers.map(keyOf).sort();
    if (keys.length === 0) return;
    await this.#access.write(async (s) => {
      for (const key of keys) if ((await s.lock(TABLE, key)) !== undefined) s.write(TABLE, key, undefined);
    });
  }

  async waiting(aor: string, event: string): Promise<readonly WaitingWatcher[]> {
    if (!isAor(aor)) return [];
    return this.#access.ask(async (s) =>
      this.#rows(s)
        .filter((each) => each.aor === aor && each.event === event)
        .sort(believedFirst)
        .slice(0, MOST_OF_USER)
        .map(({ until: _until, ...waiting }) => waiting),
    );
  }

  async tell(aors: readonly string[]): Promise<void> {
    const known = aors.filter(isAor).slice(0, MOST_TOLD);
    if (known.length === 0) return;
    const told = await this.#access.write(async (s) => {
      const rows = s.scan<ListedSubscription>("subscriptions").map(([, row]) => row);
      const heard = known.filter((aor) => rows.some((row) => row.kind === "winfo" && row.aor === aor));
      for (const aor of heard) s.tell({ kind: "watchers", aor });
      return heard;
    });
    for (const aor of told) this.#told(aor);
  }

  async sweep(): Promise<void> {
    if (this.#store.table(TABLE).size === 0) return;
    await this.#access.write(async (s) => {
      for (const [key, seen] of s.scan<Row>(TABLE)) {
        if (seen.until > this.#now()) continue;
        const row = s.tryLock<Row>(TABLE, key);
        if (row !== undefined && row.until <= this.#now()) s.write(TABLE, key, undefined);
      }
    });
  }

  #now(): number {
    return this.#store.runtime.clock.wall();
  }

  #rows(s: Statement): Row[] {
    const now = this.#now();
    return s
      .scan<Row>(TABLE)
      .map(([, row]) => row)
      .filter((row) => row.until > now);
  }
}

function keyOf({ aor, watcher, trusted, event }: PutOffWatcher): string {
  return [aor, watcher, trusted ? "t" : "f", event].join("\n");
}

function believedFirst(a: Row, b: Row): number {
  return Number(b.trusted) - Number(a.trusted) || b.since - a.since || (keyOf(a) < keyOf(b) ? -1 : 1);
}
