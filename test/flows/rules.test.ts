import { afterEach, describe, expect, it } from "vitest";
import { always, createWorld, reply, type World } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";

async function twoServers(status = 200): Promise<World> {
  world = await createWorld({
    servers: { east: { script: always(404) }, west: { script: always(status) }, north: { script: always(404) } },
  });
  return world;
}

describe("RFC 3261 16.3, validation", () => {
  it("step 3: Max-Forwards 0 is 483, and asks nobody", async () => {
    await twoServers();
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB, { maxForwards: 0 })).toBe(483);
    expect(Object.values(world.scripted).flatMap((server) => server.seen("MESSAGE"))).toEqual([]);
    expect(world.proxies[0]!.told.loop).toEqual([expect.objectContaining({ status: 483 })]);
  });

  it("step 3: an OPTIONS with Max-Forwards 0 is answered here", async () => {
    await twoServers();
    const final = (await world.client("127.0.0.50").send("OPTIONS", BOB, { maxForwards: 0 })).at(-1)!;
    expect(final.status).toBe(200);
    expect(final.header("Allow")).toContain("SUBSCRIBE");
  });

  it("16.6 step 3: Max-Forwards goes down by one, and is 70 where there was none", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", BOB, { maxForwards: 7 });
    const without = client.request("MESSAGE", BOB).edit().remove("Max-Forwards").build();
    await client.all(client.beginRequest(without));
    expect(world.scripted["west"]!.seen("MESSAGE").map((each) => each.maxForwards)).toEqual([6, 70]);
  });

  it("step 5: Proxy-Require is answered 420, every tag listed in Unsupported", async () => {
    await twoServers();
    const headers = [
      ["Proxy-Require", "gruu, foo"],
      ["Proxy-Require", "bar"],
    ] as const;
    const final = (await world.client("127.0.0.50").send("MESSAGE", BOB, { headers })).at(-1)!;
    expect([final.status, final.values("Unsupported")]).toEqual([420, ["gruu", "foo", "bar"]]);
  });

  it("step 2: a scheme that is no telephone number and no SIP address is 416", async () => {
    await twoServers();
    expect(await world.client("127.0.0.50").status("MESSAGE", "pres:bob@example.com")).toBe(416);
  });

  it("a tel URI is a user of the default domain (19.1.6), whatever its visual separators", async () => {
    world = await createWorld({ servers: { east: { script: always(404) }, west: { script: always(200) } } });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", "tel:+1-212-555-0101")).toBe(200);
    expect(world.proxies[0]!.told.learned).toEqual([
      expect.objectContaining({ aor: "+12125550101@example.com", server: "west" }),
    ]);
    expect(await client.status("MESSAGE", "sip:+12125550101@example.com;user=phone")).toBe(200);
    expect(world.scripted["east"]!.seen("MESSAGE")).toHaveLength(1);
  });

  it("a header that only the routing reads is 400 where it cannot be read, not 500", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    const broken = client.request("SUBSCRIBE", BOB).edit().set("Event", ";id=1").build();
    const sent = client.beginRequest(broken);
    await client.all(sent);
    expect(sent.final).toBe(400);
    const routed = client.beginRequest(client.request("MESSAGE", BOB, { headers: [["Route", "<sip:"]] }));
    await client.all(routed);
    expect(routed.final).toBe(400);
    expect(world.proxies[0]!.told.warning).toEqual([]);
  });
});

