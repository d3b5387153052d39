import { afterEach, describe, expect, it } from "vitest";
import type { Lookup } from "../../src/directory/directory.ts";
import { buildResponse } from "../../src/sip/message/build.ts";
import type { SipResponse } from "../../src/sip/message/message.ts";
import type { SendOptions, World, WorldOptions } from "../support/world.ts";
import { always, createWorld } from "../support/world.ts";

// Claims in the exclusive model (models.md, Exclusive): who has the user, and how often he may be taken.

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";
const AOR = "bob@example.com";
const DOMAIN = "sip:example.com";
const WINDOW_MS = 60_000;
const GRACE_MS = 5_000;

function exclusive(conflict: "takeover" | "refuse" = "takeover", refuseWith: 403 | 302 = 403): WorldOptions["options"] {
  return {
    models: [{ match: "*@example.com", model: { model: "exclusive", conflict, refuseWith } }],
    exclusive: { damping: { limit: 3, windowMs: WINDOW_MS }, graceMs: GRACE_MS },
  };
}

/** Two servers that answer everything, and claim as the test says. */
async function twoServers(more: Partial<WorldOptions> = {}): Promise<void> {
  world = await createWorld({
    servers: { east: { script: always(200) }, west: { script: always(200) } },
    options: exclusive() as NonNullable<WorldOptions["options"]>,
    ...more,
  });
}

let calls = 0;

/** A server's own REGISTER, with a Call-ID of its own where none is given. */
async function register(name: string, seconds: number, more: SendOptions = {}): Promise<SipResponse> {
  const responses = await world.scripted[name]!.send("REGISTER", DOMAIN, {
    toUser: BOB,
    from: BOB,
    callId: `claim-${++calls}`,
    headers: [["Expires", String(seconds)]],
    ...more,
  });
  return responses.at(-1)!;
}

async function lookup(): Promise<Lookup> {
  return world.simulation.finish(world.proxies[0]!.directory.lookup(AOR));
}

describe("a claim of a user of whom nothing is in memory", () => {
  it("is decided by his own record, where he has one: on several servers at once, nothing is claimed", async () => {
    await twoServers();
    const settings = { style: "peer", servers: ["east", "west"] };
    const record = { aor: AOR, model: "unioned", settings, identities: {} } as const;
    await world.simulation.finish(world.proxies[0]!.directory.putUser(record, "test"));
    for (const name of ["east", "west"]) expect((await register(name, 600)).status).toBe(200);
    expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 0 });
  });

  it("is decided by the models configured, where he has none", async () => {
    await twoServers({ options: exclusive("refuse") as NonNullable<WorldOptions["options"]> });
    expect((await register("east", 600)).status).toBe(200);
    expect((await register("west", 600)).status).toBe(403);
    expect(await lookup()).toMatchObject({ binding: { server: "east", epoch: 1 } });
  });
});

describe("flap damping: two servers that take the user from each other again and again", () => {
  it("one taking too many: 403 with Retry-After and a Warning naming the holder, until it has been calm", async () => {
    await twoServers();
    const statuses: number[] = [];
    for (const name of ["east", "west", "east", "west"]) statuses.push((await register(name, 600)).status);
    expect(statuses).toEqual([200, 200, 200, 200]);
    const damped = await register("east", 600);
    expect([damped.status, damped.header("Retry-After")]).toEqual([403, "60"]);
    expect(damped.header("Warning")).toContain("west");
    expect(await lookup()).toMatchObject({ binding: { server: "west", epoch: 4 } });
    expect(world.proxies[0]!.told.refused!.at(-1)).toMatchObject({ server: "east", holder: "west", reason: "damped" });
    // Trying again too early begins the window anew; who waits as he was told gets him.
    await world.simulation.advance(WINDOW_MS / 2);
    expect((await register("east", 600)).status).toBe(403);
    await world.simulation.advance(WINDOW_MS / 2 + 1_000);
    expect((await register("east", 600)).status).toBe(403);
    await world.simulation.advance(WINDOW_MS + 1_000);
    expect((await register("east", 600)).status).toBe(200);
    expect(await lookup()).toMatchObject({ binding: { server: "east", epoch: 5 } });
  });

  it("an admin moves him whenever he likes", async () => {
    await twoServers();
    const { directory } = world.proxies[0]!;
    for (let i = 0; i < 10; i++) {
      const to = i % 2 === 0 ? "east" : "west";
      const move = directory.move({ aor: AOR, to, equalRank: true, actor: "admin" });
      expect(await world.simulation.finish(move)).toMatchObject({ outcome: "bound" });
    }
    expect((await register("east", 600)).status).toBe(200);
  });
});

