import type { Clock } from "../runtime/runtime.ts";

/** How often something came in the last 32 to 64 s. Bounded: where too much is told apart, what is older is forgotten first. */
export class RecentCounts {
  readonly #clock: Clock;
  #older = new Map<string, number>();
  #younger = new Map<string, number>();
  /** When the younger one was begun, monotonic milliseconds. */
  #since: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.now();
  }

  /** Once more. @returns how often, this time counted. */
  count(key: string): number {
    const now = this.#clock.now();
    if (now - this.#since >= SPAN_MS || this.#younger.size >= MOST / 2) {
      this.#older = now - this.#since >= 2 * SPAN_MS ? new Map() : this.#younger;
      this.#younger = new Map();
      this.#since = now;
    }
    const younger = (this.#younger.get(key) ?? 0) + 1;
    this.#younger.set(key, younger);
    return younger + (this.#older.get(key) ?? 0);
  }

  /** One of them does not count any more. */
  uncount(key: string): void {
    const counts = this.#younger.has(key) ? this.#younger : this.#older;
    const left = (counts.get(key) ?? 0) - 1;
    if (left > 0) counts.set(key, left);
    else counts.delete(key);
  }
}

const SPAN_MS = 32_000;
const MOST = 200_000;
