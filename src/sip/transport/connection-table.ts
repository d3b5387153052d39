import { isSecure } from "./srv-order.ts";
import type { StreamFlow } from "./stream.ts";
import type { TransportName } from "./transport.ts";

/** Advertised addresses one connection may be known by besides its own. */
const MAX_ALIASES = 4;

/** The live connections: by id, and by the far end's address, transport and proven name (RFC 3261 18, RFC 5923 5). */
export class ConnectionTable {
  readonly #byId = new Map<number, StreamFlow>();
  readonly #byAddress = new Map<string, StreamFlow[]>();
  readonly #keys = new Map<StreamFlow, string[]>();
  readonly #accepted = new Map<string, number>();

  get size(): number {
    return this.#byId.size;
  }

  /** Connections accepted from this address. */
  acceptedFrom(host: string): number {
    return this.#accepted.get(host) ?? 0;
  }

  byId(id: number): StreamFlow | undefined {
    return this.#byId.get(id);
  }

  all(): StreamFlow[] {
    return [...this.#byId.values()];
  }

  add(flow: StreamFlow): void {
    this.#byId.set(flow.connectionId, flow);
    this.#keys.set(flow, []);
    this.#index(flow, keyOf(flow.transport, flow.remoteHost, flow.remotePort));
    if (flow.opening.by === "peer") this.#accepted.set(flow.remoteHost, this.acceptedFrom(flow.remoteHost) + 1);
  }

  /** RFC 5923 8.2: requests to the peer's advertised port may take this connection too. */
  alias(flow: StreamFlow, port: number): void {
    const keys = this.#keys.get(flow);
    if (keys === undefined || keys.length > MAX_ALIASES) return;
    const key = keyOf(flow.transport, flow.remoteHost, port);
    if (!keys.includes(key)) this.#index(flow, key);
  }

  remove(flow: StreamFlow): void {
    if (!this.#byId.delete(flow.connectionId)) return;
    for (const key of this.#keys.get(flow) ?? []) {
      const left = this.#byAddress.get(key)?.filter((each) => each !== flow) ?? [];
      if (left.length > 0) this.#byAddress.set(key, left);
      else this.#byAddress.delete(key);
    }
    this.#keys.delete(flow);
    if (flow.opening.by !== "peer") return;
    const count = this.acceptedFrom(flow.remoteHost) - 1;
    if (count > 0) this.#accepted.set(flow.remoteHost, count);
    else this.#accepted.delete(flow.remoteHost);
  }

  /**
   * A live connection to that address, the oldest first. Over TLS one to a *name* must have proved that name (RFC 5923 8.1: one
   * address may serve many domains); without a name the address is all there is to know.
   */
  find(transport: TransportName, host: string, port: number, name: string | undefined): StreamFlow | undefined {
    const flows = this.#byAddress.get(keyOf(transport, host, port));
    if (flows === undefined || name === undefined || !isSecure(transport)) return flows?.[0];
    return flows.find((each) => each.vouchesFor(name));
  }

  #index(flow: StreamFlow, key: string): void {
    this.#keys.get(flow)!.push(key);
    const flows = this.#byAddress.get(key);
    if (flows === undefined) this.#byAddress.set(key, [flow]);
    else flows.push(flow);
  }
}

function keyOf(transport: TransportName, host: string, port: number): string {
  return `${transport} ${host} ${port}`;
}
