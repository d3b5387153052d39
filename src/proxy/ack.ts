import type { Origin } from "../federation/facts.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { Flow, Target } from "../sip/transport/transport.ts";
import { forwardCopy } from "./alterations.ts";
import type { Core } from "./core.ts";
import { breadthOf } from "./next-hop.ts";
import { mayFollow, nextHop } from "./steps/dialog.ts";
import { originOf } from "./steps/identify.ts";
import { aorFor, lookUp } from "./steps/resolve.ts";
import { takeOwnRoutes } from "./steps/route.ts";

const UNALTERED = {
  requestUri: undefined,
  recordRoute: undefined,
  path: undefined,
} as const;

/**
 * An ACK for a 2xx belongs to no transaction: it follows the route set without state (RFC 3261 16.11). Nothing answers
 * an ACK, so what cannot be sent on is dropped.
 */
export function forwardAck(core: Core, received: SipRequest, flow: Flow): void {
  if (received.maxForwards === 0) return;
  route(core, received, flow).then(
    (forwarded) => {
      if (!forwarded) core.telemetry.emit("stray", { kind: "ack", callId: received.callId });
    },
    (error: Error) => core.telemetry.emit("warning", { what: "ACK could not be handled", detail: error.message }),
  );
}

async function route(core: Core, received: SipRequest, flow: Flow): Promise<boolean> {
  const { request, own } = takeOwnRoutes(core, received, flow.connectionId);
  const origin = originOf(core, received, flow);
  const hop = await nextHop(core, request, own?.connectionId ?? 0);
  if (hop.kind === "gone") return false;
  const targets = hop.kind === "way" ? hop.targets : await boundTargets(core, request, origin);
  // What may not be sent by a request may not be sent by an ACK either: nobody is flooded through us.
  if (!mayFollow(core, origin, own, targets)) return false;
  const way = await firstFlow(core, targets, request.raw.length);
  if (way === undefined) return false;
  const asserted = origin.kind === "server" ? "keep" : "remove";
  const maxBreadth = breadthOf(core, request);
  core.transactions.sendStateless(
    forwardCopy(request, { ...UNALTERED, asserted, maxBreadth, stream: way.reliable }),
    way,
  );
  return true;
}

/** Its remote target is an address of record: it goes where the BYE will go. */
async function boundTargets(core: Core, request: SipRequest, origin: Origin): Promise<readonly Target[]> {
  const aor = aorFor(core, request, origin);
  const known = aor === undefined ? undefined : await lookUp(core, aor);
  return known?.state === "bound" ? core.locate(core.rotation.nodes(known.binding.server)) : [];
}

async function firstFlow(core: Core, targets: readonly (Target | Flow)[], size: number): Promise<Flow | undefined> {
  for (const target of targets) {
    try {
      return "send" in target ? target : await core.transport.flowTo(target, size);
    } catch {
      // The next address is tried (RFC 3263 4.3).
    }
  }
  return undefined;
}
