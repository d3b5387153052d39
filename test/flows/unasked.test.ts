import { afterEach, describe, expect, it } from "vitest";
import { buildResponse } from "../../src/sip/message/build.ts";
import type { SipResponse } from "../../src/sip/message/message.ts";
import type { Client, World, WorldOptions } from "../support/world.ts";
import { always, createWorld, reply } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";
const AOR = "bob@example.com";
const METHODS = ["MESSAGE", "SUBSCRIBE"] as const;

async function domain(options: WorldOptions): Promise<Client> {
  world = await createWorld(options);
  return world.client("127.0.0.50");
}

function learned(): Promise<unknown> {
  return world.simulation.finish(world.proxies[0]!.directory.lookup(AOR));
}

describe("some servers could not be asked: 480 with Retry-After, never 404, nothing learned (models.md, Partitioned)", () => {
  it.each(METHODS)("%s: one that does not answer, within 8 s of receipt", async (method) => {
    const client = await domain({ servers: { east: { script: always(404) }, west: { script: always(0) } } });
    const sent = client.begin(method, BOB);
    await client.all(sent);
    expect([sent.final, sent.responses.at(-1)!.header("Retry-After")]).toEqual([480, "10"]);
    expect(sent.tookMs! / 1000).toBeCloseTo(8, 1);
    expect(await learned()).toMatchObject({ state: "no-record" });
    expect(await world.leftOver()).toEqual([]);
  });

  it.each(METHODS)("%s: one that is out of rotation, at once", async (method) => {
    const client = await domain({ servers: { east: {}, west: { users: ["bob"] } } });
    world.simulation.partition([["127.0.0.1"], ["127.0.0.12"]]);
    await world.simulation.advance(60_000);
    const sent = client.begin(method, BOB);
    await client.all(sent);
    expect([sent.final, sent.responses.at(-1)!.header("Retry-After")]).toEqual([480, "10"]);
    expect(sent.tookMs!).toBeLessThan(100);
    world.simulation.heal();
    await world.simulation.advance(10_000);
    expect(await client.status(method, BOB)).toBe(200);
  });

  it.each(METHODS)("%s: one that is drained", async (method) => {
    const client = await domain({ servers: { east: {}, west: { users: ["bob"] } } });
    world.proxies[0]!.core.rotation.drain("west", true);
    expect(await client.status(method, BOB)).toBe(480);
    expect(world.servers["west"]!.seen(method, "bob")).toBe(0);
  });

  it("a later answer is absorbed (RFC 4320), but still teaches", async () => {
    const client = await domain({
      servers: {
        east: { script: always(404) },
        west: { script: (t, s) => void s.stack.runtime.timers.after(7_990, () => reply(t, s, 200)) },
      },
    });
    const sent = client.begin("MESSAGE", BOB);
    await client.all(sent);
    const late = sent.statuses.filter((status) => status >= 200);
    await world.simulation.advance(2_000);
    expect(sent.statuses.filter((status) => status >= 200)).toEqual(late);
    expect(late).toHaveLength(1);
  });

  it("an answer that was meant for nobody behind us is none (RFC 3261 16.7 step 3)", async () => {
    const client = await domain({
      servers: {
        west: {
          script: (transaction) => {
            const { request } = transaction;
            const ours = request.values("Via")[0]!;
            const ok = buildResponse(request, 200).edit().set("Via", ours).build();
            transaction.respond(ok as SipResponse);
          },
        },
      },
    });
    expect(await client.status("MESSAGE", BOB)).toBe(480);
  });

  it("a transport that nobody listens on is no answer either", async () => {
    const client = await domain({
      servers: { east: { script: always(404) }, west: { script: always(404) } },
      uris: { west: "sip:127.0.0.99:5060;transport=tcp" },
      options: { health: { intervalMs: 0, failures: 3, timeoutMs: 2_000 } },
    });
    expect(await client.status("MESSAGE", BOB)).toBe(480);
  });

  it("a server is not taken out of rotation by requests that left it no time", async () => {
    // As one that has waited for another's fork until its own time was almost over.
    const client = await domain({
      servers: {
        east: { script: always(404) },
        west: { script: (t, s) => void s.stack.runtime.timers.after(500, () => reply(t, s, 200)) },
      },
      options: { decisionMs: 400 },
      each: { west: { proves: [] } },
    });
    for (let i = 0; i < 5; i++) expect(await client.status("MESSAGE", BOB)).toBe(480);
    expect(world.proxies[0]!.core.servers().map((each) => each.up)).toEqual([true, true]);
  });
});

