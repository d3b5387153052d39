import { incomingBreadth } from "../federation/loop-hash.ts";
import type { SipRequest } from "../sip/message/message.ts";

/** How far and how wide a request may still go: what a B2BUA counts as a proxy does (RFC 7332). */

export const DEFAULT_HOPS = 70;

/** Of the requests that it leads to (RFC 7332 5; RFC 3261 16.6 step 3). */
export function forwardsAfter({ maxForwards }: SipRequest): number {
  return maxForwards === undefined ? DEFAULT_HOPS : Math.min(maxForwards, DEFAULT_HOPS) - 1;
}

/** RFC 7332 6. */
export function breadthIn(request: SipRequest): number {
  const value = Number.parseInt(request.header("Max-Breadth") ?? "", 10);
  return incomingBreadth(Number.isNaN(value) ? undefined : value);
}