describe("what is out of order fails (RFC 3261 10.3 step 7)", () => {
  it("a deregistration overtaken by a later REGISTER: 500, and the user stays", async () => {
    await twoServers();
    expect((await register("east", 600, { callId: "one", cseq: 5 })).status).toBe(200);
    expect((await register("east", 0, { callId: "one", cseq: 4 })).status).toBe(500);
    expect(await lookup()).toMatchObject({ binding: { server: "east", epoch: 1 } });
    expect((await register("east", 0, { callId: "one", cseq: 6 })).status).toBe(200);
    expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 2 });
  });

  it("the same deregistration once more, as after a lost answer: 200", async () => {
    await twoServers();
    await register("east", 600, { callId: "one", cseq: 1 });
    expect((await register("east", 0, { callId: "one", cseq: 2 })).status).toBe(200);
    expect((await register("east", 0, { callId: "one", cseq: 2, fromTag: "again" })).status).toBe(200);
  });
});

describe("expiry and its grace time", () => {
  it("a refresh a little late moves nobody: the epoch stays; without one he is unbound", async () => {
    await twoServers();
    await register("east", 60, { callId: "one", cseq: 1 });
    await world.simulation.advance(60_000 + GRACE_MS - 1_000);
    expect(await lookup()).toMatchObject({ state: "bound", epoch: 1 });
    expect((await register("east", 60, { callId: "one", cseq: 2 })).status).toBe(200);
    expect(await lookup()).toMatchObject({ state: "bound", epoch: 1 });
    await world.simulation.advance(60_000 + GRACE_MS + 2_000);
    expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 2 });
  });

  it("the Contact of the 200 tells what was granted, without the grace", async () => {
    await twoServers();
    expect((await register("east", 60)).headers("Contact")).toEqual(["<sip:127.0.0.11:5060>;expires=60"]);
  });

  it("a superseded claim that outlived its granted Expires claims anew; before, it is a late refresh: 403", async () => {
    await twoServers();
    await register("east", 60, { callId: "one", cseq: 1 });
    await register("west", 600);
    const late = await register("east", 60, { callId: "one", cseq: 2 });
    expect([late.status, late.header("Warning")]).toEqual([403, expect.stringContaining("west")]);
    await world.simulation.advance(61_000);
    expect((await register("east", 60, { callId: "one", cseq: 3 })).status).toBe(200);
    expect(await lookup()).toMatchObject({ binding: { server: "east", epoch: 3 } });
  });
});

describe("who ranks how", () => {
  it("a provisioned user is pinned: 403 to every other server, and no deregistration ends him", async () => {
    await twoServers();
    const row = { aor: AOR, model: null, server: "west" };
    await world.simulation.finish(world.proxies[0]!.directory.importUsers([row], "admin"));
    const refused = await register("east", 600);
    expect([refused.status, refused.header("Warning")]).toEqual([403, expect.stringContaining("west")]);
    expect((await register("west", 0)).status).toBe(200);
    expect(await lookup()).toMatchObject({ binding: { server: "west", origin: "provisioned" } });
  });

  it("a deregistration ends an admin's binding too", async () => {
    await twoServers();
    await world.simulation.finish(
      world.proxies[0]!.directory.move({ aor: AOR, to: "east", equalRank: true, actor: "admin" }),
    );
    expect((await register("east", 0)).status).toBe(200);
    expect(await lookup()).toMatchObject({ state: "no-binding" });
  });

  it("refuse: a second server's claim gets 302 to the holder where it is configured so", async () => {
    await twoServers({ options: exclusive("refuse", 302) as NonNullable<WorldOptions["options"]> });
    await register("east", 600);
    const refused = await register("west", 600);
    expect([refused.status, refused.header("Contact")]).toEqual([302, "<sip:127.0.0.11:5060>"]);
  });
});

