import { LRUCache } from "lru-cache";
import type { Clock } from "../runtime/runtime.ts";

const MOST_KNOWN = 4_000;
const WINDOW_MS = 32_000;
/** Nobody writes the same to the same user so often within the window. */
const MOST = 8;

/**
 * The hard stop for a server that sends back what it is sent though its configuration says that it does not: as a B2BUA it
 * takes every other trace away, and what came back would go round between it and the user's other servers for ever.
 */
export class Repeats {
  readonly #clock: Clock;
  /** Made when first needed: it takes its memory at once. */
  #list: LRUCache<string, { readonly since: number; count: number }> | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True: the same has come too often within a while. @param key of server, pair and text. */
  isTooMany(key: string): boolean {
    const now = this.#clock.now();
    this.#list ??= new LRUCache({ max: MOST_KNOWN });
    const known = this.#list.get(key);
    if (known === undefined || now - known.since > WINDOW_MS) {
      this.#list.set(key, { since: now, count: 1 });
      return false;
    }
    known.count++;
    return known.count > MOST;
  }
}
