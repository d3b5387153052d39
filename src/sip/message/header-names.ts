import { lowerAscii } from "./text.ts";

/** The header fields the codec knows, as small numbers. Those up to `LastSingle` may stand in a message once only. */
export const H = {
  Other: 0,
  From: 1,
  To: 2,
  CallId: 3,
  CSeq: 4,
  MaxForwards: 5,
  ContentLength: 6,
  ContentType: 7,
  Expires: 8,
  Event: 9,
  SubscriptionState: 10,
  MinExpires: 11,
  SipETag: 12,
  SipIfMatch: 13,
  Date: 14,
  MaxBreadth: 15,
  ReferTo: 16,
  LastSingle: 16,
  Via: 17,
  Route: 18,
  RecordRoute: 19,
  Contact: 20,
  PAssertedIdentity: 21,
  Require: 22,
  ProxyRequire: 23,
} as const;

/** [canonical name, compact form]; the position is the number above. */
const NAMES: ReadonlyArray<readonly [string, string?]> = [
  [""],
  ["From", "f"],
  ["To", "t"],
  ["Call-ID", "i"],
  ["CSeq"],
  ["Max-Forwards"],
  ["Content-Length", "l"],
  ["Content-Type", "c"],
  ["Expires"],
  ["Event", "o"],
  ["Subscription-State"],
  ["Min-Expires"],
  ["SIP-ETag"],
  ["SIP-If-Match"],
  ["Date"],
  ["Max-Breadth"],
  ["Refer-To", "r"],
  ["Via", "v"],
  ["Route"],
  ["Record-Route"],
  ["Contact", "m"],
  ["P-Asserted-Identity"],
  ["Require"],
  ["Proxy-Require"],
  ["Accept"],
  ["Accept-Contact", "a"],
  ["Allow"],
  ["Allow-Events", "u"],
  ["Authorization"],
  ["Content-Encoding", "e"],
  ["Identity", "y"],
  ["Identity-Info", "n"],
  ["P-Preferred-Identity"],
  ["Path"],
  ["Privacy"],
  ["Proxy-Authenticate"],
  ["Proxy-Authorization"],
  ["Reason"],
  ["Referred-By", "b"],
  ["Reject-Contact", "j"],
  ["Request-Disposition", "d"],
  ["Retry-After"],
  ["Server"],
  ["Service-Route"],
  ["Session-Expires", "x"],
  ["Subject", "s"],
  ["Supported", "k"],
  ["Timestamp"],
  ["Unsupported"],
  ["User-Agent"],
  ["Warning"],
  ["WWW-Authenticate"],
];

interface Spelling {
  readonly lower: Uint8Array;
  readonly id: number;
}

const LONGEST = 31;
/** By length and first letter, so that one look leaves one or two names to compare. */
const BUCKETS: Spelling[][] = Array.from({ length: (LONGEST + 1) * 32 }, () => []);
const BY_NAME = new Map<string, number>();

for (let id = 1; id < NAMES.length; id++) {
  for (const name of NAMES[id]!) {
    if (name === undefined) continue;
    const lower = name.toLowerCase();
    BUCKETS[bucket(lower.length, lower.charCodeAt(0))]!.push({ lower: Buffer.from(lower, "latin1"), id });
    BY_NAME.set(name, id);
    BY_NAME.set(lower, id);
    BY_NAME.set(name.toUpperCase(), id);
  }
}

function bucket(length: number, first: number): number {
  return (length << 5) | (first & 31);
}

/** The number of the token that stands from `start` to `end`, in any case or compact; 0 for others. */
export function headerIdAt(bytes: Uint8Array, start: number, end: number): number {
  if (end - start > LONGEST) return H.Other;
  const spellings = BUCKETS[bucket(end - start, bytes[start]!)]!;
  for (let i = 0; i < spellings.length; i++) {
    if (isSpelled(bytes, start, spellings[i]!.lower)) return spellings[i]!.id;
  }
  return H.Other;
}

/** Bit 5 makes a capital small, and no other character of a token a letter or a hyphen. */
function isSpelled(bytes: Uint8Array, start: number, lower: Uint8Array): boolean {
  for (let i = 0; i < lower.length; i++) if ((bytes[start + i]! | 32) !== lower[i]) return false;
  return true;
}

export function headerId(name: string): number {
  return BY_NAME.get(name) ?? BY_NAME.get(lowerAscii(name)) ?? H.Other;
}

export function headerName(id: number): string {
  return NAMES[id]![0];
}
