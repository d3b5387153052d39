import type { SipResponse } from "../sip/message/message.ts";
import type { SipUri } from "../sip/message/uri.ts";
import type { BuildRequest, Outbound, OutboundOptions, Reply } from "../sip/transaction/outbound.ts";
import type { Flow, Target } from "../sip/transport/transport.ts";
import type { Core } from "./core.ts";

const SIZE = 1000;

/** Requests of our own, to servers by rotation and to URIs by RFC 3263. */
export function createOutbound(core: Core): Outbound {
  return {
    async toServer(server, build, options = {}) {
      for (const node of core.rotation.nodes(server)) {
        const reply = await toFirst(core, await core.locate([node]), build, options);
        // Nothing was tried, so nothing was learned of the node.
        if (reply === null) continue;
        core.rotation.report(server, node, typeof reply !== "string", typeof reply === "string" ? reply : "answered");
        // RFC 3263 4.3: the next node where this one was not reached; one that is merely slow may have done it.
        if (reply !== "unreachable") return reply;
      }
      return "unreachable";
    },
    async hasTls(server) {
      const targets = await core.locate(core.rotation.nodes(server));
      return targets.length === 0 || targets.some(isSecure);
    },
    async toUri(uri: SipUri, connectionId, build, options = {}) {
      const flow = connectionId === 0 ? undefined : core.transport.connection(connectionId);
      return (
        (await toFirst(core, flow === undefined ? await core.locate([uri]) : [flow], build, options)) ?? "unreachable"
      );
    },
  };
}

/** Null: there is a way, but none over TLS, as was asked for. */
async function toFirst(
  core: Core,
  targets: readonly (Target | Flow)[],
  build: BuildRequest,
  options: OutboundOptions,
): Promise<Reply | null> {
  const ways = options.secure ? targets.filter(isSecure) : targets;
  if (ways.length === 0 && targets.length > 0) return null;
  for (const target of ways) {
    const flow = await flowTo(core, target, options.size ?? SIZE);
    if (flow === null) continue;
    const reply = await send(core, flow, build, options);
    if (reply !== "unreachable") return reply;
  }
  return "unreachable";
}

function isSecure(target: Target | Flow): boolean {
  const transport = "send" in target ? target.point.transport : target.transport;
  return transport === "tls" || transport === "wss";
}

async function flowTo(core: Core, target: Target | Flow, size: number): Promise<Flow | null> {
  if ("send" in target) return target;
  try {
    return await core.transport.flowTo(target, size);
  } catch {
    return null;
  }
}

function send(core: Core, flow: Flow, build: BuildRequest, options: OutboundOptions): Promise<Reply> {
  return new Promise((resolve) => {
    let waiting = true;
    const end = (reply: Reply): void => {
      waiting = false;
      timer?.cancel();
      resolve(reply);
    };
    const onFinal = (response: SipResponse): void => {
      if (waiting) end(response);
      else options.late?.(response);
    };
    const { timeoutMs } = options;
    // With `late` the transaction lives on after the caller's patience has ended.
    const timer =
      timeoutMs === undefined || options.late === undefined
        ? null
        : core.runtime.timers.after(timeoutMs, () => end("timeout"));
    core.transactions.send(
      build(flow),
      flow,
      {
        onResponse: (response) => {
          if (response.status >= 200) onFinal(response);
        },
        onTimeout: () => end("timeout"),
        onTransportError: () => end("unreachable"),
      },
      timeoutMs === undefined || options.late !== undefined ? {} : { timeoutMs },
    );
  });
}
