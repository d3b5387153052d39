import {
  bytesOf,
  COLON,
  digitsAt,
  isSpace,
  isTokenAt,
  OPEN_BRACKET,
  SEMICOLON,
  SLASH,
  skipSpace,
  tableOf,
  trimEnd,
} from "../bytes.ts";
import { MalformedHeader } from "../errors.ts";
import { lowerAt, parseDigits } from "../text.ts";
import { isHostAt } from "../uri.ts";
import { type Params, ParamsFault, parseParams } from "./params.ts";

/** One Via value (RFC 3261 20.42, RFC 3581). */
export interface Via {
  /** `SIP/2.0`, without spaces. */
  readonly protocol: string;
  /** In upper case: UDP, TCP, TLS, WS, WSS, or what the peer wrote. */
  readonly transport: string;
  /** In lower case; IPv6 in brackets. */
  readonly host: string;
  readonly port: number | undefined;
  /** `host[:port]`, without spaces. */
  readonly sentBy: string;
  readonly branch: string | undefined;
  readonly received: string | undefined;
  /** True: asked for and not filled in. */
  readonly rport: number | true | undefined;
  readonly params: Params;
  readonly raw: string;
}

const ZERO = 48;
const WORD_STOPS = tableOf(":; \t\r\n");
const SIP_2 = Buffer.from("SIP/2.0/", "latin1");

/** Reads the one value that stands in `text` from `start` to `end`, unfolded and trimmed. Throws MalformedHeader. */
export function parseVia(text: string, start = 0, end: number = text.length): Via {
  const bytes = bytesOf(text);
  let protocol = "SIP/2.0";
  let at = start + SIP_2.length;
  if (at > end || !isUsual(bytes, start)) {
    at = protocolEnd(text, start, end);
    protocol = text.slice(start, at - 1).replace(/[ \t]/g, "");
  }
  at = skipSpace(bytes, at, end);
  const transportStart = at;
  while (at < end && !isSpace(bytes[at]!) && bytes[at] !== SLASH && bytes[at] !== SEMICOLON) at++;
  if (!isTokenAt(bytes, transportStart, at)) throw new MalformedHeader("Via", "the transport is malformed");
  const transport = upperTransport(text.slice(transportStart, at));
  const hostStart = skipSpace(bytes, at, end);
  if (hostStart === at) throw new MalformedHeader("Via", "the transport is not followed by an address");
  const hostEnd = bytes[hostStart] === OPEN_BRACKET ? text.indexOf("]", hostStart) + 1 : wordEnd(bytes, hostStart, end);
  if (hostEnd > end || !isHostAt(text, hostStart, hostEnd))
    throw new MalformedHeader("Via", "the address is malformed");
  const host = lowerAt(text, hostStart, hostEnd);
  at = skipSpace(bytes, hostEnd, end);
  let port: number | undefined;
  let sentBy = host;
  if (at < end && bytes[at] === COLON) {
    const portStart = skipSpace(bytes, at + 1, end);
    at = wordEnd(bytes, portStart, end);
    port = digitsAt(bytes, portStart, at, 65_535);
    if (port < 0) throw new MalformedHeader("Via", "the port is no number up to 65535");
    const isExact = portStart === hostEnd + 1 && bytes[portStart] !== ZERO;
    sentBy = isExact ? lowerAt(text, hostStart, at) : `${host}:${port}`;
  }
  const params = parseParams(text, at, end);
  if (params instanceof ParamsFault) throw new MalformedHeader("Via", params.reason);
  return {
    protocol,
    transport,
    host,
    port,
    sentBy,
    branch: params.getLower("branch"),
    received: params.getLower("received"),
    rport: rportOf(params),
    params,
    raw: text.slice(start, end),
  };
}

function isUsual(bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < SIP_2.length; i++) if (bytes[start + i] !== SIP_2[i]) return false;
  return true;
}

/** The position behind the second slash of `SIP / 2.0 / UDP`. */
function protocolEnd(text: string, start: number, end: number): number {
  const bytes = bytesOf(text);
  const first = text.indexOf("/", start);
  const second = first < 0 ? -1 : text.indexOf("/", first + 1);
  if (second < 0 || second >= end) throw new MalformedHeader("Via", "the protocol is not of the form SIP/2.0/UDP");
  const version = skipSpace(bytes, first + 1, second);
  const isProtocol =
    isTokenAt(bytes, start, trimEnd(bytes, start, first)) && isTokenAt(bytes, version, trimEnd(bytes, version, second));
  if (!isProtocol) throw new MalformedHeader("Via", "the protocol is not of the form SIP/2.0/UDP");
  return second + 1;
}

function wordEnd(bytes: Uint8Array, at: number, end: number): number {
  while (at < end && WORD_STOPS[bytes[at]!] === 0) at++;
  return at;
}

function upperTransport(written: string): string {
  return written === "UDP" || written === "TCP" || written === "TLS" ? written : written.toUpperCase();
}

function rportOf(params: Params): number | true | undefined {
  const text = params.getLower("rport");
  if (text === undefined) return undefined;
  if (text === "") return true;
  const port = parseDigits(text, 65_535);
  if (port < 0) throw new MalformedHeader("Via", "rport is no number up to 65535");
  return port;
}
