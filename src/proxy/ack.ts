import type { SipRequest } from "../sip/message/message.ts";
import type { Flow, Target } from "../sip/transport/transport.ts";
import { forwardCopy } from "./alterations.ts";
import type { Core } from "./core.ts";
import { nextHop } from "./steps/dialog.ts";
import { takeOwnRoutes } from "./steps/route.ts";

const UNALTERED = {
  requestUri: undefined,
  recordRoute: undefined,
  path: undefined,
  asserted: "keep",
  maxBreadth: undefined,
} as const;

/**
 * An ACK for a 2xx belongs to no transaction: it follows the route set without state (RFC 3261 16.11). Nothing answers
 * an ACK, so what cannot be sent on is dropped.
 */
export function forwardAck(core: Core, received: SipRequest, flow: Flow): void {
  if (received.maxForwards === 0) return;
  const { request, own } = takeOwnRoutes(core, received, flow.connectionId);
  Promise.resolve(nextHop(core, request, own?.connectionId ?? 0)).then(
    async (hop) => {
      if (hop.kind !== "way") {
        core.telemetry.emit("stray", { kind: "ack", callId: received.callId });
        return;
      }
      const way = await firstFlow(core, hop.targets, request.raw.length);
      if (way === undefined) return;
      core.transactions.sendStateless(forwardCopy(request, { ...UNALTERED, stream: way.reliable }), way);
    },
    () => undefined,
  );
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
