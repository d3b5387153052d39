import { afterEach, describe, expect, it, vi } from "vitest";
import { buildResponse } from "../../src/sip/message/build.ts";
import { always, createWorld, reply, type Script, type World } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";
const AOR = "bob@example.com";

function messages(): number[] {
  return Object.values(world.scripted).map((server) => server.seen("MESSAGE").length);
}

/** Answers after so many virtual milliseconds. */
function inMs(ms: number, status: number): Script {
  return (transaction, self) => {
    self.stack.runtime.timers.after(ms, () => reply(transaction, self, status));
  };
}

/** No probes: days pass quickly. */
const RARE = { options: { health: { intervalMs: 0, failures: 3, timeoutMs: 2_000 } } };

describe("models.md, Lifetimes", () => {
  it("learned is good for 24 h: the second request is no fork, however much later", async () => {
    world = await createWorld({ ...RARE, servers: { east: { script: always(404) }, west: { script: always(200) } } });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    for (const hours of [0.01, 1, 22]) {
      await world.simulation.advance(hours * 3_600_000);
      expect(await client.status("MESSAGE", BOB)).toBe(200);
    }
    expect(messages()).toEqual([1, 4]);
  });

  it("a proving 2xx renews what was learned, and after 24 h without one he is searched again", async () => {
    world = await createWorld({ ...RARE, servers: { east: { script: always(404) }, west: { script: always(200) } } });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    await world.simulation.advance(20 * 3_600_000);
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    await world.simulation.advance(20 * 3_600_000);
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(messages()).toEqual([1, 3]);
    await world.simulation.advance(24.1 * 3_600_000);
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(messages()).toEqual([2, 4]);
  }, 120_000);

  it("what is fresh is not written again: a busy user costs no write a request", async () => {
    world = await createWorld({ ...RARE, servers: { east: { script: always(404) }, west: { script: always(200) } } });
    const { directory } = world.proxies[0]!;
    const learn = vi.spyOn(directory, "learn");
    const client = world.client("127.0.0.50");
    for (let i = 0; i < 5; i++) expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(learn).toHaveBeenCalledTimes(1);
    await world.simulation.advance(12.5 * 3_600_000);
    for (let i = 0; i < 5; i++) {
      expect(await client.status("MESSAGE", BOB)).toBe(200);
      await world.simulation.advance(1_000);
    }
    expect(learn).toHaveBeenCalledTimes(2);
  });

  it("a 404 from the server learned: unlearned on the epoch, one fork without it, once only", async () => {
    let west = 200;
    world = await createWorld({
      servers: {
        east: { script: (t, s) => reply(t, s, west === 200 ? 404 : 200) },
        west: { script: (t, s) => reply(t, s, west) },
        north: { script: always(404) },
      },
    });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    west = 404;
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(messages()).toEqual([2, 2, 2]);
    expect(world.proxies[0]!.told.unlearned).toEqual([expect.objectContaining({ aor: AOR, server: "west" })]);
    expect(await world.simulation.finish(world.proxies[0]!.directory.lookup(AOR))).toMatchObject({
      state: "bound",
      binding: { server: "east", origin: "learned" },
    });
  });

  it("a 404 from the server learned, and from all others: 404 after one fork", async () => {
    let west = 200;
    world = await createWorld({
      servers: { east: { script: always(404) }, west: { script: (t, s) => reply(t, s, west) } },
    });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    west = 404;
    expect(await client.status("MESSAGE", BOB)).toBe(404);
    expect(messages()).toEqual([2, 2]);
  });

  it("480 is never remembered: the next request asks again", async () => {
    world = await createWorld({ servers: { east: { script: always(404) }, west: { script: always(480) } } });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(480);
    expect(await client.status("MESSAGE", BOB)).toBe(480);
    expect(messages()).toEqual([2, 2]);
  });

  it("all said 404 is dropped when a server comes up", async () => {
    world = await createWorld({ servers: { east: {}, west: {} } });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(404);
    const core = world.proxies[0]!.core;
    core.rotation.drain("west", true);
    core.rotation.drain("west", false);
    world.servers["west"]!.hold("bob");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
  });
});

