import { describe, expect, it } from "vitest";
import type { Directory } from "../../src/directory/directory.ts";
import { createMemoryDatabase, type MemoryDatabase } from "../../src/directory/memory.ts";
import type { PointOptions, PolicyOptions } from "../../src/policy/options.ts";
import type { WatcherVerdict } from "../../src/policy/policy.ts";
import { PolicyService } from "../../src/policy/service.ts";
import { createSimulation, type SimulatedRuntime, type Simulation } from "../../src/runtime/simulated.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { AUTHZEN_DEFAULTS, DecisionPoint } from "../support/decision-point.ts";
import { ANYBODY, handling, rule, ruleset } from "../support/rules.ts";

/**
 * Deciders of several proxies while what they decide by changes, the database and the decision point come and go and the
 * network is bad. Each change is told apart by the transformation it brings, so that of every verdict it is known by which
 * state of things it was decided. Held are:
 *
 * - what is answered as known was so, a moment ago at most (rules), or when it was last told otherwise (decision point);
 * - who has written, or was told, is never answered with what was before;
 * - in the end everybody answers what is, and nothing is left open.
 */

const SEEDS = Number(process.env["CODOMAIN_SEEDS"] ?? (process.env["CODOMAIN_FULL"] === "1" ? 1000 : 40));
const FIRST = Number(process.env["CODOMAIN_SEED"] ?? 1);
const STEPS = 120;
const AOR = "alice@example.com";
/** The feed's own second, and statements that take their time. */
const LAG_MS = 3_000;

const QUESTION = { watcher: "bob@example.com", trusted: true, aor: AOR, event: "presence" };

/** The state of things: each is known by what it lets through. */
interface State {
  readonly number: number;
  readonly since: number;
}

class House {
  readonly simulation: Simulation;
  readonly runtimes: SimulatedRuntime[];
  readonly directories: Directory[] = [];
  readonly services: PolicyService[] = [];
  readonly states: State[] = [{ number: 0, since: 0 }];
  /** Each proxy: the least state that may be answered there. */
  readonly least: number[] = [];
  readonly open = new Set<Promise<unknown>>();
  readonly breaches: string[] = [];
  /** When the database was away: start and end. */
  readonly away: [number, number][] = [];
  readonly database: MemoryDatabase;
  #writes = 0;

  constructor(seed: number) {
    this.simulation = createSimulation({ seed, faults: { delay: [1, 30], loss: 0 } });
    this.runtimes = ["10.0.0.1", "10.0.0.2"].map((host) => this.simulation.runtime([host]));
    this.database = createMemoryDatabase(this.runtimes[0]!, { latencyMs: [1, 40] });
  }

  async begin(options: PolicyOptions): Promise<void> {
    for (const [i, runtime] of this.runtimes.entries()) {
      const directory = this.database.directory(`proxy-${i}`);
      await this.simulation.finish(directory.start());
      this.directories.push(directory);
      this.services.push(new PolicyService({ runtime, telemetry: new Telemetry(), directory }, options));
      this.least.push(0);
    }
  }

  get now(): number {
    return this.simulation.now;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.simulation.random.integer(from.length)]!;
  }

  next(): number {
    return ++this.#writes;
  }

  track(work: Promise<unknown>): void {
    const settled: Promise<unknown> = work.catch(() => undefined).finally(() => this.open.delete(settled));
    this.open.add(settled);
  }

  /** What may be answered as known to a question asked then and answered now. */
  mayBe(asked: number, least: number): number[] {
    let from = asked - LAG_MS;
    for (const [start, end] of [...this.away].reverse())
      if (end >= from && start - LAG_MS < from) from = start - LAG_MS;
    return this.states
      .filter((each, i) => (this.states[i + 1]?.since ?? Number.POSITIVE_INFINITY) >= from && each.number >= least)
      .map((each) => each.number);
  }

  ask(proxy: number): void {
    const asked = this.now;
    const least = this.least[proxy]!;
    const look = (verdict: WatcherVerdict): void => {
      if (!verdict.known) return;
      const number = numberOf(verdict);
      const allowed = this.mayBe(asked, least);
      if (!allowed.includes(number))
        this.breaches.push(
          `proxy ${proxy}, asked at ${asked}, answered at ${this.now}: ${number}, not one of ${allowed}`,
        );
    };
    const answer = this.services[proxy]!.watcher(QUESTION);
    if (answer instanceof Promise) this.track(answer.then(look));
    else look(answer);
  }

  /** Nothing is remembered, so that something is under way. */
  hurry(proxy: number): void {
    this.services[proxy]!.changed(AOR);
    this.ask(proxy);
  }

  async end(expected: number): Promise<void> {
    await this.simulation.advance(90_000);
    expect(this.open.size).toBe(0);
    for (const service of this.services) {
      const verdict = await this.simulation.finish(Promise.resolve(service.watcher(QUESTION)));
      expect([verdict.known, numberOf(verdict)]).toEqual([true, expected]);
      service.stop();
    }
    for (const directory of this.directories) await this.simulation.finish(directory.stop());
    await this.simulation.idle();
    expect(this.simulation.leaks()).toEqual([]);
    expect(this.breaches).toEqual([]);
  }
}

/** Verdicts bear their state as the only class that is provided. */
const NUMBERS = new Map<string, number>();

function numberOf({ handling: granted, transformKey, transform }: WatcherVerdict): number {
  if (granted !== "allow" || transform === null) return 0;
  const known = NUMBERS.get(transformKey);
  if (known !== undefined) return known;
  throw new Error("a verdict of no state");
}

