import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Directory, ForkResult } from "../../src/directory/directory.ts";
import { createMemoryDatabase, type MemoryDatabase } from "../../src/directory/memory.ts";
import { type Entry, type EntryRequest, OpenForks } from "../../src/proxy/open-forks.ts";
import { createSimulation, type SimulatedRuntime, type Simulation } from "../../src/runtime/simulated.ts";

const BOB = "bob@example.com";
const ALL_404: ForkResult = { result: "all-said-404" };
const UNKNOWN: ForkResult = { result: "inconclusive" };

let simulation: Simulation;
let database: MemoryDatabase;
let runtime: SimulatedRuntime;
let directories: Directory[];
let one: OpenForks;
let two: OpenForks;

beforeEach(async () => {
  simulation = createSimulation({ seed: 1 });
  database = createMemoryDatabase(simulation.runtime(["10.0.0.9"]));
  runtime = simulation.runtime(["10.0.0.1"]);
  directories = ["one", "two"].map((name) => database.directory(name));
  for (const each of directories) await simulation.finish(each.start());
  one = new OpenForks(runtime, directories[0]!, 3);
  two = new OpenForks(runtime, directories[1]!, 3);
});

afterEach(async () => {
  one.stop();
  two.stop();
  for (const each of directories) await simulation.finish(each.stop());
  expect(simulation.leaks()).toEqual([]);
});

function request(more: Partial<EntryRequest> = {}): EntryRequest {
  return {
    sender: "ann@example.com",
    recipient: BOB,
    method: "MESSAGE",
    event: "",
    asked: ["east", "west"],
    origin: null,
    deadline: runtime.clock.now() + 8_000,
    mayWait: true,
    ...more,
  };
}

/** The entry, once there is one; undefined while it waits. */
function entering(forks: OpenForks, more: Partial<EntryRequest> = {}): { entry: Entry | undefined; failed: boolean } {
  const seen: { entry: Entry | undefined; failed: boolean } = { entry: undefined, failed: false };
  forks.enter(request(more)).then(
    (entry) => {
      seen.entry = entry;
    },
    () => {
      seen.failed = true;
    },
  );
  return seen;
}

async function opened(forks: OpenForks, more: Partial<EntryRequest> = {}) {
  const entry = await simulation.finish(forks.enter(request(more)));
  if (entry.kind !== "opened") throw new Error(`it is ${entry.kind}`);
  return entry.fork;
}

describe.each([
  ["on the same proxy", () => one],
  ["on another proxy", () => two],
])("who comes while a fork is open, %s", (_, other) => {
  it("waits, and gets its result", async () => {
    for (const result of [UNKNOWN, ALL_404]) {
      const fork = await opened(one);
      const waiting = entering(other(), { sender: "cid@example.com" });
      await simulation.advance(100);
      expect([waiting.entry, other().waiting]).toEqual([undefined, 1]);
      fork.close(result, 0);
      await simulation.advance(100);
      expect(waiting.entry).toEqual({ kind: "waited", result });
      expect([one.waiting, two.waiting, one.size, two.size]).toEqual([0, 0, 0, 0]);
    }
  });

  it("is told a 404 that is only a moment old, and opens a fork where a server has come up since", async () => {
    (await opened(one)).close(ALL_404, 0);
    await simulation.advance(100);
    expect(await simulation.finish(other().enter(request({})))).toEqual({ kind: "waited", result: ALL_404 });
    other().forgetAbsent();
    (await opened(other())).close(UNKNOWN, 0);
    await simulation.advance(100);
  });

  it("is told at once where something was learned, long before the fork is closed", async () => {
    const fork = await opened(one);
    const waiting = entering(other(), { sender: "cid@example.com" });
    await simulation.advance(100);
    await simulation.finish(directories[0]!.learn(BOB, "east", runtime.clock.wall() + 1_000_000));
    fork.release();
    await simulation.advance(100);
    expect(waiting.entry).toEqual({ kind: "waited", result: null });
    fork.close({ result: "learned", server: "east" }, runtime.clock.wall() + 1_000_000);
    await simulation.advance(100);
  });

  it("waits on its own clock", async () => {
    const fork = await opened(one);
    const begun = simulation.now;
    const waiting = entering(other(), { sender: "cid@example.com", deadline: runtime.clock.now() + 500 });
    await simulation.run(() => waiting.entry !== undefined);
    expect(waiting.entry).toEqual({ kind: "too-late" });
    expect(simulation.now - begun).toBeCloseTo(500, 0);
    fork.close(UNKNOWN, 0);
  });

  it("is turned away where too many wait", async () => {
    const fork = await opened(one);
    const waiting = [1, 2, 3, 4].map((n) => entering(other(), { sender: `s${n}@example.com` }));
    await simulation.advance(100);
    expect(waiting.map((each) => each.entry?.kind)).toEqual([undefined, undefined, undefined, "too-late"]);
    fork.close(UNKNOWN, 0);
    await simulation.advance(100);
  });

  it("is not mine where it comes from a server being asked, by the same sender, method and event", async () => {
    const fork = await opened(one, { method: "SUBSCRIBE", event: "presence" });
    const same = { method: "SUBSCRIBE", event: "presence", origin: "west" };
    expect(await simulation.finish(other().enter(request(same)))).toEqual({ kind: "not-mine" });
    for (const different of [
      { sender: "x@example.com" },
      { event: "dialog" },
      { method: "MESSAGE" },
      { origin: "up" },
    ]) {
      const waiting = entering(other(), { ...same, ...different, deadline: runtime.clock.now() + 50 });
      await simulation.advance(100);
      expect(waiting.entry).toEqual({ kind: "too-late" });
    }
    fork.close(UNKNOWN, 0);
    await simulation.advance(100);
  });

  it("having waited once, it opens a fork of its own beside others, and waits only for its own sender's", async () => {
    const fork = await opened(one);
    const beside = await opened(other(), { sender: "cid@example.com", mayWait: false });
    const behind = entering(other(), { sender: "cid@example.com", mayWait: false });
    await simulation.advance(100);
    expect(behind.entry).toBeUndefined();
    beside.close(UNKNOWN, 0);
    await simulation.advance(100);
    expect(behind.entry).toEqual({ kind: "waited", result: UNKNOWN });
    fork.close(UNKNOWN, 0);
    await simulation.advance(100);
  });
});

