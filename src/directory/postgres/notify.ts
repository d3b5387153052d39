import type { Pool, Verb } from "./pool.ts";

/**
 * Wakes the readers of the feed. In a transaction of its own, after the changes are committed: commits with NOTIFY wait
 * for each other over the whole server, and with the changes inside they would wait for the disk one after the other
 * (unbinding, 64 at once: 280/s, like this 1,800/s; bench/register-sql.ts). If it is lost, readers poll every second anyway.
 */
const NOTIFY: Verb = { name: "notify", text: "select pg_notify('codomain_changes', '')" };

/** One NOTIFY at a time; whatever changes while it is under way shares the next. */
export class Notifier {
  readonly #pool: Pool;
  #busy = false;
  #again = false;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  wake(): void {
    if (this.#busy) this.#again = true;
    else void this.#send();
  }

  async #send(): Promise<void> {
    this.#busy = true;
    do {
      this.#again = false;
      await this.#pool.run(NOTIFY, []).catch(() => undefined);
    } while (this.#again);
    this.#busy = false;
  }
}
