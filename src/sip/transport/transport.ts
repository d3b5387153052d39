import type { SipMessage, SipRequest } from "../message/message.ts";

/** The upward contract of the transport layer (RFC 3261 section 18). */

export type TransportName = "udp" | "tcp" | "tls" | "ws" | "wss";

/** An address the proxy listens on, as the layers above need to know it. */
export interface ListenPoint {
  /** Position in the configuration; stable while the process lives. */
  readonly index: number;
  readonly transport: TransportName;
  /** The address bound, after port 0 was resolved. */
  readonly host: string;
  readonly port: number;
  /** `host:port` as written into Via and Record-Route (IPv6 in brackets; an advertised name where configured). */
  readonly sentBy: string;
  readonly direction: "up" | "down";
  /** What is done with an origin that is no server. */
  readonly unknown: "refuse" | "client";
}

/** A way to a peer: a UDP address pair or a connection. */
export interface Flow {
  readonly transport: TransportName;
  readonly reliable: boolean;
  readonly point: ListenPoint;
  readonly remoteHost: string;
  readonly remotePort: number;
  /** Names from the peer's verified certificate; empty elsewhere. */
  readonly peerNames: readonly string[];
  /** Identifies a connection while it lives (RFC 5626 flow tokens); 0 for UDP. */
  readonly connectionId: number;
  /** `failed` is called at most once, never synchronously: the message did not leave, or the connection died under it. */
  send(raw: string, failed?: (error: Error) => void): void;
  /**
   * `closed` is called once, when the connection has ended: what was asked over it will not be answered over it. Never for UDP.
   * The function returned takes the watch off again.
   */
  watch(closed: (error: Error) => void): () => void;
}

/** One resolved next hop (the outcome of RFC 3263). */
export interface Target {
  readonly transport: TransportName;
  readonly host: string;
  readonly port: number;
  /** The name asked for, for TLS verification and SNI. */
  readonly name?: string;
  /** The listen point to send from; default the first one that fits. */
  readonly point?: ListenPoint;
}

export interface TransportUser {
  /** A message that parsed and whose top Via carries `received` and `rport` where RFC 3261 18.2.1 and RFC 3581 4 want them. */
  receive(message: SipMessage, flow: Flow): void;
}

export interface TransportLayer {
  readonly points: readonly ListenPoint[];
  user: TransportUser;
  start(): Promise<void>;
  /** Closes listeners and connections. */
  stop(): Promise<void>;
  /**
   * The flow to a next hop: a UDP socket or a live connection at once, else a promise of a new connection (RFC 5923 reuse).
   * @param size octets of the message to be sent: over 1300 a UDP target goes by TCP (RFC 3261 18.1.1), and falls back to UDP where TCP is refused.
   * Rejects with a TransportError.
   */
  flowTo(target: Target, size: number): Flow | Promise<Flow>;
  /** The live connection with this id, for flow tokens. */
  connection(id: number): Flow | undefined;
  /** Sends a response where RFC 3261 18.2.2 and RFC 3581 say: `request`'s top Via and the flow it came on decide. */
  respond(raw: string, request: SipRequest, flow: Flow, failed?: (error: Error) => void): void;
  /** The listen point requests to `transport` leave from. */
  pointFor(transport: TransportName, host: string): ListenPoint | undefined;
  /** True for an address of our own (RFC 3261 16.4, 16.12). Ports are compared with the scheme's default filled in. */
  isOwn(host: string, port: number | undefined): boolean;
}
