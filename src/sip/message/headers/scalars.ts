import { bytesOf, digitsAt, isSpace, isTokenAt, SP, skipSpace, TOKEN } from "../bytes.ts";
import { MalformedHeader } from "../errors.ts";
import { parseDigits } from "../text.ts";
import { type Params, ParamsFault, parseParams } from "./params.ts";

/** RFC 3261 8.1.1.5: less than 2^31. */
const MAX_CSEQ = 2 ** 31 - 1;
/** RFC 3261 20.22. */
const MAX_HOPS = 255;
/** RFC 3261 20.19: delta-seconds up to 2^32 - 1. */
const MAX_DELTA = 2 ** 32 - 1;

export interface CSeq {
  readonly number: number;
  readonly method: string;
}

export function parseCSeq(text: string, start: number, end: number): CSeq {
  const bytes = bytesOf(text);
  let at = start;
  while (at < end && !isSpace(bytes[at]!)) at++;
  const number = digitsAt(bytes, start, at, MAX_CSEQ);
  if (number < 0) throw new MalformedHeader("CSeq", "the sequence number is no number below 2^31");
  at = skipSpace(bytes, at, end);
  if (!isTokenAt(bytes, at, end)) throw new MalformedHeader("CSeq", "the method is missing or malformed");
  return { number, method: text.slice(at, end) };
}

export function parseMaxForwards(text: string, start: number, end: number): number {
  const hops = digitsAt(bytesOf(text), start, end, MAX_HOPS);
  if (hops < 0) throw new MalformedHeader("Max-Forwards", "not a number from 0 to 255");
  return hops;
}

/** Seconds. */
export function parseExpires(text: string, start: number, end: number): number {
  const seconds = digitsAt(bytesOf(text), start, end, MAX_DELTA);
  if (seconds < 0) throw new MalformedHeader("Expires", "not a number of seconds below 2^32");
  return seconds;
}

export function parseContentLength(text: string, start: number, end: number): number {
  const octets = digitsAt(bytesOf(text), start, end, Number.MAX_SAFE_INTEGER);
  if (octets < 0) throw new MalformedHeader("Content-Length", "not a number of octets");
  return octets;
}

/** `callid = word [ "@" word ]` (RFC 3261 25.1), read liberally: anything without spaces and control characters. */
export function parseCallId(text: string, start: number, end: number): string {
  const bytes = bytesOf(text);
  if (end === start) throw new MalformedHeader("Call-ID", "it is empty");
  for (let at = start; at < end; at++) {
    if (bytes[at]! <= SP) throw new MalformedHeader("Call-ID", "it holds spaces");
  }
  return text.slice(start, end);
}

/** `token *( SEMI param )`: Event, Subscription-State. */
function parseTokenParams(
  header: string,
  text: string,
  start: number,
  end: number,
): { readonly token: string; readonly params: Params } {
  const bytes = bytesOf(text);
  let at = start;
  while (at < end && TOKEN[bytes[at]!] === 1) at++;
  if (at === start) throw new MalformedHeader(header, "it does not begin with a token");
  const token = text.slice(start, at);
  const params = parseParams(text, at, end);
  if (params instanceof ParamsFault) throw new MalformedHeader(header, params.reason);
  return { token, params };
}

/** RFC 6665 8.2.1. */
export interface EventValue {
  readonly package: string;
  readonly id: string | undefined;
}

export function parseEvent(text: string, start: number, end: number): EventValue {
  const { token, params } = parseTokenParams("Event", text, start, end);
  return { package: token, id: params.get("id") };
}

/** RFC 6665 8.2.3. Seconds. A parameter that is no number is passed over: the state is what counts. */
export interface SubscriptionStateValue {
  readonly state: string;
  readonly reason: string | undefined;
  readonly expires: number | undefined;
  readonly retryAfter: number | undefined;
}

export function parseSubscriptionState(text: string, start: number, end: number): SubscriptionStateValue {
  const { token, params } = parseTokenParams("Subscription-State", text, start, end);
  return {
    state: token,
    reason: params.get("reason"),
    expires: seconds(params.get("expires")),
    retryAfter: seconds(params.get("retry-after")),
  };
}

function seconds(text: string | undefined): number | undefined {
  const value = text === undefined ? -1 : parseDigits(text, MAX_DELTA);
  return value < 0 ? undefined : value;
}
