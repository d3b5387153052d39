import { afterEach, describe, expect, it } from "vitest";
import type { Client, Outgoing, Script, World } from "../support/world.ts";
import { always, createWorld, reply } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";

async function servers(scripts: Readonly<Record<string, Script>>, options = {}): Promise<Client> {
  world = await createWorld({
    servers: Object.fromEntries(Object.entries(scripts).map(([name, script]) => [name, { script }])),
    ...options,
  });
  return world.client("127.0.0.50");
}

/** Rings at once, and answers after so many virtual milliseconds, unless it was cancelled; 0: rings on. */
function rings(ms: number, status = 200): Script {
  return (transaction, self) => {
    reply(transaction, self, 180);
    if (ms > 0) self.stack.runtime.timers.after(ms, () => reply(transaction, self, status));
  };
}

function cancelled(): Record<string, number> {
  return Object.fromEntries(Object.entries(world.scripted).map(([name, server]) => [name, server.cancelled.length]));
}

async function settled(...calls: Outgoing[]): Promise<void> {
  await world.simulation.run(() => calls.every((call) => call.ended));
}

/** West has a name, and the name servers take their time. */
const NAMED = {
  zone: { "west.test": { a: ["127.0.0.12"] } },
  uris: { west: "sip:west.test:5060" },
  dnsMs: 400,
  options: { health: { intervalMs: 0, failures: 3, timeoutMs: 2_000 } },
};

