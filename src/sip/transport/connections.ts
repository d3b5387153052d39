import { TransportError } from "../../base/errors.ts";
import type { Connection, Runtime, TlsMaterial } from "../../runtime/runtime.ts";
import type { Telemetry } from "../../telemetry/events.ts";
import { bracketed, canonicalHost, isWildcard } from "./address.ts";
import { ConnectionTable } from "./connection-table.ts";
import type { SourceLimiter } from "./limits.ts";
import type { TransportLimits } from "./options.ts";
import type { Point, Points } from "./points.ts";
import { isSecure } from "./srv-order.ts";
import { StreamFlow, type StreamSettings, type StreamUser } from "./stream.ts";
import type { Target, TransportName } from "./transport.ts";

/** How long a connection that is ended lets octets leave that were accepted. */
const FAREWELL_MS = 1_000;

type Garbled = Parameters<StreamUser["garbled"]>[0];

/** What hears of messages; connections come and go by themselves. */
export interface ConnectionsUser {
  message(raw: string, flow: StreamFlow): void;
  sent(raw: string, flow: StreamFlow): void;
  garbled(fault: Garbled, flow: StreamFlow): void;
}

export interface ConnectionsSettings {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly limits: TransportLimits;
  readonly limiter: SourceLimiter;
  readonly points: Points;
  readonly clientTls: TlsMaterial;
  readonly user: ConnectionsUser;
}

/** All connections of the layer: accepted and opened, counted, shared, closed. */
export class Connections implements StreamUser {
  readonly #settings: ConnectionsSettings;
  readonly #streams: StreamSettings;
  readonly #table = new ConnectionTable();
  /** Connections being opened, so that who wants the same one waits for the same one. */
  readonly #pending = new Map<string, Promise<StreamFlow>>();
  /** Connections that say goodbye. */
  readonly #ending = new Set<Promise<void>>();
  #lastId = 0;
  #stopped = false;

  constructor(settings: ConnectionsSettings) {
    this.#settings = settings;
    const { timers, clock } = settings.runtime;
    this.#streams = { timers, clock, limits: settings.limits, user: this };
  }

  byId(id: number): StreamFlow | undefined {
    return this.#table.byId(id);
  }

