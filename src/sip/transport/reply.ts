import type { Via } from "../message/headers/via.ts";
import { canonicalHost, defaultPort, familyOf } from "./address.ts";
import type { TransportName } from "./transport.ts";

/** Where a response goes; `name` is set where it must be resolved first. */
export type ReplyAddress =
  | { readonly kind: "address"; readonly host: string; readonly port: number }
  | { readonly kind: "name"; readonly host: string; readonly port: number };

/** RFC 3261 18.2.2 and RFC 3581 4 for UDP, out of the top Via as `markedVia` left it; `source` where the Via is not tagged. */
export function udpReply(via: Via, source: string): ReplyAddress {
  const port = via.port || 5060;
  const maddr = via.params.get("maddr");
  if (maddr !== undefined && maddr !== "") {
    const host = canonicalHost(maddr);
    return { kind: familyOf(host) === undefined ? "name" : "address", host, port };
  }
  // Untagged means that sent-by is the source address itself: we saw to that when the request came.
  const host = via.received ?? source;
  return { kind: "address", host, port: typeof via.rport === "number" ? via.rport : port };
}

/** Where to connect when the connection a request came over is gone: its source, at the advertised port (RFC 3261 18.2.2). */
export function streamReply(via: Via, transport: TransportName, source: string): { host: string; port: number } {
  return { host: via.received ?? source, port: via.port || defaultPort(transport) };
}
