import { CodomainError } from "../../base/errors.ts";
import type { HeaderIndex } from "./header-index.ts";
import { H, headerName } from "./header-names.ts";
import type { SipMessage, SipRequest, SipResponse } from "./message.ts";

/** What a message is owed. `headers` belong into the answer. */
export interface Fault {
  readonly status: number;
  readonly reason: string;
  readonly headers?: ReadonlyArray<readonly [name: string, value: string]>;
}

/** What an element adds to the checks of syntax. Each is left out unless given. */
export interface RequestRules {
  /** Schemes accepted in a Request-URI, in lower case; others get 416 (RFC 3261 16.3 step 2). */
  readonly schemes?: readonly string[];
  /** True: Max-Forwards 0 gets 483 (RFC 3261 16.3 step 3). */
  readonly hops?: boolean;
  /** Option tags understood in Proxy-Require; others get 420 (RFC 3261 16.3 step 5). */
  readonly proxyRequire?: readonly string[];
}

/** Methods of RFC 3261 and the RFCs that added to it (IANA). */
const METHODS = new Set(
  "INVITE ACK BYE CANCEL OPTIONS REGISTER PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE".split(" "),
);

/**
 * What RFC 3261 8.2 and 16.3 want answered to a request that parsed; null where nothing is wrong. The answer is built from the
 * request itself. An ACK is never answered.
 */
export function validateRequest(m: SipRequest, rules: RequestRules = {}): Fault | null {
  // RFC 3261 21.5.6; before the syntax, which that version may have changed.
  if (m.version !== "SIP/2.0" && m.version.toUpperCase() !== "SIP/2.0")
    return { status: 505, reason: "Version Not Supported" };
  try {
    return requestFault(m) ?? ruleFault(m, rules);
  } catch (error) {
    return syntaxFault(error);
  }
}

/**
 * What is wrong with a response that parsed: it is to be dropped (RFC 3261 18.1.2); null where nothing is. Only what tells
 * whose it is is read; the rest is for him who asked.
 */
export function validateResponse(m: SipResponse): Fault | null {
  try {
    return responseFault(m) ?? broadcastFault(m);
  } catch (error) {
    return syntaxFault(error);
  }
}

function bad(reason: string): Fault {
  return { status: 400, reason };
}

function syntaxFault(error: unknown): Fault {
  if (error instanceof CodomainError) return bad(error.message);
  throw error;
}

function requestFault(m: SipRequest): Fault | null {
  if (m.version === "SIP/2.0" && !m.isRequestLineExact) return bad("Request-Line: more spaces than it may hold");
  const uri = m.uri;
  // RFC 3261 19.1.1 table 1: no headers component in a Request-URI.
  if (uri.kind === "sip" && uri.headers !== undefined) return bad("Request-URI: it holds escaped headers");
  const fault = commonFault(m);
  if (fault !== null) return fault;
  const method = m.cseq.method;
  if (method !== m.method) {
    // RFC 4475 3.1.2.18: 501 for methods that nobody knows has better future-proof characteristics.
    return METHODS.has(m.method)
      ? bad(`CSeq: its method is not ${m.method}`)
      : { status: 501, reason: "Not Implemented" };
  }
  // RFC 4475 3.1.2.20: such a branch would join all requests of the peer into one transaction.
  if (m.via.branch === "z9hG4bK") return bad("Via: the branch is only the magic cookie");
  // What routing reads: each throws where it is against its grammar, and costs nothing where it is absent.
  m.maxForwards;
  m.expires;
  m.routes;
  m.identities;
  m.event;
  m.subscriptionState;
  if (m.method === "REGISTER") m.contacts;
  return null;
}

function responseFault(m: SipResponse): Fault | null {
  const fault = duplicateFault(m);
  if (fault !== null) return fault;
  for (const id of MANDATORY) if (m.index.find(id) < 0) return bad(`${headerName(id)}: it is missing`);
  m.via;
  m.cseq;
  return lengthFault(m);
}

const MANDATORY = [H.From, H.To, H.CallId] as const;

/** Headers that are mandatory in every request (RFC 3261 8.1.1), single ones that stand twice, and Content-Length. */
function commonFault(m: SipMessage): Fault | null {
  const fault = duplicateFault(m);
  if (fault !== null) return fault;
  m.via;
  // Lower ones are read only where the list goes on: in most requests it does not.
  if (m.hasLowerVia) m.vias;
  m.from;
  m.to;
  m.callId;
  m.cseq;
  return lengthFault(m);
}

function lengthFault(m: SipMessage): Fault | null {
  const length = m.contentLength;
  // RFC 3261 18.3: over UDP a body shorter than Content-Length is an error; a framed one is never shorter.
  if (length !== undefined && length > m.raw.length - m.index.bodyStart)
    return bad("Content-Length: the body is shorter");
  return null;
}

/** RFC 3261 7.3.1: only headers whose grammar is a list may stand more than once. Copies that say the same are let pass. */
function duplicateFault(m: SipMessage): Fault | null {
  const index = m.index;
  let seen = 0;
  for (let line = 0; line < index.count; line++) {
    const id = index.id(line);
    if (id < 1 || id > H.LastSingle) continue;
    if ((seen & (1 << id)) !== 0 && index.value(previous(index, id, line)) !== index.value(line)) {
      return bad(`${headerName(id)}: it stands more than once, with different values`);
    }
    seen |= 1 << id;
  }
  return null;
}

/** The nearest line above `line` with this id: each line is compared with its neighbour, so the whole stays linear. */
function previous(index: HeaderIndex, id: number, line: number): number {
  do line--;
  while (index.id(line) !== id);
  return line;
}

function ruleFault(m: SipRequest, rules: RequestRules): Fault | null {
  if (rules.schemes !== undefined && !rules.schemes.includes(m.uri.scheme)) {
    return { status: 416, reason: "Unsupported URI Scheme" };
  }
  if (rules.hops === true && m.maxForwards === 0) return { status: 483, reason: "Too Many Hops" };
  const known = rules.proxyRequire;
  if (known !== undefined && m.index.find(H.ProxyRequire) >= 0) {
    const unknown = m.values("Proxy-Require").filter((tag) => !known.includes(tag));
    if (unknown.length > 0)
      return { status: 420, reason: "Bad Extension", headers: [["Unsupported", unknown.join(", ")]] };
  }
  return null;
}

const BROADCAST = "255.255.255.255";

/** RFC 4475 3.3.10: a response is not sent on to the broadcast address. */
function broadcastFault(m: SipResponse): Fault | null {
  if (!m.raw.includes(BROADCAST)) return null;
  for (const via of m.vias) {
    if (via.host === BROADCAST || via.received === BROADCAST) return bad("Via: it names the broadcast address");
  }
  return null;
}
