import { afterEach, describe, expect, it } from "vitest";
import { parsePidf } from "../../src/presence/pidf.ts";
import type { ProxyOptions } from "../../src/proxy/options.ts";
import type { Client, Script, World, WorldOptions } from "../support/world.ts";
import { createWorld, reply } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";
const AOR = "bob@example.com";
const PEER: ProxyOptions["models"] = [
  { match: AOR, model: { model: "unioned", style: "peer", servers: ["east", "west", "north"] } },
];

const at = (name: string): Client => world.scripted[name]!;
const got = (method = "MESSAGE") =>
  Object.fromEntries(Object.entries(world.scripted).map(([name, server]) => [name, server.seen(method).length]));
const spreads = () => world.proxies.flatMap((proxy) => proxy.told.spread ?? []);

/** East, west and north; what each answers can change: 0 never answers. */
async function domain(answers: Record<string, number | Script> = {}, more: WorldOptions = {}) {
  const given: Record<string, number | Script> = { east: 200, west: 200, north: 200, ...answers };
  const script =
    (name: string): Script =>
    (t, s) => {
      const answer = given[name]!;
      if (typeof answer === "function") answer(t, s);
      else if (answer > 0) reply(t, s, answer);
    };
  world = await createWorld({
    servers: Object.fromEntries(Object.keys(given).map((name) => [name, { script: script(name) }])),
    ...more,
    options: { models: PEER, ...more.options },
  });
  return given;
}

describe("a MESSAGE to a user of several servers (draft, Conversation Consistency: multi-device IM)", () => {
  it("goes to all of them, the first 2xx is the answer, once (RFC 3261 16.7)", async () => {
    await domain({ east: 202 });
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", BOB, { body: "hello" });
    await client.all(sent);
    await world.simulation.advance(1_000);
    expect(sent.statuses.filter((status) => status >= 200)).toHaveLength(1);
    expect(got()).toEqual({ east: 1, west: 1, north: 1 });
    expect(at("west").seen("MESSAGE")[0]!.body).toBe("hello");
    expect(spreads()).toMatchObject([{ rule: "all", servers: ["east", "west", "north"] }]);
    expect(spreads()[0]!.took).toHaveLength(3);
    expect(await world.leftOver()).toEqual([]);
  });

  it("teaches nothing, and the next goes to all again", async () => {
    await domain();
    const client = world.client("127.0.0.50");
    for (const body of ["1", "2"]) expect(await client.status("MESSAGE", BOB, { body })).toBe(200);
    expect(got()).toEqual({ east: 2, west: 2, north: 2 });
    expect(world.proxies[0]!.told.learned).toEqual([]);
    expect((await world.simulation.finish(world.proxies[0]!.directory.lookup(AOR))).state).toBe("no-record");
  });

  it("one has him: its answer, whatever the others say", async () => {
    await domain({ east: 404, west: 486, north: 200 });
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(200);
  });

  it.each([
    [{ east: 404, west: 404, north: 404 }, 404],
    [{ east: 404, west: 486, north: 404 }, 486],
    [{ east: 404, west: 403, north: 480 }, 403],
    [{ east: 404, west: 503, north: 404 }, 480],
    [{ east: 404, west: 404, north: 482 }, 404],
  ])("nobody takes it, %o: the best answer is %i", async (answers, status) => {
    await domain(answers);
    const responses = await world.client("127.0.0.50").send("MESSAGE", BOB);
    expect(responses.at(-1)!.status).toBe(status);
    expect(responses.at(-1)!.header("Retry-After")).toBe(status === 480 ? "10" : undefined);
  });

  it("one never answers, the others say 404: 480 within 8 s, and a later answer is absorbed (RFC 4320)", async () => {
    await domain({
      east: 404,
      north: 404,
      west: (t, s) => void s.stack.runtime.timers.after(9_000, () => reply(t, s, 200)),
    });
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", BOB);
    await client.all(sent);
    await world.simulation.advance(5_000);
    expect(sent.statuses.filter((status) => status >= 200)).toEqual([480]);
    expect(sent.tookMs).toBeLessThan(8_100);
  });

  it("a server that is down is not asked, and makes a 404 a 480", async () => {
    const answers = await domain({ east: 404, west: 404, north: 404 });
    world.proxies[0]!.core.rotation.drain("west", true);
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(480);
    expect(got()).toEqual({ east: 1, west: 0, north: 1 });
    answers["north"] = 200;
    expect(await client.status("MESSAGE", BOB)).toBe(200);
  });

  it("each server is asked by the name it knows him by", async () => {
    await domain({}, { each: { west: { identities: { [AOR]: "robert" } } } });
    await world.client("127.0.0.50").status("MESSAGE", BOB);
    expect(at("west").seen("MESSAGE")[0]!.requestUri).toBe("sip:robert@example.com");
    expect(at("east").seen("MESSAGE")[0]!.requestUri).toBe(BOB);
    expect(at("west").seen("MESSAGE")[0]!.header("To")).toBe(`<${BOB}>`);
  });

  it("from one of his servers: to the others", async () => {
    await domain();
    const sent = at("east").begin("MESSAGE", BOB, { body: "hello" });
    await at("east").all(sent);
    expect(sent.final).toBe(200);
    expect(got()).toEqual({ east: 0, west: 1, north: 1 });
  });

  it("RFC 5393 5.3.3: its breadth is divided, and 440 where there is too little", async () => {
    await domain();
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB, { headers: [["Max-Breadth", "7"]] })).toBe(200);
    const shares = ["east", "west", "north"].map((name) => Number(at(name).seen("MESSAGE")[0]!.header("Max-Breadth")));
    expect(shares.reduce((a, b) => a + b)).toBe(7);
    expect(await client.status("MESSAGE", BOB, { headers: [["Max-Breadth", "2"]] })).toBe(440);
    expect(got()).toEqual({ east: 1, west: 1, north: 1 });
  });
});

