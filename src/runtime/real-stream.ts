import { connect as connectTcp, createServer, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import type { Handles } from "./handles.ts";
import { cannotConnect, endpoints, serverDemands } from "./real-connect.ts";
import { RealConnection } from "./real-connection.ts";
import { RealListener } from "./real-listener.ts";
import { clientDemands, secureContext } from "./real-tls.ts";
import type { Connection, ConnectOptions, Listener, ListenOptions } from "./runtime.ts";

/** How often an idle connection is probed for a peer that vanished, in milliseconds. */
const KEEP_ALIVE = 60_000;
/** How long a peer may take for the TLS handshake, in milliseconds. */
const HANDSHAKE = 10_000;
/** Both ways the same: small messages leave at once, dead peers are found. */
const SOCKET = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE } as const;

/** TCP and TLS: bytes in order, to be framed by who reads them. */
class ByteConnection extends RealConnection {
  readonly #socket: Socket;
  #corked = false;

  constructor(handles: Handles, kind: "tcp" | "tls", socket: Socket) {
    super(handles, kind, socket);
    this.#socket = socket;
    socket.removeAllListeners("error");
    socket.on("error", (error) => this.failed(error));
    socket.on("close", () => this.gone());
  }

  get buffered(): number {
    return this.#socket.writableLength;
  }

  send(bytes: Uint8Array): void {
    if (!this.#socket.writable) return;
    // All that one turn of the loop sends leaves in one system call.
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(uncork, this);
    }
    this.#socket.write(bytes);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  uncork(): void {
    this.#corked = false;
    this.#socket.uncork();
  }

  protected begin(): void {
    this.#socket.on("data", (bytes: Uint8Array) => this.handler.data(bytes));
  }

  protected finish(): void {
    this.#socket.end();
  }
}

function uncork(connection: ByteConnection): void {
  connection.uncork();
}

/** Listens for TCP or TLS. Rejects with the system's error (EADDRINUSE, EADDRNOTAVAIL, EACCES), or TLS's about the certificate. */
export async function listenBytes(
  handles: Handles,
  options: ListenOptions,
  accept: (connection: Connection) => void,
): Promise<Listener> {
  const secure = options.kind === "tls";
  const server = secure ? createTlsServer(tlsServer(options)) : createServer(SOCKET);
  const listener = new RealListener(handles, server, options);
  const arrived = (socket: Socket) => {
    listener.arrived(socket);
    // A peer may be gone before anybody looked: then there is no address to show.
    if (socket.remoteAddress === undefined) socket.destroy();
    else accept(new ByteConnection(handles, secure ? "tls" : "tcp", socket));
  };
  server.on(secure ? "secureConnection" : "connection", arrived);
  // A handshake that fails ends with its socket: there is no connection yet to report it to.
  server.on("tlsClientError", (_error, socket: Socket) => socket.destroy());
  return listener.open();
}

function tlsServer(options: ListenOptions) {
  return { ...SOCKET, ...secureContext(options.tls), ...clientDemands(options.tls), handshakeTimeout: HANDSHAKE };
}

/** Connects by TCP or TLS. Rejects with a TransportError: refused, unreachable, not verified, too slow. */
export function connectBytes(handles: Handles, options: ConnectOptions): Promise<Connection> {
  const secure = options.kind === "tls";
  return new Promise((resolve, reject) => {
    const socket = secure
      ? connectTls({ ...endpoints(options), ...serverDemands(options) })
      : connectTcp(endpoints(options));
    const patience = setTimeout(() => socket.destroy(new Error("no answer in time")), options.timeoutMs);
    let failure: Error | undefined;
    const failed = (error: Error) => {
      failure ??= error;
    };
    const closed = () => {
      clearTimeout(patience);
      reject(cannotConnect(options, failure ?? new Error("closed by the peer")));
    };
    socket.on("error", failed);
    socket.on("close", closed);
    socket.once(secure ? "secureConnect" : "connect", () => {
      clearTimeout(patience);
      socket.removeListener("close", closed);
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KEEP_ALIVE);
      resolve(new ByteConnection(handles, secure ? "tls" : "tcp", socket));
    });
  });
}
