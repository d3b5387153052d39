import { LRUCache } from "lru-cache";
import { TransportError } from "../../base/errors.ts";
import type { Connection, Listener, Runtime, TlsMaterial } from "../../runtime/runtime.ts";
import type { Telemetry } from "../../telemetry/events.ts";
import { type SipMessage, SipRequest, type Via } from "../message/message.ts";
import { bracketed, canonicalHost, defaultPort, familyOf, isWildcard } from "./address.ts";
import { ConnectionTable } from "./connection-table.ts";
import { isNoise } from "./datagram.ts";
import { Ingress } from "./ingress.ts";
import { SourceLimiter, type Verdict } from "./limits.ts";
import { createLocator, type Locator } from "./location.ts";
import { DEFAULT_LIMITS, type TransportLimits, type TransportOptions } from "./options.ts";
import { type Point, Points } from "./points.ts";
import { streamReply, udpReply } from "./reply.ts";
import { isSecure } from "./srv-order.ts";
import { StreamFlow, type StreamSettings, type StreamUser } from "./stream.ts";
import type { Flow, ListenPoint, Target, TransportLayer, TransportName, TransportUser } from "./transport.ts";
import { type DatagramUser, type UdpFlow, UdpPort } from "./udp.ts";

/** RFC 3261 18.1.1: the most octets a message may have over UDP where the path MTU is not known. */
const MAX_UDP_REQUEST = 1_300;
/** How long a large message waits for TCP before it goes by UDP after all. */
const MAX_UPGRADE_MS = 2_000;
/** How long `stop` lets octets leave that were accepted. */
const FAREWELL_MS = 1_000;
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

class Layer implements TransportLayer, DatagramUser, StreamUser {
  user: TransportUser = NOBODY;
  readonly #runtime: Runtime;
  readonly #telemetry: Telemetry;
  readonly #limits: TransportLimits;
  readonly #clientTls: TlsMaterial;
  readonly #points: Points;
  readonly #ports = new Map<ListenPoint, UdpPort>();
  readonly #connections = new ConnectionTable();
  readonly #pending = new Map<string, Promise<StreamFlow>>();
  readonly #trusted: (host: string) => boolean;
  readonly #limiter: SourceLimiter;
  readonly #ingress: Ingress;
  readonly #locator: Locator;
  readonly #streams: StreamSettings;
  /** Until when large messages to an address go by UDP. */
  readonly #refusedTcp = new LRUCache<string, number>({ max: MAX_REFUSED });
  #listeners: Listener[] = [];
  #lastId = 0;
  #stopped = false;

  constructor(runtime: Runtime, telemetry: Telemetry, options: TransportOptions) {
    this.#runtime = runtime;
    this.#telemetry = telemetry;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    const served = options.points.find((each) => each.tls !== undefined)?.tls;
    this.#clientTls = options.clientTls ?? { ...served, verify: true };
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
    this.#streams = { timers: runtime.timers, clock: runtime.clock, limits: this.#limits, user: this };
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
      failures.push(`cannot listen on ${transport}://${bracketed(host)}:${port}: ${messageOf(each.reason)}`);
    }
    if (failures.length === 0) return;
    await this.stop();
    throw new TransportError(failures.join("; "));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const listeners = this.#listeners;
    this.#listeners = [];
    const closing = [
      ...listeners.map((each) => each.close()),
      ...[...this.#ports.values()].map((each) => each.close()),
    ];
    for (const flow of this.#connections.all()) {
      closing.push(new Promise((done) => flow.end("shutting down", FAREWELL_MS, done)));
    }
    await Promise.all(closing);
  }

