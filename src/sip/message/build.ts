import { MalformedHeader, ParseError } from "./errors.ts";
import type { HeaderIndex } from "./header-index.ts";
import { H } from "./header-names.ts";
import { SipRequest, SipResponse } from "./message.ts";
import { isToken } from "./text.ts";

export type HeaderPair = readonly [name: string, value: string];

export interface RequestParts {
  readonly method: string;
  readonly uri: string;
  /** In this order; Content-Length is added. */
  readonly headers: readonly HeaderPair[];
  /** latin1; see encodeUtf8. */
  readonly body?: string;
}

export interface ResponseParts {
  /** Where the request's To has no tag and the status is over 100; else derived from the request (RFC 3261 8.2.7). */
  readonly toTag?: string;
  readonly headers?: readonly HeaderPair[];
  /** latin1; see encodeUtf8. */
  readonly body?: string;
}

/** Throws MalformedHeader where a name is no token or a value holds line ends. */
export function buildRequest(parts: RequestParts): SipRequest {
  if (!isToken(parts.method)) throw new ParseError("start-line", "the method is no token");
  if (parts.uri === "" || /[\s<>]/.test(parts.uri))
    throw new ParseError("start-line", "the Request-URI is empty or holds spaces");
  const raw = `${parts.method} ${parts.uri} SIP/2.0\r\n${lines(parts.headers)}${tail(parts.body)}`;
  return new SipRequest(raw, parts.method, parts.uri, "SIP/2.0");
}

/**
 * A response to `request` (RFC 3261 8.2.6): its Vias, From, To, Call-ID and CSeq byte for byte, for 100 also its Timestamp. Works
 * for requests that are malformed: what is missing there is missing here.
 */
export function buildResponse(
  request: SipRequest,
  status: number,
  reason?: string,
  parts: ResponseParts = {},
): SipResponse {
  const index = request.index;
  const phrase = reason ?? REASONS[status] ?? "Unknown";
  let raw = `SIP/2.0 ${status} ${checkedValue("Reason-Phrase", phrase)}\r\n`;
  for (let line = index.find(H.Via); line >= 0; line = index.find(H.Via, line + 1)) raw += text(index, line);
  raw += first(index, H.From) + toLine(request, status, parts.toTag) + first(index, H.CallId) + first(index, H.CSeq);
  if (status === 100) {
    const timestamp = request.header("Timestamp");
    if (timestamp !== undefined) raw += `Timestamp: ${timestamp}\r\n`;
  }
  raw += `${lines(parts.headers ?? [])}${tail(parts.body)}`;
  return new SipResponse(raw, status, phrase);
}

function text(index: HeaderIndex, line: number): string {
  return index.raw.slice(index.start(line), index.start(line + 1));
}

function first(index: HeaderIndex, id: number): string {
  const line = index.find(id);
  return line < 0 ? "" : text(index, line);
}

/** RFC 3261 8.2.6.2: the To gets a tag in every response but 100. */
function toLine(request: SipRequest, status: number, tag: string | undefined): string {
  const line = request.index.find(H.To);
  if (line < 0) return "";
  if (status === 100 || hasTag(request)) return text(request.index, line);
  return `To: ${request.index.rawValue(line)};tag=${checkedValue("To", tag ?? derivedTag(request))}\r\n`;
}

function hasTag(request: SipRequest): boolean {
  try {
    return request.to.tag !== undefined;
  } catch {
    return /;[ \t]*tag[ \t]{0,16}=/i.test(request.header("To") ?? "");
  }
}

/** The same tag for every copy of a request (RFC 3261 8.2.7): a hash of what tells transactions apart. */
function derivedTag(request: SipRequest): string {
  let a = 0x811c9dc5;
  let b = 0x9e3779b9;
  const seed = `${request.header("Via")}|${request.header("Call-ID")}|${request.header("From")}|${request.header("CSeq")}`;
  for (let i = 0; i < seed.length; i++) {
    const c = seed.charCodeAt(i);
    a = Math.imul(a ^ c, 0x01000193);
    b = Math.imul(b + c, 0x85ebca6b) ^ (b >>> 13);
  }
  return (a >>> 0).toString(36) + (b >>> 0).toString(36);
}

function lines(headers: readonly HeaderPair[]): string {
  let out = "";
  for (const [name, value] of headers) {
    if (!isToken(name)) throw new MalformedHeader(name, "the name is no token");
    out += `${name}: ${checkedValue(name, value)}\r\n`;
  }
  return out;
}

function checkedValue(name: string, value: string): string {
  if (/[\r\n]/.test(value)) throw new MalformedHeader(name, "a value holds no line ends");
  return value;
}

function tail(body = ""): string {
  return `Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** RFC 3261 21 and the RFCs that added to it. */
export const REASONS: Readonly<Record<number, string>> = {
  100: "Trying",
  180: "Ringing",
  181: "Call Is Being Forwarded",
  182: "Queued",
  183: "Session Progress",
  199: "Early Dialog Terminated",
  200: "OK",
  202: "Accepted",
  204: "No Notification",
  300: "Multiple Choices",
  301: "Moved Permanently",
  302: "Moved Temporarily",
  305: "Use Proxy",
  380: "Alternative Service",
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  410: "Gone",
  412: "Conditional Request Failed",
  413: "Request Entity Too Large",
  414: "Request-URI Too Long",
  415: "Unsupported Media Type",
  416: "Unsupported URI Scheme",
  420: "Bad Extension",
  421: "Extension Required",
  422: "Session Interval Too Small",
  423: "Interval Too Brief",
  428: "Use Identity Header",
  429: "Provide Referrer Identity",
  430: "Flow Failed",
  433: "Anonymity Disallowed",
  436: "Bad Identity Info",
  437: "Unsupported Credential",
  438: "Invalid Identity Header",
  439: "First Hop Lacks Outbound Support",
  440: "Max-Breadth Exceeded",
  469: "Bad Info Package",
  480: "Temporarily Unavailable",
  481: "Call/Transaction Does Not Exist",
  482: "Loop Detected",
  483: "Too Many Hops",
  484: "Address Incomplete",
  485: "Ambiguous",
  486: "Busy Here",
  487: "Request Terminated",
  488: "Not Acceptable Here",
  489: "Bad Event",
  491: "Request Pending",
  493: "Undecipherable",
  494: "Security Agreement Required",
  500: "Server Internal Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Server Time-out",
  505: "Version Not Supported",
  513: "Message Too Large",
  555: "Push Notification Service Not Supported",
  580: "Precondition Failure",
  600: "Busy Everywhere",
  603: "Decline",
  604: "Does Not Exist Anywhere",
  606: "Not Acceptable",
  607: "Unwanted",
  608: "Rejected",
};
