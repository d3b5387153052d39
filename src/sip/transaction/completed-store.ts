import { CompletedIndex } from "./completed-index.ts";

/**
 * Completed non-INVITE server transactions over unreliable transports, for the 64*T1 of Timer J (RFC 3261 17.2.2): enough
 * to answer a retransmitted request with the same bytes, and nothing else. 45,000 requests/s make 1.4 million of them, which
 * as objects cost a gigabyte and long pauses; here they lie in a ring of flat chunks outside the heap, in the order in which
 * they came and therefore expire.
 *
 * The way back is not kept: a retransmission comes with its own Via and over its own flow, and is answered there.
 */

const CHUNK_BYTES = 1 << 20;
const UNIT_SHIFT = 4;
const HEADER_BYTES = 16;
const UNITS_PER_CHUNK_SHIFT = 16;
/** Chunks a reference can tell apart. */
const MAX_CHUNKS = 1 << (32 - UNITS_PER_CHUNK_SHIFT);
const NEVER_DUE = 0xffffffff;

/** Words of an entry's header: hash, milliseconds from the chunk's base to expiry, length of key, length of response. */
const HASH = 0;
const EXPIRY = 1;
const KEY_LENGTH = 2;
const RESPONSE_LENGTH = 3;

class Chunk {
  readonly bytes = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  readonly words = new Uint32Array(this.bytes.buffer, 0, CHUNK_BYTES / 4);
  /** Milliseconds, as all times here. */
  base = 0;
  /** Offsets of the oldest entry left and of the first free octet. The first unit is spent: no reference is 0. */
  read = 1 << UNIT_SHIFT;
  end = 1 << UNIT_SHIFT;

  reset(base: number): void {
    this.base = base;
    this.read = 1 << UNIT_SHIFT;
    this.end = 1 << UNIT_SHIFT;
  }
}

export interface CompletedStoreOptions {
  /** Octets of chunks at most; rounded down to whole MiB, at least 2. The oldest entries give way. */
  readonly maxBytes: number;
  /** How long an entry answers, in milliseconds. */
  readonly lifetimeMs: number;
  /** Makes the hash unpredictable. */
  readonly seed: number;
}

export class CompletedStore {
  readonly #index = new CompletedIndex();
  readonly #ring: Array<Chunk | null>;
  readonly #lifetime: number;
  readonly #seed: number;
  /** Ring positions of the oldest and the newest chunk; `#chunks` are in use. */
  #head = 0;
  #tail = 0;
  #chunks = 0;
  #spare: Chunk | null = null;
  #count = 0;
  #dropped = 0;

  // What `#matches` compares with; fields and not a closure, for it is asked for every request.
  #key = "";
  #now = 0;
  readonly #matches = (reference: number): boolean => this.#isKey(reference);

  constructor(options: CompletedStoreOptions) {
    const chunks = Math.max(2, Math.min(MAX_CHUNKS, Math.floor(options.maxBytes / CHUNK_BYTES)));
    this.#ring = new Array<Chunk | null>(chunks).fill(null);
    this.#lifetime = options.lifetimeMs;
    this.#seed = options.seed | 0;
  }

  /** Entries, those expired and not yet swept included. */
  get count(): number {
    return this.#count;
  }

