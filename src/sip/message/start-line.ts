import { bytesOf, digitsAt, isTokenAt, matchesAt, SP } from "./bytes.ts";
import { trimmed } from "./text.ts";

export interface RequestLine {
  readonly method: string;
  readonly requestUri: string;
  readonly version: string;
}

export interface StatusLine {
  readonly status: number;
  readonly reason: string;
}

const SIP_2 = Buffer.from("sip/2.0 ", "latin1");
const SP_SIP_2 = Buffer.from(" SIP/2.0", "latin1");

/**
 * The Request-Line of `raw`, which ends before `end` (RFC 3261 7.1), or what is wrong. Liberal in spaces between and after its
 * parts: the validator answers those (RFC 4475 3.1.2.9, 3.1.2.10).
 */
export function readRequestLine(raw: string, end: number): RequestLine | string {
  const bytes = bytesOf(raw);
  let space = 0;
  while (space < end && bytes[space] !== SP) space++;
  if (space >= end) return "this is no SIP message";
  if (!isTokenAt(bytes, 0, space)) return "the method is no token";
  const method = raw.slice(0, space);
  if (isExactVersion(bytes, end - 8) && end - 8 > space) {
    const exact = bytes[space + 1] !== SP && bytes[end - 9] !== SP;
    const requestUri = exact ? raw.slice(space + 1, end - 8) : trimmed(raw, space, end - 8);
    return { method, requestUri, version: "SIP/2.0" };
  }
  const line = trimmed(raw, space, end);
  const last = line.lastIndexOf(" ");
  const version = line.slice(last + 1);
  if (last < 0 || !/^SIP\/[0-9]+\.[0-9]+$/i.test(version)) return "the Request-Line does not end in a SIP version";
  return { method, requestUri: trimmed(line, 0, last), version };
}

function isExactVersion(bytes: Uint8Array, at: number): boolean {
  if (at < 0) return false;
  for (let i = 0; i < 8; i++) if (bytes[at + i] !== SP_SIP_2[i]) return false;
  return true;
}

/** The Status-Line, or what is wrong (RFC 3261 7.2). The space after the code may be missing where no reason follows. */
export function readStatusLine(raw: string, end: number): StatusLine | string {
  const bytes = bytesOf(raw);
  if (!matchesAt(bytes, 0, 8, SIP_2)) return "the response is of another SIP version";
  const status = end < 11 ? -1 : digitsAt(bytes, 8, 11, 699);
  if (status < 100 || (end > 11 && bytes[11] !== SP)) return "the status code is none from 100 to 699";
  return { status, reason: raw.slice(12, Math.max(12, end)) };
}
