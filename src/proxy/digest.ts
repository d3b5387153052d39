import { createHmac } from "node:crypto";
import { LRUCache } from "lru-cache";
import { ALGORITHMS, type DigestAnswer, digestResponse, sameText } from "../base/digest.ts";
import type { Credentials } from "../directory/directory.ts";
import type { Clock, Random } from "../runtime/runtime.ts";

/** Digest access authentication for SIP (RFC 3261 22, RFC 7616, RFC 8760): SHA-256 and MD5, qop auth. */

export type DigestVerdict =
  | "right"
  | "wrong"
  /** The right password for a nonce that is too old or was used before: challenge again with stale=true. */
  | "stale";

export interface DigestOptions {
  /** Milliseconds a nonce may be used. */
  readonly lifetimeMs: number;
  /** Nonces whose counts are remembered. */
  readonly remembered: number;
}

export class DigestNonces {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #key: Uint8Array;
  readonly #options: DigestOptions;
  /** Made with the first nonce that comes back: it is large, and most domains challenge nobody. */
  #remembered: LRUCache<string, number> | undefined;

  constructor(clock: Clock, random: Random, options: DigestOptions = { lifetimeMs: 300_000, remembered: 100_000 }) {
    this.#clock = clock;
    this.#random = random;
    this.#key = random.bytes(32);
    this.#options = options;
  }

  get #counts(): LRUCache<string, number> {
    this.#remembered ??= new LRUCache({ max: this.#options.remembered });
    return this.#remembered;
  }

  issue(): string {
    const stamp = `${Math.floor(this.#clock.now()).toString(36)}.${this.#random.token(12)}`;
    return `${stamp}.${this.#mac(stamp)}`;
  }

  /** WWW-Authenticate or Proxy-Authenticate values, the strongest first (RFC 8760 2.4). */
  challenges(realm: string, stale: boolean): string[] {
    const nonce = this.issue();
    return Object.keys(ALGORITHMS).map(
      (algorithm) =>
        `Digest realm="${realm}", nonce="${nonce}", algorithm=${algorithm}, qop="auth"${stale ? ", stale=true" : ""}`,
    );
  }

  /** Judges an answer of who gave his user part or his whole address as his name; a nonce count is spent only by a right one. */
  verify(answer: DigestAnswer, method: string, credentials: Credentials | null): DigestVerdict {
    const given = answer.response.toLowerCase();
    const isRight = [credentials, credentials?.whole].some((each) => {
      const secret = answer.algorithm === "MD5" ? each?.md5 : each?.sha256;
      return secret != null && sameText(digestResponse(answer, method, secret), given);
    });
    if (!isRight) return "wrong";
    return this.#spend(answer) ? "right" : "stale";
  }

  #spend(answer: DigestAnswer): boolean {
    const last = answer.nonce.lastIndexOf(".");
    const stamp = answer.nonce.slice(0, last);
    if (last < 0 || !sameText(this.#mac(stamp), answer.nonce.slice(last + 1))) return false;
    const issued = Number.parseInt(stamp, 36);
    if (this.#clock.now() - issued > this.#options.lifetimeMs) return false;
    // RFC 7616 3.4: a count that does not grow is a replay. Without a count a nonce serves once.
    const count = answer.nc === undefined ? 1 : Number.parseInt(answer.nc, 16);
    if (!(count > (this.#counts.get(answer.nonce) ?? 0))) return false;
    this.#counts.set(answer.nonce, count);
    return true;
  }

  #mac(stamp: string): string {
    return createHmac("sha256", this.#key).update(stamp).digest("hex").slice(0, 24);
  }
}