  /** Octets held outside the heap, index and spare chunk included. */
  get bytes(): number {
    return (this.#chunks + (this.#spare === null ? 0 : 1)) * CHUNK_BYTES + this.#index.bytes;
  }

  /** Entries that gave way before their time since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  hash(key: string): number {
    let h = this.#seed;
    for (let i = 0; i < key.length; i++) {
      h = Math.imul(h ^ key.charCodeAt(i), 0x9e3779b1);
      h ^= h >>> 15;
    }
    h = Math.imul(h ^ (h >>> 13), 0x85ebca6b);
    return (h ^ (h >>> 16)) >>> 0;
  }

  /** Keeps `response` under `key`; both one octet a character. `now` never goes back. */
  add(key: string, hash: number, response: string, now: number): void {
    const keyLength = key.length;
    const size = (HEADER_BYTES + keyLength + response.length + (1 << UNIT_SHIFT) - 1) & -(1 << UNIT_SHIFT);
    // Two for one: what has come to its end keeps ahead of what is added.
    this.expire(now, 2);
    if (size > CHUNK_BYTES - (1 << UNIT_SHIFT)) {
      this.#dropped++;
      return;
    }
    let chunk = this.#chunks === 0 ? this.#open(now) : this.#ring[this.#tail]!;
    const expiry = Math.ceil(now + this.#lifetime - chunk.base);
    if (chunk.end + size > CHUNK_BYTES || expiry >= NEVER_DUE) chunk = this.#open(now);
    const offset = chunk.end;
    const reference = ((this.#tail << UNITS_PER_CHUNK_SHIFT) | (offset >>> UNIT_SHIFT)) >>> 0;
    const at = offset >>> 2;
    chunk.words[at + HASH] = hash;
    chunk.words[at + EXPIRY] = Math.ceil(now + this.#lifetime - chunk.base);
    chunk.words[at + KEY_LENGTH] = keyLength;
    chunk.words[at + RESPONSE_LENGTH] = response.length;
    chunk.bytes.write(key, offset + HEADER_BYTES, keyLength, "latin1");
    chunk.bytes.write(response, offset + HEADER_BYTES + keyLength, response.length, "latin1");
    chunk.end = offset + size;
    this.#count++;
    if (!this.#index.insert(hash, reference)) this.#dropped++;
  }

  /** The response kept under exactly `key`, if it has not expired. */
  find(key: string, hash: number, now: number): string | undefined {
    this.#key = key;
    this.#now = now;
    const reference = this.#index.find(hash, this.#matches);
    if (reference === 0) return undefined;
    const chunk = this.#ring[reference >>> UNITS_PER_CHUNK_SHIFT]!;
    const offset = offsetOf(reference);
    const start = offset + HEADER_BYTES + chunk.words[(offset >>> 2) + KEY_LENGTH]!;
    return chunk.bytes.toString("latin1", start, start + chunk.words[(offset >>> 2) + RESPONSE_LENGTH]!);
  }

  /** Forgets at most `limit` of the entries whose time has come; true where more wait. */
  expire(now: number, limit: number): boolean {
    for (let done = 0; this.#count > 0; done++) {
      const chunk = this.#ring[this.#head]!;
      if (chunk.base + chunk.words[(chunk.read >>> 2) + EXPIRY]! > now) return false;
      if (done === limit) return true;
      this.#forgetOldest(chunk);
    }
    return false;
  }

  clear(): void {
    this.#index.clear();
    this.#ring.fill(null);
    this.#spare = null;
    this.#chunks = 0;
    this.#count = 0;
  }

  #isKey(reference: number): boolean {
    const chunk = this.#ring[reference >>> UNITS_PER_CHUNK_SHIFT]!;
    const offset = offsetOf(reference);
    const at = offset >>> 2;
    if (chunk.base + chunk.words[at + EXPIRY]! <= this.#now) return false;
    const length = chunk.words[at + KEY_LENGTH]!;
    if (length !== this.#key.length) return false;
    return chunk.bytes.toString("latin1", offset + HEADER_BYTES, offset + HEADER_BYTES + length) === this.#key;
  }

  #open(now: number): Chunk {
    if (this.#chunks > 0) this.#tail = (this.#tail + 1) % this.#ring.length;
    else this.#tail = this.#head;
    if (this.#chunks === this.#ring.length) this.#dropOldestChunk();
    const chunk = this.#spare ?? new Chunk();
    this.#spare = null;
    chunk.reset(now);
    this.#ring[this.#tail] = chunk;
    this.#chunks++;
    return chunk;
  }

  #dropOldestChunk(): void {
    const before = this.#chunks;
    while (this.#chunks === before) {
      this.#dropped++;
      this.#forgetOldest(this.#ring[this.#head]!);
    }
  }

  #forgetOldest(chunk: Chunk): void {
    const at = chunk.read >>> 2;
    const reference = ((this.#head << UNITS_PER_CHUNK_SHIFT) | (chunk.read >>> UNIT_SHIFT)) >>> 0;
    this.#index.remove(chunk.words[at + HASH]!, reference);
    const size = HEADER_BYTES + chunk.words[at + KEY_LENGTH]! + chunk.words[at + RESPONSE_LENGTH]!;
    chunk.read += (size + (1 << UNIT_SHIFT) - 1) & -(1 << UNIT_SHIFT);
    this.#count--;
    if (chunk.read === chunk.end) this.#close(chunk);
  }

  /** One chunk is kept for the next `#open`: under load they turn over without the allocator; idle, nothing is kept. */
  #close(chunk: Chunk): void {
    this.#ring[this.#head] = null;
    this.#chunks--;
    this.#spare = this.#count === 0 ? null : chunk;
    if (this.#chunks > 0) this.#head = (this.#head + 1) % this.#ring.length;
  }
}

function offsetOf(reference: number): number {
  return (reference & ((1 << UNITS_PER_CHUNK_SHIFT) - 1)) << UNIT_SHIFT;
}
