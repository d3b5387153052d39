import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { Handles } from "./handles.ts";
import type { Address, UdpHandler, UdpSocket } from "./runtime.ts";

/** Asked for in both directions; the kernel gives what its limits allow (net.core.rmem_max). */
const BUFFER = 8 * 1024 * 1024;

/** Binds a UDP socket. Rejects with the system's error (EADDRINUSE, EADDRNOTAVAIL, EACCES). */
export function openUdp(handles: Handles, bind: Address, handler: UdpHandler): Promise<UdpSocket> {
  const six = isIPv6(bind.host);
  const socket = createSocket({
    type: six ? "udp6" : "udp4",
    ipv6Only: six,
    // Hosts are addresses here: answering at once spares each datagram dns.lookup and a turn of the event loop.
    lookup: (host, _options, done) => done(null, host, six ? 6 : 4),
  });
  return new Promise((resolve, reject) => {
    socket.once("error", (error) => {
      socket.close();
      reject(error);
    });
    socket.bind(bind.port, bind.host, () => {
      socket.removeAllListeners("error");
      enlarge(socket);
      resolve(new RealUdp(handles, socket, handler));
    });
  });
}

function enlarge(socket: Socket): void {
  try {
    socket.setRecvBufferSize(BUFFER);
    socket.setSendBufferSize(BUFFER);
  } catch {
    // Best effort: the default size works, it only drops earlier under bursts.
  }
}

/** Node tells address and port of a failed send on the error itself. */
type SendError = Error & { address?: string; port?: number };

interface Outgoing {
  readonly bytes: Uint8Array;
  readonly host: string;
  readonly port: number;
}

class RealUdp implements UdpSocket {
  readonly local: Address;
  readonly #socket: Socket;
  /** One for all sends: a closure for each would cost more than the send. */
  readonly #sent: (error: SendError | null) => void;
  /** What leaves at the end of this turn of the event loop. */
  #queue: Outgoing[] = [];
  readonly #flush = (): void => this.#sendAll();
  #closing: Promise<void> | undefined;

  constructor(handles: Handles, socket: Socket, handler: UdpHandler) {
    const { address, port } = socket.address();
    this.local = { host: address, port };
    this.#socket = socket;
    this.#sent = (error) => {
      if (error !== null) handler.failed(error, error.address ?? "", error.port ?? 0);
    };
    handles.opened(this, `udp socket ${address}:${port}`);
    socket.on("message", (bytes, from) => handler.receive(bytes, from.address, from.port));
    socket.on("error", this.#sent);
    socket.on("close", () => handles.closed(this));
  }

  /**
   * Sent when the datagrams of this turn have been read. One after the other they leave faster than between the reads: a
   * receiver on another core is woken once for all of them, and a wake-up costs as much as handling a message.
   */
  send(bytes: Uint8Array, host: string, port: number): void {
    if (this.#closing !== undefined) return;
    if (this.#queue.push({ bytes, host, port }) === 1) setImmediate(this.#flush);
  }

  #sendAll(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (let i = 0; i < queue.length; i++) this.#sendNow(queue[i]!);
  }

  #sendNow({ bytes, host, port }: Outgoing): void {
    try {
      this.#socket.send(bytes, port, host, this.#sent);
    } catch (error) {
      // A port out of range, an address of the other family: told later, as every other failure.
      const failure: SendError = error instanceof Error ? error : new Error(String(error));
      failure.address = host;
      failure.port = port;
      setImmediate(this.#sent, failure);
    }
  }

  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#sendAll();
      this.#closing = new Promise((resolve) => this.#socket.close(() => resolve()));
    }
    return this.#closing;
  }
}