describe("RFC 5393", () => {
  it("4.2: a request that comes back with nothing changed is a loop: 482", async () => {
    await twoServers();
    const west = world.scripted["west"]!;
    const { directory } = world.proxies[0]!;
    await world.simulation.finish(
      directory.claim({
        aor: "bob@example.com",
        server: "north",
        origin: "provisioned",
        expiresAt: null,
        conflict: "takeover",
        equalRank: false,
        actor: "test",
      }),
    );
    const outgoing = west.begin("MESSAGE", BOB);
    await west.all(outgoing);
    expect(outgoing.final).toBe(404);
    const seen = world.scripted["north"]!.seen("MESSAGE")[0]!;
    const again = west.beginRequest(
      seen
        .edit()
        .removeFirstValue("Via")
        .prepend("Via", seen.via.raw ?? "")
        .build(),
    );
    await west.all(again);
    expect(again.final).toBe(482);
    expect(world.proxies[0]!.told.loop).toEqual([expect.objectContaining({ status: 482 })]);
  });

  it("4.2: the same request from another server, or for another address, spirals and goes on", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    const seen = world.scripted["west"]!.seen("MESSAGE")[0]!;
    const north = world.scripted["north"]!;
    const spiral = north.beginRequest(seen);
    expect(await north.all(spiral)).toEqual([200]);
    const other = north.beginRequest(seen.edit().setRequestUri("sip:carol@example.com").build());
    expect(await north.all(other)).toEqual([200]);
  });

  it("5.3.3: Max-Breadth is added as 60, split over parallel branches, given whole to a single one", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", BOB);
    await client.status("MESSAGE", BOB);
    const breadths = (name: string) =>
      world.scripted[name]!.seen("MESSAGE").map((each) => Number(each.header("Max-Breadth")));
    expect([breadths("east"), breadths("west"), breadths("north")]).toEqual([[20], [20, 60], [20]]);
  });

  it("5.3.3: more than 60 is overwritten, less is kept", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", BOB);
    await client.status("MESSAGE", BOB, { headers: [["Max-Breadth", "1000"]] });
    await client.status("MESSAGE", BOB, { headers: [["Max-Breadth", "5"]] });
    expect(world.scripted["west"]!.seen("MESSAGE").map((each) => each.header("Max-Breadth"))).toEqual([
      "20",
      "60",
      "5",
    ]);
  });

  it("5.3.3: a domain of more than 60 servers is searched all the same", async () => {
    const names = Array.from({ length: 70 }, (_, index) => `s${index}`);
    world = await createWorld({
      servers: Object.fromEntries(names.map((name, index) => [name, { script: always(index === 69 ? 200 : 404) }])),
    });
    expect(await world.client("127.0.1.1").status("MESSAGE", BOB)).toBe(200);
    expect(Object.values(world.scripted).map((server) => server.seen("MESSAGE").length)).toEqual(names.map(() => 1));
  });

  it("5.3.3: with less breadth than branches, 440; with none, not even to a single one", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB, { headers: [["Max-Breadth", "2"]] })).toBe(440);
    expect(await client.status("MESSAGE", BOB, { headers: [["Max-Breadth", "3"]] })).toBe(200);
    expect(await client.status("MESSAGE", BOB, { headers: [["Max-Breadth", "0"]] })).toBe(440);
  });
});

