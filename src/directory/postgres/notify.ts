import type { Runtime, Timer } from "../../runtime/runtime.ts";
import type { Pool, Verb } from "./pool.ts";

/**
 * Wakes the readers of the feed. In a transaction of its own, after the changes are committed: commits with NOTIFY wait
 * for each other over the whole server, and with the changes inside they would wait for the disk one after the other
 * (unbinding, 64 at once: 280/s, like this 1,800/s; bench/register-sql.ts). If it is lost, readers poll every second
 * anyway: so its own commit waits for no disk either.
 * It carries the proxy's name: who has told himself already reads at leisure.
 */
const NOTIFY: Verb = {
  name: "notify",
  text: "select set_config('synchronous_commit', 'off', true), pg_notify('codomain_changes', $1::text)",
};

/** Readers that are woken more often than this read no more often (`feed.ts`). */
const APART_MS = 5;

/** One NOTIFY at a time, and not one after the other: whatever changes meanwhile shares the next. */
export class Notifier {
  readonly #runtime: Runtime;
  readonly #pool: Pool;
  readonly #proxy: string;
  #busy = false;
  #owed = false;
  /** Until the next may follow. */
  #apart: Timer | null = null;
  #stopped = false;

  constructor(runtime: Runtime, pool: Pool, proxy: string) {
    this.#runtime = runtime;
    this.#pool = pool;
    this.#proxy = proxy;
  }

  wake(): void {
    this.#owed = true;
    this.#send();
  }

  stop(): void {
    this.#stopped = true;
    this.#apart?.cancel();
    this.#apart = null;
  }

  #send(): void {
    if (!this.#owed || this.#busy || this.#apart !== null || this.#stopped) return;
    this.#owed = false;
    this.#busy = true;
    this.#apart = this.#runtime.timers.after(APART_MS, () => {
      this.#apart = null;
      this.#send();
    });
    const done = () => {
      this.#busy = false;
      this.#send();
    };
    this.#pool.run(NOTIFY, [this.#proxy]).then(done, done);
  }
}
