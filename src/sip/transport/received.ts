import type { Via } from "../message/headers/via.ts";
import { canonicalHost, familyOf } from "./address.ts";
import type { TransportName } from "./transport.ts";

/**
 * The top Via of a request as the receiving side leaves it: with `received` where its sent-by is a name or not the source (RFC 3261 18.2.1),
 * with `received` and the source port where it has `rport` (RFC 3581 4). Undefined where it may stay as it is.
 *
 * Over WebSocket `received` is left out (RFC 7118 5.3), unless `rport` asks for it: it would show the addresses of HTTP proxies in front.
 * What a sender wrote into `received` and `rport` himself is replaced: both are ours to say.
 */
export function markedVia(
  value: string,
  via: Via,
  transport: TransportName,
  host: string,
  port: number,
): string | undefined {
  const asked = via.rport !== undefined;
  const webSocket = transport === "ws" || transport === "wss";
  const differs = !webSocket && (familyOf(via.host) === undefined || canonicalHost(via.host) !== host);
  if (!asked && !differs && via.received === undefined) return undefined;
  const kept = splitParams(value).filter(
    (part, index) => index === 0 || !/^\s*(?:received|rport)\s*(?:=|$)/i.test(part),
  );
  if (asked || differs) kept.push(`received=${host}`);
  if (asked) kept.push(`rport=${port}`);
  return kept.join(";");
}

/** Splits at semicolons that are not within quotes. */
function splitParams(value: string): string[] {
  if (!value.includes('"')) return value.split(";");
  return value.match(/(?:"(?:[^"\\]|\\.)*"|[^;"])+/g) ?? [value];
}

/**
 * The shape nearly every Via has: first header line, numeric IPv4 sent-by, `branch` and perhaps `rport` for parameters.
 * One pass over it spares parsing and editing on the hot path.
 */
const PLAIN = /Via: SIP\/2\.0\/(?:UDP|TCP|TLS) ([0-9.]+)(?::[0-9]+)?;branch=[\w.-]+(;rport)?(?=\r\n[!-~])/y;

/**
 * The whole request with its top Via marked, where that Via has the plain shape; undefined where it has not.
 * Says the same as `markedVia`.
 */
export function markedRaw(raw: string, host: string, port: number): string | undefined {
  const line = raw.indexOf("\r\n") + 2;
  PLAIN.lastIndex = line;
  const match = PLAIN.exec(raw);
  if (match === null) return undefined;
  if (match[2] === undefined) {
    if (match[1] === host) return raw;
    return `${raw.slice(0, PLAIN.lastIndex)};received=${host}${raw.slice(PLAIN.lastIndex)}`;
  }
  return `${raw.slice(0, PLAIN.lastIndex)}=${port};received=${host}${raw.slice(PLAIN.lastIndex)}`;
}
