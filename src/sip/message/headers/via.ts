import { MalformedHeader } from "../errors.ts";
import { COLON, isSpace, isToken, lowerAscii, parseDigits, SEMICOLON, SLASH, skipSpace, trimEnd } from "../text.ts";
import { isHost } from "../uri.ts";
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

/** Reads one value, unfolded and trimmed. Throws MalformedHeader. */
export function parseVia(text: string): Via {
  const end = text.length;
  let at = 0;
  let protocol = "SIP/2.0";
  if (text.startsWith("SIP/2.0/")) {
    at = 8;
  } else {
    const first = text.indexOf("/");
    const second = first < 0 ? -1 : text.indexOf("/", first + 1);
    if (second < 0) throw new MalformedHeader("Via", "the protocol is not of the form SIP/2.0/UDP");
    const name = text.slice(0, trimEnd(text, 0, first));
    const versionStart = skipSpace(text, first + 1, second);
    const version = text.slice(versionStart, trimEnd(text, versionStart, second));
    if (!isToken(name) || !isToken(version))
      throw new MalformedHeader("Via", "the protocol is not of the form SIP/2.0/UDP");
    protocol = `${name}/${version}`;
    at = second + 1;
  }
  at = skipSpace(text, at, end);
  const transportStart = at;
  while (
    at < end &&
    !isSpace(text.charCodeAt(at)) &&
    text.charCodeAt(at) !== SLASH &&
    text.charCodeAt(at) !== SEMICOLON
  )
    at++;
  const written = text.slice(transportStart, at);
  const transport = upperTransport(written);
  const hostStart = skipSpace(text, at, end);
  if (hostStart === at) throw new MalformedHeader("Via", "the transport is not followed by an address");
  at = text.charCodeAt(hostStart) === 91 ? text.indexOf("]", hostStart) + 1 : wordEnd(text, hostStart, end);
  const host = lowerAscii(text.slice(hostStart, at));
  if (!isHost(host)) throw new MalformedHeader("Via", "the address is malformed");
  at = skipSpace(text, at, end);
  let port: number | undefined;
  if (text.charCodeAt(at) === COLON) {
    const portStart = skipSpace(text, at + 1, end);
    at = wordEnd(text, portStart, end);
    port = parseDigits(text.slice(portStart, at), 65_535);
    if (port < 0) throw new MalformedHeader("Via", "the port is no number up to 65535");
  }
  const params = parseParams(text, at);
  if (params instanceof ParamsFault) throw new MalformedHeader("Via", params.reason);
  return {
    protocol,
    transport,
    host,
    port,
    sentBy: port === undefined ? host : `${host}:${port}`,
    branch: params.get("branch"),
    received: params.get("received"),
    rport: rportOf(params),
    params,
    raw: text,
  };
}

function wordEnd(text: string, at: number, end: number): number {
  for (; at < end; at++) {
    const c = text.charCodeAt(at);
    if (c === COLON || c === SEMICOLON || isSpace(c)) break;
  }
  return at;
}

function upperTransport(written: string): string {
  if (written === "UDP" || written === "TCP" || written === "TLS") return written;
  if (!isToken(written)) throw new MalformedHeader("Via", "the transport is malformed");
  return written.toUpperCase();
}

function rportOf(params: Params): number | true | undefined {
  const text = params.get("rport");
  if (text === undefined) return undefined;
  if (text === "") return true;
  const port = parseDigits(text, 65_535);
  if (port < 0) throw new MalformedHeader("Via", "rport is no number up to 65535");
  return port;
}
