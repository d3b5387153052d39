import { isToken, matchesAt, parseDigits, SP, trimmed } from "./text.ts";

export interface RequestLine {
  readonly method: string;
  readonly requestUri: string;
  readonly version: string;
}

export interface StatusLine {
  readonly status: number;
  readonly reason: string;
}

/**
 * The Request-Line of `raw`, which ends before `end` (RFC 3261 7.1), or what is wrong. Liberal in spaces between and after its
 * parts: the validator answers those (RFC 4475 3.1.2.9, 3.1.2.10).
 */
export function readRequestLine(raw: string, end: number): RequestLine | string {
  const space = raw.indexOf(" ");
  if (space < 0 || space >= end) return "this is no SIP message";
  const method = raw.slice(0, space);
  if (!isToken(method)) return "the method is no token";
  if (raw.startsWith(" SIP/2.0", end - 8) && end - 8 > space) {
    return { method, requestUri: trimmed(raw, space, end - 8), version: "SIP/2.0" };
  }
  const line = trimmed(raw, space, end);
  const last = line.lastIndexOf(" ");
  const version = line.slice(last + 1);
  if (last < 0 || !/^SIP\/[0-9]+\.[0-9]+$/i.test(version)) return "the Request-Line does not end in a SIP version";
  return { method, requestUri: trimmed(line, 0, last), version };
}

/** The Status-Line, or what is wrong (RFC 3261 7.2). The space after the code may be missing where no reason follows. */
export function readStatusLine(raw: string, end: number): StatusLine | string {
  if (!raw.startsWith("SIP/2.0 ") && !matchesAt(raw, 0, 8, "sip/2.0 ")) return "the response is of another SIP version";
  const status = raw.slice(8, Math.min(11, end));
  const code = status.length === 3 ? parseDigits(status, 699) : -1;
  if (code < 100) return "the status code is none from 100 to 699";
  if (end > 11 && raw.charCodeAt(11) !== SP) return "the status code is none from 100 to 699";
  return { status: code, reason: raw.slice(12, Math.max(12, end)) };
}
