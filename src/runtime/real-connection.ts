import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Handles } from "./handles.ts";
import { peerNames } from "./real-tls.ts";
import type { Address, Connection, ConnectionHandler, StreamKind } from "./runtime.ts";

/** What every real connection shares: who is at its ends, and a handler that hears of its end exactly once. */
export abstract class RealConnection implements Connection {
  readonly kind: StreamKind;
  readonly local: Address;
  readonly remote: Address;
  readonly peerNames: readonly string[];
  readonly #handles: Handles;
  #handler: ConnectionHandler | undefined;
  #error: Error | undefined;
  #closed = false;
  #linger: NodeJS.Timeout | undefined;

  constructor(handles: Handles, kind: StreamKind, socket: Socket) {
    this.kind = kind;
    this.local = { host: socket.localAddress ?? "", port: socket.localPort ?? 0 };
    this.remote = { host: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
    this.peerNames = socket instanceof TLSSocket ? peerNames(socket) : [];
    this.#handles = handles;
    handles.opened(this, `${kind} connection ${at(this.local)} - ${at(this.remote)}`);
  }

  get handler(): ConnectionHandler {
    if (this.#handler === undefined) throw new Error("This connection has no handler yet.");
    return this.#handler;
  }

  set handler(handler: ConnectionHandler) {
    const first = this.#handler === undefined;
    this.#handler = handler;
    if (!first) return;
    if (this.#closed) setImmediate(() => this.handler.closed(this.#error));
    else this.begin();
  }

  abstract get buffered(): number;
  abstract send(bytes: Uint8Array): void;
  abstract destroy(): void;

  end(): void {
    if (this.#closed || this.#linger !== undefined) return;
    this.#linger = setTimeout(() => this.destroy(), LINGER);
    this.finish();
  }

  /** Starts reading: nothing is lost before there is a handler. */
  protected abstract begin(): void;
  /** Sends what is left, then says goodbye. */
  protected abstract finish(): void;

  /** The first error is the reason of the close that follows. */
  protected failed(error: Error): void {
    this.#error ??= error;
  }

  protected gone(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#linger);
    this.#handles.closed(this);
    this.#handler?.closed(this.#error);
  }
}

/** A peer that does not answer our end within these milliseconds is cut off. */
const LINGER = 5000;

function at(address: Address): string {
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
