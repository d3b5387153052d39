import { LRUCache } from "lru-cache";
import { TransportError } from "../../base/errors.ts";
import type { Listener, Runtime } from "../../runtime/runtime.ts";
import type { Telemetry } from "../../telemetry/events.ts";
import { type SipMessage, SipRequest } from "../message/message.ts";
import { bracketed, canonicalHost, defaultPort, familyOf } from "./address.ts";
import { Connections, type ConnectionsUser, noPoint, stopped } from "./connections.ts";
import { isNoise } from "./datagram.ts";
import { Ingress } from "./ingress.ts";
import { SourceLimiter, type Verdict } from "./limits.ts";
import { createLocator, type Locator } from "./location.ts";
import { DEFAULT_LIMITS, type TransportLimits, type TransportOptions } from "./options.ts";
import { type Point, Points } from "./points.ts";
import { streamReply, udpReply } from "./reply.ts";
import type { StreamFlow } from "./stream.ts";
import type { Flow, ListenPoint, Target, TransportLayer, TransportName, TransportUser } from "./transport.ts";
import { type DatagramUser, type UdpFlow, UdpPort } from "./udp.ts";

/** RFC 3261 18.1.1: the most octets a message may have over UDP where the path MTU is not known. */
const MAX_UDP_REQUEST = 1_300;
/** How long a large message waits for TCP before it goes by UDP after all. */
const MAX_UPGRADE_MS = 2_000;
/** Peers remembered for having refused TCP. */
const MAX_REFUSED = 1_024;

const NOBODY: TransportUser = { receive: () => {} };

/** @throws UsageError for listen points that cannot be. */
export function createTransportLayer(
  runtime: Runtime,
  telemetry: Telemetry,
  options: TransportOptions,
): TransportLayer {
  return new Layer(runtime, telemetry, options);
}

class Layer implements TransportLayer, DatagramUser, ConnectionsUser {
  user: TransportUser = NOBODY;
  readonly #runtime: Runtime;
  readonly #telemetry: Telemetry;
  readonly #limits: TransportLimits;
  readonly #points: Points;
  readonly #ports = new Map<ListenPoint, UdpPort>();
  readonly #connections: Connections;
  readonly #trusted: (host: string) => boolean;
  readonly #limiter: SourceLimiter;
  readonly #ingress: Ingress;
  readonly #locator: Locator;
  /** Until when large messages to an address go by UDP. */
  readonly #refusedTcp = new LRUCache<string, number>({ max: MAX_REFUSED });
  #listeners: Listener[] = [];
  #stopped = false;

