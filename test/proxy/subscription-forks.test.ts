import { expect, it } from "vitest";
import { type SubscriptionFork, SubscriptionForks } from "../../src/proxy/subscription-forks.ts";
import { createSimulation } from "../../src/runtime/simulated.ts";

const FORK: SubscriptionFork = { notified: () => true };
const OTHER: SubscriptionFork = { notified: () => false };

it("a forked SUBSCRIBE is found by Call-ID and the watcher's tag, as long as its NOTIFYs may come", async () => {
  const simulation = createSimulation({ seed: 1 });
  const forks = new SubscriptionForks(simulation.runtime(["10.0.0.1"]), 10);
  forks.add("c", "t", 40_000, FORK);
  expect([forks.find("c", "t"), forks.find("c", "u"), forks.find("d", "t")]).toEqual([FORK, undefined, undefined]);
  await simulation.advance(39_999);
  expect(forks.size).toBe(1);
  await simulation.advance(2);
  expect([forks.size, forks.find("c", "t")]).toEqual([0, undefined]);
  expect(simulation.leaks()).toEqual([]);
});

it("the same SUBSCRIBE sent anew (after a challenge) takes the place of the first, with its own time", async () => {
  const simulation = createSimulation({ seed: 1 });
  const forks = new SubscriptionForks(simulation.runtime(["10.0.0.1"]), 10);
  forks.add("c", "t", 1_000, FORK);
  await simulation.advance(900);
  forks.add("c", "t", 1_000, OTHER);
  await simulation.advance(900);
  expect([forks.size, forks.find("c", "t")]).toEqual([1, OTHER]);
  forks.stop();
  expect([forks.size, simulation.leaks()]).toEqual([0, []]);
});

it("there are no more than so many: the oldest goes first", () => {
  const simulation = createSimulation({ seed: 1 });
  const forks = new SubscriptionForks(simulation.runtime(["10.0.0.1"]), 3);
  for (let i = 1; i <= 5; i++) forks.add(`c${i}`, "t", 1_000, FORK);
  expect([forks.size, forks.find("c2", "t"), forks.find("c3", "t")]).toEqual([3, undefined, FORK]);
  forks.stop();
  expect(simulation.leaks()).toEqual([]);
});