describe("models.md, Bound", () => {
  it("learned, and the server cannot be asked: 480 with Retry-After, the binding kept", async () => {
    let west = 200;
    world = await createWorld({
      servers: { east: { script: always(404) }, west: { script: (t, s) => reply(t, s, west) } },
    });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    for (const status of [480, 408, 500, 503]) {
      west = status;
      const final = (await client.send("MESSAGE", BOB)).at(-1)!;
      expect([status, final.status, final.header("Retry-After")]).toEqual([status, 480, "10"]);
    }
    expect(messages()).toEqual([1, 5]);
    expect(world.proxies[0]!.core.cache.peek(AOR)).toMatchObject({ state: "bound", binding: { server: "west" } });
  });

  it("learned for the very server that asks: stale, dropped, forked without that server", async () => {
    world = await createWorld({
      servers: { east: { script: always(404) }, west: { script: always(200) }, north: { script: always(404) } },
    });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    // Now west asks for him: he lives there no more.
    expect(await world.scripted["west"]!.status("MESSAGE", BOB, { from: "sip:joe@example.com" })).toBe(404);
    expect(messages()).toEqual([2, 1, 2]);
    expect(await world.simulation.finish(world.proxies[0]!.directory.lookup(AOR))).toMatchObject({
      state: "no-binding",
    });
  });

  it.each(["provisioned", "admin", "registered"] as const)(
    "%s for the very server that asks: 404, kept",
    async (origin) => {
      world = await createWorld({ servers: { east: { script: always(200) }, west: { script: always(200) } } });
      const { directory } = world.proxies[0]!;
      await world.simulation.finish(
        directory.claim({
          aor: AOR,
          server: "west",
          origin,
          expiresAt: null,
          conflict: "takeover",
          equalRank: false,
          actor: "test",
        }),
      );
      expect(await world.scripted["west"]!.status("MESSAGE", BOB, { from: "sip:joe@example.com" })).toBe(404);
      expect(messages()).toEqual([0, 0]);
      expect(await world.simulation.finish(directory.lookup(AOR))).toMatchObject({
        binding: { server: "west", origin },
      });
    },
  );

  it.each(["MESSAGE", "SUBSCRIBE", "INVITE", "OPTIONS"])("%s is relayed and never forked", async (method) => {
    world = await createWorld({ servers: { east: { script: always(200) }, west: { script: always(404) } } });
    await world.simulation.finish(
      world.proxies[0]!.directory.claim({
        aor: AOR,
        server: "west",
        origin: "provisioned",
        expiresAt: null,
        conflict: "takeover",
        equalRank: false,
        actor: "test",
      }),
    );
    expect(await world.client("127.0.0.50").status(method, BOB)).toBe(404);
    expect(world.scripted["east"]!.seen(method)).toHaveLength(0);
    expect(world.scripted["west"]!.seen(method)).toHaveLength(1);
  });
});

