import { AT, bytesOf, COLON, digitsAt, OPEN_BRACKET, QUESTION, SEMICOLON } from "./bytes.ts";
import { MalformedUri } from "./errors.ts";
import { canonicalUser, comparable, unescapeAll } from "./escape.ts";
import { Params } from "./headers/params.ts";
import { equalsIgnoringCase, lowerAscii, lowerAt } from "./text.ts";

/** A SIP or SIPS URI (RFC 3261 19.1.1). `user` and `password` are as written, escapes kept; IPv6 hosts stand in brackets. */
export interface SipUri {
  readonly kind: "sip";
  readonly scheme: "sip" | "sips";
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** In lower case. */
  readonly host: string;
  readonly port: number | undefined;
  /** Values unescaped. */
  readonly params: Params;
  /** What follows `?`, as written. */
  readonly headers: string | undefined;
  readonly raw: string;
}

/** A tel URI (RFC 3966). */
export interface TelUri {
  readonly kind: "tel";
  readonly scheme: "tel";
  /** In lower case, without visual separators; with its `+` where it is global. */
  readonly number: string;
  readonly global: boolean;
  readonly params: Params;
  readonly raw: string;
}

/** Any other scheme: not looked into. */
export interface OtherUri {
  readonly kind: "other";
  /** In lower case. */
  readonly scheme: string;
  readonly opaque: string;
  readonly raw: string;
}

export type Uri = SipUri | TelUri | OtherUri;

const SCHEME = 1;
const HOST = 2;
const NEVER = 4;
const CLASS = new Uint8Array(256);
for (let c = 0; c <= 32; c++) CLASS[c] = NEVER;
for (const c of '"<>\x7f') CLASS[c.charCodeAt(0)] = NEVER;
for (const c of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
  CLASS[c.charCodeAt(0)] = SCHEME | HOST;
CLASS["+".charCodeAt(0)] = SCHEME;
CLASS["_".charCodeAt(0)] = HOST;

/** Reads the one URI that stands in `text` from `start` to `end`: no brackets, no spaces around it. Throws MalformedUri. */
export function parseUri(text: string, start = 0, end: number = text.length): Uri {
  const bytes = bytesOf(text);
  let colon = start;
  while (colon < end && (CLASS[bytes[colon]!]! & SCHEME) !== 0) colon++;
  if (colon === start || colon === end || bytes[colon] !== COLON)
    throw new MalformedUri("a URI begins with its scheme");
  let at = -1;
  for (let i = colon + 1; i < end; i++) {
    const c = bytes[i]!;
    if ((CLASS[c]! & NEVER) !== 0) {
      throw new MalformedUri("a URI holds no spaces, quotes, angle brackets or control characters");
    }
    if (c === AT && at < 0) at = i;
  }
  const scheme = lowerAt(text, start, colon);
  if (scheme === "sip" || scheme === "sips") return parseSip(text, scheme, start, end, colon + 1, at);
  if (scheme === "tel") return parseTel(text.slice(start, end));
  if (scheme.charCodeAt(0) < 97 || colon + 1 === end) throw new MalformedUri("this is no URI");
  return { kind: "other", scheme, opaque: text.slice(colon + 1, end), raw: text.slice(start, end) };
}

function parseSip(text: string, scheme: "sip" | "sips", start: number, end: number, from: number, at: number): SipUri {
  const bytes = bytesOf(text);
  let user: string | undefined;
  let password: string | undefined;
  let hostStart = from;
  if (at >= 0) {
    let colon = from;
    while (colon < at && bytes[colon] !== COLON) colon++;
    if (colon === from) throw new MalformedUri("the user part is empty");
    user = text.slice(from, colon);
    if (colon < at) password = text.slice(colon + 1, at);
    hostStart = at + 1;
  }
  let next = hostEnd(text, hostStart, end);
  const host = lowerAt(text, hostStart, next);
  let port: number | undefined;
  if (next < end && bytes[next] === COLON) {
    const portStart = next + 1;
    next = portStart;
    while (next < end && bytes[next] !== SEMICOLON && bytes[next] !== QUESTION) next++;
    port = digitsAt(bytes, portStart, next, 65_535);
    if (port < 0) throw new MalformedUri("the port is no number up to 65535");
  }
  let params = Params.NONE;
  let headers: string | undefined;
  if (next < end) {
    let question = next;
    while (question < end && bytes[question] !== QUESTION) question++;
    if (question < end) headers = text.slice(question + 1, end);
    if (bytes[next] === SEMICOLON) params = uriParams(text, next, question);
    else if (next !== question) throw new MalformedUri("unexpected characters after the host");
  }
  return { kind: "sip", scheme, user, password, host, port, params, headers, raw: text.slice(start, end) };
}

/** The end of the host that begins at `start`. Throws MalformedUri where none stands there. */
function hostEnd(text: string, start: number, end: number): number {
  const bytes = bytesOf(text);
  let at = start;
  if (at < end && bytes[at] === OPEN_BRACKET) {
    at = text.indexOf("]", start) + 1;
    if (at === 0 || at > end || !isHostAt(text, start, at)) throw new MalformedUri("the IPv6 address is malformed");
    return at;
  }
  while (at < end && (CLASS[bytes[at]!]! & HOST) !== 0) at++;
  if (at === start) throw new MalformedUri("the host is missing");
  return at;
}

/** Letters, digits, `-`, `.`, `_`, at least one; or in brackets what an IPv6 address consists of, not checked further. */
export function isHostAt(text: string, start: number, end: number): boolean {
  const bytes = bytesOf(text);
  if (bytes[start] === OPEN_BRACKET)
    return end - start <= 47 && /^\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]$/.test(text.slice(start, end));
  for (let at = start; at < end; at++) if ((CLASS[bytes[at]!]! & HOST) === 0) return false;
  return end > start;
}

