import { beforeEach, describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import { createDirectoryCache } from "../../src/directory/cache.ts";
import type { Change, Directory, DirectoryCache, Lookup } from "../../src/directory/directory.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { type VirtualRuntime, virtualRuntime } from "./virtual-runtime.ts";

const JOE = "joe@example.com";

/** A directory whose answers the test gives, one by one. */
class Slow {
  readonly asked: Array<{ aor: string; answer: (lookup: Lookup) => void; fail: (error: Error) => void }> = [];
  #listener: (change: Change) => void = () => undefined;

  lookup(aor: string): Promise<Lookup> {
    return new Promise((answer, fail) => {
      this.asked.push({ aor, answer, fail });
    });
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#listener = listener;
    return () => undefined;
  }

  tell(change: Change): void {
    this.#listener(change);
  }
}

const bound = (server: string, expiresAt: number | null = null, aor = JOE): Lookup => ({
  state: "bound",
  epoch: 1,
  user: null,
  binding: { aor, server, origin: "learned", epoch: 1, expiresAt },
});
const moved: Change = { kind: "binding", aor: JOE, server: "b", previous: "a", epoch: 2 };
const said404 = (aor = JOE): Change => ({ kind: "fork-closed", aor, fork: "f", result: { result: "all-said-404" } });

describe("the cache in front of a directory", () => {
  let runtime: VirtualRuntime;
  let slow: Slow;
  let cache: DirectoryCache;
  beforeEach(() => {
    runtime = virtualRuntime(1);
    slow = new Slow();
    cache = createDirectoryCache(slow as unknown as Directory, runtime, { entries: 3 });
  });

  it("who asks for names that nobody has drives no user out", async () => {
    const got = cache.lookup(JOE);
    slow.asked[0]?.answer(bound("a"));
    await got;
    for (let i = 1; i <= 10; i++) {
      const nobody = cache.lookup(`random${i}@example.com`);
      slow.asked[i]?.answer({ state: "no-record", epoch: 0 });
      await nobody;
    }
    expect(cache.peek(JOE)).toEqual(bound("a"));
    expect(cache.peek("random10@example.com")).toEqual({ state: "no-record", epoch: 0 });
    expect(cache.size).toBe(4);
  });

  it("tells no record, no binding and bound apart, and gives back what it was given", async () => {
    const record = { aor: "b@x.org", model: "exclusive" as const, settings: { conflict: "refuse" }, identities: {} };
    const all: Lookup[] = [
      { state: "no-record", epoch: 0 },
      { state: "no-binding", epoch: 4, user: record },
      { ...bound("a"), user: record } as Lookup,
    ];
    for (const [i, lookup] of all.entries()) {
      const got = cache.lookup(`u${i}@x.org`);
      slow.asked[i]?.answer(lookup);
      expect(await got).toBe(lookup);
      expect(cache.peek(`u${i}@x.org`)).toEqual(lookup);
    }
    expect(slow.asked.length).toBe(3);
  });

  it("a bound user without a record comes back whole from his compact form", async () => {
    const expiresAt = runtime.clock.wall() + 3_600_000;
    const got = cache.lookup(JOE);
    slow.asked[0]?.answer(bound("a", expiresAt));
    await got;
    const seen = cache.peek(JOE);
    expect(seen).toMatchObject({
      state: "bound",
      epoch: 1,
      user: null,
      binding: { aor: JOE, server: "a", origin: "learned", epoch: 1 },
    });
    const ends = seen?.state === "bound" ? (seen.binding.expiresAt ?? 0) : 0;
    expect(ends).toBeLessThanOrEqual(expiresAt);
    expect(ends).toBeGreaterThan(expiresAt - 1001);
  });

  it("concurrent lookups of one user share one query", async () => {
    const both = [cache.lookup(JOE), cache.lookup(JOE)];
    expect(slow.asked.length).toBe(1);
    slow.asked[0]?.answer(bound("a"));
    expect(await Promise.all(both)).toEqual([bound("a"), bound("a")]);
  });

  it("drops a user whose binding or record changes, and nobody else", async () => {
    for (const aor of [JOE, "ann@example.com"]) {
      const got = cache.lookup(aor);
      slow.asked.at(-1)?.answer(bound("a", null, aor));
      await got;
    }
    slow.tell(moved);
    expect(cache.peek(JOE)).toBeUndefined();
    expect(cache.peek("ann@example.com")).toBeDefined();
    slow.tell({ kind: "user", aor: "ann@example.com" });
    expect(cache.peek("ann@example.com")).toBeUndefined();
  });

  it("fill rule: a value read before an invalidation of its key is answered, not stored", async () => {
    const got = cache.lookup(JOE);
    slow.tell(moved);
    slow.asked[0]?.answer(bound("a"));
    expect(await got).toEqual(bound("a"));
    expect(cache.peek(JOE)).toBeUndefined();
  });

  it("fill rule: who asks after an invalidation does not join a query from before it", async () => {
    const before = cache.lookup(JOE);
    slow.tell(moved);
    const after = cache.lookup(JOE);
    expect(slow.asked.length).toBe(2);
    slow.asked[1]?.answer(bound("b"));
    slow.asked[0]?.answer(bound("a"));
    expect([await before, await after]).toEqual([bound("a"), bound("b")]);
    expect(cache.peek(JOE)).toEqual(bound("b"));
  });

  it("fill rule: a value read before a reset of the feed is not stored, and a reset drops everything", async () => {
    const first = cache.lookup("ann@example.com");
    slow.asked[0]?.answer(bound("a", null, "ann@example.com"));
    await first;
    const got = cache.lookup(JOE);
    slow.tell({ kind: "reset" });
    slow.asked[1]?.answer(bound("a"));
    await got;
    expect(cache.size).toBe(0);
  });

  it("is bounded: the least recently used goes first", async () => {
    for (const aor of ["a@x", "b@x", "c@x", "d@x"]) {
      const got = cache.lookup(aor);
      slow.asked.at(-1)?.answer(bound("a", null, aor));
      await got;
      cache.peek("a@x");
    }
    expect(cache.size).toBe(3);
    expect(["a@x", "b@x", "c@x", "d@x"].filter((aor) => cache.peek(aor) !== undefined)).toEqual(["a@x", "c@x", "d@x"]);
  });

  it("an expired binding is not answered", async () => {
    const got = cache.lookup(JOE);
    slow.asked[0]?.answer(bound("a", runtime.clock.wall() + 5000));
    await got;
    await runtime.advance(3000);
    expect(cache.peek(JOE)).toBeDefined();
    await runtime.advance(3000);
    expect(cache.peek(JOE)).toBeUndefined();
  });

  it("all said 404: remembered for 10 s, once a lookup sent after it finds him unbound", async () => {
    slow.tell(said404());
    expect(cache.peek(JOE)).toBeUndefined();
    slow.asked[0]?.answer({ state: "no-record", epoch: 0 });
    await runtime.advance(0);
    expect(cache.peek(JOE)).toMatchObject({ state: "all-said-404", epoch: 0 });
    await runtime.advance(9999);
    expect(cache.peek(JOE)).toMatchObject({ state: "all-said-404" });
    await runtime.advance(2);
    expect(cache.peek(JOE)).toEqual({ state: "no-record", epoch: 0 });
  });

  it("all said 404: not where he was bound meanwhile", async () => {
    slow.tell(said404());
    slow.asked[0]?.answer(bound("a"));
    await runtime.advance(0);
    expect(cache.peek(JOE)).toEqual(bound("a"));
    slow.tell(said404());
    slow.tell(moved);
    slow.asked[1]?.answer({ state: "no-record", epoch: 0 });
    await runtime.advance(0);
    expect(cache.peek(JOE)).toBeUndefined();
  });

  it("all said 404: forgotten when a server comes up, also what is just being confirmed", async () => {
    slow.tell(said404());
    slow.asked[0]?.answer({ state: "no-record", epoch: 0 });
    await runtime.advance(0);
    slow.tell(said404("ann@example.com"));
    cache.forgetAbsent();
    slow.asked[1]?.answer({ state: "no-record", epoch: 0 });
    await runtime.advance(0);
    expect(cache.peek(JOE)).toEqual({ state: "no-record", epoch: 0 });
    expect(cache.peek("ann@example.com")).toEqual({ state: "no-record", epoch: 0 });
  });

  it("a failed lookup is passed on and not remembered", async () => {
    const got = cache.lookup(JOE);
    slow.asked[0]?.fail(new DirectoryUnavailable("away"));
    await expect(got).rejects.toBeInstanceOf(DirectoryUnavailable);
    const again = cache.lookup(JOE);
    slow.asked[1]?.answer(bound("a"));
    expect(await again).toEqual(bound("a"));
  });
});

describe("the database away", () => {
  it("who is cached stays routable, who is not is DirectoryUnavailable; back again, nothing old is answered", async () => {
    const runtime = virtualRuntime(1);
    const database = createMemoryDatabase(runtime);
    const [east, west] = [database.directory("east"), database.directory("west")];
    await east.start();
    await west.start();
    const cache = createDirectoryCache(west, runtime);
    const far = runtime.clock.wall() + 3_600_000;
    await runtime.until(east.learn(JOE, "a", far));
    await runtime.until(cache.lookup(JOE));
    database.setAway(true);
    expect(await cache.lookup(JOE)).toMatchObject({ state: "bound", binding: { server: "a" } });
    await expect(runtime.until(cache.lookup("ann@example.com"))).rejects.toBeInstanceOf(DirectoryUnavailable);
    expect(west.available).toBe(false);
    database.setAway(false);
    expect(cache.peek(JOE)).toBeUndefined();
    expect(await runtime.until(cache.lookup(JOE))).toMatchObject({ state: "bound" });
    await runtime.until(east.move({ aor: JOE, to: "b", actor: "root" }));
    await runtime.advance(100);
    expect(await runtime.until(cache.lookup(JOE))).toMatchObject({ state: "bound", binding: { server: "b" } });
    await east.stop();
    await west.stop();
  });

  it("one's own write is never answered with what it replaced", async () => {
    const runtime = virtualRuntime(2);
    const database = createMemoryDatabase(runtime, { latencyMs: [1, 40] });
    const east = database.directory("east");
    await east.start();
    const cache = createDirectoryCache(east, runtime);
    expect(await runtime.until(cache.lookup(JOE))).toMatchObject({ state: "no-record" });
    await runtime.until(east.learn(JOE, "a", runtime.clock.wall() + 3_600_000));
    expect(await runtime.until(cache.lookup(JOE))).toMatchObject({ state: "bound", binding: { server: "a" } });
    await east.stop();
  });
});
