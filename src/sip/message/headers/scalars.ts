import { MalformedHeader } from "../errors.ts";
import { isSpace, isToken, parseDigits, skipSpace } from "../text.ts";
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

export function parseCSeq(text: string): CSeq {
  let end = 0;
  while (end < text.length && !isSpace(text.charCodeAt(end))) end++;
  const number = parseDigits(text.slice(0, end), MAX_CSEQ);
  if (number < 0) throw new MalformedHeader("CSeq", "the sequence number is no number below 2^31");
  const method = text.slice(skipSpace(text, end, text.length));
  if (!isToken(method)) throw new MalformedHeader("CSeq", "the method is missing or malformed");
  return { number, method };
}

export function parseMaxForwards(text: string): number {
  const hops = parseDigits(text, MAX_HOPS);
  if (hops < 0) throw new MalformedHeader("Max-Forwards", "not a number from 0 to 255");
  return hops;
}

/** Seconds. */
export function parseExpires(text: string): number {
  const seconds = parseDigits(text, MAX_DELTA);
  if (seconds < 0) throw new MalformedHeader("Expires", "not a number of seconds below 2^32");
  return seconds;
}

export function parseContentLength(text: string): number {
  const octets = parseDigits(text, Number.MAX_SAFE_INTEGER);
  if (octets < 0) throw new MalformedHeader("Content-Length", "not a number of octets");
  return octets;
}

/** `callid = word [ "@" word ]` (RFC 3261 25.1), read liberally: anything without spaces. */
export function parseCallId(text: string): string {
  if (text.length === 0) throw new MalformedHeader("Call-ID", "it is empty");
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) <= 32) throw new MalformedHeader("Call-ID", "it holds spaces");
  }
  return text;
}

/** `token *( SEMI param )`: Event, Subscription-State. */
export function parseTokenParams(header: string, text: string): { readonly token: string; readonly params: Params } {
  let end = 0;
  while (end < text.length && text.charCodeAt(end) !== 59 && !isSpace(text.charCodeAt(end))) end++;
  const token = text.slice(0, end);
  if (!isToken(token)) throw new MalformedHeader(header, "it does not begin with a token");
  const params = parseParams(text, end);
  if (params instanceof ParamsFault) throw new MalformedHeader(header, params.reason);
  return { token, params };
}

/** RFC 6665 8.2.1. */
export interface EventValue {
  readonly package: string;
  readonly id: string | undefined;
}

export function parseEvent(text: string): EventValue {
  const { token, params } = parseTokenParams("Event", text);
  return { package: token, id: params.get("id") };
}

/** RFC 6665 8.2.3. Seconds. A parameter that is no number is passed over: the state is what counts. */
export interface SubscriptionStateValue {
  readonly state: string;
  readonly reason: string | undefined;
  readonly expires: number | undefined;
  readonly retryAfter: number | undefined;
}

export function parseSubscriptionState(text: string): SubscriptionStateValue {
  const { token, params } = parseTokenParams("Subscription-State", text);
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
