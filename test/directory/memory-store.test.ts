import { describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import type { Change, Claim, ClaimOutcome, Directory } from "../../src/directory/directory.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { type MemoryOptions, MemoryStore } from "../../src/directory/memory-store.ts";
import { fc } from "../support/fast-check.ts";
import { type VirtualRuntime, virtualRuntime } from "./virtual-runtime.ts";

// The twin must be as treacherous as PostgreSQL under READ COMMITTED, or the simulation proves nothing.

const JOE = "joe@example.com";
const tell = (aor: string): Change => ({ kind: "user", aor });

describe("the model of PostgreSQL under READ COMMITTED", () => {
  it("a statement reads the snapshot of its start, also after it waited for a lock; the locked row is the newest", async () => {
    const runtime = virtualRuntime(1);
    const store = new MemoryStore(runtime, {});
    const writer = store.begin();
    await writer.statement(async (s) => {
      await s.lock("slots", JOE);
      s.write("slots", JOE, "new");
      s.write("holds", JOE, "hold");
    });
    const reader = store.begin();
    const reading = reader.statement(async (s) => {
      const locked = await s.lock("slots", JOE);
      return { locked, slot: s.read("slots", JOE), hold: s.read("holds", JOE) };
    });
    await runtime.advance(10);
    await writer.commit();
    expect(await runtime.until(reading)).toEqual({ locked: "new", slot: undefined, hold: undefined });
    const later = await reader.statement(async (s) => s.read("holds", JOE));
    expect(later).toBe("hold");
    reader.rollback();
  });

  it("nobody sees what is not committed, and nobody ever sees what was rolled back", async () => {
    const store = new MemoryStore(virtualRuntime(1), {});
    const writer = store.begin();
    await writer.statement(async (s) => s.write("slots", JOE, "mine"));
    expect(await writer.statement(async (s) => s.read("slots", JOE))).toBe("mine");
    expect(await store.ask(async (s) => s.read("slots", JOE))).toBeUndefined();
    writer.rollback();
    expect(await store.ask(async (s) => s.read("slots", JOE))).toBeUndefined();
    expect(store.log.openTransactions).toBe(0);
  });

  it("a lock is waited for until its timeout", async () => {
    const runtime = virtualRuntime(1);
    const store = new MemoryStore(runtime, { lockTimeoutMs: 1000 });
    const holder = store.begin();
    await holder.statement(async (s) => void (await s.lock("slots", JOE)));
    const waiting = store.autocommit(async (s) => void (await s.lock("slots", JOE)));
    await expect(runtime.until(waiting)).rejects.toBeInstanceOf(DirectoryUnavailable);
    holder.rollback();
    await runtime.until(store.autocommit(async (s) => void (await s.lock("slots", JOE))));
    expect(runtime.pending).toBe(0);
  });

  it("feed: ids are taken before the commit; a row that commits late is held back for, not skipped", async () => {
    const runtime = virtualRuntime(1);
    const store = new MemoryStore(runtime, {});
    const reader = store.log.openReader();
    const early = store.begin();
    await early.statement(async (s) => s.tell(tell("early@x")));
    await store.autocommit(async (s) => s.tell(tell("late@x")));
    expect(store.log.feed(reader)).toEqual({ changes: [], held: true });
    await early.commit();
    expect(store.log.feed(reader).changes.map((each) => (each.change as { aor: string }).aor)).toEqual([
      "early@x",
      "late@x",
    ]);
    expect(store.log.feed(reader)).toEqual({ changes: [], held: false });
  });

  it("a lost answer: the caller is told DirectoryUnavailable, the commit stands, and the write can be repeated", async () => {
    const runtime = virtualRuntime(1);
    const database = createMemoryDatabase(runtime);
    const east = database.directory("east");
    const claim = claimOf(runtime, "a", 1);
    database.loseNextAnswers(1);
    await expect(runtime.until(east.claim(claim))).rejects.toBeInstanceOf(DirectoryUnavailable);
    expect(await runtime.until(east.claim(claim))).toMatchObject({
      outcome: "bound",
      changed: false,
      binding: { server: "a", epoch: 1 },
    });
  });

  it("a reader too far behind is reset, not kept waiting for rows that are gone", async () => {
    const runtime = virtualRuntime(1);
    const store = new MemoryStore(runtime, { changesKept: 5 });
    const slow = store.log.openReader();
    const fast = store.log.openReader();
    for (let i = 0; i < 20; i++) {
      await store.autocommit(async (s) => s.tell(tell(`u${i}@x`)));
      expect(store.log.feed(fast).changes.length).toBe(1);
    }
    expect(fast.lost).toBe(false);
    expect(slow.lost).toBe(true);
  });
});

function claimOf(runtime: VirtualRuntime, server: string, cseq: number): Claim {
  const expiresAt = runtime.clock.wall() + 3_600_000;
  const order = { callId: `call-${server}`, cseq, expiresAt };
  return {
    aor: JOE,
    server,
    origin: "registered",
    expiresAt,
    conflict: "takeover",
    equalRank: true,
    actor: server,
    order,
  };
}

type Deed = {
  readonly proxy: 0 | 1;
  readonly kind: "claim" | "unbind" | "move" | "learn";
  readonly server: string;
  readonly at: number;
};

/** Plays the deeds at their moments; a lost answer is asked again, as a proxy's peer would. Returns every holder told. */
async function play(
  seed: number,
  options: MemoryOptions,
  deeds: readonly Deed[],
): Promise<{ holders: Map<number, Set<string>>; epochs: number[] }> {
  const runtime = virtualRuntime(seed);
  const database = createMemoryDatabase(runtime, options);
  const proxies = [database.directory("east"), database.directory("west")] as [Directory, Directory];
  for (const each of proxies) await each.start();
  const holders = new Map<number, Set<string>>();
  const seen = (epoch: number, server: string | null) => {
    const set = holders.get(epoch) ?? new Set();
    holders.set(epoch, set.add(server ?? "unbound"));
  };
  const epochs: number[] = [];
  proxies[0].onChange((change) => {
    if (change.kind === "binding") seen(change.epoch, change.server);
  });
  const note = (outcome: ClaimOutcome) => {
    if (outcome.binding !== null) seen(outcome.binding.epoch, outcome.binding.server);
  };
  const act = async (deed: Deed, n: number): Promise<void> => {
    const directory = proxies[deed.proxy];
    const { server, kind } = deed;
    if (kind === "claim") note(await directory.claim({ ...claimOf(runtime, server, n + 1) }));
    else if (kind === "move") note(await directory.move({ aor: JOE, to: server, actor: "t" }));
    else if (kind === "learn") note(await directory.learn(JOE, server, runtime.clock.wall() + 3_600_000));
    else await directory.unbind({ aor: JOE, server, actor: "t" });
  };
  const acts = deeds.map(
    (deed, n) =>
      new Promise<void>((resolve, reject) => {
        const attempt = (left: number) => {
          act(deed, n).then(resolve, (error) =>
            left > 0 && error instanceof DirectoryUnavailable ? attempt(left - 1) : reject(error),
          );
        };
        runtime.timers.after(deed.at, () => attempt(20));
      }),
  );
  // One after the other, so that what they see may never go back.
  const watching = (async () => {
    for (let i = 0; i < 15; i++) {
      const found = await proxies[1].lookup(JOE).catch(() => null);
      if (found === null) continue;
      epochs.push(found.epoch);
      seen(found.epoch, found.state === "bound" ? found.binding.server : null);
    }
  })();
  await runtime.until(Promise.all(acts));
  await runtime.until(watching);
  await runtime.advance(3000);
  for (const each of proxies) await each.stop();
  await runtime.advance(1000);
  expect(runtime.pending).toBe(0);
  expect(database.openTransactions).toBe(0);
  return { holders, epochs };
}

const deeds = fc.array(
  fc.record({
    proxy: fc.constantFrom(0 as const, 1 as const),
    kind: fc.constantFrom("claim" as const, "unbind" as const, "move" as const, "learn" as const),
    server: fc.constantFrom("a", "b", "c"),
    at: fc.integer({ min: 0, max: 60 }),
  }),
  { minLength: 2, maxLength: 12 },
);

describe("random schedules of two proxies over the twin", () => {
  it("one holder per epoch, and the epoch never goes back: with latency, lock waits and lost answers", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 0xffff }), deeds, async (seed, schedule) => {
        const { holders, epochs } = await play(seed, { latencyMs: [0.1, 15], lostAnswers: 100 }, schedule);
        for (const [epoch, servers] of holders) expect([...servers], `epoch ${epoch}`).toHaveLength(1);
        expect(epochs).toEqual([...epochs].sort((a, b) => a - b));
      }),
      { numRuns: 60 },
    );
  });

  it("without the slot's lock the twin shows the race: two holders in one epoch", async () => {
    let broken = 0;
    for (let seed = 0; seed < 20; seed++) {
      const racing: Deed[] = [
        { proxy: 0, kind: "claim", server: "a", at: 5 },
        { proxy: 1, kind: "claim", server: "b", at: 5 },
      ];
      const { holders } = await play(seed, { latencyMs: [0.1, 15], unsafeWithoutLocks: true }, racing);
      if ([...holders.values()].some((servers) => servers.size > 1)) broken++;
    }
    expect(broken).toBeGreaterThan(0);
  });
});
