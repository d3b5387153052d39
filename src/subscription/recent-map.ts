import type { Clock } from "../runtime/runtime.ts";

/**
 * What was used in the last half to whole minute: two maps that take turns, and what was not asked for meanwhile is forgotten.
 * Bounded by weight, of which each half holds as much as is given.
 */
export class RecentMap<K, V> {
  readonly #clock: Clock;
  readonly #most: number;
  #older = new Map<K, V>();
  #younger = new Map<K, V>();
  #weight = 0;
  /** When the younger one was begun, monotonic milliseconds. */
  #since: number;

  constructor(clock: Clock, most: number) {
    this.#clock = clock;
    this.#most = most;
    this.#since = clock.now();
  }

  get size(): number {
    return this.#older.size + this.#younger.size;
  }

  /** @param weight of it; it is kept a while longer. */
  get(key: K, weight: number): V | undefined {
    this.#turn();
    const young = this.#younger.get(key);
    if (young !== undefined) return young;
    const old = this.#older.get(key);
    if (old === undefined) return undefined;
    this.#older.delete(key);
    this.#add(key, old, weight);
    return old;
  }

  set(key: K, value: V, weight: number): void {
    this.#turn();
    this.#older.delete(key);
    this.#add(key, value, weight);
  }

  #add(key: K, value: V, weight: number): void {
    this.#younger.set(key, value);
    this.#weight += weight;
  }

  #turn(): void {
    const age = this.#clock.now() - this.#since;
    if (age < SPAN_MS && this.#weight < this.#most) return;
    this.#older = age >= 2 * SPAN_MS ? new Map() : this.#younger;
    this.#younger = new Map();
    this.#weight = 0;
    this.#since = this.#clock.now();
  }
}

const SPAN_MS = 30_000;
