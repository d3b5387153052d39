import { isAor } from "../rows.ts";
import { MOST_TOLD, type PutOffWatcher, type WaitingWatcher, type WatcherStore } from "../watchers.ts";
import { askOfDecided, DECIDED_WATCHERS } from "./decided-watchers.ts";
import type { Pool } from "./pool.ts";
import { PUT_OFF_WATCHER } from "./put-off-watcher.ts";
import { TELL_WATCHERS } from "./tell-watchers.ts";
import { WAITING_WATCHERS, waitingOf } from "./waiting-watchers.ts";

/** Watchers who wait for a decision, on PostgreSQL: every verb is one statement. */
export class PostgresWatchers implements WatcherStore {
  readonly #pool: Pool;
  readonly #told: (aor: string) => void;

  constructor(pool: Pool, told: (aor: string) => void) {
    this.#pool = pool;
    this.#told = told;
  }

  async putOff({ aor, watcher, trusted, event }: PutOffWatcher, keptMs: number): Promise<void> {
    // A name that can be no key is not remembered: he may ask again.
    if (!isAor(aor) || !isAor(watcher)) return;
    await this.#pool.run(PUT_OFF_WATCHER, [aor, watcher, trusted, event, keptMs]);
  }

  async decided(watchers: readonly PutOffWatcher[]): Promise<void> {
    const known = watchers.filter((each) => isAor(each.aor) && isAor(each.watcher));
    if (known.length > 0) await this.#pool.run(DECIDED_WATCHERS, [JSON.stringify(known.map(askOfDecided))]);
  }

  async waiting(aor: string, event: string): Promise<readonly WaitingWatcher[]> {
    if (!isAor(aor)) return [];
    return (await this.#pool.run<WaitingWatcher>(WAITING_WATCHERS, [aor, event])).map(waitingOf);
  }

  async tell(aors: readonly string[]): Promise<void> {
    const known = aors.filter(isAor).slice(0, MOST_TOLD);
    if (known.length === 0) return;
    const told = await this.#pool.run<{ aor: string }>(TELL_WATCHERS, [known]);
    for (const { aor } of told) this.#told(aor);
  }
}