describe("a retransmission has one effect (models.md, Always)", () => {
  it("one fork, one message to each server, one answer", async () => {
    const client = await domain({
      servers: { east: { script: always(404) }, west: { script: always(200) } },
      options: { health: { intervalMs: 0, failures: 3, timeoutMs: 2_000 } },
    });
    world.simulation.link("127.0.0.1", "127.0.0.50", { loss: 1 });
    const sent = client.begin("MESSAGE", BOB);
    await world.simulation.advance(5_000);
    world.simulation.link("127.0.0.1", "127.0.0.50", { loss: 0 });
    await client.all(sent);
    expect(sent.final).toBe(200);
    expect(Object.values(world.scripted).map((server) => server.seen("MESSAGE").length)).toEqual([1, 1]);
    expect(world.proxies[0]!.told.request).toHaveLength(1);
  });
});

describe("a proxy that dies in the middle of a fork", () => {
  it("keeps nobody from asking again through the other one, once its fork has expired", async () => {
    const client = await domain({
      proxies: 2,
      servers: {
        east: { script: always(404) },
        west: { script: (t, s) => void s.stack.runtime.timers.after(300, () => reply(t, s, 200)) },
      },
    });
    client.begin("MESSAGE", BOB);
    await world.simulation.advance(100);
    world.simulation.partition([["127.0.0.1"], ["127.0.0.11", "127.0.0.12", "127.0.0.50"]]);
    const second = client.begin("MESSAGE", BOB, { from: "sip:other@example.com", proxy: "127.0.0.2" });
    await client.all(second);
    expect([200, 480]).toContain(second.final);
    await world.simulation.advance(3_000);
    expect(await client.status("MESSAGE", BOB, { from: "sip:other@example.com", proxy: "127.0.0.2" })).toBe(200);
    world.simulation.heal();
  });
});

describe("the draft's other ways of routing", () => {
  it("subdomaining: a server that has one is asked under it, searched or bound", async () => {
    const client = await domain({
      servers: { east: { script: always(404) }, west: { script: always(200) } },
      each: { west: { subdomain: "west.example.com" } },
    });
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(world.scripted["west"]!.seen("MESSAGE").map((each) => each.requestUri)).toEqual([
      "sip:bob@west.example.com",
      "sip:bob@west.example.com",
    ]);
    expect(world.scripted["east"]!.seen("MESSAGE").map((each) => each.requestUri)).toEqual([BOB]);
    // What was handed out leads to the same user.
    expect(await client.status("MESSAGE", "sip:bob@west.example.com")).toBe(200);
    expect(world.scripted["east"]!.seen("MESSAGE")).toHaveLength(1);
  });

  it("a redirect server: who is bound is handed out as 302, who is not is searched", async () => {
    const client = await domain({
      servers: { east: { script: always(404) }, west: { script: always(200) } },
      options: { routing: "redirect" },
    });
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    const final = (await client.send("MESSAGE", BOB)).at(-1)!;
    expect([final.status, final.header("Contact")]).toEqual([302, "<sip:bob@127.0.0.12:5060>"]);
    expect(world.scripted["west"]!.seen("MESSAGE")).toHaveLength(1);
  });
});

describe.each([1, 2])("servers that send back what they do not have, %i proxies", (proxies) => {
  it.each(METHODS)("%s: reaches its user once, whoever answers first", async (method) => {
    // North is slow to send it back: the user has been learned by then, and at the other proxy.
    const client = await domain({
      proxies,
      servers: {
        west: { script: always(200) },
        north: {
          script: (transaction, self) => {
            const { request } = transaction;
            self.stack.runtime.timers.after(1_000, () => {
              const again = request.edit().remove("Via").remove("Record-Route").set("Call-ID", "another").build();
              const back = self.beginRequest(again, `127.0.0.${proxies}`);
              void back.done.then((status) => reply(transaction, self, status));
            });
          },
        },
      },
    });
    expect(await client.status(method, BOB)).toBe(200);
    await world.simulation.advance(10_000);
    expect(world.scripted["west"]!.seen(method)).toHaveLength(1);
    expect(world.proxies.flatMap((proxy) => proxy.told.conflict)).toEqual([]);
  });
});