describe("who may use us as a way to where", () => {
  const FOREIGN = "sip:somebody@127.0.0.77";

  it("a client is refused another domain (403), whether or not it can be found", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    const foreign = world.client("127.0.0.77");
    expect(await client.status("MESSAGE", FOREIGN)).toBe(403);
    expect(await client.status("MESSAGE", "sip:somebody@nowhere.test")).toBe(403);
    expect(await client.status("MESSAGE", BOB, { headers: [["Route", "<sip:127.0.0.77;lr>"]] })).toBe(403);
    expect(foreign.requests).toEqual([]);
  });

  it("16.5: an maddr says where it goes, whatever the domain; one of ours is stripped", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    const foreign = world.client("127.0.0.77");
    await world.simulation.finish(foreign.started);
    expect(await client.status("MESSAGE", `${BOB};maddr=127.0.0.77`)).toBe(403);
    expect(await world.scripted["east"]!.status("MESSAGE", `${BOB};maddr=127.0.0.77`)).toBe(200);
    expect(foreign.requests).toHaveLength(1);
    expect(await client.status("MESSAGE", `${BOB};maddr=127.0.0.1`)).toBe(200);
    expect(world.scripted["west"]!.seen("MESSAGE").map((each) => each.requestUri)).toEqual([BOB]);
  });

  it("a server's request for another domain is relayed", async () => {
    await twoServers();
    const foreign = world.client("127.0.0.77");
    const east = world.scripted["east"]!;
    expect(await east.status("MESSAGE", FOREIGN)).toBe(200);
    expect(foreign.requests).toHaveLength(1);
    expect(await east.status("MESSAGE", BOB, { headers: [["Route", "<sip:127.0.0.77;lr>"]] })).toBe(200);
    expect(foreign.requests[1]!.headers("Route")).toEqual(["<sip:127.0.0.77;lr>"]);
  });

  it("an ACK is sent on by the same rule: a client floods nobody through us", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    const foreign = world.client("127.0.0.77");
    await world.simulation.finish(Promise.all([client.started, foreign.started]));
    client.stack.sendAck(client.request("ACK", FOREIGN), { host: "127.0.0.1", port: 5060 });
    client.stack.sendAck(client.request("ACK", BOB, { headers: [["Route", "<sip:"]] }), {
      host: "127.0.0.1",
      port: 5060,
    });
    await world.simulation.advance(1_000);
    expect(foreign.acks).toEqual([]);
    expect(await client.status("OPTIONS", "sip:example.com")).toBe(200);
  });

  it("a user that is no user of ours in a domain of ours is 404", async () => {
    await twoServers(404);
    expect(await world.client("127.0.0.50").status("MESSAGE", "sip:nobody@example.com")).toBe(404);
  });
});

describe("the proxy itself", () => {
  it("OPTIONS to it is 200 with Allow (RFC 3261 11.2), by domain and by address", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    for (const uri of ["sip:example.com", "sip:127.0.0.1:5060"]) {
      const final = (await client.send("OPTIONS", uri)).at(-1)!;
      expect([uri, final.status, final.header("Allow") !== undefined]).toEqual([uri, 200, true]);
    }
  });

  it("a MESSAGE to it is 405 with Allow; within a dialog 481", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    const final = (await client.send("MESSAGE", "sip:example.com")).at(-1)!;
    expect([final.status, final.header("Allow") !== undefined]).toEqual([405, true]);
    expect(await client.status("NOTIFY", "sip:127.0.0.1:5060", { toUser: "sip:x@example.com>;tag=1" })).not.toBe(200);
  });

  it("a Route that names us by address or by domain is ours and taken off (16.4)", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    for (const route of [
      "<sip:127.0.0.1;lr>",
      "<sip:example.com;lr>",
      "<sip:127.0.0.1;lr>, <sip:example.com:5060;lr>",
    ]) {
      expect([route, await client.status("MESSAGE", BOB, { headers: [["Route", route]] })]).toEqual([route, 200]);
    }
    for (const request of world.scripted["west"]!.seen("MESSAGE")) expect(request.has("Route")).toBe(false);
  });

  it("a domain of ours by the proxy's own address is the default domain's", async () => {
    await twoServers();
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", "sip:bob@127.0.0.1")).toBe(200);
    expect(world.proxies[0]!.told.learned).toEqual([expect.objectContaining({ aor: "bob@example.com" })]);
  });
});

