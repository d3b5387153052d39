import { bytesOf, CR, digitsAt, LF, matchesAt } from "./bytes.ts";
import { ParseError } from "./errors.ts";
import { HeaderIndex, HeadFault, JUNK, MAX_MESSAGE, scanHead } from "./header-index.ts";
import { H } from "./header-names.ts";
import { SipRequest, SipResponse } from "./message.ts";
import { readRequestLine, readStatusLine } from "./start-line.ts";

export { MalformedHeader, MalformedUri, ParseError } from "./errors.ts";
export { MAX_HEADERS, MAX_MESSAGE } from "./header-index.ts";
export { type Fault, validateRequest, validateResponse } from "./validate.ts";

const SIP = Buffer.from("sip/", "latin1");

/**
 * One datagram, WebSocket message or framed message. Refuses only what it cannot represent; `validateRequest` and
 * `validateResponse` judge the rest. Line ends before the start line and octets behind Content-Length are dropped
 * (RFC 3261 7.5, 18.3). Throws ParseError: code `empty` for keep-alives, else with the status a request is owed.
 */
export function parseMessage(raw: string): SipRequest | SipResponse {
  if (raw.charCodeAt(0) === CR || raw.charCodeAt(0) === LF) raw = withoutLeadingLines(raw);
  if (raw.length === 0) throw new ParseError("empty", "there is no message");
  const isResponse = matchesAt(bytesOf(raw), 0, 4, SIP);
  if (raw.length > MAX_MESSAGE)
    throw refused(raw, isResponse, 513, "too-large", `the message is over ${MAX_MESSAGE} octets`);
  const lf = raw.indexOf("\n");
  if (lf < 0) throw refused(raw, isResponse, 400, "truncated", "the start line does not end in CRLF");
  const end = lf - 1;
  if (raw.charCodeAt(end) !== CR) throw refused(raw, isResponse, 400, "bare-lf", "a line ends in LF without CR");
  const line = isResponse ? readStatusLine(raw, end) : readRequestLine(raw, end);
  if (typeof line === "string") throw refused(raw, isResponse, 400, "start-line", line);
  let index = scanHead(raw, lf + 1);
  if (index instanceof HeadFault) throw refused(raw, isResponse, 400, index.code, index.reason);
  const bodyEnd = declaredEnd(index);
  if (bodyEnd < raw.length) {
    raw = raw.slice(0, bodyEnd);
    index = new HeaderIndex(raw, index.cells, index.bodyStart);
  }
  return "method" in line
    ? new SipRequest(raw, line.method, line.requestUri, line.version, index)
    : new SipResponse(raw, line.status, line.reason, index);
}

function withoutLeadingLines(raw: string): string {
  let at = 0;
  while (raw.charCodeAt(at) === CR || raw.charCodeAt(at) === LF) at++;
  return raw.slice(at);
}

/** Where Content-Length says the message ends; its whole length where there is none that can be used. */
function declaredEnd(index: HeaderIndex): number {
  const all = index.raw.length;
  const line = index.find(H.ContentLength);
  if (line < 0) return all;
  const length = lengthAt(index, line);
  if (length < 0 || index.bodyStart + length >= all) return all;
  for (let other = index.find(H.ContentLength, line + 1); other >= 0; other = index.find(H.ContentLength, other + 1)) {
    if (lengthAt(index, other) !== length) return all;
  }
  return index.bodyStart + length;
}

function lengthAt(index: HeaderIndex, line: number): number {
  const start = index.valueStart(line);
  return digitsAt(bytesOf(index.raw), start, index.valueEnd(line, start), MAX_MESSAGE);
}

/** Responses are dropped: no status (RFC 3261 18.1.2, RFC 4475 3.1.2.19). */
function refused(raw: string, isResponse: boolean, status: number, code: string, reason: string): ParseError {
  if (isResponse) return new ParseError(code, reason);
  return new ParseError(code, reason, status, readable(raw));
}

/** What of a refused request can be read, written anew; undefined where it names no Via to answer to. */
function readable(raw: string): SipRequest | undefined {
  const lf = raw.indexOf("\n");
  if (lf < 0) return undefined;
  const scanned = scanHead(raw, lf + 1);
  const index = scanned instanceof HeadFault ? scanned.readable : scanned;
  if (index.find(H.Via) < 0) return undefined;
  const line = readRequestLine(raw, raw.charCodeAt(lf - 1) === CR ? lf - 1 : lf);
  const request = typeof line === "string" ? UNREADABLE : line;
  let text = `${request.method} ${request.requestUri} ${request.version}\r\n`;
  for (let i = 0; i < index.count; i++) {
    if (index.id(i) !== JUNK) text += `${index.raw.slice(index.start(i), index.colon(i))}: ${index.value(i)}\r\n`;
  }
  return new SipRequest(`${text}\r\n`, request.method, request.requestUri, request.version);
}

const UNREADABLE = { method: "UNREADABLE", requestUri: "sip:unreadable.invalid", version: "SIP/2.0" };
