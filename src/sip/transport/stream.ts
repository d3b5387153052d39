import { TransportError } from "../../base/errors.ts";
import type { Address, Clock, Connection, Timer, Timers } from "../../runtime/runtime.ts";
import { type Framed, StreamFramer } from "../message/frame.ts";
import { bracketed, canonicalHost } from "./address.ts";
import type { TransportLimits } from "./options.ts";
import type { Point } from "./points.ts";
import type { Flow, TransportName } from "./transport.ts";

/** What a connection hands its messages and its end to. */
export interface StreamUser {
  message(raw: string, flow: StreamFlow): void;
  sent(raw: string, flow: StreamFlow): void;
  /** The stream is broken at this place: nothing more can be read from it, so the connection is to be ended. */
  garbled(fault: Extract<Framed, { kind: "error" }>, flow: StreamFlow): void;
  /** Called once. */
  closed(flow: StreamFlow, error: TransportError): void;
  limited(what: string, flow: StreamFlow): void;
}

export interface StreamSettings {
  readonly timers: Timers;
  readonly clock: Clock;
  readonly limits: TransportLimits;
  readonly user: StreamUser;
}

/** Who opened it, and whom the peer has proved to be beyond its certificate's names. */
export type Opening = { readonly by: "peer" } | { readonly by: "us"; readonly name: string | undefined };

/** A send whose octets may still wait in the connection: `end` counts the octets accepted up to its last. */
interface Waiting {
  readonly end: number;
  readonly failed: (error: Error) => void;
}

const PONG = Buffer.from("\r\n");
const NOBODY: ReadonlySet<string> = new Set();

/** One connection (tcp, tls, ws, wss) as a flow. Lives from the open connection to its end; does not come back. */
export class StreamFlow implements Flow {
  readonly transport: TransportName;
  readonly reliable = true;
  readonly point: Point;
  readonly remoteHost: string;
  readonly remotePort: number;
  readonly peerNames: readonly string[];
  readonly connectionId: number;
  readonly opening: Opening;
  readonly #connection: Connection;
  readonly #settings: StreamSettings;
  /** Undefined for WebSocket, which keeps messages apart itself (RFC 7118 5). */
  readonly #framer: StreamFramer | undefined;
  readonly #identities: ReadonlySet<string>;
  readonly #watches = new Set<(error: Error) => void>();
  #waiting: Waiting[] = [];
  #settling = false;
  #accepted = 0;
  #timer: Timer | undefined;
  readonly #openedAt: number;
  #activeAt: number;
  /** When the first octet of a message came that is not complete yet. */
  #begunAt: number | undefined;
  #served: boolean;
  #open = true;

  constructor(connection: Connection, point: Point, id: number, opening: Opening, settings: StreamSettings) {
    this.#connection = connection;
    this.#settings = settings;
    this.transport = connection.kind;
    this.point = point;
    this.connectionId = id;
    this.opening = opening;
    this.remoteHost = canonicalHost(connection.remote.host);
    this.remotePort = connection.remote.port;
    this.peerNames = connection.peerNames;
    this.#identities = identitiesOf(connection.peerNames, opening);
    this.#framer = connection.kind === "tcp" || connection.kind === "tls" ? new StreamFramer() : undefined;
    this.#served = opening.by === "us";
    this.#openedAt = settings.clock.now();
    this.#activeAt = this.#openedAt;
    connection.handler = {
      data: (bytes) => this.#data(bytes),
      closed: (error) => this.#ended(error?.message ?? "closed by the peer"),
    };
    this.#arm();
  }

  get local(): Address {
    return this.#connection.local;
  }

  get open(): boolean {
    return this.#open;
  }

  /** True where the certificate, or the name we verified it against, speaks for `name` (RFC 5922 7). */
  vouchesFor(name: string): boolean {
    return this.#identities.has(name.toLowerCase());
  }

  send(raw: string, failed?: (error: Error) => void): void {
    if (!this.#open) {
      if (failed !== undefined) this.#settings.timers.soon(() => failed(this.#gone("the connection is closed")));
      return;
    }
    this.#accepted += raw.length;
    this.#activeAt = this.#settings.clock.now();
    if (failed !== undefined) {
      this.#waiting.push({ end: this.#accepted, failed });
      this.#settle();
    }
    this.#write(Buffer.from(raw, "latin1"));
    this.#settings.user.sent(raw, this);
  }

  watch(closed: (error: Error) => void): () => void {
    if (!this.#open) {
      this.#settings.timers.soon(() => closed(this.#gone("the connection is closed")));
      return () => {};
    }
    // A wrapper of its own, so that the same function can watch twice.
    const watch = (error: Error) => closed(error);
    this.#watches.add(watch);
    return () => this.#watches.delete(watch);
  }