describe("PUBLISH from a server marked for it, answered by a compositor that keeps nothing (RFC 3903 6)", () => {
  const OPEN =
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:bob@example.com"><tuple id="a"><status><basic>open</basic></status></tuple></presence>';
  const CLOSED = OPEN.replace("open", "closed");

  async function publisher(more: Partial<WorldOptions> = {}): Promise<void> {
    await twoServers({ serverOptions: { claims: ["register", "publish"] }, ...more });
  }

  async function publish(name: string, expires: number, body: string, etag?: string, more: SendOptions = {}) {
    const responses = await world.scripted[name]!.send("PUBLISH", BOB, {
      from: BOB,
      callId: `publish-${++calls}`,
      headers: [
        ["Event", "presence"],
        ["Expires", String(expires)],
        ...(body === "" ? [] : [["Content-Type", "application/pidf+xml"] as const]),
        ...(etag === undefined ? [] : [["SIP-If-Match", etag] as const]),
      ],
      body,
      ...more,
    });
    return responses.at(-1)!;
  }

  it("an open tuple claims: 200 with SIP-ETag and Expires; the body goes nowhere", async () => {
    await publisher();
    const response = await publish("east", 300, OPEN);
    expect([response.status, response.header("Expires")]).toEqual([200, "300"]);
    expect(response.header("SIP-ETag")).toBeDefined();
    expect(await lookup()).toMatchObject({ binding: { server: "east", origin: "published" } });
    expect(world.scripted["west"]!.seen("PUBLISH")).toEqual([]);
  });

  it("a closed one claims nobody", async () => {
    await publisher();
    expect((await publish("east", 300, CLOSED)).status).toBe(200);
    expect(await lookup()).toMatchObject({ state: "no-record" });
  });

  it("a refresh with the tag renews the binding and gets another tag", async () => {
    await publisher();
    const first = (await publish("east", 60, OPEN)).header("SIP-ETag")!;
    await world.simulation.advance(50_000);
    const second = await publish("east", 60, "", first);
    expect(second.status).toBe(200);
    expect(second.header("SIP-ETag")).not.toBe(first);
    await world.simulation.advance(50_000);
    expect(await lookup()).toMatchObject({ state: "bound", epoch: 1 });
  });

  it("the tag is known to every proxy", async () => {
    await publisher({ proxies: 2 });
    const etag = (await publish("east", 60, OPEN)).header("SIP-ETag")!;
    expect((await publish("east", 60, "", etag, { proxy: "127.0.0.2" })).status).toBe(200);
  });

  it("with SIP-If-Match it never claims: 412 for a tag that is unknown or has run out, 403 where another holds him", async () => {
    await publisher();
    expect((await publish("east", 60, OPEN, "made-up")).status).toBe(412);
    const old = (await publish("east", 60, OPEN)).header("SIP-ETag")!;
    await register("west", 600);
    const refused = await publish("east", 60, OPEN, old);
    expect([refused.status, refused.header("Warning")]).toEqual([403, expect.stringContaining("west")]);
    await register("west", 0);
    expect((await publish("east", 60, OPEN, old)).status).toBe(412);
    expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 3 });
    // Of an earlier stay there: what it named is gone.
    await publish("east", 60, OPEN);
    expect((await publish("east", 60, "", old)).status).toBe(412);
  });

  it("Expires 0 with the tag gives the user up; with an old tag it gives up nobody", async () => {
    await publisher();
    const old = (await publish("east", 60, OPEN)).header("SIP-ETag")!;
    const gone = await publish("east", 0, "", old);
    expect([gone.status, gone.header("Expires")]).toEqual([200, "0"]);
    expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 2 });
    await publish("east", 60, OPEN);
    expect((await publish("east", 0, "", old)).status).toBe(412);
    expect(await lookup()).toMatchObject({ state: "bound", epoch: 3 });
  });

  it("several tags: 400; nothing at all: 400; what is no presence document: 415 with Accept", async () => {
    await publisher();
    expect((await publish("east", 60, OPEN, "a, b")).status).toBe(400);
    expect((await publish("east", 60, "")).status).toBe(400);
    const other = await publish("east", 60, "x", undefined, {
      headers: [
        ["Event", "presence"],
        ["Content-Type", "text/plain"],
      ],
    });
    expect([other.status, other.header("Accept")]).toEqual([415, "application/pidf+xml"]);
  });

  it("the database away: 500", async () => {
    await publisher();
    world.database.setAway(true);
    const response = await publish("east", 60, OPEN);
    expect(response.status).toBe(500);
    expect(response.header("Retry-After")).toBeDefined();
    world.database.setAway(false);
  });

  it("from a server without the mark it goes to the holder; to nobody: 480", async () => {
    await twoServers();
    await register("west", 600);
    expect((await publish("east", 60, OPEN)).status).toBe(200);
    expect(world.scripted["west"]!.seen("PUBLISH")).toHaveLength(1);
    await register("west", 0);
    expect((await publish("east", 60, OPEN)).status).toBe(480);
    expect(await lookup()).toMatchObject({ state: "no-binding" });
  });
});

