import { LRUCache } from "lru-cache";
import { TransportError } from "../../base/errors.ts";
import type { Clock, NaptrRecord, Resolver, SrvRecord } from "../../runtime/runtime.ts";

/** Answers kept, of all types together. */
const CAPACITY = 4_096;
/** Questions open at once. */
const QUESTIONS = 1_000;
/** How long an answer, also an empty one, is taken for fresh. */
const TTL_MS = 30_000;

interface Entry {
  readonly records: readonly unknown[];
  readonly freshUntil: number;
}

/** A resolver that asks once for what is asked at the same time, and remembers for a while. Stale answers serve while nobody answers. */
export class CachingResolver implements Resolver {
  readonly #resolver: Resolver;
  readonly #clock: Clock;
  readonly #entries = new LRUCache<string, Entry>({ max: CAPACITY });
  readonly #asked = new Map<string, Promise<readonly unknown[]>>();

  constructor(resolver: Resolver, clock: Clock) {
    this.#resolver = resolver;
    this.#clock = clock;
  }

  naptr(name: string): Promise<readonly NaptrRecord[]> {
    return this.#once(`naptr ${name}`, () => this.#resolver.naptr(name));
  }

  srv(name: string): Promise<readonly SrvRecord[]> {
    return this.#once(`srv ${name}`, () => this.#resolver.srv(name));
  }

  a(name: string): Promise<readonly string[]> {
    return this.#once(`a ${name}`, () => this.#resolver.a(name));
  }

  aaaa(name: string): Promise<readonly string[]> {
    return this.#once(`aaaa ${name}`, () => this.#resolver.aaaa(name));
  }

  #once<T>(key: string, ask: () => Promise<readonly T[]>): Promise<readonly T[]> {
    const entry = this.#entries.get(key);
    // The key starts with the record type, so what is stored under it has the type that is read from it.
    if (entry !== undefined && entry.freshUntil > this.#clock.now()) {
      return Promise.resolve(entry.records as readonly T[]);
    }
    const asked = this.#asked.get(key);
    if (asked !== undefined) return asked as Promise<readonly T[]>;
    if (this.#asked.size >= QUESTIONS) return Promise.reject(new TransportError("too many DNS questions are open"));
    const answer = ask().then(
      (records) => {
        this.#asked.delete(key);
        this.#entries.set(key, { records, freshUntil: this.#clock.now() + TTL_MS });
        return records;
      },
      (error: unknown) => {
        this.#asked.delete(key);
        if (entry !== undefined) return entry.records as readonly T[];
        throw error;
      },
    );
    this.#asked.set(key, answer);
    return answer;
  }
}
