import { afterEach, describe, expect, it } from "vitest";
import { ALICE, AOR, Exclusive } from "../support/exclusive.ts";
import { Watcher } from "../support/watcher.ts";
import type { WorldOptions } from "../support/world.ts";

/** models.md: what else a subscription follows, and by which names and ways. */

let domain: Exclusive;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function begin(options: WorldOptions = {}): Promise<void> {
  domain = new Exclusive();
  await domain.begin(options);
  watcher = new Watcher(domain.world, "127.0.0.50");
}

async function watching(options: WorldOptions = {}): Promise<void> {
  await begin(options);
  await domain.bind("east");
  await watcher.subscribe(ALICE, 3600);
  await domain.wait(500);
}

/** Make before break: the second server is told of to every proxy, and has the user a moment later. */
async function prepare(server: string, ms: number): Promise<void> {
  const { directory, runtime } = domain.world.proxies[0]!;
  const until = runtime.clock.wall() + ms;
  await domain.world.simulation.finish(directory.moves.prepare([{ aor: AOR, server }], until));
  await domain.wait(500);
}

describe("a move that makes before it breaks", () => {
  it("has its leg up before the binding changes, and shows it the moment it does", async () => {
    await watching();
    await prepare("west", 10_000);
    expect([domain.west.live.length, domain.east.live.length]).toEqual([1, 1]);
    domain.east.notify(domain.east.served[0]!, undefined, "closed");
    await domain.wait(100);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed"]);
    const asked = domain.west.firsts.length;
    await domain.bind("west");
    await domain.wait(100);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed", "active open"]);
    expect(watcher.last!.body).toContain('id="west-1"');
    expect([domain.west.firsts.length, domain.east.live.length]).toEqual([asked, 0]);
  });

  it("shows the newest of what it has waited with", async () => {
    await watching();
    await prepare("west", 10_000);
    domain.west.notify(domain.west.served[0]!, undefined, "closed");
    await domain.wait(100);
    await domain.bind("west");
    await domain.wait(100);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed"]);
  });

  it("that does not come is dropped in time, and nobody has seen anything", async () => {
    await watching();
    await prepare("west", 5_000);
    await domain.wait(6_000);
    expect([domain.west.live.length, domain.east.live.length]).toEqual([0, 1]);
    expect(watcher.saw).toEqual(["pending", "active open"]);
  });

  it("to a server that refuses meanwhile is a plain move when it comes", async () => {
    await watching();
    domain.west.policy = () => ({ status: 403 });
    await prepare("west", 5_000);
    expect(watcher.saw).toEqual(["pending", "active open"]);
    domain.west.policy = () => ({ status: 200 });
    await domain.bind("west");
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open", "active open"]);
    expect(domain.east.live).toEqual([]);
  });

  it("away from a server that fails: the leg ahead is not given up for another try there", async () => {
    await begin();
    domain.east.policy = () => ({ status: 480 });
    await domain.bind("east");
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    await prepare("west", 30_000);
    await domain.wait(20_000);
    expect([domain.west.firsts.length, domain.west.live.length]).toEqual([1, 1]);
    await domain.bind("west");
    await domain.wait(100);
    expect(watcher.saw).toEqual(["pending", "active open"]);
    expect(domain.west.firsts).toHaveLength(1);
  });

  it("away from a server that fails, and does not come: it is tried there again", async () => {
    await begin();
    domain.east.policy = () => ({ status: 480 });
    await domain.bind("east");
    await watcher.subscribe(ALICE, 3600);
    await prepare("west", 10_000);
    domain.east.policy = () => ({ status: 200 });
    await domain.wait(20_000);
    expect(watcher.saw).toEqual(["pending", "active open"]);
    expect([domain.west.live.length, domain.east.live.length]).toEqual([0, 1]);
  });

  it("to one server while he is moved to another: the leg ahead is let go of", async () => {
    await watching();
    await domain.unbind();
    await domain.wait(100);
    await prepare("west", 60_000);
    await domain.bind("east");
    await domain.wait(500);
    expect([domain.west.live.length, domain.east.live.length]).toEqual([0, 1]);
    expect(watcher.saw.at(-1)).toBe("active open");
  });
});

describe("a server that is down", () => {
  it("is asked again at once when it comes up", async () => {
    await watching({ options: { health: { intervalMs: 10_000, failures: 1, timeoutMs: 1_000 } } });
    domain.world.simulation.link("127.0.0.1", "127.0.0.12", { loss: 1 });
    await domain.wait(30_000);
    await domain.bind("west");
    // Long enough for the back-off to have grown.
    await domain.wait(240_000);
    expect(watcher.saw.slice(2)).toEqual(["active closed"]);
    domain.world.simulation.link("127.0.0.1", "127.0.0.12", { loss: 0 });
    await domain.wait(4_000);
    expect(watcher.saw.slice(2)).toEqual(["active closed", "active open"]);
  });
});