/** Rings, and answers after so many virtual milliseconds unless it was cancelled; 0: rings on. */
function rings(ms: number, status = 200): Script {
  return (transaction, self) => {
    reply(transaction, self, 180);
    if (ms > 0) self.stack.runtime.timers.after(ms, () => reply(transaction, self, status));
  };
}

describe("an INVITE to a user of several servers (draft, Conversation Consistency: uni-device)", () => {
  it("rings at all of them; the first who answers takes it, the others are told why they are cancelled (RFC 3326)", async () => {
    await domain({ east: rings(0), west: rings(20_000), north: rings(0) });
    const client = world.client("127.0.0.50");
    const call = client.begin("INVITE", BOB);
    await client.all(call);
    await world.simulation.advance(1_000);
    expect(call.statuses.filter((status) => status >= 200)).toEqual([200]);
    expect(got("INVITE")).toEqual({ east: 1, west: 1, north: 1 });
    for (const name of ["east", "north"]) {
      expect(at(name).cancels[0]!.header("Reason")).toBe('SIP;cause=200;text="Call completed elsewhere"');
    }
    expect(at("west").cancelled).toEqual([]);
    expect(spreads()).toMatchObject([{ method: "INVITE", took: ["west"] }]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("one is busy, the other rings on: nobody hears of it until all have answered", async () => {
    await domain({ east: rings(2_000, 486), west: rings(15_000, 480), north: rings(3_000, 404) });
    const client = world.client("127.0.0.50");
    const call = client.begin("INVITE", BOB);
    await client.all(call);
    expect(call.statuses.filter((status) => status >= 200)).toEqual([486]);
    expect(call.tookMs).toBeGreaterThanOrEqual(15_000);
  });

  it("is taken back everywhere when the caller gives up", async () => {
    await domain({ east: rings(0), west: rings(0), north: rings(0) });
    const client = world.client("127.0.0.50");
    const call = client.begin("INVITE", BOB);
    await world.simulation.advance(12_000);
    call.cancel();
    await client.all(call);
    await world.simulation.advance(1_000);
    expect(call.final).toBe(487);
    expect(Object.values(world.scripted).map((server) => server.cancelled.length)).toEqual([1, 1, 1]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("Request-Disposition: no-cancel leaves the others ringing when one has answered, and each answer goes to the caller (RFC 3841 9.1)", async () => {
    await domain({ east: rings(5_000), west: rings(9_000), north: rings(0) });
    const client = world.client("127.0.0.50");
    const call = client.begin("INVITE", BOB, { headers: [["d", "no-cancel"]] });
    await world.simulation.advance(30_000);
    expect(call.statuses.filter((status) => status >= 200)).toEqual([200, 200]);
    expect(Object.values(world.scripted).flatMap(({ cancelled }) => cancelled)).toEqual([]);
    // Who rings on for ever is ended by Timer C (RFC 3261 16.8).
    await world.simulation.advance(240_000);
    expect(Object.values(world.scripted).map(({ cancelled }) => cancelled.length)).toEqual([0, 0, 1]);
    expect(spreads()).toMatchObject([{ took: ["east", "west"] }]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("and with it a 6xx still ends all, and so does a caller who gives up (RFC 3841 9.1)", async () => {
    await domain({ east: rings(5_000, 603), west: rings(0), north: rings(0) });
    const client = world.client("127.0.0.50");
    const call = client.begin("INVITE", BOB, { headers: [["Request-Disposition", "no-cancel"]] });
    await client.all(call);
    expect(call.final).toBe(603);
    const given = client.begin("INVITE", BOB, { headers: [["Request-Disposition", "no-cancel"]] });
    await world.simulation.advance(2_000);
    given.cancel();
    await client.all(given);
    expect(given.final).toBe(487);
    expect(Object.values(world.scripted).map(({ cancelled }) => cancelled.length)).toEqual([1, 2, 2]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("Request-Disposition: sequential rings at one after the other, long after 8 s too (RFC 3841 9.1)", async () => {
    await domain({ east: rings(20_000, 486), west: rings(20_000, 480), north: rings(5_000) });
    const client = world.client("127.0.0.50");
    const call = client.begin("INVITE", BOB, { headers: [["Request-Disposition", "sequential"]] });
    await world.simulation.advance(19_000);
    expect(got("INVITE")).toEqual({ east: 1, west: 0, north: 0 });
    await client.all(call);
    expect(call.final).toBe(200);
    expect(call.tookMs).toBeGreaterThanOrEqual(45_000);
    expect(spreads()).toMatchObject([{ took: ["north"] }]);
  });
});

describe("the algorithm of his (Customizable Message Routing)", () => {
  const standard = (algorithm: ProxyOptions["imRouting"]["algorithm"], more: WorldOptions = {}): WorldOptions => ({
    ...more,
    options: { imRouting: { algorithm, copies: false } },
  });

  it("roundrobin: even within the number of proxies, whichever serves him", async () => {
    await domain({}, standard("roundrobin", { proxies: 2 }));
    const client = world.client("127.0.0.50");
    for (let i = 0; i < 20; i++) {
      const proxy = `127.0.0.${1 + ((i * i + (i >> 2)) % 2)}`;
      expect(await client.status("MESSAGE", BOB, { proxy, body: String(i) })).toBe(200);
    }
    const counts = Object.values(got());
    expect(counts.reduce((a, b) => a + b)).toBe(20);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(2);
    expect(spreads().every(({ rule, took }) => rule === "roundrobin" && took.length === 1)).toBe(true);
  });

  it("roundrobin: who is not there, or cannot be asked, is passed over in time", async () => {
    await domain({ east: 404, west: 0, north: 200 }, standard("roundrobin"));
    const client = world.client("127.0.0.50");
    for (let i = 0; i < 3; i++) {
      const sent = client.begin("MESSAGE", BOB, { body: String(i) });
      await client.all(sent);
      expect(sent.final).toBe(200);
      expect(sent.tookMs).toBeLessThan(8_000);
    }
    expect(got()["north"]).toBe(3);
  });

  it("roundrobin: a refusal is final", async () => {
    await domain({ east: 403, west: 403, north: 403 }, standard("roundrobin"));
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(403);
    expect(Object.values(got()).reduce((a, b) => a + b)).toBe(1);
  });

  it("Request-Disposition: fork sends one message to all, no-fork to one, whose 404 is none (RFC 3841 9.1)", async () => {
    await domain({}, standard("roundrobin"));
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", BOB, { headers: [["Request-Disposition", "fork"]] });
    expect(got()).toEqual({ east: 1, west: 1, north: 1 });
    await client.status("MESSAGE", BOB, { headers: [["d", "no-fork"]] });
    expect(Object.values(got()).reduce((a, b) => a + b)).toBe(4);
    expect(spreads().at(-1)!.rule).toBe("Request-Disposition: no-fork; roundrobin");
    await world.stop();
    await domain({ east: 404, west: 404, north: 404 });
    const one = world.client("127.0.0.50");
    expect(await one.status("MESSAGE", BOB, { headers: [["Request-Disposition", "no-fork"]] })).toBe(480);
    expect(Object.values(got()).reduce((a, b) => a + b)).toBe(1);
  });
});

describe("his own setting (im-routing)", () => {
  const put = (algorithm: string, inside = "") =>
    world.simulation.finish(
      world.proxies[0]!.directory.documents.put(
        AOR,
        "im-routing",
        `<im-routing xmlns="urn:x-codomain:im-routing" algorithm="${algorithm}">${inside}</im-routing>`,
        {},
        "test",
      ),
    );
  const rules = () => spreads().map(({ rule }) => rule);

  it("is the same whichever proxy serves him, from the moment it is changed", async () => {
    await domain({}, { proxies: 2 });
    const client = world.client("127.0.0.50");
    const send = async (proxy: string) => expect(await client.status("MESSAGE", BOB, { proxy })).toBe(200);
    for (const proxy of ["127.0.0.1", "127.0.0.2"]) await send(proxy);
    await put(
      "weighted",
      '<server name="west" weight="100"/><server name="east" weight="0"/><server name="north" weight="0"/>',
    );
    await world.simulation.advance(2_000);
    const before = got();
    for (const proxy of ["127.0.0.1", "127.0.0.2"]) await send(proxy);
    expect(got()).toEqual({ ...before, west: before["west"]! + 2 });
    expect(rules().toSorted()).toEqual(["all", "all", "weighted", "weighted"]);
    expect(
      (await world.simulation.finish(world.proxies[1]!.directory.documents.remove(AOR, "im-routing", {}, "test")))
        .outcome,
    ).toBe("written");
    await world.simulation.advance(2_000);
    await send("127.0.0.1");
    expect(rules().filter((rule) => rule === "all")).toHaveLength(3);
  });

  it("weighted over two proxies: each server within their number of its share", async () => {
    await domain({}, { proxies: 2 });
    await put("weighted", '<server name="west" weight="3"/>');
    await world.simulation.advance(2_000);
    const client = world.client("127.0.0.50");
    for (let i = 0; i < 30; i++) await client.status("MESSAGE", BOB, { proxy: `127.0.0.${1 + (i % 3 === 0 ? 1 : 0)}` });
    const { east, west, north } = got() as Record<"east" | "west" | "north", number>;
    expect(Math.abs(west - 18)).toBeLessThanOrEqual(2);
    expect(Math.abs(east - 6)).toBeLessThanOrEqual(2);
    expect(Math.abs(north - 6)).toBeLessThanOrEqual(2);
  });

  it("one that cannot be read is as none, and an admin hears of it once", async () => {
    await domain();
    await put("best");
    await world.simulation.advance(2_000);
    const client = world.client("127.0.0.50");
    for (let i = 0; i < 3; i++) expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(rules()).toEqual(["all", "all", "all"]);
    expect(world.proxies[0]!.told.warning).toHaveLength(1);
  });

  it("with the database away the one that is known holds", async () => {
    await domain();
    await put("roundrobin");
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", BOB);
    world.database.setAway(true);
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(rules()).toEqual(["roundrobin", "roundrobin"]);
    world.database.setAway(false);
  });
});

describe("mostactive", () => {
  it("goes where his presence shows him, as somebody watches him here; to all where nobody does", async () => {
    const documents = (user: string, basic: string) =>
      `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:${user}@example.com"><tuple id="t"><status><basic>${basic}</basic></status></tuple></presence>`;
    await domain({}, { options: { imRouting: { algorithm: "mostactive", copies: false } } });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(got()).toEqual({ east: 1, west: 1, north: 1 });
    const { handlers } = world.proxies[0]!.core;
    const shown = new Map([
      ["east", parsePidf(documents("bob", "closed"))],
      ["north", parsePidf(documents("bob", "open"))],
    ]);
    world.proxies[0]!.core.handlers = { ...handlers, presence: (aor) => (aor === AOR ? shown : null) };
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(got()).toEqual({ east: 1, west: 1, north: 2 });
    expect(spreads().at(-1)!.rule).toBe("mostactive by his presence");
  });
});

describe("explain", () => {
  it("shows which servers would be asked and by which rule, and takes nobody's turn", async () => {
    await domain({}, { options: { imRouting: { algorithm: "roundrobin", copies: false } } });
    const ask = () => world.simulation.finish(world.proxies[0]!.core.explain({ method: "MESSAGE", aor: AOR }));
    const first = await ask();
    expect(first.json.summary).toMatch(/^spread to \w+ \| \w+ \| \w+$/);
    expect(first.text.join("\n")).toContain(
      "which of them: roundrobin; after a bar only where nobody before it took it",
    );
    expect((await ask()).json.summary).toBe(first.json.summary);
    await world.client("127.0.0.50").status("MESSAGE", BOB);
    expect(spreads().at(-1)!.took).toEqual([first.json.summary.split(" ")[2]]);
    expect((await ask()).json.summary).not.toBe(first.json.summary);
  });
});
