import type { Handles } from "./handles.ts";
import type { Address, UdpHandler, UdpSocket } from "./runtime.ts";
import { at, type Machine, type Receiving, systemError, type World } from "./simulated-world.ts";

/** The largest UDP payload over IPv4. */
const LARGEST = 65_507;

export class SimulatedUdp implements UdpSocket, Receiving {
  readonly local: Address;
  readonly handler: UdpHandler;
  readonly #world: World;
  readonly #machine: Machine;
  readonly #handles: Handles;
  #open = true;

  constructor(world: World, machine: Machine, handles: Handles, local: Address, handler: UdpHandler) {
    this.#world = world;
    this.#machine = machine;
    this.#handles = handles;
    this.local = local;
    this.handler = handler;
    machine.udp.set(key(local), this);
    handles.opened(this, `udp socket ${at(local)}`);
  }

  send(bytes: Uint8Array, host: string, port: number): void {
    if (!this.#open || !this.#machine.alive) return;
    const fault = this.#fault(bytes, host, port);
    if (fault !== undefined) {
      this.#world.queue.schedule(0, () => {
        if (this.#machine.alive) this.handler.failed(systemError(fault, `send ${host}:${port}`), host, port);
      });
      return;
    }
    const target = this.#world.machineAt(host, this.#machine);
    const from = { host: sourceHost(this.#machine, this.local.host, host), port: this.local.port };
    const to = { host, port };
    // The sender may write into its buffer again at once.
    this.#world.datagram(from, to, bytes.slice(), target === this.#machine, (arrived) => {
      const there = this.#world.machineAt(host, this.#machine);
      const socket = there?.alive === true ? udpAt(there, to) : undefined;
      socket?.handler.receive(arrived, from.host, from.port);
    });
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#machine.udp.delete(key(this.local));
    this.#handles.closed(this);
  }

  #fault(bytes: Uint8Array, host: string, port: number): string | undefined {
    if (bytes.length > LARGEST) return "EMSGSIZE";
    if (!(port >= 1 && port <= 65_535)) return "EINVAL";
    return host.includes(":") === this.local.host.includes(":") ? undefined : "EINVAL";
  }
}

function udpAt(machine: Machine, to: Address): Receiving | undefined {
  return machine.udp.get(key(to)) ?? machine.udp.get(key({ host: anyHost(to.host), port: to.port }));
}

/** The wildcard address of the family of `host`. */
export function anyHost(host: string): string {
  return host.includes(":") ? "::" : "0.0.0.0";
}

/** The address packets carry that leave a socket bound to `bound` for `remote`. */
export function sourceHost(machine: Machine, bound: string, remote: string): string {
  if (bound !== "0.0.0.0" && bound !== "::") return bound;
  if (remote === "127.0.0.1" || remote === "::1") return remote;
  const six = bound === "::";
  return machine.addresses.find((address) => address.includes(":") === six) ?? (six ? "::1" : "127.0.0.1");
}

export function key(address: Address): string {
  return `${address.host} ${address.port}`;
}
