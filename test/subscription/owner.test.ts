import { describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import type { Leases } from "../../src/directory/leases.ts";
import { createSimulation, type Simulation } from "../../src/runtime/simulated.ts";
import { Owner } from "../../src/subscription/owner.ts";

/** concurrency.md 7. */

const LEASE_MS = 10_000;

class FakeLeases implements Leases {
  away = false;
  over = false;
  opened = 0;
  closed: string[] = [];
  lapsed: string[] = [];
  /** Milliseconds an answer takes. */
  slow = 0;
  readonly #simulation: Simulation;
  readonly #after: (ms: number) => Promise<void>;
  endings = 0;

  constructor(simulation: Simulation, after: (ms: number) => Promise<void>) {
    this.#simulation = simulation;
    this.#after = after;
  }

  get at(): number {
    return this.#simulation.now;
  }

  async open(): Promise<string> {
    await this.#answer();
    return `me-${++this.opened}`;
  }

  async renew(): Promise<"renewed" | "over"> {
    await this.#answer();
    return this.over ? "over" : "renewed";
  }

  async close(owner: string): Promise<void> {
    await this.#answer();
    this.closed.push(owner);
  }

  async endLapsed(): Promise<readonly string[]> {
    await this.#answer();
    this.endings++;
    return this.lapsed;
  }

  async contactOf(): Promise<null> {
    return null;
  }

  async #answer(): Promise<void> {
    if (this.slow > 0) await this.#after(this.slow);
    if (this.away) throw new DirectoryUnavailable("away");
  }
}

async function begin() {
  const simulation = createSimulation({ seed: 1 });
  const runtime = simulation.runtime(["127.0.0.1"]);
  const leases = new FakeLeases(simulation, (ms) => new Promise((resolve) => runtime.timers.after(ms, resolve)));
  const told: string[] = [];
  const owner = new Owner(runtime, leases, LEASE_MS, () => "sip:cdm@127.0.0.1:5060", {
    begun: () => told.push("begun"),
    lost: () => told.push("lost"),
    resumed: () => told.push("resumed"),
    takeable: () => told.push("takeable"),
  });
  await simulation.finish(owner.start());
  return { simulation, leases, owner, told };
}

describe("a lease", () => {
  it("is renewed for as long as the process lives, and given up in the end", async () => {
    const { simulation, leases, owner, told } = await begin();
    expect([owner.name, owner.maySend()]).toEqual(["me-1", true]);
    await simulation.advance(100_000);
    expect([owner.maySend(), told]).toEqual([true, ["begun"]]);
    await simulation.finish(owner.stop());
    expect([owner.name, owner.maySend(), leases.closed]).toEqual([null, false, ["me-1"]]);
    expect(simulation.leaks()).toEqual([]);
  });

  it("that cannot be renewed allows nothing more after its time, and everything again once it can", async () => {
    const { simulation, leases, owner, told } = await begin();
    await simulation.advance(5_000);
    leases.away = true;
    await simulation.advance(5_000);
    expect(owner.maySend()).toBe(true);
    await simulation.advance(6_000);
    expect(owner.maySend()).toBe(false);
    leases.away = false;
    await simulation.advance(2_500);
    expect([owner.maySend(), told]).toEqual([true, ["begun", "resumed"]]);
    await simulation.finish(owner.stop());
  });

  it("counts from before the renewal was sent: an answer that takes long makes it no longer", async () => {
    const { simulation, leases, owner } = await begin();
    leases.slow = 9_000;
    await simulation.advance(2_000 + 9_000 + 100);
    // Sent at 2 s, answered at 11 s: it runs until 12 s, not until 21 s.
    expect(owner.maySend()).toBe(true);
    leases.away = true;
    await simulation.advance(1_500);
    expect(owner.maySend()).toBe(false);
    leases.slow = 0;
    await simulation.finish(owner.stop());
  });

  it("that was declared over is lost, and another begins", async () => {
    const { simulation, leases, owner, told } = await begin();
    leases.over = true;
    await simulation.advance(2_100);
    leases.over = false;
    await simulation.advance(100);
    expect([owner.name, told]).toEqual(["me-2", ["begun", "lost", "begun"]]);
    await simulation.finish(owner.stop());
  });

  it("opens when the database comes, where it was away at the start", async () => {
    const simulation = createSimulation({ seed: 1 });
    const runtime = simulation.runtime(["127.0.0.1"]);
    const leases = new FakeLeases(simulation, () => Promise.resolve());
    leases.away = true;
    const nothing = { begun: () => {}, lost: () => {}, resumed: () => {}, takeable: () => {} };
    const owner = new Owner(runtime, leases, LEASE_MS, () => "sip:cdm@127.0.0.1", nothing);
    await simulation.finish(owner.start());
    expect(owner.maySend()).toBe(false);
    leases.away = false;
    await simulation.advance(2_500);
    expect(owner.maySend()).toBe(true);
    await simulation.finish(owner.stop());
  });
});

describe("others' leases", () => {
  it("are declared over only by who has renewed his own without a gap for a whole lease", async () => {
    const { simulation, leases, owner, told } = await begin();
    leases.lapsed = ["somebody"];
    await simulation.advance(9_000);
    expect([leases.endings, told]).toEqual([0, ["begun"]]);
    await simulation.advance(3_000);
    expect(told).toContain("takeable");
    // After an outage everybody's have lapsed.
    leases.away = true;
    await simulation.advance(12_000);
    leases.away = false;
    const before = leases.endings;
    await simulation.advance(9_000);
    expect(leases.endings).toBe(before);
    await simulation.advance(6_000);
    expect(leases.endings).toBeGreaterThan(before);
    await simulation.finish(owner.stop());
  });
});
