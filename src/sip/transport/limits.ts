import { LRUCache } from "lru-cache";
import type { Clock } from "../../runtime/runtime.ts";
import { isLoopback } from "./address.ts";
import type { TransportLimits } from "./options.ts";

/** What is done with a message: `answer` is a request over the limit that is still told so (503), `drop` one too many for that. */
export type Verdict = "pass" | "answer" | "drop";

/** Of the messages over the limit, one in this many is answered: telling costs as much as serving. */
const ANSWERED = 10;

interface Bucket {
  tokens: number;
  filledAt: number;
  refused: number;
}

/** A token bucket for each source address that is not trusted. */
export class SourceLimiter {
  readonly #clock: Clock;
  readonly #limits: TransportLimits;
  readonly #trusted: (host: string) => boolean;
  readonly #buckets: LRUCache<string, Bucket>;

  constructor(clock: Clock, limits: TransportLimits, trusted: (host: string) => boolean) {
    this.#clock = clock;
    this.#limits = limits;
    this.#trusted = trusted;
    this.#buckets = new LRUCache({ max: limits.sources });
  }

  /** True for a source that no limit applies to. */
  exempt(host: string): boolean {
    return isLoopback(host) || this.#trusted(host);
  }

  /** Counts one message from `host`. */
  admit(host: string): Verdict {
    const rate = this.#limits.messagesPerSecond;
    if (rate <= 0 || this.exempt(host)) return "pass";
    const now = this.#clock.now();
    let bucket = this.#buckets.get(host);
    if (bucket === undefined) {
      bucket = { tokens: this.#limits.messageBurst, filledAt: now, refused: 0 };
      this.#buckets.set(host, bucket);
    }
    bucket.tokens = Math.min(this.#limits.messageBurst, bucket.tokens + ((now - bucket.filledAt) * rate) / 1000);
    bucket.filledAt = now;
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1;
      return "pass";
    }
    return bucket.refused++ % ANSWERED === 0 ? "answer" : "drop";
  }
}