describe("a server that was started again and has forgotten everything", () => {
  it("is found out as soon as it is back: a new leg, the watcher undisturbed", async () => {
    await watching({ options: { health: { intervalMs: 10_000, failures: 1, timeoutMs: 1_000 } } });
    domain.world.simulation.link("127.0.0.1", "127.0.0.11", { loss: 1 });
    await domain.wait(30_000);
    for (const each of domain.east.served) each.over = true;
    domain.east.basic = "closed";
    domain.world.simulation.link("127.0.0.1", "127.0.0.11", { loss: 0 });
    await domain.wait(6_000);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed"]);
    expect([domain.east.firsts.length, domain.east.live.length]).toEqual([2, 1]);
  });
});

describe("a server that knows him by another name", () => {
  it("is asked by that name, and its documents come out under his own", async () => {
    await begin({ each: { east: { identities: { [AOR]: "al.ice" } } } });
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    const [leg] = domain.east.firsts;
    expect([leg!.requestUri, leg!.to.uri.raw]).toEqual(["sip:al.ice@example.com", "sip:al.ice@example.com"]);
    const [served] = domain.east.served;
    const body = domain.east.document(served!, "open");
    expect(body).toContain("sip:al.ice@example.com");
    expect(watcher.last!.body).toContain('entity="sip:alice@example.com"');
  });

  it("leaves names alone that only begin like his", async () => {
    await begin({ each: { east: { identities: { [AOR]: "al.ice" } } } });
    await domain.bind("east");
    domain.east.more = "<note>sip:al.ice@example.community, pres:al.ice@example.com, sip:alxice@example.com</note>";
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    expect(watcher.last!.body).toContain(
      "<note>sip:al.ice@example.community, pres:alice@example.com, sip:alxice@example.com</note>",
    );
  });

  it("under its subdomain where it has one; its documents come out under his own name", async () => {
    await begin({ each: { east: { subdomain: "east.example.com" } } });
    await domain.bind("east");
    domain.east.more = "<note>sip:alice@east.example.com</note>";
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    expect(domain.east.firsts[0]!.requestUri).toBe("sip:alice@east.example.com");
    expect(watcher.last!.body).toContain("<note>sip:alice@example.com</note>");
  });

  it("by his own record", async () => {
    await begin();
    await domain.known(AOR, { east: "a.l@east.example.com" });
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    expect(domain.east.firsts[0]!.requestUri).toBe("sip:a.l@east.example.com");
    expect(watcher.saw).toEqual(["pending", "active open"]);
  });

  it("has its own name for the watcher, too", async () => {
    await begin({ each: { east: { identities: { "watcher@example.com": "w" } } } });
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    expect(domain.east.firsts[0]!.from.uri.raw).toBe("sip:w@example.com");
  });

  it("in the partitioned model makes his subscription back-to-back", async () => {
    await begin({ each: { east: { identities: { [AOR]: "al.ice" } } }, options: { models: [] } });
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open"]);
    expect(watcher.last!.body).toContain('entity="sip:alice@example.com"');
    expect(await domain.rows()).toMatchObject([{ legServer: "east" }]);
  });
});

describe("a user who is bound while the row is being written", () => {
  /** Watchers who are left pending: statements and the feed take any time, so that either may be there first. */
  async function stranded(unsafe: { readonly indexedLate?: boolean }): Promise<number> {
    const subscriptions = { sweep: { everyMs: 600_000, page: 1 }, unsafe };
    await begin({ proxies: 2, database: { latencyMs: [0, 120] }, services: { subscriptions } });
    const watchers: Watcher[] = [];
    for (let i = 0; i < 80; i++) {
      const user = `user${i}`;
      await domain.known(`${user}@example.com`);
      const each = new Watcher(domain.world, `127.0.1.${i + 1}`);
      watchers.push(each);
      each.begin(`sip:${user}@example.com`, 3600);
      await domain.wait(60 + (i % 40) * 5);
      const { directory } = domain.world.proxies[1]!;
      void directory.move({ aor: `${user}@example.com`, to: "east", equalRank: true, actor: "test" });
    }
    await domain.wait(10_000);
    return watchers.filter((each) => each.last?.shown !== "open").length;
  }

  it("is seen by nobody too late: before, after, or by the feed (concurrency.md 4)", async () => {
    expect(await stranded({})).toBe(0);
  });

  it("would be missed by somebody, were the index filled after the insert", async () => {
    expect(await stranded({ indexedLate: true })).toBeGreaterThan(0);
  });
});

