import { type AddressInfo, isIPv6, type Server, type Socket } from "node:net";
import type { Handles } from "./handles.ts";
import type { Address, Listener, ListenOptions } from "./runtime.ts";

/** A listening server and the sockets that have come but are no connections yet: handshakes end with their listener. */
export class RealListener implements Listener {
  readonly #handles: Handles;
  readonly #server: Server;
  readonly #options: ListenOptions;
  #local: Address;
  readonly #handshakes = new Map<string, Socket>();

  constructor(handles: Handles, server: Server, options: ListenOptions) {
    this.#handles = handles;
    this.#server = server;
    this.#options = options;
    this.#local = options.address;
    server.maxConnections = options.maxConnections;
    server.on("connection", (socket: Socket) => {
      const key = remoteEnd(socket);
      this.#handshakes.set(key, socket);
      socket.on("error", ignore);
      socket.on("close", () => this.#handshakes.get(key) === socket && this.#handshakes.delete(key));
    });
  }

  /** The address bound, still known after the listener closed. */
  get local(): Address {
    return this.#local;
  }

  /** The handshake on this socket is over: from here on it belongs to a connection, which outlives the listener. */
  arrived(socket: Socket): void {
    this.#handshakes.delete(remoteEnd(socket));
  }

  open(): Promise<this> {
    const { kind, address } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host: address.host, port: address.port, ipv6Only: isIPv6(address.host) }, () => {
        this.#server.removeListener("error", reject);
        // One accept that fails (out of descriptors) costs one peer its connection, not the listener.
        this.#server.on("error", ignore);
        const bound = this.#server.address() as AddressInfo;
        this.#local = { host: bound.address, port: bound.port };
        this.#handles.opened(this, `${kind} listener ${this.local.host}:${this.local.port}`);
        resolve(this);
      });
    });
  }

  /** Accepts no more; connections already handed out live on. */
  async close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#handshakes.values()) socket.destroy();
    this.#handles.closed(this);
  }
}

function remoteEnd(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function ignore(): void {}
