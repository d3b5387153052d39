import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { asSip } from "../next-hop.ts";
import { answer } from "../responses.ts";

/** What an OPTIONS to the proxy itself is told (RFC 3261 11.2). */
export const ALLOWED: ReadonlyArray<readonly [string, string]> = [
  [
    "Allow",
    "INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, REGISTER, REFER, INFO, UPDATE, PRACK",
  ],
  ["Accept", "*/*"],
  ["Supported", "path"],
];

/** A request for the proxy itself: no user, and an address or a domain of ours. True: it was answered. */
export function answerOwn(core: Core, exchange: Exchange): boolean {
  const { request } = exchange;
  // What has a Route left is on its way to somebody else (RFC 3261 16.5).
  if (request.method === "REGISTER" || request.has("Route")) return false;
  const uri = asSip(request.uri);
  if (uri === undefined || uri.user !== undefined) return false;
  if (!core.isOurs(uri)) return false;
  if (request.method === "OPTIONS") answer(core, exchange, { status: 200, headers: ALLOWED });
  else if (request.to.tag !== undefined) answer(core, exchange, { status: 481 });
  else answer(core, exchange, { status: 405, phrase: "Method Not Allowed", headers: ALLOWED.slice(0, 1) });
  return true;
}