function uriParams(text: string, start: number, end: number): Params {
  const cells: (string | undefined)[] = [];
  while (start < end) {
    let next = text.indexOf(";", start + 1);
    if (next < 0 || next > end) next = end;
    const part = text.slice(start + 1, next);
    const equals = part.indexOf("=");
    const name = lowerAscii(unescapeAll(equals < 0 ? part : part.slice(0, equals)));
    if (name === "" && equals >= 0) throw new MalformedUri("a parameter without a name");
    if (name !== "") {
      cells.push(name, equals < 0 ? undefined : unescapeAll(part.slice(equals + 1)));
    }
    start = next;
  }
  return cells.length === 0 ? Params.NONE : new Params(cells);
}

function parseTel(text: string): TelUri {
  const semicolon = text.indexOf(";");
  const end = semicolon < 0 ? text.length : semicolon;
  const written = text.slice(4, end);
  const number = lowerAscii(written.replace(/[-.()]/g, ""));
  const global = number.charCodeAt(0) === 43;
  if (!(global ? /^\+[0-9]+$/ : /^[0-9a-f*#]+$/).test(number)) throw new MalformedUri("this is no telephone number");
  const params = semicolon < 0 ? Params.NONE : uriParams(text, semicolon, text.length);
  const seen = new Set<string>();
  for (const [name] of params) {
    if (seen.has(name)) throw new MalformedUri(`the parameter ${name} stands twice`);
    seen.add(name);
  }
  return { kind: "tel", scheme: "tel", number, global, params, raw: text };
}

/** Parameters that never match their absence (RFC 3261 19.1.4; transport by its examples). */
const NEVER_IGNORED = ["user", "ttl", "method", "maddr", "transport"];

/** RFC 3261 19.1.4 for SIP and SIPS, RFC 3966 4 for tel; other schemes are equal when their texts are. */
export function equalUris(a: Uri, b: Uri): boolean {
  if (a.kind === "sip") return b.kind === "sip" && equalSip(a, b);
  if (a.kind === "tel") return b.kind === "tel" && equalTel(a, b);
  return b.kind === "other" && a.scheme === b.scheme && a.opaque === b.opaque;
}

function equalSip(a: SipUri, b: SipUri): boolean {
  if (a.scheme !== b.scheme || a.port !== b.port || canonicalHost(a.host) !== canonicalHost(b.host)) return false;
  if (!sameText(a.user, b.user) || !sameText(a.password, b.password)) return false;
  for (const [name, value] of a.params) {
    if (b.params.has(name)) {
      if (!equalsIgnoringCase(value ?? "", b.params.get(name)!)) return false;
    } else if (NEVER_IGNORED.includes(name)) return false;
  }
  for (const [name] of b.params) if (NEVER_IGNORED.includes(name) && !a.params.has(name)) return false;
  return sameHeaders(a.headers, b.headers);
}

function sameText(a: string | undefined, b: string | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && comparable(a) === comparable(b));
}

/** Header components as sorted `name=value` pairs; names without case, values as they are. */
function sameHeaders(a: string | undefined, b: string | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  const sorted = (headers: string): string => headers.split("&").map(headerPair).sort().join("&");
  return sorted(a) === sorted(b);
}

function headerPair(pair: string): string {
  const equals = pair.indexOf("=");
  if (equals < 0) return lowerAscii(comparable(pair));
  return `${lowerAscii(comparable(pair.slice(0, equals)))}=${comparable(pair.slice(equals + 1))}`;
}

function equalTel(a: TelUri, b: TelUri): boolean {
  if (a.number !== b.number || a.params.size !== b.params.size) return false;
  for (const [name, value] of a.params) {
    if (!b.params.has(name)) return false;
    if (telValue(name, value ?? "") !== telValue(name, b.params.get(name)!)) return false;
  }
  return true;
}

function telValue(name: string, value: string): string {
  const lower = lowerAscii(value);
  const isNumber = name === "ext" || (name === "phone-context" && lower.startsWith("+"));
  return isNumber ? lower.replace(/[-.()]/g, "") : lower;
}

/** IPv6 references in their shortest form (RFC 5954 4.2); names and IPv4 addresses as they are. */
function canonicalHost(host: string): string {
  if (host.charCodeAt(0) !== 91) return host;
  try {
    return new URL(`http://${host}`).hostname;
  } catch {
    return host;
  }
}

/**
 * The canonical address-of-record `user@host` (RFC 3261 10.3 step 5): host in lower case, the user unescaped where it needs no
 * escape, no password, port or parameters. Undefined for URIs that are no SIP or SIPS URI or have no user.
 */
export function tryAorOf(uri: Uri): string | undefined {
  return uri.kind === "sip" && uri.user !== undefined ? `${canonicalUser(uri.user)}@${uri.host}` : undefined;
}

/** The same; throws MalformedUri where there is none. */
export function aorOf(uri: Uri): string {
  const aor = tryAorOf(uri);
  if (aor === undefined) throw new MalformedUri("an address of record is a SIP or SIPS URI with a user");
  return aor;
}