  constructor(runtime: Runtime, telemetry: Telemetry, options: TransportOptions) {
    this.#runtime = runtime;
    this.#telemetry = telemetry;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#points = new Points(options.points, options.localAddresses ?? []);
    this.#trusted = options.trusted ?? (() => false);
    this.#limiter = new SourceLimiter(runtime.clock, this.#limits, this.#trusted);
    this.#locator = createLocator(runtime.network.resolver, runtime.random, runtime.clock);
    this.#ingress = new Ingress({
      telemetry,
      points: this.#points,
      deliver: (message, flow) => this.#deliver(message, flow),
      respond: (raw, request, flow) => this.respond(raw, request, flow),
    });
    const served = options.points.find((each) => each.tls !== undefined)?.tls;
    this.#connections = new Connections({
      runtime,
      telemetry,
      limits: this.#limits,
      limiter: this.#limiter,
      points: this.#points,
      clientTls: options.clientTls ?? { ...served, verify: true },
      user: this,
    });
    for (const point of this.#points.all) {
      if (point.transport !== "udp") continue;
      this.#ports.set(point, new UdpPort(point, runtime.timers, this, this.#limits.udpFlows));
    }
  }

  get points(): readonly ListenPoint[] {
    return this.#points.all;
  }

  /** Binds every point, or none: rejects with a TransportError that names all that could not be bound. */
  async start(): Promise<void> {
    const opened = await Promise.allSettled(this.#points.all.map((point) => this.#open(point)));
    this.#points.refresh();
    const failures: string[] = [];
    for (const [index, each] of opened.entries()) {
      if (each.status === "fulfilled") continue;
      const { transport, host, port } = this.#points.all[index]!;
      failures.push(`cannot listen on ${transport}://${bracketed(host)}:${port}: ${asError(each.reason).message}`);
    }
    if (failures.length === 0) return;
    await this.stop();
    throw new TransportError(failures.join("; "));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const listeners = this.#listeners;
    this.#listeners = [];
    const closing = [...listeners, ...this.#ports.values()].map((each) => each.close());
    await Promise.all([...closing, this.#connections.stop()]);
  }

  flowTo(target: Target, size: number): Flow | Promise<Flow> {
    try {
      if (target.transport === "udp") return this.#datagramFlow(target, size);
      return this.#connections.flowTo(target, this.#limits.connectMs);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  connection(id: number): Flow | undefined {
    return this.#connections.byId(id);
  }

  respond(raw: string, request: SipRequest, flow: Flow, failed?: (error: Error) => void): void {
    if (flow.reliable) {
      if (this.#connections.byId(flow.connectionId) === flow) flow.send(raw, failed);
      else this.#respondAnew(raw, request, flow, failed).catch((error: unknown) => failed?.(asError(error)));
      return;
    }
    const { kind, host, port } = udpReply(request.via, flow.remoteHost);
    // RFC 3581 4: from the very address and port that the request came to.
    const udp = this.#ports.get(flow.point);
    if (kind === "address") {
      const back = host === flow.remoteHost && port === flow.remotePort;
      (back ? flow : (udp?.flow(host, port) ?? flow)).send(raw, failed);
      return;
    }
    this.#locator.locateResponse({ ...request.via, host, port }, "udp").then(
      (targets) => (udp?.flow(targets[0]!.host, targets[0]!.port) ?? flow).send(raw, failed),
      (error: unknown) => failed?.(asError(error)),
    );
  }

  pointFor(transport: TransportName, host: string): ListenPoint | undefined {
    return this.#points.choose(transport, host);
  }

  isOwn(host: string, port: number | undefined): boolean {
    return this.#points.isOwn(host, port);
  }

  // ── what the points hear ──

  datagram(bytes: Uint8Array, flow: UdpFlow): void {
    if (isNoise(bytes)) return;
    const verdict = this.#admit(flow);
    if (verdict === "drop") return;
    const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const raw = buffer.toString("latin1");
    this.#capture("in", raw, flow);
    this.#ingress.receive(raw, flow, verdict);
  }

  unreachable(error: Error, host: string, port: number): void {
    this.#telemetry.emit("transportError", {
      transport: "udp",
      remote: `${bracketed(host)}:${port}`,
      reason: error.message,
    });
  }

  message(raw: string, flow: StreamFlow): void {
    const verdict = this.#admit(flow);
    if (verdict === "drop") return;
    this.#capture("in", raw, flow);
    this.#ingress.receive(raw, flow, verdict);
  }

  sent(raw: string, flow: UdpFlow | StreamFlow): void {
    this.#capture("out", raw, flow);
  }

  garbled(fault: Parameters<ConnectionsUser["garbled"]>[0], flow: StreamFlow): void {
    this.#ingress.unreadable(fault.error.status, fault.error.message, fault.error.partial, flow);
  }

  #capture(direction: "in" | "out", raw: string, flow: UdpFlow | StreamFlow): void {
    if (!this.#telemetry.wants("message")) return;
    const { transport, local, remoteHost, remotePort } = flow;
    const ends = { localHost: local.host, localPort: local.port, remoteHost, remotePort };
    this.#telemetry.emit("message", { direction, transport, ...ends, raw });
  }

  #admit(flow: Flow): Verdict {
    const verdict = this.#limiter.admit(flow.remoteHost);
    if (verdict !== "pass") this.#telemetry.emit("limited", { what: "rate", source: flow.remoteHost });
    return verdict;
  }

  #deliver(message: SipMessage, flow: Flow): void {
    if (flow.reliable && message instanceof SipRequest) this.#alias(message, flow);
    this.user.receive(message, flow);
  }

  /**
   * RFC 5923 8.2 and 9: a peer that says `alias` and has proved who it is gets requests to its advertised port over the connection
   * it opened. The proof is its certificate, or over TCP that it is a server known by its address.
   */
  #alias({ via }: SipRequest, flow: Flow): void {
    if (!via.params.has("alias")) return;
    const { transport, remoteHost, peerNames } = flow;
    const proved = transport === "tls" ? peerNames.length > 0 : transport === "tcp" && this.#trusted(remoteHost);
    const live = this.#connections.byId(flow.connectionId);
    if (proved && live !== undefined) this.#connections.alias(live, via.port || defaultPort(transport));
  }

  async #open(point: Point): Promise<void> {
    if (point.transport === "udp") {
      await this.#ports.get(point)!.open(this.#runtime.network);
      return;
    }
    const { tls } = point.options;
    const listener = await this.#runtime.network.listen(
      {
        kind: point.transport,
        address: { host: point.host, port: point.port },
        maxConnections: this.#limits.connections,
        ...(tls === undefined ? {} : { tls }),
      },
      (connection) => this.#connections.accept(point, connection),
    );
    this.#listeners.push(listener);
    point.bound(listener.local);
  }

  // ── flows to next hops ──

  /** RFC 3261 18.1.1: what is too large for UDP goes by TCP, and by UDP all the same where that fails. */
  #datagramFlow(target: Target, size: number): Flow | Promise<Flow> {
    const { port } = target;
    const host = target.host.includes(":") ? canonicalHost(target.host) : target.host;
    const udp = this.#udpPort(target);
    if (size <= MAX_UDP_REQUEST) return udp.flow(host, port);
    const key = `${host} ${port}`;
    const refused = (this.#refusedTcp.get(key) ?? 0) > this.#runtime.clock.now();
    if (refused || this.#points.choose("tcp", host) === undefined) return udp.flow(host, port);
    const patience = Math.min(MAX_UPGRADE_MS, this.#limits.connectMs);
    const found = this.#connections.flowTo({ transport: "tcp", host, port }, patience);
    if (!(found instanceof Promise)) return found;
    return found.catch(() => {
      if (this.#stopped) throw stopped();
      this.#refusedTcp.set(key, this.#runtime.clock.now() + this.#limits.tcpRefusedMs);
      return udp.flow(host, port);
    });
  }

  #udpPort({ point, transport, host }: Target): UdpPort {
    const chosen = point !== undefined && this.#ports.has(point) ? point : this.#points.choose("udp", host);
    const port = chosen === undefined ? undefined : this.#ports.get(chosen);
    if (port === undefined) throw noPoint(transport, host);
    return port;
  }

  /** RFC 3261 18.2.2, first bullet, for a connection that is gone: its source at the advertised port, else RFC 3263 5. */
  async #respondAnew(raw: string, request: SipRequest, flow: Flow, failed?: (error: Error) => void): Promise<void> {
    const { transport, point } = flow;
    const { via } = request;
    const { host, port } = streamReply(via, transport, flow.remoteHost);
    const open = (target: Target) => this.#connections.flowTo({ ...target, point }, this.#limits.connectMs);
    let next: Flow;
    try {
      next = await open({ transport, host, port });
    } catch (error) {
      if (transport === "ws" || transport === "wss" || familyOf(via.host) !== undefined) throw error;
      const [target] = await this.#locator.locateResponse(via, transport);
      next = await open(target!);
    }
    next.send(raw, failed);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
