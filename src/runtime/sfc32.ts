/**
 * The small fast counting generator sfc32 (Chris Doty-Humphrey, PractRand): 128 bits of state, period at least 2^32.
 * For simulations only: what it gives can be foretold.
 */
export class Sfc32 {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;
  #spare = 0;
  #spareBytes = 0;

  /** @param stream generators of one seed and different streams are independent of each other. */
  constructor(seed: number, stream: number) {
    this.#a = Math.floor(seed / 2 ** 32) | 0;
    this.#b = seed | 0;
    this.#c = stream | 0;
    for (let i = 0; i < 15; i++) this.next();
  }

  /** A whole number, 0 <= n < 2^32. */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  byte(): number {
    if (this.#spareBytes === 0) {
      this.#spare = this.next();
      this.#spareBytes = 4;
    }
    this.#spareBytes--;
    const byte = this.#spare & 0xff;
    this.#spare >>>= 8;
    return byte;
  }

  /** True with this probability, 0 to 1. Draws nothing where there is nothing to decide. */
  chance(probability: number): boolean {
    return probability > 0 && (probability >= 1 || this.next() < probability * 2 ** 32);
  }

  /** Evenly from `low` to `high`. */
  between(low: number, high: number): number {
    return high > low ? low + ((high - low) * this.next()) / 2 ** 32 : low;
  }
}