describe("concurrent requests of other senders for one unbound user", () => {
  const from = (index: number) => ({ from: `sip:user${index}@example.com` });

  it("wait for the open fork and share what it learned", async () => {
    world = await createWorld({ servers: { east: { script: inMs(50, 404) }, west: { script: inMs(50, 200) } } });
    const client = world.client("127.0.0.50");
    const sent = Array.from({ length: 20 }, (_, index) => client.begin("MESSAGE", BOB, from(index)));
    expect(new Set(await client.all(...sent))).toEqual(new Set([200]));
    expect(messages()).toEqual([1, 20]);
  });

  it("share its 404: nobody is asked twice", async () => {
    world = await createWorld({ servers: { east: { script: inMs(50, 404) }, west: { script: inMs(50, 404) } } });
    const client = world.client("127.0.0.50");
    const sent = Array.from({ length: 20 }, (_, index) => client.begin("MESSAGE", BOB, from(index)));
    expect(new Set(await client.all(...sent))).toEqual(new Set([404]));
    expect(messages()).toEqual([1, 1]);
  });

  it("share its 404 on the other proxy too", async () => {
    world = await createWorld({
      proxies: 2,
      servers: { east: { script: inMs(50, 404) }, west: { script: inMs(50, 404) } },
    });
    const client = world.client("127.0.0.50");
    const sent = Array.from({ length: 20 }, (_, index) =>
      client.begin("MESSAGE", BOB, { ...from(index), proxy: `127.0.0.${1 + (index % 2)}` }),
    );
    expect(new Set(await client.all(...sent))).toEqual(new Set([404]));
    expect(messages()).toEqual([1, 1]);
  });

  it("wait each on its own clock: 8 s after its own receipt, whenever the fork began", async () => {
    world = await createWorld({ servers: { east: { script: always(404) }, west: { script: always(0) } } });
    const client = world.client("127.0.0.50");
    const first = client.begin("MESSAGE", BOB, from(1));
    await world.simulation.advance(5_000);
    const second = client.begin("MESSAGE", BOB, from(2));
    expect(await client.all(first, second)).toEqual([480, 480]);
    expect(first.tookMs! / 1000).toBeCloseTo(8, 1);
    expect(second.tookMs! / 1000).toBeCloseTo(8, 1);
  });

  it("one sender's requests behind each other: each is delivered, where nothing can be learned", async () => {
    world = await createWorld({ servers: { east: { script: inMs(50, 404) }, west: { script: inMs(50, 202) } } });
    const client = world.client("127.0.0.50");
    const sent = Array.from({ length: 4 }, () => client.begin("MESSAGE", BOB));
    expect(await client.all(...sent)).toEqual([202, 202, 202, 202]);
    expect(messages()).toEqual([4, 4]);
  });

  it.each([1, 2])("an INVITE that rings keeps nobody else from asking, %i proxies", async (proxies) => {
    world = await createWorld({
      proxies,
      servers: {
        east: { script: always(404) },
        west: { script: (t, s) => reply(t, s, t.request.method === "INVITE" ? 180 : 200) },
      },
    });
    const client = world.client("127.0.0.50");
    const call = client.begin("INVITE", BOB, from(1));
    const sent = client.begin("MESSAGE", BOB, { ...from(2), proxy: `127.0.0.${proxies}` });
    await client.all(sent);
    expect(sent.final).toBe(200);
    expect(sent.tookMs!).toBeLessThan(1_500);
    call.cancel();
    await world.simulation.run(() => call.ended);
  });

  it("a request that waited is answered even if the one that forked is never", async () => {
    world = await createWorld({ servers: { east: { script: always(0) }, west: { script: always(0) } } });
    const client = world.client("127.0.0.50");
    const sent = [1, 2, 3].map((index) => client.begin("MESSAGE", BOB, from(index)));
    expect(await client.all(...sent)).toEqual([480, 480, 480]);
    expect(await world.leftOver()).toEqual([]);
  });
});

describe("what is learned or claimed while a fork is being recorded", () => {
  it("is seen once the record stands: nobody is searched who has just been found", async () => {
    world = await createWorld({
      servers: { east: { script: always(200) }, west: { script: always(200) } },
      database: { latencyMs: [100, 100] },
    });
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", BOB);
    // The lookup has found nothing, the fork is on its way to its row.
    await world.simulation.advance(250);
    const { directory, runtime } = world.proxies[0]!;
    const claim = directory.learn(AOR, "west", runtime.clock.wall() + 1_000_000);
    await client.all(sent);
    await claim;
    expect(sent.final).toBe(200);
    expect(messages()).toEqual([0, 1]);
    expect(await world.leftOver()).toEqual([]);
  });
});

