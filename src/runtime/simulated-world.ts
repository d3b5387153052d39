import type { Handles } from "./handles.ts";
import type { Address, Connection, ListenOptions, UdpHandler } from "./runtime.ts";
import { Sfc32 } from "./sfc32.ts";
import { Conditions, type Faults } from "./simulated-conditions.ts";
import type { HttpHandler } from "./simulated-http.ts";
import { EventQueue } from "./simulated-queue.ts";
import type { Zone } from "./zone.ts";

/** One computer on the simulated network, from its start to its crash. A restart makes a new one. */
export interface Machine {
  readonly addresses: readonly string[];
  readonly alive: boolean;
  /** By `host port`. */
  readonly udp: Map<string, Receiving>;
  readonly listeners: Map<string, Listening>;
  /** HTTP servers by port. */
  readonly web: Map<number, HttpHandler>;
  /** Its ends of connections. */
  readonly sides: Set<ConnectionEnd>;
  /** An unused port for who asks for port 0. */
  freePort(): number;
}

/** A UDP socket, as the network sees it. */
export interface Receiving {
  readonly handler: UdpHandler;
}

/** A listener, as those who connect see it. */
export interface Listening {
  readonly machine: Machine;
  readonly handles: Handles;
  readonly options: ListenOptions;
  readonly local: Address;
  readonly accept: (connection: Connection) => void;
  /** Connections accepted and not closed. */
  live: number;
}

/** One end of a connection, as its machine sees it. */
export interface ConnectionEnd {
  /** The process died, or with it the whole machine: then nothing more is sent, not even a goodbye. */
  crash(power: boolean): void;
  /** The paths of the network changed, or a machine crashed. */
  disturbed(): void;
}

const PRIME = 0x01000193;

/** What all machines of one simulation share: time, the cables between them, chance, and the record of what happened. */
export class World {
  readonly queue = new EventQueue();
  readonly chance: Sfc32;
  readonly conditions: Conditions;
  readonly zone: Zone;
  readonly machines = new Map<string, Machine>();
  readonly #watch: ((line: string) => void) | undefined;
  readonly #lastArrival = new Map<string, number>();
  #fingerprint = 0x811c9dc5;

  constructor(seed: number, faults: Partial<Faults>, zone: Zone, watch: ((line: string) => void) | undefined) {
    this.chance = new Sfc32(seed, 0);
    this.conditions = new Conditions(faults);
    this.zone = zone;
    this.#watch = watch;
  }

  /** The machine that `host` means to `from`; the loopback addresses mean itself unless a machine was given them. */
  machineAt(host: string, from: Machine): Machine | undefined {
    return this.machines.get(host) ?? (host === "127.0.0.1" || host === "::1" ? from : undefined);
  }

  /** Does nothing that is sent from here arrive there: partitioned, crashed, or never there? */
  unreachable(from: Machine, local: Address, remote: Address): boolean {
    const machine = this.machineAt(remote.host, from);
    if (machine === undefined || !machine.alive) return true;
    return machine !== from && this.conditions.cut(local.host, remote.host);
  }

  /** One way, milliseconds. */
  delay(from: string, to: string): number {
    const [least, most] = this.conditions.between(from, to).delay;
    return this.chance.between(least, most);
  }

  /** Sends one datagram on its way: `arrive` is called never, once or twice, each time with bytes of its own. */
  datagram(from: Address, to: Address, bytes: Uint8Array, local: boolean, arrive: (bytes: Uint8Array) => void): void {
    const what = () => `udp ${at(from)} > ${at(to)} ${bytes.length}`;
    if (local) {
      this.#carry(from.host, to.host, 0.05, false, () => {
        this.record(() => `${what()} here`, bytes);
        arrive(bytes);
      });
      return;
    }
    const faults = this.conditions.between(from.host, to.host);
    if (this.conditions.cut(from.host, to.host)) {
      this.record(() => `${what()} cut`, 1);
      return;
    }
    if (this.chance.chance(faults.loss)) {
      this.record(() => `${what()} lost`, 2);
      return;
    }
    const copies = this.chance.chance(faults.duplicate) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const late = this.chance.chance(faults.reorder);
      const delay = this.chance.between(...faults.delay) + (late ? this.chance.between(0, faults.reorderDelay) : 0);
      const own = copy === 0 ? bytes : bytes.slice();
      this.#carry(from.host, to.host, delay, late, () => {
        this.record(() => `${what()} here${late ? " late" : ""}${copy > 0 ? " again" : ""}`, bytes);
        arrive(own);
      });
    }
  }

  /** Remembers that something happened now: two runs that carried the same bytes at the same moments have one fingerprint. */
  record(line: () => string, detail: number | Uint8Array): void {
    // FNV-1a, a word at a time.
    let hash = Math.imul(this.#fingerprint ^ Math.round(this.queue.now * 1e6), PRIME);
    if (typeof detail === "number") hash = Math.imul(hash ^ detail, PRIME);
    else for (let i = 0; i < detail.length; i++) hash = Math.imul(hash ^ (detail[i] as number), PRIME);
    this.#fingerprint = hash;
    this.#watch?.(`${this.queue.now.toFixed(3)} ${line()}`);
  }

  get fingerprint(): string {
    return (this.#fingerprint >>> 0).toString(16).padStart(8, "0");
  }

  #carry(from: string, to: string, delay: number, late: boolean, arrive: () => void): void {
    const link = `${from} ${to}`;
    let moment = this.queue.now + delay;
    if (!late) {
      moment = Math.max(moment, this.#lastArrival.get(link) ?? 0);
      this.#lastArrival.set(link, moment);
    }
    this.queue.schedule(moment, arrive);
  }
}

export function at(address: Address): string {
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** An error as the system would give it. */
export function systemError(code: string, what: string): Error {
  return Object.assign(new Error(`${what} ${code}`), { code });
}
