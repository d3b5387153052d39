/**
 * Live transactions by key, in arrays that stay where they are.
 *
 * Rejected: a Map. One that is always being added to and deleted from is rehashed every few hundred entries, and V8's old
 * tables point to the newer ones; once an old table has been promoted, everything that was live when it was replaced
 * survives every young collection after it. Measured at 30,000 relays/s: 4 kB a request promoted, a quarter of the
 * processor's time in the collector.
 */
export class TransactionTable<V> {
  readonly #hash: (key: string) => number;
  /** First entry of each bucket, -1: none. A power of two. */
  #heads: Int32Array;
  /** The next entry of the same bucket, or of the list of free ones. */
  #next: Int32Array;
  readonly #keys: Array<string | undefined> = [];
  readonly #values: Array<V | undefined> = [];
  #free = -1;
  #size = 0;

  /** @param hash unsigned 32 bits; keys come from the network, so it must be seeded. */
  constructor(hash: (key: string) => number) {
    this.#hash = hash;
    this.#heads = new Int32Array(INITIAL).fill(-1);
    this.#next = new Int32Array(INITIAL);
  }

  get size(): number {
    return this.#size;
  }

  get(key: string, hash: number = this.#hash(key)): V | undefined {
    const entry = this.#find(key, hash);
    return entry < 0 ? undefined : this.#values[entry];
  }

  has(key: string, hash: number = this.#hash(key)): boolean {
    return this.#find(key, hash) >= 0;
  }

  set(key: string, value: V, hash: number = this.#hash(key)): void {
    const found = this.#find(key, hash);
    if (found >= 0) {
      this.#values[found] = value;
      return;
    }
    if (this.#size === this.#heads.length) this.#grow();
    let entry = this.#free;
    if (entry < 0) entry = this.#keys.length;
    else this.#free = this.#next[entry]!;
    this.#keys[entry] = key;
    this.#values[entry] = value;
    const bucket = hash & (this.#heads.length - 1);
    this.#next[entry] = this.#heads[bucket]!;
    this.#heads[bucket] = entry;
    this.#size++;
  }

  delete(key: string, hash: number = this.#hash(key)): boolean {
    const bucket = hash & (this.#heads.length - 1);
    let before = -1;
    for (let entry = this.#heads[bucket]!; entry >= 0; entry = this.#next[entry]!) {
      if (this.#keys[entry] === key) {
        if (before < 0) this.#heads[bucket] = this.#next[entry]!;
        else this.#next[before] = this.#next[entry]!;
        this.#keys[entry] = undefined;
        this.#values[entry] = undefined;
        this.#next[entry] = this.#free;
        this.#free = entry;
        this.#size--;
        return true;
      }
      before = entry;
    }
    return false;
  }

  /** What is there now; additions and deletions meanwhile do not show. */
  values(): V[] {
    return this.#values.filter((value) => value !== undefined);
  }

  clear(): void {
    this.#heads.fill(-1);
    this.#keys.length = 0;
    this.#values.length = 0;
    this.#free = -1;
    this.#size = 0;
  }

  #find(key: string, hash: number): number {
    let entry = this.#heads[hash & (this.#heads.length - 1)]!;
    while (entry >= 0 && this.#keys[entry] !== key) entry = this.#next[entry]!;
    return entry;
  }

  #grow(): void {
    const heads = new Int32Array(this.#heads.length * 2).fill(-1);
    const next = new Int32Array(heads.length);
    for (let entry = 0; entry < this.#keys.length; entry++) {
      const bucket = this.#hash(this.#keys[entry]!) & (heads.length - 1);
      next[entry] = heads[bucket]!;
      heads[bucket] = entry;
    }
    this.#heads = heads;
    this.#next = next;
  }
}

const INITIAL = 1024;
