import type { Connection, StreamKind, UdpSocket } from "../../../src/runtime/runtime.ts";
import { createSimulation, type SimulatedRuntime, type Simulation } from "../../../src/runtime/simulated.ts";
import type { Zone } from "../../../src/runtime/zone.ts";
import { type SipMessage, SipRequest, SipResponse } from "../../../src/sip/message/message.ts";
import { createTransportLayer } from "../../../src/sip/transport/layer.ts";
import type { PointOptions, TransportOptions } from "../../../src/sip/transport/options.ts";
import type { Flow, TransportLayer } from "../../../src/sip/transport/transport.ts";
import { type EventName, type Events, Telemetry } from "../../../src/telemetry/events.ts";

export const US = "192.0.2.1";
export const PEER = "192.0.2.2";
export const US6 = "2001:db8::1";
export const PEER6 = "2001:db8::2";

export const UDP: PointOptions = { transport: "udp", host: US, port: 5060 };
export const TCP: PointOptions = { transport: "tcp", host: US, port: 5060 };

/** A started layer in a simulated network, what it hands up and what it tells. */
export class World {
  readonly sim: Simulation;
  readonly us: SimulatedRuntime;
  readonly peer: SimulatedRuntime;
  readonly layer: TransportLayer;
  readonly received: Array<{ message: SipMessage; flow: Flow }> = [];
  readonly told: Array<{ name: EventName; event: Events[EventName] }> = [];
  readonly telemetry = new Telemetry();

  constructor(options: TransportOptions, zone: Zone = {}) {
    this.sim = createSimulation({ seed: 1, zone, faults: { split: 0 } });
    this.us = this.sim.runtime([US, US6]);
    this.peer = this.sim.runtime([PEER, PEER6]);
    for (const name of ["malformed", "stray", "limited", "connection", "transportError", "warning"] as const) {
      this.telemetry.on(name, (event) => this.told.push({ name, event }));
    }
    this.layer = createTransportLayer(this.us, this.telemetry, options);
    this.layer.user = { receive: (message, flow) => this.received.push({ message, flow }) };
  }

  async start(): Promise<this> {
    await this.sim.finish(this.layer.start());
    return this;
  }

  /** Stops the layer; what it leaves behind. */
  async stop(): Promise<string[]> {
    await this.sim.finish(this.layer.stop());
    await this.sim.advance(10_000);
    return this.us.leaks();
  }

  events<N extends EventName>(name: N): Events[N][] {
    return this.told.filter((each) => each.name === name).map((each) => each.event as Events[N]);
  }

  get last(): { message: SipMessage; flow: Flow } {
    return this.received.at(-1)!;
  }

  get request(): SipRequest {
    if (this.last.message instanceof SipRequest) return this.last.message;
    throw new Error("the last message is no request");
  }

  get responses(): SipResponse[] {
    return this.received.map((each) => each.message).filter((each) => each instanceof SipResponse);
  }
}

export interface Datagram {
  readonly text: string;
  readonly from: string;
}

/** A UDP socket of a peer. */
export class UdpPeer {
  readonly got: Datagram[] = [];
  #socket!: UdpSocket;

  async open(runtime: SimulatedRuntime, host: string, port: number): Promise<this> {
    const receive = (bytes: Uint8Array, from: string, fromPort: number) => {
      this.got.push({ text: Buffer.from(bytes).toString("latin1"), from: `${from} ${fromPort}` });
    };
    this.#socket = await runtime.network.udp({ host, port }, { receive, failed: () => {} });
    return this;
  }

  send(text: string | Uint8Array, host = US, port = 5060): void {
    this.#socket.send(typeof text === "string" ? Buffer.from(text, "latin1") : text, host, port);
  }

  close(): Promise<void> {
    return this.#socket.close();
  }
}

/** A peer's end of a connection. */
export class StreamPeer {
  text = "";
  readonly pieces: string[] = [];
  closed = false;
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
    connection.handler = {
      data: (bytes) => {
        this.pieces.push(Buffer.from(bytes).toString("latin1"));
        this.text = this.pieces.join("");
      },
      closed: () => {
        this.closed = true;
      },
    };
  }

  send(text: string): void {
    this.connection.send(Buffer.from(text, "latin1"));
  }
}

/** A peer that listens for connections. */
export async function listen(runtime: SimulatedRuntime, kind: StreamKind, host: string, port: number, tls?: object) {
  const accepted: StreamPeer[] = [];
  const listener = await runtime.network.listen(
    { kind, address: { host, port }, maxConnections: 1000, ...(tls === undefined ? {} : { tls: tls as never }) },
    (connection) => accepted.push(new StreamPeer(connection)),
  );
  return { accepted, listener };
}

export async function connect(
  world: World,
  kind: StreamKind,
  options: { host?: string; port?: number; from?: SimulatedRuntime; tls?: object; serverName?: string } = {},
): Promise<StreamPeer> {
  const { host = US, port = 5060, from = world.peer, tls, serverName } = options;
  const connecting = from.network.connect({
    kind,
    remote: { host, port },
    timeoutMs: 5000,
    ...(tls === undefined ? {} : { tls: tls as never }),
    ...(serverName === undefined ? {} : { serverName }),
  });
  return new StreamPeer(await world.sim.finish(connecting));
}

export interface RequestText {
  readonly method?: string;
  readonly via?: string;
  readonly callId?: string;
  readonly headers?: string;
  readonly body?: string;
}

let calls = 0;

export function request(parts: RequestText = {}): string {
  const { method = "MESSAGE", via = `SIP/2.0/UDP ${PEER}:5060;branch=z9hG4bK1`, headers = "", body = "" } = parts;
  return (
    `${method} sip:bob@example.com SIP/2.0\r\nVia: ${via}\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=1\r\n` +
    `To: <sip:bob@example.com>\r\nCall-ID: ${parts.callId ?? `c${++calls}`}\r\nCSeq: 1 ${method}\r\n${headers}` +
    `Content-Length: ${body.length}\r\n\r\n${body}`
  );
}

export function response(via: string, status = 200): string {
  return (
    `SIP/2.0 ${status} OK\r\nVia: ${via}\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>;tag=2\r\n` +
    `Call-ID: c${++calls}\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n`
  );
}
