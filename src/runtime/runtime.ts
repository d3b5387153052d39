/**
 * The seam between the program and the world: everything that the clock, chance or the network does comes in here.
 * `real.ts` is the machine it runs on, `simulated.ts` a whole network in one process on virtual time from one seed.
 */
export interface Runtime {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly network: Network;
}

export interface Clock {
  /** Monotonic milliseconds, fractions allowed. For durations and deadlines. */
  now(): number;
  /** Milliseconds since 1970-01-01T00:00Z. For what people and other programs read. */
  wall(): number;
}

export interface Timer {
  /** Safe to call more than once, and after the timer fired. */
  cancel(): void;
}

export interface Timers {
  /** Runs once, `ms` milliseconds from now. Never synchronously. */
  after(ms: number, run: () => void): Timer;
  /** Runs once, after the events that are already due. */
  soon(run: () => void): void;
}

export interface Random {
  /** A whole number, 0 <= n < below; below at most 2^48. */
  integer(below: number): number;
  bytes(length: number): Uint8Array;
  /** A string of `length` characters out of [a-z0-9], about 5.17 bits each: for tags, branches, Call-IDs. */
  token(length: number): string;
}

/** An IP address in its shortest text form, without brackets, and a port. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface UdpSocket {
  readonly local: Address;
  /** Never throws; what cannot be sent is reported, later, to `failed` of the socket's handler. */
  send(bytes: Uint8Array, host: string, port: number): void;
  close(): Promise<void>;
}

export interface UdpHandler {
  /** `bytes` is the receiver's to keep. */
  receive(bytes: Uint8Array, host: string, port: number): void;
  /** `host` and `port` of the datagram that did not leave; "" and 0 where the system does not say. */
  failed(error: Error, host: string, port: number): void;
}

/** What a stream carries: bytes to be framed (tcp, tls) or whole messages (ws, wss). */
export type StreamKind = "tcp" | "tls" | "ws" | "wss";

export interface ConnectionHandler {
  /** One chunk of a byte stream, or one whole WebSocket message. */
  data(bytes: Uint8Array): void;
  /** Called exactly once. `error` is absent after an orderly end. */
  closed(error?: Error): void;
}

export interface Connection {
  readonly kind: StreamKind;
  readonly local: Address;
  readonly remote: Address;
  /** SIP domain identities (RFC 5922 7.1: lower-case host names) of the peer's certificate, only if it was verified; else empty. */
  readonly peerNames: readonly string[];
  /** Bytes accepted by `send` and not yet handed to the operating system. */
  readonly buffered: number;
  /** Must be set in the call that hands out the connection; nothing is read before. */
  handler: ConnectionHandler;
  send(bytes: Uint8Array): void;
  /** Ends in order after what was sent; `closed` follows. */
  end(): void;
  destroy(): void;
}

export interface TlsMaterial {
  /** PEM text. */
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
  /** Refuse peers without a certificate that verifies (listening: mutual TLS). */
  readonly verify: boolean;
}

export interface ListenOptions {
  readonly kind: StreamKind;
  readonly address: Address;
  readonly tls?: TlsMaterial;
  /** Connections over this are refused at once. */
  readonly maxConnections: number;
}

export interface ConnectOptions {
  readonly kind: StreamKind;
  readonly remote: Address;
  /** Local address to connect from; port 0 for any. */
  readonly local?: Address;
  readonly tls?: TlsMaterial;
  /** The name the certificate must be for, and SNI (RFC 5922). */
  readonly serverName?: string;
  readonly timeoutMs: number;
}

export interface Listener {
  readonly local: Address;
  /** Accepts no more; connections already accepted live on. */
  close(): Promise<void>;
}

export interface SrvRecord {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

export interface NaptrRecord {
  readonly order: number;
  readonly preference: number;
  readonly flags: string;
  readonly service: string;
  readonly replacement: string;
}

/** Answers with an empty list where the name or the record type does not exist; rejects where nobody could be asked. */
export interface Resolver {
  naptr(name: string): Promise<readonly NaptrRecord[]>;
  srv(name: string): Promise<readonly SrvRecord[]>;
  a(name: string): Promise<readonly string[]>;
  aaaa(name: string): Promise<readonly string[]>;
}

export interface HttpOptions {
  /** Kept open and used again, at most; requests beyond them wait. */
  readonly connections: number;
  /** PEM text of the authorities an https server's certificate is checked against; absent: the system's. */
  readonly ca?: string;
}

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** http or https; redirections are not followed. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Empty: none. */
  readonly body: Uint8Array;
  /** For all of it, from the call to the last octet. */
  readonly timeoutMs: number;
  /** An answer with a longer body is a failure. */
  readonly mostOctets: number;
}

export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case; of a repeated one all values, with commas. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** An HTTP/1.1 client with connections of its own. */
export interface HttpClient {
  /** Rejects with a TransportError where there is no whole answer. */
  request(request: HttpRequest): Promise<HttpAnswer>;
  /** What is under way is rejected. */
  close(): void;
}

export interface Network {
  udp(bind: Address, handler: UdpHandler): Promise<UdpSocket>;
  listen(options: ListenOptions, accept: (connection: Connection) => void): Promise<Listener>;
  /** Rejects with a TransportError. */
  connect(options: ConnectOptions): Promise<Connection>;
  http(options: HttpOptions): HttpClient;
  readonly resolver: Resolver;
}
