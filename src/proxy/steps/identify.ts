import type { Origin } from "../../federation/facts.ts";
import { identifyOrigin } from "../../federation/origin.ts";
import type { SipRequest } from "../../sip/message/message.ts";
import type { Flow } from "../../sip/transport/transport.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { answer } from "../responses.ts";

/** Where does it come from (models.md, "The way of one request")? True: it was refused. */
export function identify(core: Core, exchange: Exchange): boolean {
  const { flow, request } = exchange.transaction;
  exchange.origin = originOf(core, request, flow);
  if (exchange.origin.kind !== "unknown" || isOwnDialog(core, request)) return false;
  answer(core, exchange, { status: 403, phrase: "Forbidden" });
  return true;
}

/**
 * A dialog of ours is known by its tags and Call-ID, which only its other end knows; and a request in it may come by way of
 * another proxy of the domain, which is no server.
 */
export function isOwnDialog(core: Core, request: SipRequest): boolean {
  const { tag } = request.to;
  return tag !== undefined && core.handlers.ownsTag(tag);
}

export function originOf(core: Core, request: SipRequest, flow: Flow): Origin {
  return identifyOrigin(
    {
      peerNames: flow.peerNames,
      sourceHost: flow.remoteHost,
      sourcePort: flow.remotePort,
      unknown: flow.point.unknown,
      authenticated: null,
    },
    request,
    core.origins,
  );
}