describe("CANCEL reaches every open branch (RFC 3261 9, 16.10)", () => {
  it("while forking: each branch gets it, 487 goes upstream", async () => {
    const client = await servers({ east: rings(0), west: rings(0), north: rings(0) });
    const call = client.begin("INVITE", BOB);
    await world.simulation.advance(1_000);
    call.cancel();
    await settled(call);
    await world.simulation.advance(100);
    expect(call.final).toBe(487);
    expect(call.statuses.filter((status) => status >= 200)).toEqual([487]);
    expect(cancelled()).toEqual({ east: 1, west: 1, north: 1 });
    expect(await world.leftOver()).toEqual([]);
  });

  it("9.1: before a branch has answered it waits for its provisional response", async () => {
    const client = await servers({
      east: always(404),
      west: (transaction, self) => void self.stack.runtime.timers.after(3_000, () => reply(transaction, self, 180)),
    });
    const call = client.begin("INVITE", BOB);
    await world.simulation.advance(1_000);
    call.cancel();
    await world.simulation.advance(1_500);
    // The transaction layer's 100 was the first word of west's.
    await settled(call);
    expect(call.final).toBe(487);
    expect(cancelled()).toEqual({ east: 0, west: 1 });
  });

  it.each([250, 700, 1_000, 1_500])("while the directory is asked: 487 at once, nobody rings (%i ms)", async (ms) => {
    // Looked up until 600 ms, the fork recorded until 1,200, looked up again until 1,800.
    const client = await servers({ east: rings(0), west: rings(0) }, { database: { latencyMs: [300, 300] } });
    const call = client.begin("INVITE", BOB);
    await world.simulation.advance(ms);
    expect(world.scripted["east"]!.seen("INVITE")).toEqual([]);
    call.cancel();
    await settled(call);
    await world.simulation.advance(5_000);
    expect(call.final).toBe(487);
    expect(Object.values(world.scripted).flatMap((server) => server.seen("INVITE"))).toEqual([]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("while what was learned is being unlearned: 487, and nobody else rings", async () => {
    let west = 200;
    const client = await servers(
      { east: (t, s) => (west === 200 ? reply(t, s, 404) : rings(0)(t, s)), west: (t, s) => reply(t, s, west) },
      { database: { latencyMs: [200, 200] } },
    );
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    await world.simulation.advance(1_000);
    west = 404;
    const call = client.begin("INVITE", BOB);
    await world.simulation.run(() => world.scripted["west"]!.seen("INVITE").length > 0);
    await world.simulation.advance(210);
    call.cancel();
    await settled(call);
    await world.simulation.advance(5_000);
    expect(call.final).toBe(487);
    expect(world.scripted["east"]!.seen("INVITE")).toEqual([]);
  });

  it("while a server's name is being resolved: that server never rings", async () => {
    const client = await servers({ east: rings(0), west: rings(0) }, NAMED);
    await world.simulation.advance(60_000);
    const call = client.begin("INVITE", BOB);
    await world.simulation.run(() => world.scripted["east"]!.seen("INVITE").length > 0);
    call.cancel();
    await settled(call);
    await world.simulation.advance(2_000);
    expect(call.final).toBe(487);
    expect(world.scripted["west"]!.seen("INVITE")).toEqual([]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("while the name of the one server that has him is being resolved: 487 at once, and it never rings", async () => {
    const client = await servers({ east: always(404), west: rings(0) }, NAMED);
    const { directory, runtime } = world.proxies[0]!;
    await world.simulation.finish(directory.learn("bob@example.com", "west", runtime.clock.wall() + 1_000_000));
    await world.simulation.advance(60_000);
    const call = client.begin("INVITE", BOB);
    await world.simulation.advance(100);
    call.cancel();
    await settled(call);
    await world.simulation.advance(2_000);
    expect(call.final).toBe(487);
    expect(world.scripted["west"]!.seen("INVITE")).toEqual([]);
  });

  it("crossing the 200: the call stands, the CANCEL has no effect (9.2)", async () => {
    const client = await servers({ east: always(404), west: rings(500) });
    world.scripted["west"]!.onCancel = () => undefined;
    const call = client.begin("INVITE", BOB);
    await world.simulation.advance(500.2);
    call.cancel();
    await settled(call);
    expect(call.final).toBe(200);
  });

  it("a branch that never answers its CANCEL is given up (9.1: 64*T1), and 487 goes upstream", async () => {
    const client = await servers({ east: always(404), west: rings(0) });
    world.scripted["west"]!.onCancel = () => undefined;
    const call = client.begin("INVITE", BOB);
    await world.simulation.advance(1_000);
    call.cancel();
    await world.simulation.advance(33_000);
    expect(world.proxies[0]!.told.request!.at(-1)).toMatchObject({ method: "INVITE", status: 487 });
    expect(await world.leftOver()).toEqual([]);
  });

  it("its Reason goes with it (RFC 3326)", async () => {
    const client = await servers({ east: rings(0), west: rings(0) });
    const call = client.begin("INVITE", BOB);
    await world.simulation.advance(1_000);
    call.cancel('SIP;cause=480;text="gone"');
    await settled(call);
    for (const server of Object.values(world.scripted)) {
      expect(server.cancels.map((each) => each.header("Reason"))).toEqual(['SIP;cause=480;text="gone"']);
    }
  });
});

describe("answers to a forked INVITE", () => {
  it("provisional responses of every branch go upstream (16.7 step 5)", async () => {
    const client = await servers({ east: rings(300, 486), west: rings(500) });
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect(call.statuses.filter((status) => status === 180)).toHaveLength(2);
    expect(call.final).toBe(200);
  });

  it("every 2xx goes upstream: two answer before CANCEL reaches them", async () => {
    const client = await servers({ east: rings(500), west: rings(500) });
    const call = client.begin("INVITE", BOB);
    await settled(call);
    await world.simulation.advance(1_000);
    const answers = call.responses.filter((response) => response.status === 200);
    expect(answers.map((response) => response.to.tag).sort()).toEqual(["at-127.0.0.11", "at-127.0.0.12"]);
    expect(world.proxies[0]!.told.conflict).toHaveLength(1);
  });

  it("a success cancels the others, which learn that the call was taken elsewhere (RFC 3326)", async () => {
    const client = await servers({ east: rings(300), west: rings(0), north: rings(0) });
    const call = client.begin("INVITE", BOB);
    await settled(call);
    await world.simulation.advance(1_000);
    expect(call.statuses.filter((status) => status >= 200)).toEqual([200]);
    expect(cancelled()).toEqual({ east: 0, west: 1, north: 1 });
    expect(world.scripted["west"]!.cancels[0]!.header("Reason")).toBe('SIP;cause=200;text="Call completed elsewhere"');
  });

  it("a 6xx cancels the others and wins (16.7 step 5, 6)", async () => {
    const client = await servers({ east: rings(300, 603), west: rings(0), north: always(486) });
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect(call.final).toBe(603);
    expect(cancelled()).toEqual({ east: 0, west: 1, north: 0 });
  });

  it("a partition's 604 is its 404: it cancels nobody and loses to a success", async () => {
    const client = await servers({ east: always(604), west: rings(300) });
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect(call.final).toBe(200);
    expect(cancelled()).toEqual({ east: 0, west: 0 });
  });

  it.each([
    [[486, 404, 404], 486],
    [[404, 603, 486], 603],
    [[404, 480, 404], 480],
    [[404, 503, 404], 480],
    [[604, 410, 482], 404],
    [[415, 486, 404], 415],
    [[302, 486, 404], 302],
    [[501, 404, 404], 501],
    [[404, 500, 486], 486],
  ] as const)("of %s the best is %s (16.7 step 6, models.md)", async (statuses, best) => {
    const [east, west, north] = statuses;
    const client = await servers({ east: always(east), west: always(west), north: always(north) });
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect(call.final).toBe(best);
  });

  it("challenges of several branches are put together (16.7 step 7)", async () => {
    const challenge = (realm: string) => `Digest realm="${realm}", nonce="1"`;
    const client = await servers({
      east: always(401, [["WWW-Authenticate", challenge("east")]]),
      west: always(407, [["Proxy-Authenticate", challenge("west")]]),
      north: always(404),
    });
    const call = client.begin("INVITE", BOB);
    await settled(call);
    const final = call.responses.at(-1)!;
    expect(final.status).toBe(401);
    expect(final.headers("WWW-Authenticate")).toEqual([challenge("east")]);
    expect(final.headers("Proxy-Authenticate")).toEqual([challenge("west")]);
  });

  it("the 408 and 480 of a branch go upstream as 480 with Retry-After", async () => {
    const client = await servers({ east: always(404), west: always(408) });
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect([call.final, call.responses.at(-1)!.header("Retry-After")]).toEqual([480, "10"]);
  });

  it("rings on past the decision, but nobody else is asked then", async () => {
    const client = await servers(
      { east: rings(20_000, 404), west: always(404), north: always(200) },
      {
        each: { north: { proves: [] } },
      },
    );
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect(call.final).toBe(480);
    expect(world.scripted["north"]!.seen("INVITE")).toEqual([]);
  });

  it("an INVITE that nobody answers ends by Timer B, and its fork was closed long before", async () => {
    const client = await servers({ east: always(404), west: (transaction) => void transaction });
    world.simulation.partition([["127.0.0.1"], ["127.0.0.12"]]);
    const call = client.begin("INVITE", BOB);
    await world.simulation.advance(9_000);
    expect(world.proxies[0]!.core.openForks.size).toBe(0);
    await settled(call);
    expect(call.final).toBe(480);
    expect(call.tookMs! / 1000).toBeCloseTo(32, 0);
  });
});

describe("Timer C (RFC 3261 16.8)", () => {
  it("an INVITE that rings for more than 3 minutes is cancelled", async () => {
    const client = await servers({ east: always(404), west: rings(0) });
    const call = client.begin("INVITE", BOB);
    await world.simulation.advance(180_000);
    expect(cancelled()).toEqual({ east: 0, west: 0 });
    await world.simulation.advance(5_000);
    expect(cancelled()).toEqual({ east: 0, west: 1 });
    await settled(call);
    expect(call.final).toBe(487);
  });

  it("16.7 step 2: a provisional response other than 100 starts it anew", async () => {
    const client = await servers({
      east: always(404),
      west: (transaction, self) => {
        reply(transaction, self, 180);
        for (const at of [120_000, 240_000]) self.stack.runtime.timers.after(at, () => reply(transaction, self, 183));
        self.stack.runtime.timers.after(400_000, () => reply(transaction, self, 200));
      },
    });
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect(call.final).toBe(200);
    expect(cancelled()).toEqual({ east: 0, west: 0 });
  });
});

describe("Request-Disposition (RFC 3841 9.1)", () => {
  it("no-cancel, while it is searched who has him: the others ring on", async () => {
    const client = await servers({ east: rings(2_000), west: rings(0) });
    const call = client.begin("INVITE", BOB, { headers: [["Request-Disposition", "no-cancel"]] });
    await settled(call);
    await world.simulation.advance(30_000);
    expect(call.final).toBe(200);
    expect(cancelled()).toEqual({ east: 0, west: 0 });
    await world.simulation.advance(240_000);
    expect(cancelled()).toEqual({ east: 0, west: 1 });
    expect(await world.leftOver()).toEqual([]);
  });
});

describe("3xx (RFC 3261 16.7 step 4)", () => {
  const recurse = { options: { recurse: true } };
  const contact = (value: string) => [["Contact", value]] as const;

  it("is passed on unless we are told to follow it", async () => {
    const client = await servers({ east: always(302, contact("<sip:bob@127.0.0.77>")) });
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect([call.final, call.responses.at(-1)!.header("Contact")]).toEqual([302, "<sip:bob@127.0.0.77>"]);
  });

  it("followed: the contacts in the order of q, until one takes it", async () => {
    const client = await servers(
      { east: always(302, contact("<sip:b@127.0.0.72>;q=0.3, <sip:a@127.0.0.71>;q=0.9, <sip:c@127.0.0.73>;q=0.1")) },
      recurse,
    );
    const [a, b, c] = [always(503), always(200), always(200)].map((script, i) =>
      world.client(`127.0.0.7${1 + i}`, script),
    );
    await world.simulation.finish(Promise.all([a!.started, b!.started, c!.started]));
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect(call.final).toBe(200);
    expect([a, b, c].map((each) => each!.requests.map((request) => request.requestUri))).toEqual([
      ["sip:a@127.0.0.71"],
      ["sip:b@127.0.0.72"],
      [],
    ]);
  });

  it("followed: who answers elsewhere teaches nothing of the server, nor is anything unlearned", async () => {
    const client = await servers({ east: always(302, contact("<sip:x@127.0.0.71>")), west: always(404) }, recurse);
    let elsewhere = 200;
    const other = world.client("127.0.0.71", (t, s) => reply(t, s, elsewhere));
    await world.simulation.finish(other.started);
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(world.proxies[0]!.told.learned).toEqual([]);
    await world.simulation.finish(
      world.proxies[0]!.directory.learn("bob@example.com", "east", world.proxies[0]!.runtime.clock.wall() + 100_000),
    );
    elsewhere = 404;
    expect(await client.status("MESSAGE", BOB)).toBe(404);
    expect(world.proxies[0]!.told.unlearned).toEqual([]);
  });

  it("followed, but passed on to a caller who asks for it: no-recurse (RFC 3841 9.1)", async () => {
    const client = await servers({ east: always(302, contact("<sip:bob@127.0.0.77>")) }, recurse);
    const call = client.begin("INVITE", BOB, { headers: [["Request-Disposition", "no-recurse"]] });
    await settled(call);
    expect([call.final, call.responses.at(-1)!.header("Contact")]).toEqual([302, "<sip:bob@127.0.0.77>"]);
  });

  it("a 2xx is no redirection, though it has a Contact", async () => {
    const client = await servers({ east: always(404), west: always(200) }, recurse);
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect(call.final).toBe(200);
    expect(world.scripted["west"]!.seen("INVITE")).toHaveLength(1);
  });

  it("each address once: who redirects to himself or in a circle is asked no more", async () => {
    const client = await servers(
      { east: always(302, contact("<sip:bob@example.com>, <sip:x@127.0.0.71>")) },
      { ...recurse, zone: { "example.com": { a: ["127.0.0.11"] } } },
    );
    const other = world.client("127.0.0.71", always(302, contact("<sip:x@127.0.0.71>")));
    await world.simulation.finish(other.started);
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect(call.final).toBe(302);
    expect(world.scripted["east"]!.seen("INVITE")).toHaveLength(1);
    expect(other.requests).toHaveLength(1);
  });

  it("contacts that cannot be read are no way: the 3xx is passed on", async () => {
    const client = await servers({ east: always(302, contact("<sip:")) }, recurse);
    const call = client.begin("INVITE", BOB);
    await settled(call);
    expect(call.final).toBe(302);
    expect(world.proxies[0]!.told.warning).toEqual([]);
  });
});

describe("failover within a server (RFC 3263 4.3)", () => {
  it("503 of one node: the next is tried, and the 503 never goes upstream", async () => {
    const first = 503;
    world = await createWorld({
      servers: { east: { script: (t, s) => reply(t, s, first) } },
      uris: { east: ["sip:127.0.0.11:5060", "sip:127.0.0.61:5060"] },
    });
    const second = world.client("127.0.0.61", always(200));
    await world.simulation.finish(second.started);
    await world.simulation.advance(15_000);
    const client = world.client("127.0.0.50");
    for (let i = 0; i < 4; i++) expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(second.seen("MESSAGE").length).toBeGreaterThanOrEqual(4);
  });

  it("a node that does not answer: the next one within the same 8 s", async () => {
    world = await createWorld({
      servers: { east: { script: always(200) } },
      uris: { east: ["sip:127.0.0.61:5060", "sip:127.0.0.11:5060"] },
      options: { health: { intervalMs: 0, failures: 3, timeoutMs: 2_000 } },
    });
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", BOB);
    await client.all(sent);
    expect(sent.final).toBe(200);
    expect(sent.tookMs!).toBeLessThan(8_000);
  });
});