  flowTo(target: Target, size: number): Flow | Promise<Flow> {
    try {
      return target.transport === "udp"
        ? this.#datagramFlow(target, size)
        : this.#streamFlow(target, this.#limits.connectMs);
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
      else this.#respondAnew(raw, request, flow).catch((error: unknown) => failed?.(asError(error)));
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
    this.#ingress.receive(buffer.toString("latin1"), flow, verdict);
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
    if (verdict !== "drop") this.#ingress.receive(raw, flow, verdict);
  }

  garbled(fault: Parameters<StreamUser["garbled"]>[0], flow: StreamFlow): void {
    this.#ingress.unreadable(fault.error.status, fault.error.message, fault.error.partial, flow);
  }

  closed(flow: StreamFlow, error: TransportError): void {
    this.#connections.remove(flow);
    this.#tell(flow, "closed", error.message);
  }

  limited(what: string, flow: Flow): void {
    this.#telemetry.emit("limited", { what, source: flow.remoteHost });
  }

  #admit(flow: Flow): Verdict {
    const verdict = this.#limiter.admit(flow.remoteHost);
    if (verdict !== "pass") this.limited("rate", flow);
    return verdict;
  }

  #deliver(message: SipMessage, flow: Flow): void {
    if (flow.reliable && message instanceof SipRequest) this.#alias(message.via, flow);
    this.user.receive(message, flow);
  }

  /**
   * RFC 5923 8.2 and 9: a peer that says `alias` and has proved who it is gets requests to its advertised port over the connection
   * it opened. The proof is its certificate, or over TCP that it is a server known by its address.
   */
  #alias(via: Via, flow: Flow): void {
    if (!via.params.has("alias")) return;
    const live = this.#connections.byId(flow.connectionId);
    if (live?.opening.by !== "peer") return;
    const proved =
      flow.transport === "tls" ? flow.peerNames.length > 0 : flow.transport === "tcp" && this.#trusted(flow.remoteHost);
    if (proved) this.#connections.alias(live, via.port || defaultPort(flow.transport));
  }

  // ── opening ──

  async #open(point: Point): Promise<void> {
    const udp = this.#ports.get(point);
    if (udp !== undefined) {
      await udp.open(this.#runtime.network);
      return;
    }
    if (point.transport === "udp") return;
    const { tls } = point.options;
    const listener = await this.#runtime.network.listen(
      {
        kind: point.transport,
        address: { host: point.host, port: point.port },
        maxConnections: this.#limits.connections,
        ...(tls === undefined ? {} : { tls }),
      },
      (connection) => this.#accept(point, connection),
    );
    this.#listeners.push(listener);
    point.bound(listener.local);
  }

  #accept(point: Point, connection: Connection): void {
    const source = canonicalHost(connection.remote.host);
    const refused = this.#refusal(source);
    if (refused !== undefined) {
      connection.handler = { data: () => {}, closed: () => {} };
      connection.destroy();
      if (!this.#stopped) this.#telemetry.emit("limited", { what: refused, source });
      return;
    }
    const flow = new StreamFlow(connection, point, ++this.#lastId, { by: "peer" }, this.#streams);
    this.#connections.add(flow);
    this.#tell(flow, "opened", "accepted");
  }

  #refusal(source: string): string | undefined {
    if (this.#stopped || this.#connections.size >= this.#limits.connections) return "connections";
    const many = this.#connections.acceptedFrom(source) >= this.#limits.connectionsPerSource;
    return many && !this.#limiter.exempt(source) ? "connections per source" : undefined;
  }

  #tell(flow: StreamFlow, state: "opened" | "closed", reason: string): void {
    const remote = `${bracketed(flow.remoteHost)}:${flow.remotePort}`;
    this.#telemetry.emit("connection", { transport: flow.transport, remote, state, reason });
  }

  // ── flows to next hops ──

  #datagramFlow(target: Target, size: number): Flow | Promise<Flow> {
    const udp = this.#udpPort(target);
    if (size <= MAX_UDP_REQUEST) return udp.flow(target.host, target.port);
    const key = `${target.host} ${target.port}`;
    const refusedUntil = this.#refusedTcp.get(key);
    const now = this.#runtime.clock.now();
    if (refusedUntil !== undefined && refusedUntil > now) return udp.flow(target.host, target.port);
    if (this.#points.choose("tcp", target.host) === undefined) return udp.flow(target.host, target.port);
    const { host, port } = target;
    const found = this.#streamFlow({ transport: "tcp", host, port }, Math.min(MAX_UPGRADE_MS, this.#limits.connectMs));
    if (!(found instanceof Promise)) return found;
    return found.catch(() => {
      if (this.#stopped) throw new TransportError("the transport layer is stopped");
      this.#refusedTcp.set(key, this.#runtime.clock.now() + this.#limits.tcpRefusedMs);
      return udp.flow(host, port);
    });
  }

  #udpPort(target: Target): UdpPort {
    const named = target.point === undefined ? undefined : this.#ports.get(target.point);
    if (named !== undefined) return named;
    const point = this.#points.choose("udp", target.host);
    if (point === undefined) throw noPoint(target);
    return this.#ports.get(point)!;
  }

  #streamFlow(target: Target, timeoutMs: number): StreamFlow | Promise<StreamFlow> {
    const { transport, port, name } = target;
    const host = canonicalHost(target.host);
    const live = this.#connections.find(transport, host, port, name);
    if (live !== undefined) return live;
    if (transport === "ws" || transport === "wss") {
      throw new TransportError(
        `${transport} ${bracketed(host)}:${port}: no live connection, and WebSocket clients cannot be called (RFC 7118)`,
      );
    }
    const named = this.#points.all.find((each) => each === target.point && each.transport === transport);
    const point = named ?? this.#points.choose(transport, host);
    if (point === undefined) throw noPoint(target);
    const key = `${point.index} ${host} ${port} ${isSecure(transport) ? (name ?? "") : ""}`;
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending;
    const opening = this.#connect(point, { ...target, host }, timeoutMs).finally(() => this.#pending.delete(key));
    this.#pending.set(key, opening);
    return opening;
  }

  async #connect(point: Point, target: Target, timeoutMs: number): Promise<StreamFlow> {
    const { transport, host, port, name } = target;
    if (transport === "udp" || this.#stopped) throw new TransportError("the transport layer is stopped");
    if (this.#connections.size + this.#pending.size >= this.#limits.connections) {
      this.#telemetry.emit("limited", { what: "connections", source: host });
      throw new TransportError(`${transport} ${bracketed(host)}:${port}: too many connections are open`);
    }
    let connection: Connection;
    try {
      connection = await this.#runtime.network.connect({
        kind: transport,
        remote: { host, port },
        timeoutMs,
        // So that the peer sees the address it knows us by.
        ...(isWildcard(point.host) ? {} : { local: { host: point.host, port: 0 } }),
        ...(isSecure(transport) ? { tls: this.#clientTls } : {}),
        ...(isSecure(transport) && name !== undefined ? { serverName: name } : {}),
      });
    } catch (error) {
      const remote = `${bracketed(host)}:${port}`;
      this.#telemetry.emit("transportError", { transport, remote, reason: messageOf(error) });
      if (error instanceof TransportError) throw error;
      throw new TransportError(`${transport} ${remote}: ${messageOf(error)}`, { cause: error });
    }
    const flow = new StreamFlow(connection, point, ++this.#lastId, { by: "us", name }, this.#streams);
    this.#connections.add(flow);
    this.#tell(flow, "opened", "connected");
    if (this.#stopped) {
      flow.cut("shutting down");
      throw new TransportError("the transport layer is stopped");
    }
    return flow;
  }

  /** RFC 3261 18.2.2, first bullet, for a connection that is gone: its source at the advertised port, else RFC 3263 5. */
  async #respondAnew(raw: string, request: SipRequest, flow: Flow, failed?: (error: Error) => void): Promise<void> {
    const { transport, point } = flow;
    const { via } = request;
    const { host, port } = streamReply(via, transport, flow.remoteHost);
    let next: Flow;
    try {
      next = await this.#streamFlow({ transport, host, port, point }, this.#limits.connectMs);
    } catch (error) {
      if (transport === "ws" || transport === "wss" || familyOf(via.host) !== undefined) throw error;
      const [target] = await this.#locator.locateResponse(via, transport);
      next = await this.#streamFlow({ ...target!, point }, this.#limits.connectMs);
    }
    next.send(raw, failed);
  }
}

function noPoint(target: Target): TransportError {
  const family = target.host.includes(":") ? "IPv6" : "IPv4";
  return new TransportError(`no listen point for ${target.transport} over ${family}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
