import type { TlsMaterial } from "../../runtime/runtime.ts";
import type { TransportName } from "./transport.ts";

/** One address to listen on. */
export interface PointOptions {
  readonly transport: TransportName;
  /** A numeric address; `0.0.0.0` and `::` for all of a family. */
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Default `up`. */
  readonly direction?: "up" | "down";
  /** Default: `client` on loopback, else `refuse`. */
  readonly unknown?: "refuse" | "client";
  /** What Via and Record-Route say instead of the bound address: `host` or `host:port`. */
  readonly sentBy?: string;
  /** For tls and wss. */
  readonly tls?: TlsMaterial;
}

export interface TransportOptions {
  readonly points: readonly PointOptions[];
  /** Addresses of this machine's interfaces: what a wildcard point stands for. The first that is no loopback becomes its sent-by. */
  readonly localAddresses?: readonly string[];
  /** For connections we open over tls and wss. Default: the material of the first tls point, always verifying. */
  readonly clientTls?: TlsMaterial;
  /** True for the address of a known server: no limit per source applies to it. Loopback is never limited. */
  readonly trusted?: (host: string) => boolean;
  readonly limits?: Partial<TransportLimits>;
}

/** All bounds of the layer. Times in milliseconds, sizes in octets. */
export interface TransportLimits {
  /** A TCP or TLS connection on which nothing moved for this long is closed (RFC 3261 18: longer than any transaction). */
  readonly idleMs: number;
  /**
   * The same for WebSocket: longer, because its client cannot be called again and is not deaf in between registrations; one that
   * died is found by pings.
   */
  readonly clientIdleMs: number;
  /** An accepted connection must deliver its first message, and any message begun, within this. */
  readonly messageMs: number;
  readonly connectMs: number;
  /** Connections, opened and accepted, over all points. */
  readonly connections: number;
  /** Connections accepted from one address that is not trusted. */
  readonly connectionsPerSource: number;
  /** A peer that leaves more than this unread is cut off. */
  readonly bufferedBytes: number;
  /** Messages a second and at once from one address that is not trusted; 0: no limit. */
  readonly messagesPerSecond: number;
  readonly messageBurst: number;
  /** Addresses whose rate is remembered. */
  readonly sources: number;
  /** UDP peers whose flow is kept, per point. */
  readonly udpFlows: number;
  /** How long a peer that refused TCP gets its large messages over UDP without being asked again. */
  readonly tcpRefusedMs: number;
}

export const DEFAULT_LIMITS: TransportLimits = {
  idleMs: 600_000,
  clientIdleMs: 7_200_000,
  messageMs: 30_000,
  connectMs: 5_000,
  connections: 10_000,
  connectionsPerSource: 256,
  bufferedBytes: 4 * 1024 * 1024,
  messagesPerSecond: 5_000,
  messageBurst: 10_000,
  sources: 10_000,
  udpFlows: 10_000,
  tcpRefusedMs: 60_000,
};