describe("eviction by REGISTER: the server that lost the user is told to let go of him (RFC 3261 10.2.2)", () => {
  const EVICTED = { each: { east: { evict: "register" as const, identities: { [AOR]: "robert@east.example" } } } };

  function told(server = "east") {
    return world.scripted[server]!.seen("REGISTER");
  }

  it("a takeover: Contact *, Expires 0, by the name that server knows him by; once, and never again", async () => {
    await twoServers(EVICTED);
    await register("east", 600);
    await register("west", 600);
    await world.simulation.advance(300_000);
    expect(told()).toHaveLength(1);
    const [request] = told();
    expect([request!.requestUri, request!.to.uri.raw]).toEqual(["sip:east.example", "sip:robert@east.example"]);
    expect([request!.contacts, request!.expires]).toEqual(["*", 0]);
    expect(told("west")).toEqual([]);
    expect(world.proxies[0]!.told.evicted).toEqual([
      { aor: AOR, server: "east", by: "register", result: "done", detail: "200" },
    ]);
  });

  it("an admin's move too; a deregistration, an expiry and a refusal tell nobody", async () => {
    await twoServers(EVICTED);
    const { directory } = world.proxies[0]!;
    await register("east", 30);
    await world.simulation.advance(60_000);
    await register("east", 600);
    await register("east", 0);
    await world.simulation.advance(60_000);
    expect(told()).toEqual([]);
    await register("east", 600);
    await world.simulation.finish(directory.move({ aor: AOR, to: "west", equalRank: true, actor: "admin" }));
    await world.simulation.advance(60_000);
    expect(told()).toHaveLength(1);
  });

  it("evict: none: nobody is told", async () => {
    await twoServers({ serverOptions: { evict: "none" } });
    await register("east", 600);
    await register("west", 600);
    await world.simulation.advance(300_000);
    expect(told()).toEqual([]);
  });

  it("of two proxies one does it", async () => {
    await twoServers({ ...EVICTED, proxies: 2 });
    await register("east", 600);
    await register("west", 600, { proxy: "127.0.0.2" });
    await world.simulation.advance(300_000);
    expect(told()).toHaveLength(1);
  });

  it("a server that cannot be asked is asked later, and later and later", async () => {
    let status = 503;
    const times: number[] = [];
    world = await createWorld({
      servers: {
        east: {
          script: (transaction) => {
            times.push(world.simulation.now);
            transaction.respond(buildResponse(transaction.request, status));
          },
        },
        west: { script: always(200) },
      },
      options: exclusive() as NonNullable<WorldOptions["options"]>,
      ...EVICTED,
    });
    await register("east", 600);
    await register("west", 600);
    await world.simulation.advance(150_000);
    const tries = times.length;
    expect(tries).toBeGreaterThan(1);
    for (let i = 2; i < tries; i++) expect(times[i]! - times[i - 1]!).toBeGreaterThan(times[i - 1]! - times[i - 2]!);
    status = 200;
    await world.simulation.advance(600_000);
    expect(times).toHaveLength(tries + 1);
    expect(world.proxies[0]!.told.evicted!.map((each) => each.result).at(-1)).toBe("done");
  });

  it("the proxy that was about to do it dies: the other one does", async () => {
    await twoServers({ ...EVICTED, proxies: 2 });
    await register("east", 600);
    // Nothing of the first proxy comes through to east any more, though it has taken the row.
    world.simulation.link("127.0.0.1", "127.0.0.11", { loss: 1 });
    await register("west", 600);
    await world.simulation.advance(500);
    expect(told()).toEqual([]);
    world.proxies[0]!.kill();
    await world.simulation.advance(120_000);
    expect(told()).toHaveLength(1);
    expect(world.proxies[1]!.told.evicted).toMatchObject([{ server: "east", result: "done" }]);
  });

  it("both proxies die with it: one that starts again does", async () => {
    await twoServers({ ...EVICTED, proxies: 2 });
    await register("east", 600);
    world.simulation.link("127.0.0.1", "127.0.0.11", { loss: 1 });
    world.simulation.link("127.0.0.2", "127.0.0.11", { loss: 1 });
    await register("west", 600);
    await world.simulation.advance(500);
    for (const proxy of world.proxies) proxy.kill();
    await world.simulation.advance(5_000);
    world.simulation.link("127.0.0.1", "127.0.0.11", { loss: 0 });
    await world.simulation.finish(world.restart("127.0.0.1"));
    await world.simulation.advance(120_000);
    expect(told()).toHaveLength(1);
  });

  it("he is back before it was told: nobody is", async () => {
    let status = 0;
    world = await createWorld({
      servers: {
        east: {
          script: (transaction) => {
            if (status > 0) transaction.respond(buildResponse(transaction.request, status));
          },
        },
        west: { script: always(200) },
      },
      options: exclusive() as NonNullable<WorldOptions["options"]>,
      ...EVICTED,
    });
    await register("east", 600);
    await register("west", 600);
    await world.simulation.advance(33_000);
    await register("east", 600);
    status = 200;
    const before = told().length;
    await world.simulation.advance(300_000);
    expect(told().slice(before)).toEqual([]);
    expect(world.proxies[0]!.told.evicted!.at(-1)).toMatchObject({ result: "needless", detail: "back" });
  });
});
