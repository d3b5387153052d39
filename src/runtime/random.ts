import type { Random } from "./runtime.ts";

const LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789";
/** Bytes from here on are drawn again, so that every letter is as likely as any other: 7 * 36 = 252. */
const FAIR = 252;
const LIMIT = 2 ** 48;

/** Turns a source of random bytes into a Random. `nextByte` returns 0..255, evenly distributed. */
export function randomFrom(nextByte: () => number): Random {
  return {
    integer(below) {
      if (!Number.isSafeInteger(below) || below < 1 || below > LIMIT) {
        throw new RangeError(`A random integer needs a whole limit from 1 to 2^48, not ${below}.`);
      }
      let width = 1;
      while (256 ** width < below) width++;
      const fair = 256 ** width - (256 ** width % below);
      for (;;) {
        let value = 0;
        for (let i = 0; i < width; i++) value = value * 256 + nextByte();
        if (value < fair) return value % below;
      }
    },
    bytes(length) {
      const out = new Uint8Array(length);
      for (let i = 0; i < length; i++) out[i] = nextByte();
      return out;
    },
    token(length) {
      let out = "";
      while (out.length < length) {
        const byte = nextByte();
        if (byte < FAIR) out += LETTERS[byte % 36];
      }
      return out;
    },
  };
}