  /** Ends at once. */
  cut(reason: string): void {
    if (!this.#open) return;
    this.#connection.destroy();
    this.#ended(reason);
  }

  /** Ends in order: what was sent still leaves. `done` is called when it has, or after `patienceMs`. */
  end(reason: string, patienceMs: number, done: () => void): void {
    if (!this.#open) {
      done();
      return;
    }
    const timer = this.#settings.timers.after(patienceMs, () => this.#connection.destroy());
    this.#connection.handler = {
      data: () => {},
      closed: () => {
        timer.cancel();
        done();
      },
    };
    this.#connection.end();
    this.#ended(reason);
  }

  #write(bytes: Uint8Array): void {
    this.#connection.send(bytes);
    if (this.#connection.buffered <= this.#settings.limits.bufferedBytes) return;
    // Not within the call: a sender need not expect its flow to die under it.
    this.#settings.timers.soon(() => {
      if (this.#open) this.#settings.user.limited("unread", this);
      this.cut("the peer does not read");
    });
  }

  #data(bytes: Uint8Array): void {
    if (!this.#open) return;
    this.#activeAt = this.#settings.clock.now();
    if (this.#framer === undefined) {
      this.#whole(bytes);
      return;
    }
    const framed = this.#framer.push(bytes);
    for (let i = 0; i < framed.length && this.#open; i++) this.#framed(framed[i]!);
    if (this.#framer.pending === 0) this.#begunAt = undefined;
    else if (framed.length > 0 || this.#begunAt === undefined) this.#begunAt = this.#activeAt;
  }

  #framed(framed: Framed): void {
    switch (framed.kind) {
      case "message":
        this.#served = true;
        this.#settings.user.message(framed.raw, this);
        return;
      case "ping":
        this.#write(PONG);
        return;
      case "pong":
        return;
      case "error":
        this.#settings.user.garbled(framed, this);
        return;
    }
  }

  #whole(bytes: Uint8Array): void {
    const raw = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    // Keep-alives are as on other connections (RFC 7118 6).
    if (raw === "\r\n\r\n") this.#write(PONG);
    else if (raw !== "\r\n" && raw !== "") {
      this.#served = true;
      this.#settings.user.message(raw, this);
    }
  }

  /** Forgets sends whose octets have left, once the events that are due have run. */
  #settle(): void {
    if (this.#settling) return;
    this.#settling = true;
    this.#settings.timers.soon(() => {
      this.#settling = false;
      if (!this.#open) return;
      const left = this.#accepted - this.#connection.buffered;
      const kept = this.#waiting.findIndex((each) => each.end > left);
      if (kept < 0) this.#waiting = [];
      else if (kept > 0) this.#waiting = this.#waiting.slice(kept);
    });
  }

  #arm(): void {
    const { limits, clock, timers } = this.#settings;
    const rest = this.#deadline() - clock.now();
    if (rest <= 0) {
      this.#expire();
      return;
    }
    // Looked at once per message time at least, since a message may begin meanwhile.
    this.#timer = timers.after(Math.min(rest, limits.messageMs), () => this.#arm());
  }

  #deadline(): number {
    const { limits } = this.#settings;
    if (this.#begunAt !== undefined) return this.#begunAt + limits.messageMs;
    if (!this.#served) return this.#openedAt + limits.messageMs;
    return this.#activeAt + (this.#framer === undefined ? limits.clientIdleMs : limits.idleMs);
  }

  #expire(): void {
    const half = this.#begunAt !== undefined || !this.#served;
    if (half) this.#settings.user.limited("half-open", this);
    this.cut(half ? "no whole message in time" : "idle");
  }

  #ended(reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#timer?.cancel();
    const error = this.#gone(reason);
    const waiting = this.#waiting;
    const watches = [...this.#watches];
    this.#waiting = [];
    this.#watches.clear();
    // The layer forgets the connection first: who is told below finds none to reuse.
    this.#settings.user.closed(this, error);
    this.#settings.timers.soon(() => {
      for (const each of waiting) each.failed(error);
      for (const each of watches) each(error);
    });
  }

  #gone(reason: string): TransportError {
    return new TransportError(`${this.transport} ${bracketed(this.remoteHost)}:${this.remotePort}: ${reason}`);
  }
}

/** RFC 5922 7.1: the names of `DNS:` and `URI:sip:` entries, and the name the peer's certificate was checked for. */
function identitiesOf(names: readonly string[], opening: Opening): ReadonlySet<string> {
  const asked = opening.by === "us" ? opening.name : undefined;
  if (names.length === 0 && asked === undefined) return NOBODY;
  const found = names.map((each) => each.replace(/^(?:dns:|uri:)?(?:sips?:)?/i, "").toLowerCase());
  if (asked !== undefined) found.push(asked.toLowerCase());
  return new Set(found);
}