  /** To be called when a point accepted a connection. */
  accept(point: Point, connection: Connection): void {
    const source = canonicalHost(connection.remote.host);
    const refused = this.#refusal(source);
    if (refused !== undefined) {
      connection.handler = { data: () => {}, closed: () => {} };
      connection.destroy();
      if (!this.#stopped) this.#settings.telemetry.emit("limited", { what: refused, source });
      return;
    }
    const flow = new StreamFlow(connection, point, ++this.#lastId, { by: "peer" }, this.#streams);
    this.#table.add(flow);
    this.#tell(flow, "opened", "accepted");
  }

  /** Requests to `port` at the far end of `flow` may go over it, if it is a connection that the peer opened (RFC 5923 8.2). */
  alias(flow: StreamFlow, port: number): void {
    if (flow.opening.by === "peer") this.#table.alias(flow, port);
  }

  /** A live connection at once, else a new one. @throws TransportError where none can be tried; rejects with it where none came about */
  flowTo(target: Target, timeoutMs: number): StreamFlow | Promise<StreamFlow> {
    const { transport, port, name } = target;
    const host = canonicalHost(target.host);
    const live = this.#table.find(transport, host, port, name);
    if (live !== undefined) return live;
    if (this.#stopped) throw stopped();
    if (transport === "udp") throw new TransportError("UDP has no connections");
    if (transport === "ws" || transport === "wss") {
      // RFC 7118: only the client's side can open one.
      throw new TransportError(
        `${at(transport, host, port)}: the client's connection is gone, and it cannot be called`,
      );
    }
    const named = this.#settings.points.all.find((each) => each === target.point && each.transport === transport);
    const point = named ?? this.#settings.points.choose(transport, host);
    if (point === undefined) throw noPoint(transport, host);
    const key = `${point.index} ${host} ${port} ${isSecure(transport) ? (name ?? "") : ""}`;
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending;
    const opening = this.#connect(point, transport, host, port, name, timeoutMs).finally(() =>
      this.#pending.delete(key),
    );
    this.#pending.set(key, opening);
    return opening;
  }

  /** Ends all, in order; none comes after. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const flow of this.#table.all()) this.#end(flow, "shutting down");
    await Promise.all(this.#ending);
  }

  // ── what a connection tells ──

  message(raw: string, flow: StreamFlow): void {
    this.#settings.user.message(raw, flow);
  }

  sent(raw: string, flow: StreamFlow): void {
    this.#settings.user.sent(raw, flow);
  }

  garbled(fault: Garbled, flow: StreamFlow): void {
    this.#settings.user.garbled(fault, flow);
    this.#end(flow, "the stream is no SIP");
  }

  closed(flow: StreamFlow, error: TransportError): void {
    this.#table.remove(flow);
    this.#tell(flow, "closed", error.message);
  }

  limited(what: string, flow: StreamFlow): void {
    this.#settings.telemetry.emit("limited", { what, source: flow.remoteHost });
  }

  #end(flow: StreamFlow, reason: string): void {
    const ending = new Promise<void>((done) => flow.end(reason, FAREWELL_MS, done));
    this.#ending.add(ending);
    ending.then(() => this.#ending.delete(ending));
  }

  #refusal(source: string): string | undefined {
    const { limits, limiter } = this.#settings;
    if (this.#stopped || this.#table.size >= limits.connections) return "connections";
    const many = this.#table.acceptedFrom(source) >= limits.connectionsPerSource;
    return many && !limiter.exempt(source) ? "connections per source" : undefined;
  }

  #tell(flow: StreamFlow, state: "opened" | "closed", reason: string): void {
    const remote = `${bracketed(flow.remoteHost)}:${flow.remotePort}`;
    this.#settings.telemetry.emit("connection", { transport: flow.transport, remote, state, reason });
  }

  async #connect(
    point: Point,
    kind: "tcp" | "tls",
    host: string,
    port: number,
    name: string | undefined,
    timeoutMs: number,
  ): Promise<StreamFlow> {
    const { limits, runtime, telemetry, clientTls } = this.#settings;
    if (this.#table.size + this.#pending.size >= limits.connections) {
      telemetry.emit("limited", { what: "connections", source: host });
      throw new TransportError(`${at(kind, host, port)}: too many connections are open`);
    }
    let connection: Connection;
    try {
      connection = await runtime.network.connect({
        kind,
        remote: { host, port },
        timeoutMs,
        // So that the peer sees the address it knows us by.
        ...(isWildcard(point.host) ? {} : { local: { host: point.host, port: 0 } }),
        ...(kind === "tls" ? { tls: clientTls } : {}),
        ...(kind === "tls" && name !== undefined ? { serverName: name } : {}),
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      telemetry.emit("transportError", { transport: kind, remote: `${bracketed(host)}:${port}`, reason });
      if (error instanceof TransportError) throw error;
      throw new TransportError(`${at(kind, host, port)}: ${reason}`, { cause: error });
    }
    const flow = new StreamFlow(connection, point, ++this.#lastId, { by: "us", name }, this.#streams);
    this.#table.add(flow);
    this.#tell(flow, "opened", "connected");
    if (!this.#stopped) return flow;
    flow.cut("shutting down");
    throw stopped();
  }
}

export function noPoint(transport: TransportName, host: string): TransportError {
  return new TransportError(`no listen point for ${transport} over ${host.includes(":") ? "IPv6" : "IPv4"}`);
}

export function stopped(): TransportError {
  return new TransportError("the transport layer is stopped");
}

function at(transport: TransportName, host: string, port: number): string {
  return `${transport} ${bracketed(host)}:${port}`;
}
