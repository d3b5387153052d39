import { randomFillSync } from "node:crypto";
import { randomFrom } from "./random.ts";
import type { Random } from "./runtime.ts";

/** Cryptographic randomness, drawn from the system 8 kB at a time: a tag or branch costs no system call. */
export function realRandom(): Random {
  const pool = new Uint8Array(8192);
  let next = pool.length;
  return randomFrom(() => {
    if (next === pool.length) {
      randomFillSync(pool);
      next = 0;
    }
    return pool[next++] as number;
  });
}
