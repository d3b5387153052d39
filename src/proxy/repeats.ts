import { LRUCache } from "lru-cache";
import type { Clock } from "../runtime/runtime.ts";

const MOST_KNOWN = 10_000;
const WINDOW_MS = 32_000;
/** Nobody writes the same to the same user so often within the window. */
const MOST = 16;

/**
 * The hard stop for a server that sends back what it is sent though its configuration says that it does not: as a B2BUA it
 * takes every other trace away, and what came back would go round between it and the user's other servers for ever.
 */
export class Repeats {
  readonly #clock: Clock;
  readonly #known = new LRUCache<string, { readonly since: number; count: number }>({ max: MOST_KNOWN });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True: the same has come too often within a while. @param key of server, pair and text. */
  isTooMany(key: string): boolean {
    const now = this.#clock.now();
    const known = this.#known.get(key);
    if (known === undefined || now - known.since > WINDOW_MS) {
      this.#known.set(key, { since: now, count: 1 });
      return false;
    }
    known.count++;
    return known.count > MOST;
  }
}
