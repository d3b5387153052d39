import { createHash, timingSafeEqual } from "node:crypto";

/** Digest access authentication (RFC 7616, RFC 8760), what is computed and read: SHA-256 and MD5, qop auth. */

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

export const ALGORITHMS = { "SHA-256": "sha256", MD5: "md5" } as const;

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
