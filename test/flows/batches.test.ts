import { afterEach, describe, expect, it } from "vitest";
import type { MoveBatch } from "../../src/directory/moves.ts";
import { ALICE, AOR, Exclusive } from "../support/exclusive.ts";
import { Watcher } from "../support/watcher.ts";
import type { WorldOptions } from "../support/world.ts";

/** Batches of moves as those see them who watch the users. */

const USERS = 12;

let domain: Exclusive;

afterEach(() => domain.world.stop());

function aor(i: number): string {
  return i === 0 ? AOR : `user${i}@example.com`;
}

/** Users on east, each with a watcher who sees him open there. */
async function watched(users: number, options: WorldOptions = {}): Promise<Watcher[]> {
  domain = new Exclusive();
  await domain.begin(options);
  const watchers: Watcher[] = [];
  for (let i = 0; i < users; i++) {
    if (i > 0) await domain.known(aor(i));
    await domain.bind("east", 0, aor(i));
    const watcher = new Watcher(domain.world, `127.0.0.${50 + i}`);
    await watcher.subscribe(i === 0 ? ALICE : `sip:${aor(i)}`, 3600, {
      proxy: options.proxies === 2 ? "127.0.0.2" : "127.0.0.1",
    });
    watchers.push(watcher);
  }
  await domain.wait(500);
  return watchers;
}

async function migrate(proxy: number, rate: number, makeBeforeBreak = false): Promise<string> {
  const { moves } = domain.world.proxies[proxy]!.directory;
  const source = { kind: "server", from: "east", to: "west" } as const;
  const batch = { id: "batch-1", source, rate, makeBeforeBreak, actor: "root" };
  await domain.world.simulation.finish(moves.create(batch));
  return batch.id;
}

async function batch(id: string, proxy = 0): Promise<MoveBatch> {
  return (await domain.world.simulation.finish(domain.world.proxies[proxy]!.directory.moves.batch(id)))!;
}

/** Nobody has seen a gap: one dialog, CSeqs that go up, no `terminated`, no document of the old server after the new one's. */
function expectSeamless(watcher: Watcher): void {
  const cseqs = watcher.told.map((each) => each.cseq);
  expect(cseqs).toEqual([...cseqs].sort((a, b) => a - b));
  expect(watcher.saw.filter((each) => each.startsWith("terminated") || each.endsWith("closed"))).toEqual([]);
  const servers = watcher.told
    .map((each) => /id="(east|west)-/.exec(each.body)?.[1])
    .filter((each) => each !== undefined);
  expect(servers).toEqual([...servers].sort());
  expect(servers.at(-1)).toBe("west");
}

describe("a batch of moves", () => {
  it("is seen by each watcher as one more document, and every old leg is ended", async () => {
    const watchers = await watched(USERS);
    const id = await migrate(0, 4);
    await domain.wait(8_000);
    expect(await batch(id)).toMatchObject({ state: "done", moved: USERS, refused: 0 });
    for (const watcher of watchers) expectSeamless(watcher);
    expect([domain.east.live.length, domain.west.live.length]).toEqual([0, USERS]);
  });

  it("that makes before it breaks has every new leg up before its user is moved", async () => {
    const watchers = await watched(USERS);
    const movedAt = new Map<string, number>();
    const { directory, runtime } = domain.world.proxies[0]!;
    const end = directory.onChange((change) => {
      if (change.kind === "binding" && !movedAt.has(change.aor)) movedAt.set(change.aor, runtime.clock.now());
    });
    const id = await migrate(0, 100, true);
    await domain.wait(1_500);
    expect([(await batch(id)).moved, domain.west.live.length, domain.east.live.length]).toEqual([0, USERS, USERS]);
    await domain.wait(4_000);
    end();
    expect(await batch(id)).toMatchObject({ state: "done", moved: USERS });
    expect(movedAt.size).toBe(USERS);
    for (const watcher of watchers) expectSeamless(watcher);
    expect([domain.east.live.length, domain.west.live.length]).toEqual([0, USERS]);
  });

  it("goes on at another proxy when the one that runs it dies; its watchers see no gap", async () => {
    const watchers = await watched(USERS, { proxies: 2 });
    const id = await migrate(0, 2);
    await domain.wait(3_000);
    const begun = await batch(id, 1);
    expect(begun.moved).toBeGreaterThan(1);
    expect(begun.moved).toBeLessThan(USERS);
    const running = begun.owner!.startsWith(domain.world.proxies[0]!.directory.proxy) ? 0 : 1;
    domain.world.proxies[running]!.kill();
    await domain.wait(60_000);
    const ended = await batch(id, 1 - running);
    expect(ended).toMatchObject({ state: "done", moved: USERS, refused: 0 });
    expect(ended.owner).not.toBe(begun.owner);
    for (const watcher of watchers) expectSeamless(watcher);
  });
});
