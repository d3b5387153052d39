import { afterEach, describe, expect, it } from "vitest";
import { digestResponse, digestSecret } from "../../src/base/digest.ts";
import type { World } from "../support/world.ts";
import { always, createWorld, reply } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";
const CAROL = "sip:carol@example.com";
const HOME = { clients: { authenticate: "none" as const, realm: "example.com", home: "west" } };

describe("the database away (models.md, Always)", () => {
  async function domain(): Promise<void> {
    world = await createWorld({
      servers: {
        east: { script: always(404) },
        west: { script: (t, s) => reply(t, s, t.request.requestUri.includes("nobody") ? 404 : 200) },
      },
      options: HOME,
    });
  }

  it("mapped users keep being routed; a fork and a REGISTER get 500 with Retry-After; it recovers by itself", async () => {
    await domain();
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    world.database.setAway(true);
    for (const method of ["MESSAGE", "SUBSCRIBE", "INVITE"]) expect(await client.status(method, BOB)).toBe(200);
    for (const method of ["MESSAGE", "SUBSCRIBE", "INVITE"]) {
      const final = (await client.send(method, CAROL)).at(-1)!;
      expect([method, final.status, final.header("Retry-After")]).toEqual([method, 500, "10"]);
    }
    const registered = (await client.send("REGISTER", "sip:example.com", { toUser: CAROL, from: CAROL })).at(-1)!;
    expect([registered.status, registered.header("Retry-After")]).toEqual([500, "10"]);
    expect(world.scripted["west"]!.seen("REGISTER")).toEqual([]);
    world.database.setAway(false);
    expect(await client.status("MESSAGE", CAROL)).toBe(200);
    expect(await client.status("REGISTER", "sip:example.com", { toUser: BOB, from: BOB })).toBe(200);
    expect(await world.leftOver()).toEqual([]);
  });

  it("a server's claim gets 500, and nobody is bound", async () => {
    await domain();
    world.database.setAway(true);
    const west = world.scripted["west"]!;
    expect(await west.status("REGISTER", "sip:example.com", { toUser: BOB, from: BOB })).toBe(500);
    world.database.setAway(false);
    expect(await world.simulation.finish(world.proxies[0]!.directory.lookup("bob@example.com"))).toMatchObject({
      state: "no-record",
    });
  });

  it("what a server learned said not here while it is away: 500, not 404 and not silence", async () => {
    let west = 200;
    world = await createWorld({
      servers: { east: { script: always(404) }, west: { script: (t, s) => reply(t, s, west) } },
    });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    west = 404;
    world.database.setAway(true);
    expect(await client.status("MESSAGE", BOB)).toBe(500);
    world.database.setAway(false);
    expect(await client.status("MESSAGE", BOB)).toBe(404);
    expect(await world.leftOver()).toEqual([]);
  });

  it("going away in the middle of a fork: it is answered, teaches nothing, and leaves nothing behind", async () => {
    world = await createWorld({
      servers: {
        east: { script: always(404) },
        west: { script: (t, s) => void s.stack.runtime.timers.after(100, () => reply(t, s, 200)) },
      },
    });
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", BOB);
    await world.simulation.advance(50);
    world.database.setAway(true);
    await client.all(sent);
    expect(sent.final).toBe(200);
    await world.simulation.advance(20_000);
    world.database.setAway(false);
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(world.scripted["east"]!.seen("MESSAGE")).toHaveLength(2);
    expect(await world.leftOver()).toEqual([]);
  });

  it("answers to commits that are lost change nothing for the sender (concurrency.md 9)", async () => {
    world = await createWorld({
      servers: { east: { script: always(404) }, west: { script: always(200) } },
      database: { lostAnswers: 300 },
    });
    const client = world.client("127.0.0.50");
    const statuses = new Set<number>();
    for (let i = 0; i < 60; i++) statuses.add(await client.status("MESSAGE", `sip:u${i}@example.com`));
    expect([...statuses].filter((status) => status !== 200 && status !== 500)).toEqual([]);
    expect(await world.leftOver()).toEqual([]);
  });
});

describe("drain", () => {
  it("new work is 503 with Retry-After; what is open is finished first, and dialogs go on", async () => {
    world = await createWorld({
      servers: { west: { script: (t, s) => void s.stack.runtime.timers.after(500, () => reply(t, s, 200)) } },
    });
    const client = world.client("127.0.0.50");
    const open = client.begin("MESSAGE", BOB);
    await world.simulation.advance(100);
    let drained = false;
    const draining = world.proxies[0]!.core.drain().then(() => {
      drained = true;
    });
    const refused = (await client.send("MESSAGE", CAROL)).at(-1)!;
    expect([refused.status, refused.header("Retry-After")]).toEqual([503, "10"]);
    expect(drained).toBe(false);
    await client.all(open);
    await world.simulation.finish(draining);
    expect([open.final, drained, world.proxies[0]!.core.open]).toEqual([200, true, 0]);
  });
});

describe("digest while the database is away", () => {
  const REALM = "example.com";

  it("who was known is still let in, and mapped users are reached; who was not is told to come back", async () => {
    world = await createWorld({
      servers: { west: { script: always(200) } },
      options: { clients: { authenticate: "digest", realm: REALM, home: null } },
    });
    const { directory } = world.proxies[0]!;
    for (const user of ["ann", "cid"]) {
      const sha256 = digestSecret("SHA-256", user, REALM, "secret");
      const credentials = { aor: `${user}@example.com`, realm: REALM, md5: null, sha256 };
      await world.simulation.finish(directory.putCredentials(credentials, "test"));
    }
    const client = world.client("127.0.0.50");
    const send = async (user: string): Promise<number> => {
      const from = `sip:${user}@example.com`;
      const challenge = (await client.send("MESSAGE", BOB, { from })).at(-1)!.header("Proxy-Authenticate")!;
      const nonce = /nonce="([^"]+)"/.exec(challenge)![1]!;
      const given = { username: user, realm: REALM, nonce, uri: BOB, nc: "00000001", cnonce: "c", qop: "auth" };
      const secret = digestSecret("SHA-256", user, REALM, "secret");
      const response = digestResponse({ ...given, response: "", algorithm: "SHA-256" }, "MESSAGE", secret);
      const value = `Digest username="${user}", realm="${REALM}", nonce="${nonce}", uri="${BOB}", response="${response}", algorithm=SHA-256, nc=00000001, cnonce="c", qop=auth`;
      return client.status("MESSAGE", BOB, { from, headers: [["Proxy-Authorization", value]] });
    };
    expect(await send("ann")).toBe(200);
    expect(await send("ann")).toBe(200);
    world.database.setAway(true);
    expect([await send("ann"), await send("cid")]).toEqual([200, 500]);
    world.database.setAway(false);
    expect(await send("cid")).toBe(200);
  });
});
