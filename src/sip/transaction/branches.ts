import type { Random } from "../../runtime/runtime.ts";
import { MAGIC_COOKIE } from "./keys.ts";

/**
 * Branches for our Via: "unique across space and time" (RFC 3261 8.1.1.7) by a random part per process and a count, and not
 * to be guessed by who never saw one.
 */
export class Branches {
  readonly #prefix: string;
  #count = 0;

  constructor(random: Random) {
    this.#prefix = `${MAGIC_COOKIE}${random.token(12)}.`;
  }

  next(): string {
    this.#count++;
    return this.#prefix + this.#count.toString(36);
  }
}
