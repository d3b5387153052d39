import type { Network, Runtime, UdpHandler } from "../src/runtime/runtime.ts";
import { buildResponse } from "../src/sip/message/build.ts";
import { type SipRequest, SipResponse } from "../src/sip/message/message.ts";
import { parseMessage, validateRequest } from "../src/sip/message/parse.ts";
import { createTransportLayer } from "../src/sip/transport/layer.ts";
import type { Flow } from "../src/sip/transport/transport.ts";
import { Telemetry } from "../src/telemetry/events.ts";

/** What the transport layer itself costs: datagrams in and out of a socket that does nothing. */

const US = { host: "127.0.0.1", port: 5160 };
const PEER = { host: "127.0.0.1", port: 5180 };

function request(via: string): string {
  return (
    `MESSAGE sip:user1@example.com SIP/2.0\r\nVia: ${via}\r\nMax-Forwards: 70\r\nFrom: <sip:watcher1@example.com>;tag=f00000001\r\n` +
    "To: <sip:user1@example.com>\r\nCall-ID: 00000001-00000002@127.0.0.1\r\nCSeq: 1 MESSAGE\r\nUser-Agent: bench/1.0\r\n" +
    "Content-Type: text/plain\r\nContent-Length: 29\r\n\r\nhello from the load generator"
  );
}

async function fixture() {
  let handler: UdpHandler | undefined;
  let sent = 0;
  const network = {
    udp: async (_bind, given) => {
      handler = given;
      const send = (bytes: Uint8Array) => {
        sent += bytes.length;
      };
      return { local: US, send, close: async () => {} };
    },
  } satisfies Pick<Network, "udp">;
  const runtime = {
    clock: { now: () => performance.now(), wall: () => Date.now() },
    timers: { after: () => ({ cancel: () => {} }), soon: () => {} },
    random: { integer: () => 0, bytes: (length: number) => new Uint8Array(length), token: () => "x" },
    network: network as unknown as Network,
  } satisfies Runtime;
  const layer = createTransportLayer(runtime, new Telemetry(), { points: [{ transport: "udp", ...US }] });
  await layer.start();
  return { layer, handler: handler as UdpHandler, sent: () => sent };
}

/** Nanoseconds each; the best of five passes. */
function nanoseconds(rounds: number, work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let pass = 0; pass < 6; pass++) {
    const start = performance.now();
    for (let i = 0; i < rounds; i++) work();
    if (pass > 0) best = Math.min(best, ((performance.now() - start) * 1e6) / rounds);
  }
  return best;
}

export async function run(args: string[]): Promise<void> {
  const rounds = Number(args[0] ?? 200_000);
  const { layer, handler, sent } = await fixture();
  const plain = request(`SIP/2.0/UDP 127.0.0.1:5180;branch=z9hG4bK00000001`);
  const rport = request(`SIP/2.0/UDP 127.0.0.1:5180;branch=z9hG4bK00000001;rport`);
  const slow = request(`SIP/2.0/UDP client.example:5180;rport;branch=z9hG4bK00000001`);
  const answer = buildResponse(
    parseMessage(request("SIP/2.0/UDP 127.0.0.1:5160;branch=z9hG4bKour")) as SipRequest,
    200,
  ).raw;
  let received = 0;
  let last: { request: SipRequest; flow: Flow } | undefined;
  layer.user = {
    receive: (message, flow) => {
      received++;
      if (!(message instanceof SipResponse)) last = { request: message as SipRequest, flow };
    },
  };
  const feed = (text: string) => {
    const bytes = Buffer.from(text, "latin1");
    return () => handler.receive(bytes, PEER.host, PEER.port);
  };
  const rows: [string, number][] = [
    ["parse and validate alone, from octets", nanoseconds(rounds, parsing(rport))],
    ["request in, Via stays", nanoseconds(rounds, feed(plain))],
    ["request in, rport and received filled in", nanoseconds(rounds, feed(rport))],
    ["request in, Via that takes the general way", nanoseconds(rounds, feed(slow))],
    ["response in", nanoseconds(rounds, feed(answer))],
    [
      "flowTo and send",
      nanoseconds(rounds, () => (layer.flowTo({ transport: "udp", ...PEER }, 500) as Flow).send(rport)),
    ],
  ];
  feed(rport)();
  const { request: asked, flow } = last!;
  rows.push(["respond", nanoseconds(rounds, () => layer.respond(answer, asked, flow))]);
  for (const [what, each] of rows) console.log(`${what.padEnd(46)} ${each.toFixed(0).padStart(6)} ns`);
  if (received === 0 || sent() === 0) throw new Error("nothing was carried");
  await layer.stop();
}

function parsing(text: string): () => void {
  const bytes = Buffer.from(text, "latin1");
  return () => {
    if (validateRequest(parseMessage(bytes.toString("latin1")) as SipRequest) !== null) throw new Error("not valid");
  };
}
