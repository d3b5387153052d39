import { describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import type { MemoryOptions } from "../../src/directory/memory-store.ts";
import { FIRST_FENCE } from "../../src/directory/subscriptions.ts";
import type { Entry } from "../../src/directory/unions.ts";
import { unionsContract } from "../contract/unions.contract.ts";
import { LATENCIES, twoInMemory } from "./two-in-memory.ts";
import { virtualRuntime } from "./virtual-runtime.ts";

for (const latencyMs of LATENCIES) {
  unionsContract(`in memory, ${latencyMs.join(" to ")} ms away`, () => twoInMemory(latencyMs));
}

it("credits that have lapsed are cleared away", async () => {
  const runtime = virtualRuntime(3);
  const database = createMemoryDatabase(runtime);
  const east = database.directory("east");
  await east.start();
  const credit = { watcher: "ann@example.com", aor: "joe@example.com", event: "presence", digest: "", server: "b" };
  await runtime.until(east.unions.grant("g", [{ ...credit, count: 3 }], runtime.clock.wall() + 5000));
  expect(database.rows("credits")).toHaveLength(3);
  await runtime.advance(10_000);
  expect(database.rows("credits")).toEqual([]);
  await east.stop();
});

const JOE = "joe@example.com";
const PAIR = { watcher: "ann@example.com", aor: JOE, event: "presence" };
const SERVERS = ["a", "b", "c", "d"];

/** Two proxies, answers that are lost, and everybody who asks again until he is answered. */
async function world(seed: number, options: MemoryOptions = {}) {
  const runtime = virtualRuntime(seed);
  const database = createMemoryDatabase(runtime, { latencyMs: [0.1, 20], ...options });
  const proxies = [database.directory("east"), database.directory("west")];
  for (const each of proxies) await each.start();
  const owners: string[] = [];
  for (const each of proxies) owners.push(await runtime.until(insist(() => each.leases.open("sip:x", 3_600_000))));
  const chance = runtime.random;

  async function insist<T>(work: () => Promise<T>): Promise<T> {
    for (let i = 0; i < 50; i++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof DirectoryUnavailable)) throw error;
      }
    }
    throw new Error("Nobody answers.");
  }

  const enter = (id: string, origin: string, at = chance.integer(2)) => {
    const servers = SERVERS.filter((each) => each !== origin);
    const entry: Entry = { origin, evidence: null, sent: null, within: null, servers, onward: SERVERS, most: 3 };
    const row = {
      ...PAIR,
      id,
      kind: "composed" as const,
      origin,
      dialog: "",
      expiresAt: runtime.clock.wall() + 3_600_000,
      notifyReserved: 16,
      leg: null,
      legServer: null,
      legReserved: 16,
      extendedEpoch: 0,
    };
    return insist(() => proxies[at]!.unions.enter(owners[at]!, row, entry));
  };
  return { runtime, database, proxies, owners, enter, insist };
}

describe("two proxies at once, and answers that are lost", () => {
  /** How many of four SUBSCRIBEs of one pair, each from another server, begin a chain. */
  const begun = async (seed: number, options: MemoryOptions = {}) => {
    const { runtime, enter, proxies } = await world(seed, options);
    const outcomes = await runtime.until(Promise.all(SERVERS.map((origin, i) => enter(`cdm-${i}`, origin))));
    const rows = await runtime.until(proxies[0]!.unions.visited(PAIR));
    for (const each of proxies) await each.stop();
    const legs = rows.filter((row) => row.role === "leg").map((row) => `${row.chain} ${row.server}`);
    expect(new Set(legs).size).toBe(legs.length);
    return outcomes.filter((each) => each.outcome === "entered").length;
  };

  it("of those that meet one begins the chain, whoever is asked again", async () => {
    for (let seed = 1; seed <= 60; seed++) expect(await begun(seed, { lostAnswers: 200 }), `seed ${seed}`).toBe(1);
  });

  it("without the lock of the pair several do", async () => {
    const seen: number[] = [];
    for (let seed = 1; seed <= 10; seed++) seen.push(await begun(seed, { unsafeWithoutLocks: true }));
    expect(Math.max(...seen)).toBeGreaterThan(1);
  });

  it("as many requests spend as there are credits, each however often it asks", async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const { runtime, proxies, insist } = await world(seed, { lostAnswers: 200 });
      const credit = { ...PAIR, digest: "", server: "b" };
      const until = runtime.clock.wall() + 3_600_000;
      const grants = ["g", "h"].map((id) =>
        insist(() => proxies[0]!.unions.grant(id, [{ ...credit, count: 2 }], until)),
      );
      await runtime.until(Promise.all(grants));
      const spends = Array.from({ length: 8 }, (_, i) => insist(() => proxies[i % 2]!.unions.spend(credit, `r${i}`)));
      const spent = (await runtime.until(Promise.all(spends))).filter((each) => each);
      expect(spent.length, `seed ${seed}`).toBe(4);
      for (const each of proxies) await each.stop();
    }
  });

  it("a server that two on one chain want is one's, and nothing is left of who is removed meanwhile", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const { runtime, database, proxies, owners, enter, insist } = await world(seed, { lostAnswers: 100 });
      await runtime.until(enter("cdm-0", "a", 0));
      await runtime.until(insist(() => proxies[0]!.unions.leave(owners[0]!, "cdm-0", FIRST_FENCE, "d")));
      await runtime.until(enter("cdm-1", "b", 1));
      await runtime.until(insist(() => proxies[1]!.unions.leave(owners[1]!, "cdm-1", FIRST_FENCE, "d")));
      const visit = (i: number) =>
        insist(() => proxies[i]!.unions.visit(owners[i]!, `cdm-${i}`, FIRST_FENCE, "d", null));
      const remove = () => insist(() => proxies[1]!.subscriptions.remove(owners[1]!, "cdm-1", FIRST_FENCE));
      const [one, two] = await runtime.until(Promise.all([visit(0), visit(1), remove()]));
      const rows = await runtime.until(insist(() => proxies[0]!.unions.visited(PAIR)));
      expect(
        rows.every((row) => row.holder === "cdm-0"),
        `seed ${seed}`,
      ).toBe(true);
      expect(
        rows.some((row) => row.server === "d"),
        `seed ${seed}`,
      ).toBe(one === "taken");
      expect(one === "taken" || two === "taken", `seed ${seed}: ${one} ${two}`).toBe(true);
      for (const each of proxies) await each.stop();
      expect(database.openTransactions).toBe(0);
    }
  });
});
