/**
 * From hashes to references, in flat memory: 256 open-addressing tables by the top byte of the hash, which grow one by one,
 * so that no single insertion pays for all of them. A slot is two words: hash, and reference (0: empty).
 * What a reference means, and whether the keys are equal, is for the caller to say.
 */

const SEGMENTS = 256;
const FIRST_SLOTS = 64;
/** A probe goes no further. Only keys made to collide get there, and they only lose their own entries. */
const MAX_PROBE = 96;

interface Segment {
  words: Uint32Array;
  mask: number;
  count: number;
}

export class CompletedIndex {
  readonly #segments: Array<Segment | null> = new Array<Segment | null>(SEGMENTS).fill(null);
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** False where the reference found no place. `reference` is not 0. */
  insert(hash: number, reference: number): boolean {
    const at = hash >>> 24;
    let segment = this.#segments[at]!;
    if (segment === null) {
      segment = { words: new Uint32Array(2 * FIRST_SLOTS), mask: FIRST_SLOTS - 1, count: 0 };
      this.#bytes += segment.words.byteLength;
      this.#segments[at] = segment;
    } else if (2 * (segment.count + 1) > segment.mask + 1) {
      this.#resize(segment, 2 * (segment.mask + 1));
    }
    if (place(segment.words, segment.mask, hash, reference)) {
      segment.count++;
      return true;
    }
    return false;
  }

  /** The first reference filed under `hash` that `matches`; 0 where there is none. */
  find(hash: number, matches: (reference: number) => boolean): number {
    const segment = this.#segments[hash >>> 24]!;
    if (segment === null) return 0;
    const { words, mask } = segment;
    let slot = hash & mask;
    for (let probe = 0; probe < MAX_PROBE; probe++) {
      const reference = words[2 * slot + 1]!;
      if (reference === 0) return 0;
      if (words[2 * slot] === hash && matches(reference)) return reference;
      slot = (slot + 1) & mask;
    }
    return 0;
  }

  remove(hash: number, reference: number): void {
    const at = hash >>> 24;
    const segment = this.#segments[at]!;
    if (segment === null) return;
    const { words, mask } = segment;
    let slot = hash & mask;
    for (let probe = 0; words[2 * slot + 1] !== reference; probe++) {
      if (words[2 * slot + 1] === 0 || probe >= MAX_PROBE) return;
      slot = (slot + 1) & mask;
    }
    closeGap(words, mask, slot);
    segment.count--;
    if (segment.count === 0) {
      this.#bytes -= words.byteLength;
      this.#segments[at] = null;
    } else if (8 * segment.count < mask + 1 && mask + 1 > FIRST_SLOTS) {
      this.#resize(segment, (mask + 1) / 2);
    }
  }

  clear(): void {
    this.#segments.fill(null);
    this.#bytes = 0;
  }

  #resize(segment: Segment, slots: number): void {
    const old = segment.words;
    const words = new Uint32Array(2 * slots);
    let count = 0;
    for (let i = 0; i < old.length; i += 2) {
      if (old[i + 1] !== 0 && place(words, slots - 1, old[i]!, old[i + 1]!)) count++;
    }
    this.#bytes += words.byteLength - old.byteLength;
    segment.words = words;
    segment.mask = slots - 1;
    segment.count = count;
  }
}

function place(words: Uint32Array, mask: number, hash: number, reference: number): boolean {
  let slot = hash & mask;
  for (let probe = 0; probe < MAX_PROBE; probe++) {
    if (words[2 * slot + 1] === 0) {
      words[2 * slot] = hash;
      words[2 * slot + 1] = reference;
      return true;
    }
    slot = (slot + 1) & mask;
  }
  return false;
}

/** Moves later ones of the run back, so that no probe ends too early: no tombstones. */
function closeGap(words: Uint32Array, mask: number, gap: number): void {
  let hole = gap;
  let slot = (gap + 1) & mask;
  while (words[2 * slot + 1] !== 0) {
    const home = words[2 * slot]! & mask;
    if (((slot - home) & mask) >= ((slot - hole) & mask)) {
      words[2 * hole] = words[2 * slot]!;
      words[2 * hole + 1] = words[2 * slot + 1]!;
      hole = slot;
    }
    slot = (slot + 1) & mask;
  }
  words[2 * hole] = 0;
  words[2 * hole + 1] = 0;
}
