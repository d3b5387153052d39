import { afterEach, describe, expect, it } from "vitest";
import type { ModelFacts } from "../../src/federation/facts.ts";
import type { Policy } from "../support/notifier.ts";
import { ALICE, AOR, told, Unioned, type UnionedOptions } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";

/** models.md, "Composition" and "Unioned, hierarchical": servers of a user that cannot be asked, that come and that go. */

let domain: Unioned;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function begin(options: UnionedOptions = {}): Promise<void> {
  domain = new Unioned();
  await domain.begin(options);
  watcher = new Watcher(domain.world, "127.0.0.50");
}

const seen = (from = 0): string[] => told(watcher).slice(from);
const SILENT = (): Policy => ({ status: 0 });
const ACCEPTS = (): Policy => ({ status: 200 });

describe("a server that cannot be asked", () => {
  it("is waited for, and asked again with back-off: who comes back is in, and then the watcher is told", async () => {
    await begin();
    domain.west.policy = SILENT;
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(120_000);
    expect(seen()).toEqual(["pending"]);
    domain.west.policy = ACCEPTS;
    await domain.wait(120_000);
    expect(seen()).toEqual(["pending", "active east open, west open"]);
    expect(domain.west.firsts.length).toBeLessThan(10);
  });

  it("after its subscription ended keeps its elements for 32 s; then they are gone, and back when it is", async () => {
    await begin();
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(30_000);
    domain.west.policy = SILENT;
    domain.west.notify(domain.west.live[0]!, "terminated;reason=deactivated", null);
    await domain.wait(30_000);
    expect(seen(2)).toEqual([]);
    await domain.wait(5_000);
    expect(seen(2)).toEqual(["active east open"]);
    domain.west.policy = ACCEPTS;
    await domain.wait(120_000);
    expect(seen(3)).toEqual(["active east open, west open"]);
  });

  it("and is back within that time changes nothing for the watcher", async () => {
    await begin();
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(30_000);
    domain.west.document = () => watcher.last!.body.replace(/<tuple id="east[\s\S]*?<\/tuple>/, "");
    domain.west.notify(domain.west.live[0]!, "terminated;reason=deactivated", null);
    await domain.wait(60_000);
    expect(domain.west.firsts.length).toBe(2);
    expect(seen(2)).toEqual([]);
  });

  it("whose nodes answer no more is away, though nothing was ended: its elements go after 32 s, and come when it is back", async () => {
    await begin();
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(30_000);
    domain.world.simulation.partition([["127.0.0.12"], ["127.0.0.1"]]);
    // Three probes, and half a minute.
    await domain.wait(50_000);
    expect(seen(2)).toEqual([]);
    await domain.wait(30_000);
    expect(seen(2)).toEqual(["active east open"]);
    domain.world.simulation.heal();
    await domain.wait(20_000);
    expect(seen(3)).toEqual(["active east open, west open"]);
    expect(domain.west.firsts.length).toBe(1);
  });

  it("while it is away the others go on", async () => {
    await begin();
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(30_000);
    domain.west.policy = SILENT;
    domain.west.notify(domain.west.live[0]!, "terminated;reason=deactivated", null);
    await domain.wait(5_000);
    domain.east.basic = "closed";
    domain.east.notify(domain.east.live[0]!);
    await domain.wait(40_000);
    expect(seen(2)).toEqual(["active east closed, west open", "active east closed"]);
  });

  it("that ends what it has just accepted is asked with back-off, not in a circle", async () => {
    await begin();
    domain.west.policy = () => ({ status: 200, state: "terminated;reason=deactivated" });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(60_000);
    expect(domain.west.firsts.length).toBeLessThanOrEqual(6);
    expect(seen()).toEqual(["pending"]);
  });
});

describe("unreachable: without", () => {
  const WITHOUT = { unions: { trees: [], downListener: false, unreachable: "without" } } as const;

  it("leaves out one that never denies (`policy: none`), and has it in when it is back", async () => {
    await begin({ options: WITHOUT, each: { west: { neverDenies: true } } });
    domain.west.policy = () => ({ status: 480 });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(10_000);
    expect(seen()).toEqual(["pending", "active east open"]);
    // It is asked again and again, and nobody is closed while it is.
    await domain.wait(100_000);
    expect(seen()).toEqual(["pending", "active east open"]);
    domain.west.policy = ACCEPTS;
    await domain.wait(300_000);
    expect(seen(2)).toEqual(["active east open, west open"]);
  });

  it("waits for one that decides by itself", async () => {
    await begin({ options: WITHOUT });
    domain.west.policy = () => ({ status: 480 });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(60_000);
    expect(seen()).toEqual(["pending"]);
  });

  it("does not leave out one that has said that it has not decided", async () => {
    await begin({ options: WITHOUT, each: { west: { neverDenies: true } } });
    domain.west.policy = () => ({ status: 200, state: "pending;expires=600" });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(60_000);
    expect(seen()).toEqual(["pending"]);
  });

  it("shows nobody where all are away", async () => {
    await begin({ options: WITHOUT, each: { west: { neverDenies: true }, east: { neverDenies: true } } });
    for (const server of [domain.east, domain.west]) server.policy = SILENT;
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(60_000);
    expect(seen()).toEqual(["pending"]);
  });
});

describe("when the configuration changes", () => {
  const peers = (...servers: string[]): { match: string; model: ModelFacts }[] => [
    { match: "*", model: { model: "unioned", style: "peer", servers } },
  ];

  async function reload(models: { match: string; model: ModelFacts }[]): Promise<void> {
    const { core, telemetry } = domain.world.proxies[0]!;
    core.configure({ ...core.options, models });
    telemetry.emit("configReloaded", { changes: ["models"] });
    await domain.wait(1_000);
  }

  it("a server that is added is asked, one that is taken out is ended and its elements go", async () => {
    await begin({ names: ["east", "west", "north"], options: { models: peers("east", "west") } });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open, west open"]);
    await reload(peers("east", "north"));
    expect(seen().at(-1)).toBe("active east open, north open");
    expect(domain.west.served[0]!.subscribes.at(-1)!.expires).toBe(0);
    await reload(peers("north"));
    expect(seen().at(-1)).toBe("active north open");
  });

  it("until a server that was added has spoken nothing new is shown; one that says nothing hides the whole", async () => {
    await begin({ names: ["east", "west"], options: { models: peers("east") } });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    domain.west.policy = SILENT;
    await reload(peers("east", "west"));
    domain.east.basic = "closed";
    domain.east.notify(domain.east.live[0]!);
    await domain.wait(20_000);
    expect(seen(2)).toEqual([]);
    await domain.wait(20_000);
    expect(seen(2)).toEqual(["active nobody closed"]);
    domain.west.policy = ACCEPTS;
    await domain.wait(120_000);
    expect(seen(3)).toEqual(["active east closed, west open"]);
  });

  it("a server that is added and denies ends it", async () => {
    await begin({ names: ["east", "west"], options: { models: peers("east") } });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    domain.west.policy = () => ({ status: 403 });
    await reload(peers("east", "west"));
    expect(seen(2)).toEqual(["terminated rejected"]);
  });

  it("a fetch under way asks whom it names now, too: one that denies shows nobody what the others have", async () => {
    await begin({ names: ["east", "west", "north"], options: { models: peers("east", "west") } });
    domain.west.policy = () => ({ status: 480 });
    domain.at["north"]!.policy = () => ({ status: 403 });
    await watcher.subscribe(ALICE, 0);
    await domain.wait(200);
    await reload(peers("east", "west", "north"));
    domain.west.policy = ACCEPTS;
    await domain.wait(5_000);
    expect(seen()).toEqual(["terminated rejected"]);
  });

  it("and he is of another model then: terminated;reason=deactivated, so that the watcher subscribes anew", async () => {
    await begin();
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    await reload([{ match: "*", model: { model: "partitioned" } }]);
    expect(seen(2)).toEqual(["terminated deactivated"]);
    expect(domain.east.served[0]!.subscribes.at(-1)!.expires).toBe(0);
  });

  it("and he is of several servers then: who followed him from server to server is to subscribe anew", async () => {
    const exclusive = { model: "exclusive", conflict: "takeover", refuseWith: 403 } as const;
    await begin({
      options: { models: [{ match: "*", model: exclusive }], hold: { users: "any", events: ["presence"] } },
    });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    await reload([{ match: "*", model: { model: "exclusive", conflict: "refuse", refuseWith: 403 } }]);
    expect(seen()).toEqual(["pending"]);
    await reload(peers("east", "west"));
    expect(seen()).toEqual(["pending", "terminated deactivated"]);
    const again = new Watcher(domain.world, "127.0.0.51");
    await again.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    expect(told(again)).toEqual(["pending", "active east open, west open"]);
  });

  it.each([
    ["written down", false, 200, ["pending", "terminated deactivated"]],
    ["written down in vain", true, 500, []],
  ])("while a subscription is being %s: it has an end, and nothing is left of it", async (_, isAway, status, sees) => {
    await begin({ options: { models: peers("east", "west") }, database: { latencyMs: [200, 200] } });
    const sent = watcher.begin(ALICE, 3600);
    await domain.wait(500);
    expect(domain.world.proxies[0]!.services.subscriptions.size).toBe(1);
    domain.world.database.setAway(isAway);
    await reload([{ match: "*", model: { model: "exclusive", conflict: "refuse", refuseWith: 403 } }]);
    await domain.wait(10_000);
    domain.world.database.setAway(false);
    await domain.wait(20_000);
    expect(sent.responses.at(-1)!.status).toBe(status);
    expect(seen()).toEqual(sees);
    const { size, leftovers } = domain.world.proxies[0]!.services.subscriptions;
    expect([size, leftovers, (await domain.rows()).length]).toEqual([0, 0, 0]);
  });

  it("the user's own record counts too, by the feed", async () => {
    await begin({ proxies: 2 });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    const settings = { style: "peer", servers: ["west"] };
    const { directory } = domain.world.proxies[1]!;
    await domain.world.simulation.finish(
      directory.putUser({ aor: AOR, model: "unioned", settings, identities: {} }, "test"),
    );
    await domain.wait(2_000);
    expect(seen(2)).toEqual(["active west open"]);
  });
});

describe("in a tree", () => {
  const tree = { name: "t", root: "east", children: { east: ["west", "north"] } };

  it("of servers that send nothing on each is asked: a virtual root", async () => {
    await begin({ names: ["east", "west", "north"], tree });
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open, north open, west open"]);
  });

  it("the root alone is asked where it composes by itself", async () => {
    await begin({ names: ["east", "west", "north"], tree, each: { east: { onward: "children" } } });
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open"]);
    expect([...domain.west.firsts, ...domain.at["north"]!.firsts]).toEqual([]);
  });

  it("a root that drops out, or is away for long, is stood in for: those below it are asked", async () => {
    await begin({ names: ["east", "west", "north"], tree, each: { east: { onward: "children" } } });
    domain.east.policy = (): Policy => ({ status: 404 });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active north open, west open"]);
    // It has him again, and stands for all below it.
    domain.east.policy = ACCEPTS;
    await domain.wait(301_000);
    await watcher.refresh(3600);
    await domain.wait(1_000);
    expect(seen().at(-1)).toBe("active east open");
    expect(domain.west.live).toEqual([]);
    domain.east.policy = SILENT;
    domain.east.notify(domain.east.live[0]!, "terminated;reason=deactivated", null);
    await domain.wait(40_000);
    expect(seen().at(-1)).toBe("active north open, west open");
  });

  it("one that was stood in for denies as any other", async () => {
    await begin({ names: ["east", "west", "north"], tree, each: { east: { onward: "children" } } });
    domain.east.policy = (): Policy => ({ status: 404 });
    domain.west.policy = (): Policy => ({ status: 403 });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "terminated rejected"]);
  });

  it("a server that gets others below it is asked anew, so that it sends the subscription on to them", async () => {
    const leaf = { name: "t", root: "east", children: { east: ["west"] } };
    await begin({ names: ["east", "west", "north"], tree: leaf, each: { west: { onward: "children" } } });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    const { core, telemetry } = domain.world.proxies[0]!;
    const trees = [{ name: "t", root: "east", children: { east: ["west"], west: ["north"] } }];
    core.configure({ ...core.options, unions: { trees, downListener: false, unreachable: "wait" } });
    telemetry.emit("configReloaded", { changes: ["trees"] });
    await domain.wait(1_000);
    expect([domain.east.firsts.length, domain.west.firsts.length]).toEqual([1, 2]);
    expect(domain.west.live.length).toBe(1);
  });

  it("a server in the middle is given a credit for each child before it is asked, and once more before it is asked again", async () => {
    const middle = { name: "t", root: "east", children: { east: ["west"], west: ["north"] } };
    await begin({ names: ["east", "west", "north"], tree: middle, each: { west: { onward: "children" } } });
    const { unions } = domain.world.proxies[0]!.directory;
    const credit = { watcher: "watcher@example.com", aor: AOR, event: "presence", digest: "", server: "west" };
    const spend = (by: string): Promise<boolean> => domain.world.simulation.finish(unions.spend(credit, by));
    domain.west.policy = (): Policy => ({ status: 200, state: null });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    expect([await spend("1"), await spend("2")]).toEqual([true, false]);
    await domain.wait(30_000);
    domain.west.notify(domain.west.live[0]!, "terminated;reason=deactivated", null);
    await domain.wait(10_000);
    expect([await spend("3"), await spend("4")]).toEqual([true, false]);
  });

  it.each([
    ["has confirmed", ACCEPTS],
    ["denies", (): Policy => ({ status: 403 })],
    ["does not have him", (): Policy => ({ status: 404 })],
    ["cannot say", (): Policy => ({ status: 480 })],
  ])(
    "what is left of it is taken back when the server %s: it would be spent for a user of its own",
    async (_, policy) => {
      const middle = { name: "t", root: "east", children: { east: ["west"], west: ["north"] } };
      await begin({ names: ["east", "west", "north"], tree: middle, each: { west: { onward: "children" } } });
      const { unions } = domain.world.proxies[0]!.directory;
      const credit = { watcher: "watcher@example.com", aor: AOR, event: "presence", digest: "", server: "west" };
      domain.west.policy = policy;
      await watcher.subscribe(ALICE, 3600);
      await domain.wait(1_000);
      expect(await domain.world.simulation.finish(unions.spend(credit, "1"))).toBe(false);
    },
  );

  it("with the database away no credit can be written down, and such a server is not asked", async () => {
    const middle = { name: "t", root: "east", children: { east: ["west"], west: ["north"] } };
    await begin({ names: ["east", "west", "north"], tree: middle, each: { west: { onward: "children" } } });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(30_000);
    domain.world.database.setAway(true);
    domain.west.notify(domain.west.live[0]!, "terminated;reason=deactivated", null);
    await domain.wait(8_000);
    expect(domain.west.firsts.length).toBe(1);
    domain.world.database.setAway(false);
    await domain.wait(30_000);
    expect(domain.west.firsts.length).toBe(2);
  });
});
