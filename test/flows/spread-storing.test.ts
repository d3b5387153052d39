import { afterEach, describe, expect, it } from "vitest";
import type { ProxyOptions } from "../../src/proxy/options.ts";
import {
  always,
  type Client,
  createWorld,
  reply,
  type Script,
  type World,
  type WorldOptions,
} from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";
const AOR = "bob@example.com";
const OPTIONS: Partial<ProxyOptions> = {
  models: [{ match: AOR, model: { model: "unioned", style: "peer", servers: ["east", "west", "north"] } }],
  absentMessages: "store",
};

const sim = <T>(promise: Promise<T>) => world.simulation.finish(promise);
const at = (name: string): Client => world.scripted[name]!;
const bodies = (name: string) =>
  at(name)
    .seen("MESSAGE")
    .map(({ body }) => body);
const states = async () =>
  (await sim(world.proxies[0]!.directory.messages.list({ limit: 100 }))).map(({ state }) => state);

async function domain(answers: Record<string, number | Script> = {}, more: WorldOptions = {}) {
  const given: Record<string, number | Script> = { east: 200, west: 200, north: 200, ...answers };
  const script =
    (name: string): Script =>
    (t, s) => {
      const answer = given[name]!;
      if (typeof answer === "function") answer(t, s);
      else always(answer)(t, s);
    };
  world = await createWorld({
    servers: Object.fromEntries(Object.keys(given).map((name) => [name, { script: script(name) }])),
    ...more,
    options: { ...OPTIONS, ...more.options },
  });
  // He has a record, so that he is known.
  await sim(world.proxies[0]!.directory.putUser({ aor: AOR, model: null, settings: {}, identities: {} }, "test"));
  return given;
}

const drain = (drained: boolean, ...names: string[]) => {
  for (const proxy of world.proxies) for (const name of names) proxy.core.rotation.drain(name, drained);
};

