import { type DigestAnswer, digestResponse, digestSecret } from "../base/digest.ts";
import { TransportError } from "../base/errors.ts";
import { attributeNamed, isElement, MalformedDocument, parseXml } from "../presence/xml.ts";
import type { HttpAnswer, HttpClient, Random } from "../runtime/runtime.ts";

/** Where a server keeps its users' rules (RFC 4825). */
export interface XcapServer {
  readonly name: string;
  /** XCAP root, http or https, without a slash at its end. */
  readonly url: string;
  /** Null: it asks nobody who he is. */
  readonly user: string | null;
  readonly password: string | null;
}

export type Stored =
  | { readonly stored: true }
  /** `lasting`: it will refuse the same again. */
  | { readonly stored: false; readonly error: string; readonly lasting: boolean };

const TIMEOUT_MS = 10_000;
const MOST_OCTETS = 65_536;
/** A request, and once more with what its challenge asks for. */
export const MOST_PUSH_MS = 2 * TIMEOUT_MS;
/** 4xx that may be otherwise in a moment: a password that is being changed among them. */
const PASSING = [401, 408, 425, 429];
const AUID = "pres-rules";
const TYPE = "application/auth-policy+xml";

interface Challenge {
  readonly fields: Readonly<Record<string, string>>;
  count: number;
}

/** Writes and removes users' presence rules (RFC 5025 9) on other servers, known there by HTTP Digest, or Basic over TLS or loopback. */
export class XcapClient {
  readonly #http: HttpClient;
  readonly #random: Random;
  /** The last of each server: the next request answers it at once. */
  readonly #challenges = new Map<string, Challenge>();

  constructor(http: HttpClient, random: Random) {
    this.#http = http;
    this.#random = random;
  }

  /** @param aor by which the server knows him. @param text null: his rules are removed. */
  async store(server: XcapServer, aor: string, text: string | null): Promise<Stored> {
    let answer: HttpAnswer;
    try {
      answer = await this.#send(server, `/${AUID}/users/${segment(`sip:${aor}`)}/index`, text);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      return { stored: false, error: error.message, lasting: false };
    }
    const { status } = answer;
    if (status >= 200 && status < 300) return { stored: true };
    if (text === null && status === 404) return { stored: true };
    return { stored: false, error: whyOf(server, answer), lasting: status < 500 && !PASSING.includes(status) };
  }

  close(): void {
    this.#http.close();
  }

  async #send(server: XcapServer, path: string, text: string | null): Promise<HttpAnswer> {
    const known = this.#challenges.get(server.name);
    const first = await this.#once(
      server,
      path,
      text,
      known === undefined ? null : this.#digest(server, path, text, known),
    );
    if (first.status !== 401 || server.user === null) return first;
    const challenges = (first.headers["www-authenticate"] ?? "").split(/,\s*(?=(?:Digest|Basic|Bearer|Negotiate)\b)/i);
    const digests = challenges.map(digestFields).filter((each) => each !== null);
    const fields = digests.find((each) => each["algorithm"]?.toUpperCase() === "SHA-256") ?? digests[0];
    if (fields !== undefined) {
      const challenge = { fields, count: 0 };
      this.#challenges.set(server.name, challenge);
      return this.#once(server, path, text, this.#digest(server, path, text, challenge));
    }
    if (!challenges.some((each) => /^Basic\b/i.test(each)) || !isSafe(server.url)) return first;
    const plain = Buffer.from(`${server.user}:${server.password ?? ""}`, "utf8").toString("base64");
    return this.#once(server, path, text, `Basic ${plain}`);
  }

  #once({ url }: XcapServer, path: string, text: string | null, authorization: string | null): Promise<HttpAnswer> {
    return this.#http.request({
      method: text === null ? "DELETE" : "PUT",
      url: url + path,
      headers: {
        ...(text === null ? {} : { "content-type": TYPE }),
        ...(authorization === null ? {} : { authorization }),
      },
      body: text === null ? new Uint8Array() : Buffer.from(text, "utf8"),
      timeoutMs: TIMEOUT_MS,
      mostOctets: MOST_OCTETS,
    });
  }

  /** RFC 7616 3.4. */
  #digest(server: XcapServer, path: string, text: string | null, challenge: Challenge): string {
    const { realm = "", nonce = "", opaque, qop } = challenge.fields;
    const algorithm = challenge.fields["algorithm"]?.toUpperCase() === "SHA-256" ? "SHA-256" : "MD5";
    const username = server.user ?? "";
    const withQop = qop?.split(",").some((each) => each.trim() === "auth") === true;
    const answer: Omit<DigestAnswer, "response"> = {
      username,
      realm,
      nonce,
      uri: new URL(server.url + path).pathname,
      algorithm,
      nc: withQop ? (++challenge.count).toString(16).padStart(8, "0") : undefined,
      cnonce: withQop ? this.#random.token(16) : undefined,
      qop: withQop ? "auth" : undefined,
    };
    const secret = digestSecret(algorithm, username, realm, server.password ?? "");
    const response = digestResponse({ ...answer, response: "" }, text === null ? "DELETE" : "PUT", secret);
    const quoted = (name: string, value: string): string => `${name}="${value.replaceAll(/[\\"]/g, "\\$&")}"`;
    return `Digest ${[
      quoted("username", username),
      quoted("realm", realm),
      quoted("nonce", nonce),
      quoted("uri", answer.uri),
      quoted("response", response),
      `algorithm=${algorithm}`,
      ...(opaque === undefined ? [] : [quoted("opaque", opaque)]),
      ...(withQop ? ["qop=auth", `nc=${answer.nc}`, quoted("cnonce", answer.cnonce!)] : []),
    ].join(", ")}`;
  }
}

function digestFields(challenge: string): Readonly<Record<string, string>> | null {
  if (!/^digest\b/i.test(challenge.trim())) return null;
  const fields: Record<string, string> = {};
  for (const [, name, quoted, bare] of challenge.matchAll(/([\w-]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g)) {
    fields[name!.toLowerCase()] = quoted === undefined ? bare! : quoted.replaceAll(/\\(.)/g, "$1");
  }
  const algorithm = fields["algorithm"]?.toUpperCase() ?? "MD5";
  return algorithm === "MD5" || algorithm === "SHA-256" ? fields : null;
}

/** A password may be sent there in the clear. */
function isSafe(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "https:" || hostname === "localhost" || hostname === "[::1]" || /^127\./.test(hostname);
}

/** RFC 4825 6.2: what is no pchar is percent-encoded. */
function segment(text: string): string {
  return encodeURIComponent(text).replaceAll("%3A", ":").replaceAll("%40", "@");
}

/** In one sentence, with what an xcap-error says (RFC 4825 11). */
function whyOf({ name }: XcapServer, { status, headers, body }: HttpAnswer): string {
  const told = `${name} answers ${status}`;
  if (status === 401 || status === 403) return `${told}: it does not know us, or does not let us.`;
  if (!/xcap-error/i.test(headers["content-type"] ?? "")) return `${told}.`;
  try {
    const [error] = parseXml(Buffer.from(body).toString("latin1")).children.filter(isElement);
    if (error === undefined) return `${told}.`;
    const phrase = attributeNamed(error, "phrase");
    return `${told}: ${error.local}${phrase === undefined ? "" : `, ${phrase.slice(0, 200)}`}`;
  } catch (error) {
    if (error instanceof MalformedDocument) return `${told}.`;
    throw error;
  }
}
