import type { SipRequest } from "../../sip/message/message.ts";
import type { SipUri } from "../../sip/message/uri.ts";
import { undoStrictRouting } from "../alterations.ts";
import type { Core } from "../core.ts";
import { asSip } from "../next-hop.ts";
import { type OwnRoute, sipUriOf } from "../route-header.ts";

export interface Routed {
  readonly request: SipRequest;
  readonly own: OwnRoute | null;
}

/** RFC 3261 16.4: a strict router's rewriting is undone, our own Route values are taken off and read. */
export function takeOwnRoutes(core: Core, received: SipRequest, connectionId: number): Routed {
  if (!received.has("Route")) return { request: received, own: null };
  const request = undoStrictRouting(received, (each) => isOwnRecordRoute(core, each));
  let own: OwnRoute | null = null;
  const take = (uri: SipUri): void => {
    const read = core.keys.read(uri, request.callId);
    // RFC 5626 5.3.2: a flow named by the very request that came over it points back at its sender.
    const usable = read.connectionId === connectionId ? { ...read, connectionId: 0 } : read;
    own = own === null ? usable : join(own, usable);
  };
  // A strict router has put our value where the Request-URI stands; it counts as the first Route.
  const strict = request === received ? undefined : asSip(received.uri);
  if (strict !== undefined) take(strict);
  let taken = 0;
  for (const route of request.routes) {
    const uri = sipUriOf(route);
    if (uri === undefined || !core.isOwnHop(uri)) break;
    taken++;
    take(uri);
  }
  if (taken === 0) return { request, own };
  const editor = request.edit().remove("Route");
  const rest = request.routes.slice(taken);
  if (rest.length > 0) editor.prepend("Route", rest.map((route) => route.raw).join(", "));
  return { request: editor.build(), own };
}

function join(a: OwnRoute, b: OwnRoute): OwnRoute {
  return {
    authentic: a.authentic && b.authentic,
    connectionId: a.connectionId || b.connectionId,
    branch: Math.max(a.branch, b.branch),
  };
}

/** The Request-URI is one we wrote into a Record-Route: only those carry our key. */
function isOwnRecordRoute(core: Core, request: SipRequest): boolean {
  const uri = asSip(request.uri);
  return uri?.params.has("k") === true && core.transport.isOwn(uri.host, uri.port);
}
