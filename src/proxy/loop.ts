import { loopHash } from "../federation/loop-hash.ts";
import type { Core } from "./core.ts";
import type { Exchange } from "./exchange.ts";

/** The loop detection value of this request (RFC 5393 4.2.1), from what decides its way. */
export function loopHashFor(exchange: Exchange): string {
  const received = exchange.transaction.request;
  const { origin, direction, epoch } = exchange;
  return loopHash({
    requestUri: received.requestUri,
    route: received.header("Route") ?? "",
    callId: received.callId,
    origin: origin.kind === "server" ? origin.server : origin.kind,
    direction,
    epoch,
  });
}

/** RFC 5393 4.2.2: one of our own Vias carries the very value this request would get again. */
export function hasLooped(core: Core, exchange: Exchange): boolean {
  if (!exchange.request.raw.includes(core.branchPrefix)) return false;
  const { vias } = exchange.request;
  let hash: string | undefined;
  for (const via of vias) {
    const second = via.branch === undefined ? -1 : via.branch.lastIndexOf(SEPARATOR);
    if (second < 0 || !core.transport.isOwn(via.host, via.port)) continue;
    hash ??= loopHashFor(exchange);
    if (via.branch!.slice(second + 1) === hash) return true;
  }
  return false;
}

/** Between the unique part of our branch and the loop detection value. */
export const SEPARATOR = "~";
