import { describe, expect, it, onTestFinished } from "vitest";
import type { TlsMaterial } from "../../../src/runtime/runtime.ts";
import { buildResponse } from "../../../src/sip/message/build.ts";
import { SipRequest, SipResponse } from "../../../src/sip/message/message.ts";
import { createTransportLayer } from "../../../src/sip/transport/layer.ts";
import type { PointOptions } from "../../../src/sip/transport/options.ts";
import type { Flow, TransportLayer, TransportName } from "../../../src/sip/transport/transport.ts";
import { Telemetry } from "../../../src/telemetry/events.ts";
import { createAuthority } from "../../support/certificates.ts";
import { HAS_IPV6, Heard, PATIENCE, type Pair, realPair } from "../../support/runtimes.ts";
import { request } from "./fixture.ts";

/** A layer on this machine's sockets that answers every request 200, and what it heard. */
async function layerAt(pair: Pair, points: readonly PointOptions[]) {
  const layer = createTransportLayer(pair.one, new Telemetry(), { points });
  const requests: { request: SipRequest; flow: Flow }[] = [];
  const responses: SipResponse[] = [];
  layer.user = {
    receive: (message, flow) => {
      if (message instanceof SipResponse) responses.push(message);
      else if (message instanceof SipRequest) {
        requests.push({ request: message, flow });
        layer.respond(buildResponse(message, 200).raw, message, flow);
      }
    },
  };
  await layer.start();
  onTestFinished(() => layer.stop());
  return { layer, requests, responses };
}

function via(flow: Flow): string {
  return `SIP/2.0/${flow.transport.toUpperCase()} ${flow.point.sentBy};branch=z9hG4bKreal;rport`;
}

async function send(
  layer: TransportLayer,
  to: TransportLayer,
  transport: TransportName,
  name?: string,
  body = "",
): Promise<Flow> {
  const { host, port } = to.points.find((each) => each.transport === transport)!;
  const target = { transport, host, port, ...(name === undefined ? {} : { name }) };
  const flow = await layer.flowTo(target, request({ body }).length);
  flow.send(request({ via: via(flow), body }));
  return flow;
}

const hosts = HAS_IPV6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"];

describe.each(hosts)("two layers on this machine's sockets, at %s", (host) => {
  it.each(["udp", "tcp"] as const)("a request by %s and its response", async (transport) => {
    const pair = realPair(host);
    const east = await layerAt(pair, [{ transport, host, port: 0 }]);
    const west = await layerAt(pair, [{ transport, host, port: 0 }]);
    const flow = await send(east.layer, west.layer, transport);
    await pair.until(() => east.responses.length === 1);
    expect(west.requests[0]!.flow).toMatchObject({ transport, remoteHost: host });
    expect(west.requests[0]!.request.via).toMatchObject({ received: host });
    expect(east.responses[0]!.status).toBe(200);
    expect(flow.remoteHost).toBe(host);
  });

  it("a large request goes by TCP, and its large response comes back", async () => {
    const pair = realPair(host);
    // An address of its own: elsewhere the port that is free for UDP may be somebody's for TCP.
    const own = host === "127.0.0.1" ? "127.0.0.77" : host;
    const west = await layerAt(pair, [{ transport: "udp", host: own, port: 0 }]);
    const port = west.layer.points[0]!.port;
    const westTcp = await layerAt(pair, [{ transport: "tcp", host: own, port }]);
    const east = await layerAt(pair, [
      { transport: "udp", host, port: 0 },
      { transport: "tcp", host, port: 0 },
    ]);
    const flow = await send(east.layer, west.layer, "udp", undefined, "x".repeat(20_000));
    await pair.until(() => east.responses.length === 1);
    expect(flow.transport).toBe("tcp");
    expect(westTcp.requests[0]!.request.body).toHaveLength(20_000);
  });
});

describe("TLS on this machine's sockets", () => {
  const authority = createAuthority("test authority");
  const material = (dns: string): TlsMaterial => ({
    ...authority.issue({ dns: [dns] }),
    ca: authority.ca,
    verify: true,
  });
  const point = (dns: string): PointOptions => ({ transport: "tls", host: "127.0.0.1", port: 0, tls: material(dns) });

  it("both sides prove who they are", async () => {
    const pair = realPair("127.0.0.1");
    const east = await layerAt(pair, [point("east.example.com")]);
    const west = await layerAt(pair, [point("west.example.com")]);
    const flow = await send(east.layer, west.layer, "tls", "west.example.com");
    await pair.until(() => east.responses.length === 1);
    expect(flow.peerNames).toEqual(["west.example.com"]);
    expect(west.requests[0]!.flow.peerNames).toEqual(["east.example.com"]);
  });

  it("a server that is not who was asked for is not talked to", async () => {
    const pair = realPair("127.0.0.1");
    const east = await layerAt(pair, [point("east.example.com")]);
    const west = await layerAt(pair, [point("west.example.com")]);
    await expect(send(east.layer, west.layer, "tls", "north.example.com")).rejects.toThrow(/RFC 5922/);
    expect(west.requests).toEqual([]);
  });
});

describe("WebSocket on this machine's sockets", () => {
  it("a client's request is answered on its connection", async () => {
    const pair = realPair("127.0.0.1");
    const { layer, requests } = await layerAt(pair, [{ transport: "ws", host: "127.0.0.1", port: 0 }]);
    const { host, port } = layer.points[0]!;
    const client = new Heard(
      await pair.one.network.connect({ kind: "ws", remote: { host, port }, timeoutMs: PATIENCE }),
    );
    onTestFinished(() => client.connection.destroy());
    client.say(request({ via: "SIP/2.0/WS x.invalid;branch=z9hG4bK1", body: "gr\xc3\xbc\xc3\x9fe" }));
    await pair.until(() => client.chunks.length === 1);
    expect(client.text).toMatch(/^SIP\/2\.0 200 OK\r\nVia: SIP\/2\.0\/WS x\.invalid;branch=z9hG4bK1\r\n/);
    expect(requests[0]!.request.body).toBe("gr\xc3\xbc\xc3\x9fe");
  });
});
