import { identifyOrigin } from "../../federation/origin.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { answer } from "../responses.ts";

/** Where does it come from (models.md, "The way of one request")? True: it was refused. */
export function identify(core: Core, exchange: Exchange): boolean {
  const { flow, request } = exchange.transaction;
  exchange.origin = identifyOrigin(
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
  if (exchange.origin.kind !== "unknown") return false;
  answer(core, exchange, { status: 403, phrase: "Forbidden" });
  return true;
}
