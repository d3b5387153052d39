import { randomFrom } from "./random.ts";
import type { Random } from "./runtime.ts";
import { Sfc32 } from "./sfc32.ts";
import type { Faults } from "./simulated-conditions.ts";
import { SimulatedMachine, type SimulatedRuntime } from "./simulated-machine.ts";
import { World } from "./simulated-world.ts";
import type { Zone } from "./zone.ts";

export type { Faults } from "./simulated-conditions.ts";
export type { HttpHandler } from "./simulated-http.ts";
export type { SimulatedRuntime } from "./simulated-machine.ts";
export { simulatedCertificate } from "./simulated-tls.ts";
export type { Zone } from "./zone.ts";

export interface SimulationOptions {
  /** A whole number. The same seed and the same program give the same run, event by event. */
  readonly seed: number;
  readonly faults?: Partial<Faults>;
  /** What DNS answers, to everybody. */
  readonly zone?: Zone;
  /** What the wall clocks show at the start, milliseconds since 1970. */
  readonly wall?: number;
  /** Called with one line for each thing the network carries or loses. */
  readonly trace?: (line: string) => void;
}

export interface Simulation {
  /** Virtual milliseconds since the start. */
  readonly now: number;
  /** For the tests' own choices; drawn from the seed, apart from the network's and the machines' chance. */
  readonly random: Random;
  /** May be changed at any time. */
  readonly zone: Zone;
  /** Of all that the network did so far: equal for equal runs. */
  readonly fingerprint: string;
  /** A new machine with these addresses. */
  runtime(addresses: readonly string[]): SimulatedRuntime;
  /** Runs all events up to this moment, or until the condition holds; fails when it does not within `limit` virtual ms (default 600,000). */
  run(until: number | (() => boolean), limit?: number): Promise<void>;
  advance(ms: number): Promise<void>;
  /** Lets everything happen that needs no time: promises, and events that are due. */
  settle(): Promise<void>;
  /** Runs until nothing is left that could ever happen; fails when that takes more than `limit` virtual ms (default 600,000). */
  idle(limit?: number): Promise<void>;
  /** Runs until this promise settles, and gives what it gives. */
  finish<T>(work: Promise<T>, limit?: number): Promise<T>;
  /** Changes these faults everywhere; the rest stays. */
  faults(faults: Partial<Faults>): void;
  /** Faults between two addresses, in both directions. */
  link(one: string, other: string, faults: Partial<Faults>): void;
  /** Addresses in different groups do not hear each other; those in no group hear all. */
  partition(groups: readonly (readonly string[])[]): void;
  heal(): void;
  /** Of all machines that live, each line with the machine's first address. */
  leaks(): string[];
}

const LIMIT = 600_000;
/** 2026-01-01T00:00Z. */
const WALL = 1_767_225_600_000;

/**
 * A network of machines in one process on virtual time, wholly determined by its seed.
 * Programs in it may wait for promises, timers and the network of their Runtime; what waits for a real file, socket or thread
 * is waited for by nobody, and does not replay.
 */
export function createSimulation(options: SimulationOptions): Simulation {
  const { seed, wall = WALL } = options;
  const world = new World(seed, options.faults ?? {}, options.zone ?? {}, options.trace);
  const { queue, conditions } = world;
  const running = new Set<SimulatedMachine>();
  let streams = 2;
  const ownChance = new Sfc32(seed, 1);

  /** Runs events while `more` says so, up to the moment `end`. */
  const runWhile = async (more: () => boolean, end: number): Promise<void> => {
    await queue.quiet();
    while (more()) {
      const next = queue.next();
      if (next === undefined || next > end) break;
      await queue.step();
    }
  };
  const disturb = () => {
    for (const machine of running) for (const side of [...machine.sides]) side.disturbed();
  };
  const start = (addresses: readonly string[], firstPort: number): SimulatedRuntime => {
    if (addresses.length === 0) throw new Error("A machine needs an address.");
    for (const address of addresses) {
      if (world.machines.get(address)?.alive) throw new Error(`A machine with the address ${address} is running.`);
    }
    const machine = new SimulatedMachine(world, {
      addresses,
      wall,
      firstPort,
      chance: new Sfc32(seed, streams++),
      crashed: (gone) => {
        running.delete(gone);
        disturb();
      },
      restart: (gone) => start(gone.addresses, gone.freePort()),
    });
    for (const address of addresses) world.machines.set(address, machine);
    running.add(machine);
    disturb();
    return machine;
  };

  const simulation: Simulation = {
    get now() {
      return queue.now;
    },
    get fingerprint() {
      return world.fingerprint;
    },
    random: randomFrom(() => ownChance.byte()),
    zone: world.zone,
    runtime: (addresses) => start(addresses, 49_152),
    async run(until, limit = LIMIT) {
      if (typeof until === "number") {
        await runWhile(() => true, until);
        queue.now = Math.max(queue.now, until);
        return;
      }
      const end = queue.now + limit;
      await runWhile(() => !until(), end);
      if (until()) return;
      const why = queue.next() === undefined ? "nothing is left that could happen" : `${limit} ms have passed`;
      throw new Error(`What was waited for did not come about: ${why} (seed ${seed}, ${queue.now} ms).`);
    },
    advance: (ms) => simulation.run(queue.now + ms),
    settle: () => runWhile(() => true, queue.now),
    async idle(limit = LIMIT) {
      await runWhile(() => true, queue.now + limit);
      if (queue.next() === undefined) return;
      throw new Error(`Not idle after ${limit} ms (seed ${seed}): ${simulation.leaks().join("; ")}`);
    },
    async finish(work, limit = LIMIT) {
      let done = false;
      const settled = () => {
        done = true;
      };
      work.then(settled, settled);
      await simulation.run(() => done, limit);
      return work;
    },
    faults: (faults) => conditions.everywhere(faults),
    link(one, other, faults) {
      conditions.link(one, other, faults);
      conditions.link(other, one, faults);
    },
    partition(groups) {
      conditions.partition(groups);
      disturb();
    },
    heal() {
      conditions.heal();
      disturb();
    },
    leaks: () => [...running].flatMap((one) => one.leaks().map((line) => `${one.addresses[0]}: ${line}`)),
  };
  return simulation;
}