describe("a MESSAGE to a user of several servers none of which can be asked (models.md, Stored messages)", () => {
  it("is stored, answered 202, and delivered to those that are up, at once when one is", async () => {
    await domain();
    drain(true, "east", "west", "north");
    const client = world.client("127.0.0.50");
    for (const body of ["1", "2"]) expect(await client.status("MESSAGE", BOB, { body })).toBe(202);
    expect(await states()).toEqual(["stored", "stored"]);
    await world.simulation.advance(5_000);
    drain(false, "west");
    await world.simulation.advance(3_000);
    expect(bodies("west")).toEqual(["1", "2"]);
    expect(await states()).toEqual(["delivered", "delivered"]);
    expect(bodies("east")).toEqual([]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("by another proxy than the one that stored it, and after that has died: within a minute or so", async () => {
    await domain({}, { proxies: 2 });
    drain(true, "east", "west", "north");
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB, { body: "1" })).toBe(202);
    world.proxies[0]!.kill();
    world.proxies[1]!.core.rotation.drain("north", false);
    await world.simulation.advance(120_000);
    expect(bodies("north")).toEqual(["1"]);
  });

  it("none of them answers: stored within the 8 s, and tried again", async () => {
    const answers = await domain({ east: 0, west: 480, north: 404 });
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", BOB, { body: "1" });
    await client.all(sent);
    expect(sent.final).toBe(202);
    expect(sent.tookMs).toBeLessThan(8_100);
    answers["west"] = 200;
    answers["east"] = 404;
    await world.simulation.advance(60_000);
    expect(await states()).toEqual(["delivered"]);
    expect(bodies("west")).toEqual(["1", "1"]);
  });

  it("what follows waits behind it, in order", async () => {
    const answers = await domain({ east: 480, west: 480, north: 480 });
    const client = world.client("127.0.0.50");
    for (const body of ["1", "2", "3"]) expect(await client.status("MESSAGE", BOB, { body })).toBe(202);
    answers["east"] = 200;
    await world.simulation.advance(120_000);
    expect(bodies("east").slice(-3)).toEqual(["1", "2", "3"]);
    expect(await states()).toEqual(["delivered", "delivered", "delivered"]);
  });

  it("all say that he is not there: 404, nothing is stored", async () => {
    await domain({ east: 404, west: 404, north: 404 });
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(404);
    expect(await states()).toEqual([]);
  });

  it("the one that the sender wished for alone says that he is not there (no-fork): 480, nothing is stored", async () => {
    await domain({ east: 404, west: 404, north: 404 });
    const headers = [["Request-Disposition", "no-fork"]] as const;
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB, { headers })).toBe(480);
    expect(await states()).toEqual([]);
  });

  it("from one of his servers: the others get it, and not that one", async () => {
    await domain();
    drain(true, "west", "north");
    expect(await at("east").status("MESSAGE", BOB, { body: "1" })).toBe(202);
    await world.simulation.advance(5_000);
    drain(false, "west", "north");
    await world.simulation.advance(5_000);
    expect(["east", "west", "north"].map(bodies)).toEqual([[], ["1"], ["1"]]);
  });

  it("goes out as his algorithm says", async () => {
    await domain({ north: 404 }, { options: { imRouting: { algorithm: "weighted", copies: false } } });
    await sim(
      world.proxies[0]!.directory.documents.put(
        AOR,
        "im-routing",
        '<im-routing xmlns="urn:x-codomain:im-routing" algorithm="weighted"><server name="north" weight="9"/><server name="east" weight="0"/><server name="west" weight="0"/></im-routing>',
        {},
        "test",
      ),
    );
    drain(true, "east", "west", "north");
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB, { body: "1" })).toBe(202);
    drain(false, "east", "west", "north");
    await world.simulation.advance(10_000);
    // The next after north, which does not have him, has taken it; nobody else was asked.
    expect(["east", "west", "north"].map(bodies)).toEqual([["1"], [], ["1"]]);
    expect(await states()).toEqual(["delivered"]);
  });

  it("a server that sends on what it is sent: its copies come back while it is delivered, and nobody has it twice", async () => {
    const back: Script = (t, s) => {
      reply(t, s, 200);
      const copy = t.request.edit().set("Call-ID", `again-${s.host}`).set("Max-Forwards", "60").build();
      const nobody = { onResponse: () => undefined, onTimeout: () => undefined, onTransportError: () => undefined };
      // One at once, while the message is being delivered still, one when it has been.
      const way = { host: "127.0.0.1", port: 5060 };
      void s.stack.send(copy, nobody, way);
      const later = copy.edit().set("Call-ID", `later-${s.host}`).build();
      s.stack.runtime.timers.after(3_000, () => void s.stack.send(later, nobody, way));
    };
    await domain({ east: back, west: back }, { serverOptions: { onward: "both" } });
    drain(true, "east", "west", "north");
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB, { body: "1" })).toBe(202);
    drain(false, "east", "west", "north");
    await world.simulation.advance(30_000);
    expect(["east", "west", "north"].map(bodies)).toEqual([["1"], ["1"], ["1"]]);
    expect(await states()).toEqual(["delivered"]);
  });
});

it("stored for a tree: where a node does not have him, those below it get it in its place", async () => {
  const answers = await domain(
    { east: 480, west: 480, north: 480 },
    {
      each: { west: { onward: "children" } },
      options: {
        ...OPTIONS,
        models: [{ match: AOR, model: { model: "unioned", style: "hierarchical", tree: "t" } }],
        unions: {
          trees: [{ name: "t", root: "east", children: { east: ["west"], west: ["north"] } }],
          downListener: false,
          unreachable: "wait",
        },
      },
    },
  );
  expect(await world.client("127.0.0.50").status("MESSAGE", BOB, { body: "1" })).toBe(202);
  const before = bodies("north").length;
  Object.assign(answers, { east: 404, west: 404, north: 200 });
  await world.simulation.advance(60_000);
  expect(bodies("north").length).toBe(before + 1);
  expect(await states()).toEqual(["delivered"]);
});