describe("the directory", () => {
  it("away while a fork opens: whoever asked and whoever waited is told, and nothing is left", async () => {
    database.setAway(true);
    const asking = entering(one);
    const waiting = entering(one, { sender: "cid@example.com" });
    await simulation.advance(100);
    expect([asking.failed, waiting.failed, one.size, one.waiting]).toEqual([true, true, 0, 0]);
    database.setAway(false);
  });

  it("reset of the feed wakes those who wait for another proxy's fork: its end may have been missed", async () => {
    const fork = await opened(one);
    const waiting = entering(two, { sender: "cid@example.com" });
    await simulation.advance(100);
    database.setAway(true);
    database.setAway(false);
    await simulation.advance(100);
    expect(waiting.entry).toEqual({ kind: "waited", result: null });
    fork.close(UNKNOWN, 0);
    await simulation.advance(100);
  });

  it("a binding that was learned keeps the life it was given when the fork is closed", async () => {
    const fork = await opened(one);
    const until = runtime.clock.wall() + 86_400_000;
    fork.close({ result: "learned", server: "east" }, until);
    await simulation.advance(100);
    const found = await simulation.finish(directories[1]!.lookup(BOB));
    expect(found).toMatchObject({ state: "bound", binding: { server: "east", expiresAt: until } });
  });

  it("a fork that nobody closed (a crash) is out of the way when its time is over", async () => {
    await opened(one);
    const early = entering(two, { sender: "cid@example.com" });
    await simulation.run(() => early.entry !== undefined);
    expect(early.entry).toEqual({ kind: "too-late" });
    await simulation.advance(2_500);
    expect((await simulation.finish(two.enter(request({ sender: "cid@example.com" })))).kind).toBe("opened");
  });

  it("who waits for a fork that nobody closes (a crash) goes on when its time is over", async () => {
    await opened(one);
    await simulation.advance(4_000);
    const began = runtime.clock.now();
    const late = entering(two, { sender: "cid@example.com" });
    await simulation.run(() => late.entry !== undefined);
    expect(late.entry).toEqual({ kind: "waited", result: null });
    expect(runtime.clock.now() - began).toBeLessThan(6_100);
  });
});

describe("returned requests are known before anything else is decided", () => {
  it("on this proxy at once, on the others by the directory", async () => {
    const fork = await opened(one);
    expect(one.isReturned(BOB, "ann@example.com", "MESSAGE", "", "east")).toBe(true);
    expect(one.isReturned(BOB, "ann@example.com", "MESSAGE", "", "north")).toBe(false);
    expect(two.isReturned(BOB, "ann@example.com", "MESSAGE", "", "east")).toBe(false);
    const key = { sender: "ann@example.com", recipient: BOB, method: "MESSAGE", event: "" };
    expect(await simulation.finish(two.isReturnedAnywhere(key, "east"))).toBe(true);
    expect(await simulation.finish(two.isReturnedAnywhere(key, "north"))).toBe(false);
    database.setAway(true);
    expect(await simulation.finish(two.isReturnedAnywhere(key, "east"))).toBe(false);
    database.setAway(false);
    fork.close(UNKNOWN, 0);
    await simulation.advance(100);
    expect(one.isReturned(BOB, "ann@example.com", "MESSAGE", "", "east")).toBe(false);
  });
});