describe("models.md, Proof", () => {
  it("a MESSAGE 202 is no delivery (RFC 3428 7): forwarded, nothing learned", async () => {
    world = await createWorld({ servers: { east: { script: always(404) }, west: { script: always(202) } } });
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(202);
    expect(world.proxies[0]!.told.learned).toEqual([]);
  });

  it("two proving 2xx in one fork teach nothing and are reported as a conflict", async () => {
    world = await createWorld({ servers: { east: { script: always(200) }, west: { script: inMs(20, 200) } } });
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", BOB);
    await client.all(sent);
    await world.simulation.advance(1_000);
    expect(sent.statuses).toEqual([200]);
    expect(world.proxies[0]!.told.conflict).toEqual([{ aor: AOR, servers: ["east", "west"] }]);
    expect(await world.simulation.finish(world.proxies[0]!.directory.lookup(AOR))).toMatchObject({
      state: "no-binding",
    });
  });

  it("a server that accepts anyone loses its mark at start, and is asked only after all provers said not here", async () => {
    world = await createWorld({ servers: { east: { onUnknown: "accept" }, west: {}, north: { users: ["bob"] } } });
    const proxy = world.proxies[0]!;
    expect(proxy.told.proofRemoved!.map((each) => [each.server, each.method]).sort()).toEqual([
      ["east", "MESSAGE"],
      ["east", "SUBSCRIBE"],
    ]);
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(["east", "west", "north"].map((name) => world.servers[name]!.seen("MESSAGE", "bob"))).toEqual([0, 1, 1]);
    expect(await client.status("MESSAGE", "sip:carol@example.com")).toBe(200);
    expect(["east", "west", "north"].map((name) => world.servers[name]!.seen("MESSAGE", "carol"))).toEqual([1, 1, 1]);
    expect(await world.simulation.finish(proxy.directory.lookup("carol@example.com"))).toMatchObject({
      state: "no-record",
    });
  });

  it("with a prover silent nobody of the second stage is asked: 480 with Retry-After, never 404", async () => {
    world = await createWorld({
      servers: { east: { onUnknown: "accept" }, west: { script: always(0) }, north: {} },
    });
    const final = (await world.client("127.0.0.50").send("MESSAGE", BOB)).at(-1)!;
    expect([final.status, final.header("Retry-After")]).toEqual([480, "10"]);
    expect(world.servers["east"]!.seen("MESSAGE", "bob")).toBe(0);
  });

  it("a mark is checked again at recovery: what the server answered before it went down proves nothing", async () => {
    world = await createWorld({ servers: { east: {}, west: {} } });
    const { simulation } = world;
    simulation.partition([["127.0.0.1"], ["127.0.0.11"]]);
    await simulation.advance(60_000);
    expect(world.proxies[0]!.core.servers()[0]).toMatchObject({ name: "east", up: false });
    world.servers["east"]!.onUnknown = "accept";
    simulation.heal();
    await simulation.advance(10_000);
    expect(world.proxies[0]!.core.servers()[0]).toMatchObject({
      up: true,
      proves: ["INVITE"],
      proofRemoved: ["MESSAGE", "SUBSCRIBE"],
    });
  });

  it("the first request after the recovery finds no mark that is not checked yet", async () => {
    // Recovered by traffic: the fork's own branch is the first that hears of it.
    world = await createWorld({ servers: { east: {}, west: {} } });
    const { simulation } = world;
    const { core } = world.proxies[0]!;
    simulation.partition([["127.0.0.1"], ["127.0.0.11"]]);
    await simulation.advance(60_000);
    const node = core.rotation.server("east")!.nodes[0]!;
    core.rotation.report("east", node, true, "answers");
    expect(core.rotation.facts[0]).toMatchObject({ name: "east", up: true, proves: ["INVITE"] });
    simulation.heal();
    await simulation.advance(10_000);
    expect(core.rotation.facts[0]).toMatchObject({ up: true, proves: ["MESSAGE", "INVITE", "SUBSCRIBE"] });
  });

  it("a server with a mark lost is forwarded in preference to a 404 and teaches nothing", async () => {
    world = await createWorld({
      servers: {
        east: { script: (t) => t.respond(buildResponse(t.request, 200)) },
        west: { script: always(404) },
      },
      each: { east: { proves: [] } },
    });
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(200);
    expect(world.proxies[0]!.told.learned).toEqual([]);
    expect(messages()).toEqual([1, 1]);
  });
});
