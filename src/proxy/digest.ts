import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Credentials } from "../directory/directory.ts";
import type { Clock, Random } from "../runtime/runtime.ts";

/** Digest access authentication for SIP (RFC 3261 22, RFC 7616, RFC 8760): SHA-256 and MD5, qop auth. */

export interface DigestAnswer {
  readonly username: string;
  readonly realm: string;
  readonly nonce: string;
  readonly uri: string;
  readonly response: string;
  readonly algorithm: "SHA-256" | "MD5";
  /** Hexadecimal; absent with the old form without qop (RFC 2069). */
  readonly nc: string | undefined;
  readonly cnonce: string | undefined;
  readonly qop: string | undefined;
}

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

const ALGORITHMS = { "SHA-256": "sha256", MD5: "md5" } as const;

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

  /** Judges an answer; a nonce count is spent only by a right one. */
  verify(answer: DigestAnswer, method: string, credentials: Credentials | null): DigestVerdict {
    const secret = answer.algorithm === "MD5" ? credentials?.md5 : credentials?.sha256;
    if (secret == null) return "wrong";
    const expected = digestResponse(answer, method, secret);
    if (!sameText(expected, answer.response.toLowerCase())) return "wrong";
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

/** RFC 7616 3.4.1. @param secret H(user:realm:password) in lower-case hex. */
export function digestResponse(answer: DigestAnswer, method: string, secret: string): string {
  const { nonce, nc, cnonce, qop, uri, algorithm } = answer;
  const hash = (text: string): string => createHash(ALGORITHMS[algorithm]).update(text, "latin1").digest("hex");
  const request = hash(`${method}:${uri}`);
  return hash(
    qop === undefined ? `${secret}:${nonce}:${request}` : `${secret}:${nonce}:${nc}:${cnonce}:${qop}:${request}`,
  );
}

/** H(user:realm:password) for the directory's credentials. */
export function digestSecret(algorithm: "SHA-256" | "MD5", user: string, realm: string, password: string): string {
  return createHash(ALGORITHMS[algorithm]).update(`${user}:${realm}:${password}`).digest("hex");
}

/** An Authorization or Proxy-Authorization value; undefined: another scheme, another algorithm, or not whole. */
export function parseDigest(value: string): DigestAnswer | undefined {
  if (!/^digest\s/i.test(value)) return undefined;
  const fields = new Map<string, string>();
  for (const match of value.slice(6).matchAll(/([\w-]{1,32})\s{0,8}=\s{0,8}(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g)) {
    fields.set(match[1]!.toLowerCase(), match[2] === undefined ? match[3]! : match[2].replaceAll(/\\(.)/g, "$1"));
  }
  const algorithm = (fields.get("algorithm") ?? "MD5").toUpperCase();
  if (algorithm !== "MD5" && algorithm !== "SHA-256") return undefined;
  const [username, realm, nonce, uri, response] = ["username", "realm", "nonce", "uri", "response"].map((name) =>
    fields.get(name),
  );
  if (
    username === undefined ||
    realm === undefined ||
    nonce === undefined ||
    uri === undefined ||
    response === undefined
  ) {
    return undefined;
  }
  const qop = fields.get("qop");
  const nc = fields.get("nc");
  const cnonce = fields.get("cnonce");
  if (qop !== undefined && (qop !== "auth" || nc === undefined || cnonce === undefined)) return undefined;
  return { username, realm, nonce, uri, response, algorithm, nc, cnonce, qop };
}

/** In a time that tells nothing of where they differ. */
export function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}
