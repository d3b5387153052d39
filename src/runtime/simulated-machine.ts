import { type CountingRuntime, Handles } from "./handles.ts";
import { randomFrom } from "./random.ts";
import type { Clock, Network, Random, Timer, Timers } from "./runtime.ts";
import type { Sfc32 } from "./sfc32.ts";
import type { HttpHandler } from "./simulated-http.ts";
import { simulatedNetwork } from "./simulated-network.ts";
import type { EventQueue, Scheduled } from "./simulated-queue.ts";
import type { Machine, World } from "./simulated-world.ts";

/** One machine of a simulation. All that its programs may use of the world ends with `crash`. */
export interface SimulatedRuntime extends CountingRuntime {
  readonly addresses: readonly string[];
  readonly alive: boolean;
  /** What this machine serves over HTTP, by port; for tests to fill. */
  readonly web: Map<number, HttpHandler>;
  /**
   * Sockets vanish, timers die, promises of the network never settle.
   * @param how `process` (the default): killed; its system still ends its connections. `power`: silence; peers find out by themselves.
   */
  crash(how?: "process" | "power"): void;
  /** After a crash: a machine with the same addresses and an empty memory. */
  restart(): SimulatedRuntime;
}

export interface MachineOptions {
  readonly addresses: readonly string[];
  readonly chance: Sfc32;
  /** What the wall clock showed when the simulation began, milliseconds since 1970. */
  readonly wall: number;
  readonly firstPort: number;
  readonly crashed: (machine: SimulatedMachine) => void;
  readonly restart: (machine: SimulatedMachine) => SimulatedRuntime;
}

export class SimulatedMachine implements SimulatedRuntime, Machine {
  readonly addresses: readonly string[];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly network: Network;
  readonly udp: Machine["udp"] = new Map();
  readonly listeners: Machine["listeners"] = new Map();
  readonly sides: Machine["sides"] = new Set();
  readonly web: Machine["web"] = new Map();
  readonly #handles = new Handles();
  readonly #options: MachineOptions;
  #alive = true;
  #port: number;

  constructor(world: World, options: MachineOptions) {
    const { queue } = world;
    this.addresses = [...options.addresses];
    this.#options = options;
    this.#port = options.firstPort;
    this.clock = { now: () => queue.now, wall: () => Math.floor(options.wall + queue.now) };
    this.timers = new SimulatedTimers(queue, this, this.#handles);
    this.random = randomFrom(() => options.chance.byte());
    this.network = simulatedNetwork(world, this, this.#handles);
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** The ports of connections are not used again soon, not even by a restarted machine. */
  freePort(): number {
    this.#port = this.#port >= 65_535 ? 49_152 : this.#port + 1;
    return this.#port;
  }

  crash(how: "process" | "power" = "process"): void {
    if (!this.#alive) return;
    for (const side of [...this.sides]) side.crash(how === "power");
    this.#alive = false;
    this.udp.clear();
    this.listeners.clear();
    this.web.clear();
    this.#options.crashed(this);
  }

  restart(): SimulatedRuntime {
    if (this.#alive) throw new Error(`The machine ${this.addresses[0]} is running: crash it first.`);
    return this.#options.restart(this);
  }

  leaks(): string[] {
    return this.#alive ? this.#handles.leaks() : [];
  }
}

class SimulatedTimers implements Timers {
  readonly #queue: EventQueue;
  readonly #machine: Machine;
  readonly #handles: Handles;

  constructor(queue: EventQueue, machine: Machine, handles: Handles) {
    this.#queue = queue;
    this.#machine = machine;
    this.#handles = handles;
  }

  after(ms: number, run: () => void): Timer {
    const event = this.#queue.schedule(this.#queue.now + (ms > 0 ? ms : 0), () => {
      this.#handles.timers--;
      if (this.#machine.alive) run();
    });
    this.#handles.timers++;
    return new SimulatedTimer(this.#queue, event, this.#handles);
  }

  soon(run: () => void): void {
    this.#queue.schedule(this.#queue.now, () => {
      if (this.#machine.alive) run();
    });
  }
}

class SimulatedTimer implements Timer {
  readonly #queue: EventQueue;
  readonly #event: Scheduled;
  readonly #handles: Handles;

  constructor(queue: EventQueue, event: Scheduled, handles: Handles) {
    this.#queue = queue;
    this.#event = event;
    this.#handles = handles;
  }

  cancel(): void {
    if (this.#event.run === undefined) return;
    this.#handles.timers--;
    this.#queue.cancel(this.#event);
  }
}