describe("RFC 3325", () => {
  const asserted = (name: string) =>
    world.scripted[name]!.seen("MESSAGE").map((each) => each.headers("P-Asserted-Identity"));

  it("5: a server's word is passed on", async () => {
    await twoServers();
    await world.scripted["east"]!.status("MESSAGE", BOB, {
      headers: [["P-Asserted-Identity", '"Joe" <sip:joe@example.com>']],
    });
    expect(asserted("west")).toEqual([['"Joe" <sip:joe@example.com>']]);
  });

  it("5, 6: a client's own is removed, and its P-Preferred-Identity", async () => {
    await twoServers();
    await world.client("127.0.0.50").status("MESSAGE", BOB, {
      headers: [
        ["P-Asserted-Identity", "<sip:boss@example.com>"],
        ["P-Preferred-Identity", "<sip:boss@example.com>"],
      ],
    });
    expect(asserted("west")).toEqual([[]]);
    expect(world.scripted["west"]!.seen("MESSAGE")[0]!.has("P-Preferred-Identity")).toBe(false);
  });

  it("7: with Privacy: id it is kept from who is not trusted", async () => {
    await twoServers();
    const foreign = world.client("127.0.0.77");
    const east = world.scripted["east"]!;
    const identity = ["P-Asserted-Identity", "<sip:joe@example.com>"] as const;
    await east.status("MESSAGE", "sip:x@127.0.0.77", { headers: [identity, ["Privacy", "id"]] });
    await east.status("MESSAGE", "sip:x@127.0.0.77", { headers: [identity] });
    await east.status("MESSAGE", BOB, { headers: [identity, ["Privacy", "id"]] });
    expect(foreign.requests.map((each) => each.has("P-Asserted-Identity"))).toEqual([false, true]);
    expect(asserted("west")).toEqual([["<sip:joe@example.com>"]]);
  });

  it("5: what somebody not trusted asserts in a response is not passed on", async () => {
    await twoServers();
    world = await replaced({
      west: always(200, [["P-Asserted-Identity", "<sip:bob@example.com>"]]),
    });
    const final = (await world.client("127.0.0.50").send("MESSAGE", BOB)).at(-1)!;
    expect(final.header("P-Asserted-Identity")).toBe("<sip:bob@example.com>");
    const foreign = world.client("127.0.0.77", always(200, [["P-Asserted-Identity", "<sip:boss@example.com>"]]));
    const east = world.scripted["east"]!;
    await world.simulation.finish(foreign.started);
    const relayed = (await east.send("MESSAGE", "sip:x@127.0.0.77")).at(-1)!;
    expect([relayed.status, relayed.has("P-Asserted-Identity")]).toEqual([200, false]);
  });

  async function replaced(scripts: Record<string, ReturnType<typeof always>>): Promise<World> {
    await world.stop();
    return createWorld({
      servers: {
        east: { script: always(404) },
        ...Object.fromEntries(Object.entries(scripts).map(([n, script]) => [n, { script }])),
      },
    });
  }

  it("a user is asserted by the name the server he is sent to knows (models.md, Identity and policy)", async () => {
    world = await createWorld({
      servers: { east: { script: always(404) }, west: { script: always(200) } },
      each: {
        east: { identities: { "joe@example.com": "joe.smith" } },
        west: { identities: { "joe@example.com": "jsmith", "bob@example.com": "robert" } },
      },
    });
    await world.scripted["east"]!.status("MESSAGE", BOB, {
      headers: [["P-Asserted-Identity", '"Joe" <sip:joe.smith@example.com>']],
    });
    const request = world.scripted["west"]!.seen("MESSAGE")[0]!;
    expect(request.headers("P-Asserted-Identity")).toEqual(['"Joe" <sip:jsmith@example.com>']);
    // RFC 3261 16.6: From, To and body are left alone.
    expect([request.requestUri, request.to.uri.raw]).toEqual(["sip:robert@example.com", BOB]);
  });
});

describe("SIPS (RFC 3261 26.2.2)", () => {
  it("a SIPS request goes over TLS or nowhere: 480, and nobody sees it in the clear", async () => {
    await twoServers();
    expect(await world.client("127.0.0.50").status("MESSAGE", "sips:bob@example.com")).toBe(480);
    expect(world.scripted["west"]!.seen("MESSAGE")).toEqual([]);
  });
});

describe("RFC 4320", () => {
  it("4.1: no provisional response but 100 goes to a non-INVITE request, and that late", async () => {
    world = await createWorld({
      servers: {
        west: {
          script: (transaction, self) => {
            reply(transaction, self, 180);
            self.stack.runtime.timers.after(1_000, () => reply(transaction, self, 200));
          },
        },
      },
    });
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", BOB);
    await client.all(sent);
    expect(sent.statuses).toEqual([200]);
  });

  it("4.2: a 408 of a branch is never passed on to a non-INVITE request", async () => {
    await twoServers(408);
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(480);
  });
});
