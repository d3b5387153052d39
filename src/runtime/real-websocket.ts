import { isUtf8 } from "node:buffer";
import { createServer, type IncomingMessage } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { isIPv6, type Socket } from "node:net";
import { type RawData, WebSocket, WebSocketServer } from "ws";
import type { Handles } from "./handles.ts";
import { cannotConnect, endpoints, serverDemands } from "./real-connect.ts";
import { RealConnection } from "./real-connection.ts";
import { RealListener } from "./real-listener.ts";
import { clientDemands, secureContext } from "./real-tls.ts";
import type { Connection, ConnectOptions, Listener, ListenOptions } from "./runtime.ts";

/** RFC 7118 4.1: the subprotocol both sides must agree on. */
const SUBPROTOCOL = "sip";
/** Twice the largest SIP message: what is too long for SIP is answered by SIP, what is far too long ends the connection (1009). */
const LARGEST = 128 * 1024;
/** How often a peer is pinged (RFC 7118 6); one that has not answered by the next time is cut off. Milliseconds. */
const PING = 30_000;
const HANDSHAKE = 10_000;

/** WebSocket: whole messages, text or binary alike. */
class MessageConnection extends RealConnection {
  readonly #socket: WebSocket;
  #alive = true;

  constructor(handles: Handles, kind: "ws" | "wss", socket: WebSocket, carrier: Socket) {
    super(handles, kind, carrier);
    this.#socket = socket;
    carrier.setNoDelay(true);
    carrier.setKeepAlive(true, PING);
    socket.pause();
    const pings = setInterval(() => this.#ping(), PING);
    socket.removeAllListeners("error");
    socket.on("error", (error) => this.failed(error));
    socket.on("pong", () => {
      this.#alive = true;
    });
    socket.on("close", () => {
      clearInterval(pings);
      this.gone();
    });
  }

  get buffered(): number {
    return this.#socket.bufferedAmount;
  }

  /** As text where it is UTF-8, which every client takes, else binary (RFC 7118 5). */
  send(bytes: Uint8Array): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(bytes, { binary: !isUtf8(bytes) }, (error) => {
      if (error) this.failed(error);
    });
  }

  destroy(): void {
    this.#socket.terminate();
  }

  protected begin(): void {
    this.#socket.on("message", (data: RawData) => {
      this.#alive = true;
      // Never fragments nor an ArrayBuffer: binaryType stays "nodebuffer".
      this.handler.data(data as Buffer);
    });
    this.#socket.resume();
  }

  protected finish(): void {
    this.#socket.close(1000);
  }

  #ping(): void {
    if (!this.#alive) {
      this.failed(new Error("The peer does not answer pings."));
      this.destroy();
      return;
    }
    this.#alive = false;
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
  }
}

/** Listens for WebSocket clients that speak SIP (RFC 7118). Rejects as listening for TCP does. */
export async function listenWebSocket(
  handles: Handles,
  options: ListenOptions,
  accept: (connection: Connection) => void,
): Promise<Listener> {
  const secure = options.kind === "wss";
  const limits = { headersTimeout: HANDSHAKE, requestTimeout: HANDSHAKE, maxHeaderSize: 16 * 1024 };
  const server = secure
    ? createSecureServer({
        ...limits,
        ...secureContext(options.tls),
        ...clientDemands(options.tls),
        handshakeTimeout: HANDSHAKE,
      })
    : createServer(limits);
  const listener = new RealListener(handles, server, options);
  const upgrades = new WebSocketServer({
    noServer: true,
    maxPayload: LARGEST,
    perMessageDeflate: false,
    handleProtocols: () => SUBPROTOCOL,
  });
  server.on("request", (_request, response) => {
    response.writeHead(426, { connection: "close", upgrade: "websocket" }).end();
  });
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (!offersSip(request)) {
      socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      listener.arrived(socket);
      if (socket.remoteAddress === undefined) webSocket.terminate();
      else accept(new MessageConnection(handles, secure ? "wss" : "ws", webSocket, socket));
    });
  });
  server.on("tlsClientError", (_error, socket: Socket) => socket.destroy());
  return listener.open();
}

/** RFC 7118 4.1: a client must offer `sip` among its subprotocols. */
function offersSip(request: IncomingMessage): boolean {
  const offered = request.headers["sec-websocket-protocol"] ?? "";
  return offered.split(",").some((name) => name.trim() === SUBPROTOCOL);
}

/** Connects by WebSocket. Rejects with a TransportError, also where the server does not speak SIP over it. */
export function connectWebSocket(handles: Handles, options: ConnectOptions): Promise<Connection> {
  const secure = options.kind === "wss";
  const { host, port } = options.remote;
  const url = `${options.kind}://${isIPv6(host) ? `[${host}]` : host}:${port}/`;
  return new Promise((resolve, reject) => {
    const { host: _host, port: _port, ...from } = endpoints(options);
    const socket = new WebSocket(url, [SUBPROTOCOL], {
      ...from,
      ...(secure && serverDemands(options)),
      ...(options.serverName !== undefined && { headers: { host: `${options.serverName}:${port}` } }),
      handshakeTimeout: options.timeoutMs,
      maxPayload: LARGEST,
      perMessageDeflate: false,
      followRedirects: false,
    });
    let carrier: Socket | undefined;
    const failed = (error: Error) => reject(cannotConnect(options, error));
    socket.on("error", failed);
    socket.on("upgrade", (response) => {
      carrier = response.socket;
    });
    socket.on("open", () => {
      if (carrier?.remoteAddress === undefined) {
        socket.terminate();
        failed(new Error("closed by the peer"));
        return;
      }
      resolve(new MessageConnection(handles, secure ? "wss" : "ws", socket, carrier));
    });
  });
}