describe("another event package", () => {
  async function subscribed(): Promise<void> {
    await begin();
    domain.east.event = "dialog";
    domain.west.event = "dialog";
    await domain.bind("east");
    watcher.sent = watcher.client.request("SUBSCRIBE", ALICE).edit().set("Event", "dialog").build();
    await watcher.client.all(watcher.client.beginRequest(watcher.sent));
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open"]);
  }

  it("follows the user, and is never given a presence document in place of its own", async () => {
    await subscribed();
    domain.west.policy = () => ({ status: 404 });
    await domain.bind("west");
    await domain.wait(1_000);
    expect(watcher.saw).toHaveLength(2);
    domain.west.policy = () => ({ status: 200 });
    await domain.wait(10_000);
    expect(watcher.saw).toEqual(["pending", "active open", "active open"]);
    expect(watcher.last!.request.event?.package).toBe("dialog");
  });

  it("ends with probation when he goes: it is not held, and nothing stands for one who is away", async () => {
    await subscribed();
    await domain.unbind();
    await domain.wait(500);
    expect(watcher.saw.at(-1)).toBe("terminated probation");
    expect(domain.east.live).toEqual([]);
  });
});

describe("many watchers of one user", () => {
  it("are all moved, and share the document", async () => {
    await begin();
    const watchers = Array.from({ length: 20 }, (_, i) => new Watcher(domain.world, `127.0.0.${60 + i}`));
    for (const [i, each] of watchers.entries()) await each.subscribe(ALICE, 3600, { from: `sip:w${i}@example.com` });
    await domain.bind("east");
    await domain.wait(1_000);
    await domain.bind("west");
    await domain.wait(1_000);
    for (const each of watchers) expect(each.saw).toEqual(["pending", "active open", "active open"]);
    expect([domain.east.live.length, domain.west.live.length]).toEqual([0, 20]);
  });
});

describe("a client that only its connection leads to (RFC 5626)", () => {
  const BEHIND = {
    contacts: ["<sip:watcher@hidden.invalid>"],
    // Too large for a datagram (RFC 3261 18.1.1): it opens a connection.
    headers: [["Subject", "x".repeat(1_500)]] as const,
  };

  it("is told over that connection", async () => {
    await begin();
    expect((await watcher.subscribe(ALICE, 3600, BEHIND)).status).toBe(200);
    await domain.bind("east");
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open"]);
    expect(watcher.last!.request.via.transport).toBe("TCP");
    expect(watcher.last!.contact).toContain("transport=tcp");
  });

  it("that has lost it is told over the one it comes back with", async () => {
    await begin();
    await watcher.subscribe(ALICE, 3600, BEHIND);
    await domain.wait(500);
    domain.world.simulation.partition([["127.0.0.50"], ["127.0.0.1"]]);
    await domain.bind("east");
    await domain.wait(60_000);
    expect(watcher.saw).toEqual(["pending"]);
    domain.world.simulation.heal();
    const again = watcher.again(3600, { headers: BEHIND.headers });
    await watcher.client.all(again);
    await domain.wait(1_000);
    expect([again.final, watcher.saw.at(-1)]).toEqual([200, "active open"]);
    expect(watcher.told.map((each) => each.cseq)).toEqual(
      [...watcher.told.map((each) => each.cseq)].sort((a, b) => a - b),
    );
  });

  it("that comes to another proxy is to subscribe anew there: 481", async () => {
    await begin({ proxies: 2 });
    await watcher.subscribe(ALICE, 3600, BEHIND);
    const again = watcher.again(3600, { headers: BEHIND.headers, proxy: "127.0.0.2" });
    await watcher.client.all(again);
    expect(again.final).toBe(481);
  });

  it("is not taken over with its proxy: it comes back, and its leg is ended (concurrency.md 7)", async () => {
    await begin({ proxies: 2 });
    await domain.wait(20_000);
    await domain.bind("east", 1);
    await watcher.subscribe(ALICE, 3600, BEHIND);
    await domain.wait(500);
    expect(domain.east.live).toHaveLength(1);
    domain.world.proxies[0]!.kill();
    await domain.wait(40_000);
    expect(domain.east.live).toEqual([]);
    expect(
      await domain.world.simulation.finish(domain.world.proxies[1]!.directory.subscriptions.list({ limit: 5 })),
    ).toEqual([]);
    expect(watcher.saw).toEqual(["pending", "active open"]);
  });
});
