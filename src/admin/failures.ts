import { LRUCache } from "lru-cache";
import type { Clock } from "../runtime/runtime.ts";

const WINDOW_MS = 60_000;
const REMEMBERED = 10_000;

/** Wrong passwords and tokens, counted by the minute: by who guesses, and whom. Those longest ago are forgotten first. */
export class Failures {
  readonly #clock: Clock;
  readonly #counts = new LRUCache<string, { count: number; readonly until: number }>({ max: REMEMBERED });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(key: string): void {
    const now = this.#clock.now();
    const known = this.#counts.get(key);
    if (known === undefined || known.until <= now) this.#counts.set(key, { count: 1, until: now + WINDOW_MS });
    else known.count++;
  }

  /** Seconds until another may be tried; 0: at once. */
  wait(key: string, most: number): number {
    const known = this.#counts.get(key);
    const now = this.#clock.now();
    if (known === undefined || known.until <= now || known.count < most) return 0;
    return Math.ceil((known.until - now) / 1000);
  }
}
