/**
 * Loop detection and the limit on breadth (RFC 5393). The proxy's branch has a second part that varies with all that
 * decides the way of a request; one that comes back with the same value has looped (482), with another one it spirals.
 */

export interface LoopInput {
  /** As received, before any retargeting. */
  readonly requestUri: string;
  /** Every Route value used, in order, as received; empty: none. */
  readonly route: string;
  readonly callId: string;
  /** `server:east`, `client`, …: the same request may pass us twice, from different servers. */
  readonly origin: string;
  /** Of the listener it came to, or by a credit: what a middle node of a tree sends up comes to it again, and goes down. */
  readonly direction: "up" | "down";
  /** Of the user's binding, 0 where he has none: when he moves, the way changes. */
  readonly epoch: number;
}

const PRIME = 0x01000193;
const SEPARATOR = 0xff;

/**
 * Eight lower-case hexadecimal digits, FNV-1a over 32 bits. RFC 5393 4.2.4: it need not be cryptographic, as at most 70
 * values are ever compared. It does not vary with the method (4.2.1), so that CANCEL and ACK match.
 */
export function loopHash(input: LoopInput): string {
  let hash = 0x811c9dc5;
  hash = mix(hash, input.requestUri);
  hash = mix(hash, input.route);
  hash = mix(hash, input.callId);
  hash = mix(hash, input.origin);
  hash = Math.imul(hash ^ (input.direction === "up" ? 1 : 2), PRIME);
  // Epochs outgrow 32 bits in no lifetime, but cost nothing to take whole.
  hash = Math.imul(hash ^ (input.epoch >>> 0), PRIME);
  hash = Math.imul(hash ^ Math.floor(input.epoch / 0x1_0000_0000), PRIME);
  hash ^= hash >>> 15;
  return octet(hash >>> 24) + octet((hash >>> 16) & 0xff) + octet((hash >>> 8) & 0xff) + octet(hash & 0xff);
}

/** `toString(16)` of numbers this large costs more than all the rest: 250 ns. */
const OCTETS = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, "0"));

function octet(value: number): string {
  return OCTETS[value]!;
}

function mix(hash: number, text: string): number {
  let value = hash;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), PRIME);
  return Math.imul(value ^ SEPARATOR, PRIME);
}

/** RFC 5393 5.3.3: what a request without the header counts as, and the most that is let in. */
export const MAX_BREADTH = 60;

/** The breadth a request brings: its header, else and at most 60, or as many as there are servers to search. */
export function incomingBreadth(header: number | undefined, servers = 0): number {
  const most = Math.max(MAX_BREADTH, servers);
  return header === undefined ? most : Math.min(header, most);
}

/**
 * Splits the incoming Max-Breadth over branches sent in parallel, as evenly as it goes; every share is at least 1 and
 * their sum is the whole at most (RFC 5393 5.3.3). Null: there is not enough for so many, and the request is answered 440 (Max-Breadth Exceeded).
 */
export function splitBreadth(breadth: number, branches: number): readonly number[] | null {
  if (branches < 1 || breadth < branches) return null;
  const share = Math.floor(breadth / branches);
  const rest = breadth - share * branches;
  return Array.from({ length: branches }, (_, index) => (index < rest ? share + 1 : share));
}
