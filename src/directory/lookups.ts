import { DirectoryUnavailable } from "../base/errors.ts";
import type { Lookup } from "./directory.ts";

export interface LookupsOptions {
  /** One statement for all of these AoRs, each named once; answers in their order. */
  readonly run: (aors: readonly string[]) => Promise<readonly Lookup[]>;
  readonly maxBatch: number;
  /** Statements in flight at once. */
  readonly lanes: number;
  readonly maxWaiting: number;
  readonly soon: (run: () => void) => void;
}

interface Waiter {
  readonly resolve: (lookup: Lookup) => void;
  readonly reject: (error: unknown) => void;
}

/** Lookups that come in one turn of the event loop, or while all lanes are busy, share one statement. */
export class Lookups {
  readonly #options: LookupsOptions;
  #waiting = new Map<string, Waiter[]>();
  #callers = 0;
  #busy = 0;
  #scheduled = false;

  constructor(options: LookupsOptions) {
    this.#options = options;
  }

  submit(aor: string): Promise<Lookup> {
    if (this.#callers >= this.#options.maxWaiting) {
      return Promise.reject(
        new DirectoryUnavailable("The database does not keep up with the lookups; try again later."),
      );
    }
    this.#callers++;
    return new Promise((resolve, reject) => {
      const waiters = this.#waiting.get(aor);
      if (waiters === undefined) this.#waiting.set(aor, [{ resolve, reject }]);
      else waiters.push({ resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#busy >= this.#options.lanes) return;
    this.#scheduled = true;
    this.#options.soon(() => {
      this.#scheduled = false;
      this.#start();
    });
  }

  #start(): void {
    while (this.#busy < this.#options.lanes && this.#waiting.size > 0) {
      const batch: Array<[string, Waiter[]]> = [];
      for (const entry of this.#waiting) {
        batch.push(entry);
        if (batch.length >= this.#options.maxBatch) break;
      }
      for (const [aor] of batch) this.#waiting.delete(aor);
      void this.#run(batch);
    }
  }

  async #run(batch: ReadonlyArray<readonly [string, readonly Waiter[]]>): Promise<void> {
    this.#busy++;
    try {
      const lookups = await this.#options.run(batch.map(([aor]) => aor));
      for (const [i, [, waiters]] of batch.entries()) for (const each of waiters) each.resolve(lookups[i] as Lookup);
    } catch (error) {
      for (const [, waiters] of batch) for (const each of waiters) each.reject(error);
    } finally {
      this.#busy--;
      for (const [, waiters] of batch) this.#callers -= waiters.length;
      if (this.#waiting.size > 0) this.#start();
    }
  }
}