/** Learns the key of a state once, by asking a decider of its own. */
async function learn(number: number, text: string): Promise<void> {
  const simulation = createSimulation({ seed: 1 });
  const directory = {
    onChange: () => () => undefined,
    tellVerdicts: async () => undefined,
    documents: { get: async () => ({ aor: AOR, kind: "pres-rules" as const, etag: "", text, changedAt: 0 }) },
  };
  const parts = { runtime: simulation.runtime(["10.0.0.1"]), telemetry: new Telemetry(), directory };
  const service = new PolicyService(parts, RULES);
  NUMBERS.set((await service.watcher(QUESTION)).transformKey, number);
  service.stop();
}

const RULES: PolicyOptions = {
  domains: { "example.com": { way: "root-only", presence: "confirm", contact: "allow" } },
  point: null,
};
const stateText = (number: number): string =>
  ruleset(rule("r", ANYBODY, handling("allow"), `<provide-services><class>c${number}</class></provide-services>`));

const seeds = Array.from({ length: SEEDS }, (_, i) => FIRST + i);

describe("users' rules", () => {
  it.each(seeds)("seed %i", async (seed) => {
    const house = new House(seed);
    await house.begin(RULES);
    const { simulation } = house;
    let writing = false;
    let down = false;
    let last = 0;

    const interrupt = (): void => {
      down = !down;
      if (down) house.away.push([house.now, Number.POSITIVE_INFINITY]);
      else house.away.at(-1)![1] = house.now;
      house.database.setAway(down);
    };
    const write = async (proxy: number): Promise<void> => {
      const number = house.next();
      await learn(number, stateText(number));
      const { documents } = house.directories[proxy]!;
      // It may be so from now on, and what was before as long as nobody has answered.
      house.states.push({ number, since: Number.POSITIVE_INFINITY });
      for (let tries = 0; ; tries++) {
        try {
          await documents.put(AOR, "pres-rules", stateText(number), {}, "alice");
          break;
        } catch {
          if (tries > 200) throw new Error("the database does not come back");
          await new Promise<void>((resolve) => house.runtimes[proxy]!.timers.after(500, resolve));
        }
      }
      house.states[house.states.length - 1] = { number, since: house.now };
      house.least[proxy] = number;
      last = number;
      house.ask(proxy);
      // Before the others have heard of it.
      if (simulation.random.integer(3) === 0 && !down) interrupt();
    };

    for (let step = 0; step < STEPS; step++) {
      const what = simulation.random.integer(20);
      const proxy = simulation.random.integer(2);
      if (what < 4 && !writing) {
        writing = true;
        house.track(write(proxy).finally(() => (writing = false)));
      } else if (what === 4) interrupt();
      else if (what === 5) house.database.loseNextAnswers(1);
      else if (what === 6) house.services[proxy]!.changed(house.pick([AOR, null]));
      else if (what < 10) for (const each of [0, 1]) house.hurry(each);
      else house.ask(proxy);
      await simulation.advance(simulation.random.integer(house.pick([30, 400])));
    }
    for (let tries = 0; (down || writing) && tries < 10; tries++) {
      if (down) interrupt();
      await simulation.run(() => !writing || down, 120_000);
    }
    if (down) interrupt();
    await house.end(last);
  });
});

describe("a decision point", () => {
  const HOST = "10.0.0.9";
  const POINT: PointOptions = {
    kind: "authzen",
    ...AUTHZEN_DEFAULTS,
    url: `http://${HOST}:80`,
    timeoutMs: 800,
    cacheMs: 600_000,
    batch: 3,
    connections: 2,
  };

  it.each(seeds)("seed %i", async (seed) => {
    const house = new House(seed);
    const point = new DecisionPoint();
    let machine = house.simulation.runtime([HOST]);
    machine.web.set(80, point.answer);
    await house.begin({
      domains: { "example.com": { way: "pdp", presence: "confirm", contact: "allow" } },
      point: POINT,
    });
    const { simulation } = house;
    let state = 0;
    point.decide = () => ({ decision: true, context: { provide: { services: [{ class: `c${state}` }] } } });
    await learn(0, stateText(0));
    // What was true when it was asked is believed until it is told otherwise: all since the last telling.
    house.mayBe = (_, least) => house.states.filter((each) => each.number >= least).map((each) => each.number);

    const cut = (): void => simulation.partition([["10.0.0.1", "10.0.0.2"], [HOST]]);
    for (let step = 0; step < STEPS; step++) {
      const what = simulation.random.integer(24);
      const proxy = simulation.random.integer(2);
      if (what < 4) {
        const number = house.next();
        await learn(number, stateText(number));
        house.states.push({ number, since: house.now });
        state = number;
        // Told at once, by each as it hears of it.
        for (const [i, service] of house.services.entries()) {
          service.changed(house.pick([AOR, null]));
          house.least[i] = number;
          house.ask(i);
        }
      } else if (what === 4) {
        machine.crash(house.pick(["process", "power"]));
        machine = machine.restart();
        machine.web.set(80, point.answer);
      } else if (what === 5)
        point.fault = () => house.pick([undefined, { status: 500, headers: {}, body: new Uint8Array() }]);
      else if (what === 6) cut();
      else if (what === 7) simulation.heal();
      else if (what < 12) house.hurry(proxy);
      else house.ask(proxy);
      await simulation.advance(simulation.random.integer(house.pick([30, 300])));
    }
    simulation.heal();
    point.fault = () => undefined;
    await house.end(state);
  });
});
