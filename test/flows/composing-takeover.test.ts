import { afterEach, describe, expect, it } from "vitest";
import type { Policy } from "../support/notifier.ts";
import { ALICE, AOR, told, Unioned, type UnionedOptions } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";

/** concurrency.md 7: the owner of a composed subscription dies, and another proxy goes on with all of its legs. */

let domain: Unioned;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function begin(options: UnionedOptions = {}): Promise<void> {
  domain = new Unioned();
  await domain.begin({ proxies: 2, ...options });
  watcher = new Watcher(domain.world, "127.0.0.50");
}

const seen = (from = 0): string[] => told(watcher).slice(from);
const SILENT = (): Policy => ({ status: 0 });

async function watch(): Promise<void> {
  await watcher.subscribe(ALICE, 3600);
  await domain.wait(2_000);
  expect(seen()).toEqual(["pending", "active east open, west open"]);
}

async function die(): Promise<void> {
  domain.world.proxies[0]!.kill();
  await domain.wait(40_000);
}

describe("a subscription whose owner was killed", () => {
  it("gets a NOTIFY of the new one at once, every leg a refresh, and the whole when all have spoken", async () => {
    await begin();
    await watch();
    const { cseq } = watcher.last!;
    await die();
    expect(seen(2)).toEqual(["active", "active east open, west open"]);
    expect(watcher.told[2]!.contact).toContain("127.0.0.2");
    for (const server of [domain.east, domain.west]) {
      const [first, refresh] = server.served[0]!.subscribes;
      expect(server.served.length).toBe(1);
      expect(refresh!.contacts).toMatchObject([{ uri: { host: "127.0.0.2" } }]);
      // concurrency.md 7: gaps are allowed, going back is not.
      expect(refresh!.cseq.number).toBeGreaterThan(first!.cseq.number + 8);
    }
    expect(watcher.told[2]!.cseq).toBeGreaterThan(cseq);
    expect(watcher.told.slice(2).map((each) => each.cseq)).toEqual([watcher.told[2]!.cseq, watcher.told[2]!.cseq + 1]);
    expect(await domain.rows()).toMatchObject([{ aor: AOR, legServer: "east,west" }]);
  });

  it("goes on: changes, refreshes, and in the end nothing is left", async () => {
    await begin();
    await watch();
    await die();
    domain.west.basic = "closed";
    domain.west.notify(domain.west.live[0]!);
    await domain.wait(1_000);
    expect(seen().at(-1)).toBe("active east open, west closed");
    expect((await watcher.refresh(600)).status).toBe(200);
    expect((await watcher.refresh(0)).status).toBe(200);
    await domain.wait(100_000);
    expect(await domain.rows()).toEqual([]);
    expect([...domain.east.live, ...domain.west.live]).toEqual([]);
    const { subscriptions } = domain.world.proxies[1]!.services;
    expect([subscriptions.size, subscriptions.leftovers, subscriptions.documents.size]).toEqual([0, 0, 0]);
  });

  it("shows nothing until the last server has spoken; after 32 s it goes on without one that had consented", async () => {
    await begin();
    await watch();
    domain.west.refreshPolicy = SILENT;
    domain.west.policy = SILENT;
    await die();
    expect(seen(2)).toEqual(["active"]);
    await domain.wait(30_000);
    expect(seen(2)).toEqual(["active", "active east open"]);
  });

  it("that was pending stays so, and is shown when the last has confirmed", async () => {
    await begin();
    domain.west.policy = (): Policy => ({ status: 200, state: "pending;expires=3600" });
    domain.west.refreshPolicy = (): Policy => ({ status: 200, state: "pending;expires=3600" });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(2_000);
    await die();
    expect(seen()).toEqual(["pending", "pending"]);
    domain.west.notify(domain.west.live[0]!);
    await domain.wait(1_000);
    expect(seen(2)).toEqual(["active east open, west open"]);
  });

  it("and a server that had not decided is away then: nobody is shown without it", async () => {
    await begin();
    await watch();
    domain.west.notify(domain.west.live[0]!, "pending;expires=3600", null);
    await domain.wait(1_000);
    domain.west.refreshPolicy = SILENT;
    domain.west.policy = SILENT;
    await die();
    await domain.wait(200_000);
    expect(seen(2).filter((each) => each.includes("open"))).toEqual([]);
  });

  it("and one that may be left out is away still: he is shown the others, and not closed (`unreachable: without`)", async () => {
    await begin({
      options: { unions: { trees: [], downListener: false, unreachable: "without" } },
      each: { west: { neverDenies: true } },
    });
    domain.west.policy = (): Policy => ({ status: 480 });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(2_000);
    expect(seen()).toEqual(["pending", "active east open"]);
    await die();
    await domain.wait(200_000);
    expect(seen(2)).toEqual(["active", "active east open"]);
    domain.west.policy = (): Policy => ({ status: 200 });
    await domain.wait(700_000);
    expect(seen().at(-1)).toBe("active east open, west open");
  });

  it("denied meanwhile, he is told so by the new owner, and sees not a byte", async () => {
    await begin();
    await watch();
    domain.west.refreshPolicy = (): Policy => ({ status: 200, state: "terminated;reason=rejected" });
    await die();
    expect(seen(2)).toEqual(["active", "terminated rejected"]);
    expect(watcher.told.slice(2).every((each) => each.body === "")).toBe(true);
  });

  it("with a server that is to be asked still: it is", async () => {
    await begin();
    domain.west.policy = SILENT;
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(5_000);
    domain.world.proxies[0]!.kill();
    domain.west.policy = (): Policy => ({ status: 200 });
    await domain.wait(60_000);
    expect(seen(1)).toEqual(["pending", "active east open, west open"]);
  });

  it("goes on as the same part of the same chain: a server on it is told 482 still", async () => {
    await begin({ each: { west: { onward: "children" } } });
    await watch();
    await die();
    const self = domain.world.scripted["west"]!;
    const request = self.request("SUBSCRIBE", ALICE, { from: "sip:watcher@example.com" });
    expect(await self.all(self.beginRequest(request, "127.0.0.2"))).toEqual([482]);
  });
});

describe("the database goes away", () => {
  it("while documents change: they are shown as long as the lease runs, and CSeqs do not go back", async () => {
    await begin({ proxies: 1 });
    await watch();
    domain.world.database.setAway(true);
    domain.west.basic = "closed";
    domain.west.notify(domain.west.live[0]!);
    await domain.wait(1_000);
    expect(seen(2)).toEqual(["active east open, west closed"]);
    domain.world.database.setAway(false);
    await domain.wait(5_000);
    const cseqs = watcher.told.map((each) => each.cseq);
    expect(cseqs).toEqual([...cseqs].sort((a, b) => a - b));
  });

  it("before he was told `active`: that waits until it can be written down", async () => {
    await begin({ proxies: 1 });
    domain.west.policy = (): Policy => ({ status: 200, state: null });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(2_000);
    domain.world.database.setAway(true);
    domain.west.notify(domain.west.live[0]!);
    await domain.wait(5_000);
    expect(seen()).toEqual(["pending"]);
    domain.world.database.setAway(false);
    await domain.wait(5_000);
    expect(seen()).toEqual(["pending", "active east open, west open"]);
  });
});
