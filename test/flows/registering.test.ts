import { afterEach, describe, expect, it } from "vitest";
import { digestResponse, digestSecret } from "../../src/base/digest.ts";
import { buildResponse, type HeaderPair } from "../../src/sip/message/build.ts";
import type { SipResponse } from "../../src/sip/message/message.ts";
import type { Client, Script, SendOptions, World, WorldOptions } from "../support/world.ts";
import { always, createWorld, reply } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";
const AOR = "bob@example.com";
const DOMAIN = "sip:example.com";

function exclusive(conflict: "takeover" | "refuse", refuseWith: 403 | 302 = 403): NonNullable<WorldOptions["options"]> {
  return {
    models: [{ match: "*@example.com", model: { model: "exclusive", conflict, refuseWith } }],
    clients: { authenticate: "none", realm: "example.com", home: "west" },
  };
}

const HOME = { clients: { authenticate: "none" as const, realm: "example.com", home: "west" } };

/** A registrar that keeps contacts and lists them all (RFC 3261 10.3 step 8). */
function registrar(): Script {
  const contacts = new Map<string, number>();
  return (transaction, self) => {
    const { request } = transaction;
    if (request.method !== "REGISTER") return reply(transaction, self, 200);
    if (request.contacts === "*") contacts.clear();
    else {
      for (const each of request.contacts) {
        const seconds = Number(each.params.get("expires") ?? request.expires ?? 3600);
        if (seconds === 0) contacts.delete(each.uri.raw);
        else contacts.set(each.uri.raw, seconds);
      }
    }
    const headers = [...contacts].map(([uri, seconds]): HeaderPair => ["Contact", `<${uri}>;expires=${seconds}`]);
    transaction.respond(buildResponse(request, 200, undefined, { headers }));
  };
}

function lookup(): Promise<unknown> {
  return world.simulation.finish(world.proxies[0]!.directory.lookup(AOR));
}

/** One REGISTER of a phone; its Call-ID is its own and stays. */
async function register(client: Client, cseq: number, expires: number, more: SendOptions = {}): Promise<SipResponse> {
  const responses = await client.send("REGISTER", DOMAIN, {
    toUser: BOB,
    from: BOB,
    callId: `phone-${client.host}`,
    cseq,
    headers: [["Expires", String(expires)]],
    ...more,
  });
  return responses.at(-1)!;
}

describe("REGISTER and PUBLISH never fork (models.md, Partitioned)", () => {
  it.each(["REGISTER", "PUBLISH"])("%s of an unbound user: to the home server, and to nobody else", async (method) => {
    world = await createWorld({
      servers: { east: { script: always(404) }, west: { script: always(200) } },
      options: HOME,
    });
    const client = world.client("127.0.0.50");
    const to = method === "REGISTER" ? DOMAIN : BOB;
    const headers = method === "PUBLISH" ? [["Event", "presence"] as const] : [];
    expect(await client.status(method, to, { toUser: BOB, from: BOB, headers })).toBe(200);
    expect([world.scripted["east"]!.seen(method).length, world.scripted["west"]!.seen(method).length]).toEqual([0, 1]);
  });

  it.each(["REGISTER", "PUBLISH"])("%s without a home server: 404", async (method) => {
    world = await createWorld({ servers: { east: { script: always(200) }, west: { script: always(200) } } });
    const to = method === "REGISTER" ? DOMAIN : BOB;
    const headers = method === "PUBLISH" ? [["Event", "presence"] as const] : [];
    expect(await world.client("127.0.0.50").status(method, to, { toUser: BOB, from: BOB, headers })).toBe(404);
    expect(Object.values(world.scripted).flatMap((server) => server.seen(method))).toEqual([]);
  });
});

describe("a client's REGISTER is judged by its 2xx, which lists all contacts (models.md, Exclusive)", () => {
  it("binds; of two phones one logs out: bound; the last one logs out: unbound", async () => {
    world = await createWorld({
      servers: { east: { script: always(404) }, west: { script: registrar() } },
      options: exclusive("takeover"),
    });
    const one = world.client("127.0.0.51");
    const two = world.client("127.0.0.52");
    expect((await register(one, 1, 600)).status).toBe(200);
    expect(await lookup()).toMatchObject({ state: "bound", binding: { server: "west", origin: "registered" } });
    expect((await register(two, 1, 600)).status).toBe(200);
    expect((await register(one, 2, 0)).status).toBe(200);
    expect(await lookup()).toMatchObject({ state: "bound", binding: { server: "west", epoch: 1 } });
    const claims = world.proxies[0]!.told.bound!.length;
    expect((await register(two, 2, 0)).status).toBe(200);
    expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 2 });
    expect(world.proxies[0]!.told.bound).toHaveLength(claims);
  });

  it("its expiry is the latest of the contacts listed, and a refusal changes nothing", async () => {
    let status = 200;
    world = await createWorld({
      servers: {
        east: { script: always(404) },
        west: {
          script: (transaction, self) =>
            status === 200
              ? reply(transaction, self, 200, [
                  ["Contact", "<sip:a@127.0.0.51>;expires=100"],
                  ["Contact", "<sip:b@127.0.0.52>;expires=700"],
                ])
              : reply(transaction, self, status),
        },
      },
      options: exclusive("takeover"),
    });
    const client = world.client("127.0.0.51");
    status = 403;
    expect((await register(client, 1, 600)).status).toBe(403);
    expect(await lookup()).toMatchObject({ state: "no-record" });
    status = 200;
    const now = world.proxies[0]!.runtime.clock.wall();
    expect((await register(client, 2, 600)).status).toBe(200);
    const bound = (await lookup()) as { binding: { expiresAt: number } };
    // Of our own Contact, which carries none, the default hour is the longest.
    expect(Math.round((bound.binding.expiresAt - now) / 1000)).toBeGreaterThanOrEqual(700);
  });

  it("a query (no Contact) changes nothing (RFC 3261 10.2.3)", async () => {
    world = await createWorld({
      servers: { east: { script: always(404) }, west: { script: registrar() } },
      options: exclusive("takeover"),
    });
    const client = world.client("127.0.0.51");
    await register(client, 1, 600);
    expect((await register(client, 2, 600, { contacts: [], headers: [] })).status).toBe(200);
    expect(await lookup()).toMatchObject({ state: "bound", epoch: 1 });
  });
});

describe("a server's own REGISTER claims its user (models.md, Exclusive)", () => {
  it("takeover: the new server wins, epoch + 1; the old one's late refresh is 403 with a Warning", async () => {
    world = await createWorld({ servers: { east: {}, west: {} }, options: exclusive("takeover") });
    const { east, west } = world.servers;
    expect((await world.simulation.finish(east!.claim("bob", 600)))?.status).toBe(200);
    expect((await world.simulation.finish(west!.claim("bob", 600)))?.status).toBe(200);
    expect(await lookup()).toMatchObject({ binding: { server: "west", epoch: 2 } });
    const late = await world.simulation.finish(east!.claim("bob", 600));
    expect([late?.status, late?.header("Warning")]).toEqual([403, expect.stringContaining("west")]);
    expect(await lookup()).toMatchObject({ binding: { server: "west", epoch: 2 } });
  });

  it("refuse: 403 with a Warning naming the holder; 302 to him where the configuration says so", async () => {
    for (const refuseWith of [403, 302] as const) {
      world = await createWorld({ servers: { east: {}, west: {} }, options: exclusive("refuse", refuseWith) });
      const { east, west } = world.servers;
      await world.simulation.finish(east!.claim("bob", 600));
      const refused = await world.simulation.finish(west!.claim("bob", 600));
      expect(refused?.status).toBe(refuseWith);
      if (refuseWith === 403) expect(refused?.header("Warning")).toContain("east");
      else expect(refused?.header("Contact")).toBe("<sip:127.0.0.11:5060>");
      expect(await lookup()).toMatchObject({ binding: { server: "east" } });
      if (refuseWith === 403) await world.stop();
    }
  });

  it("a deregistration acts only while its server still holds", async () => {
    world = await createWorld({ servers: { east: {}, west: {} }, options: exclusive("takeover") });
    const { east, west } = world.servers;
    await world.simulation.finish(east!.claim("bob", 600));
    await world.simulation.finish(west!.claim("bob", 600));
    expect((await world.simulation.finish(east!.claim("bob", 0)))?.status).toBe(200);
    expect(await lookup()).toMatchObject({ binding: { server: "west" } });
    expect((await world.simulation.finish(west!.claim("bob", 0)))?.status).toBe(200);
    expect(await lookup()).toMatchObject({ state: "no-binding" });
  });

  it("what was bound routes: MESSAGE to the holder, 480 to who is bound nowhere, 404 to a SUBSCRIBE for nobody", async () => {
    world = await createWorld({ servers: { east: {}, west: { users: ["bob"] } }, options: exclusive("takeover") });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(480);
    expect(await client.status("SUBSCRIBE", BOB)).toBe(404);
    await world.simulation.finish(world.servers["west"]!.claim("bob", 600));
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    expect(world.servers["east"]!.seen("MESSAGE", "bob")).toBe(0);
  });

  it("Call-ID and CSeq order claims (RFC 3261 10.3 step 7): what is overtaken is refused", async () => {
    world = await createWorld({
      servers: { east: { script: always(200) }, west: { script: always(200) } },
      options: exclusive("takeover"),
    });
    const claim = (name: string, cseq: number) =>
      world.scripted[name]!.status("REGISTER", DOMAIN, { toUser: BOB, from: BOB, callId: "one", cseq });
    expect(await claim("east", 5)).toBe(200);
    expect(await claim("east", 4)).toBe(500);
    expect(await claim("west", 5)).toBe(403);
    expect(await lookup()).toMatchObject({ binding: { server: "east", epoch: 1 } });
  });

  it("a retransmission has one effect: one bind", async () => {
    world = await createWorld({
      servers: { east: { script: always(200) }, west: { script: always(200) } },
      options: exclusive("takeover"),
    });
    const east = world.scripted["east"]!;
    world.simulation.link("127.0.0.1", "127.0.0.11", { loss: 1 });
    const sent = east.begin("REGISTER", DOMAIN, { toUser: BOB, from: BOB, callId: "one" });
    await world.simulation.advance(3_000);
    world.simulation.link("127.0.0.1", "127.0.0.11", { loss: 0 });
    await east.all(sent);
    expect(sent.final).toBe(200);
    expect(world.proxies[0]!.told.bound).toHaveLength(1);
  });
});

describe("digest (RFC 7616, RFC 8760; RFC 3261 22)", () => {
  const REALM = "example.com";
  const options = { clients: { authenticate: "digest" as const, realm: REALM, home: "west" } };

  async function domain(): Promise<Client> {
    world = await createWorld({ servers: { west: { script: always(200) } }, options });
    await world.simulation.finish(
      world.proxies[0]!.directory.putCredentials(
        {
          aor: AOR,
          realm: REALM,
          md5: digestSecret("MD5", "bob", REALM, "secret"),
          sha256: digestSecret("SHA-256", "bob", REALM, "secret"),
        },
        "test",
      ),
    );
    return world.client("127.0.0.50");
  }

  interface Given {
    readonly algorithm?: "MD5" | "SHA-256";
    readonly password?: string;
    readonly nc?: string;
    readonly nonce?: string;
    readonly digestUri?: string;
  }

  function answerTo(challenge: SipResponse, method: string, uri: string, given: Given = {}): HeaderPair {
    const registering = challenge.status === 401;
    const algorithm = given.algorithm ?? "SHA-256";
    const value = challenge
      .headers(registering ? "WWW-Authenticate" : "Proxy-Authenticate")
      .find((each) => each.includes(`algorithm=${algorithm}`))!;
    const nonce = given.nonce ?? /nonce="([^"]+)"/.exec(value)![1]!;
    const nc = given.nc ?? "00000001";
    const digestUri = given.digestUri ?? uri;
    const response = digestResponse(
      { username: "bob", realm: REALM, nonce, uri: digestUri, response: "", algorithm, nc, cnonce: "abc", qop: "auth" },
      method,
      digestSecret(algorithm, "bob", REALM, given.password ?? "secret"),
    );
    return [
      registering ? "Authorization" : "Proxy-Authorization",
      `Digest username="bob", realm="${REALM}", nonce="${nonce}", uri="${digestUri}", response="${response}", ` +
        `algorithm=${algorithm}, nc=${nc}, cnonce="abc", qop=auth`,
    ];
  }

  it("22.2, 22.3: REGISTER is challenged with 401, everything else with 407, SHA-256 first (RFC 8760 2.4)", async () => {
    const client = await domain();
    const registering = (await client.send("REGISTER", DOMAIN, { toUser: BOB, from: BOB })).at(-1)!;
    const sending = (await client.send("MESSAGE", BOB, { from: BOB })).at(-1)!;
    expect([registering.status, sending.status]).toEqual([401, 407]);
    for (const value of [registering.headers("WWW-Authenticate"), sending.headers("Proxy-Authenticate")]) {
      expect(value.map((each) => /algorithm=([\w-]+)/.exec(each)?.[1])).toEqual(["SHA-256", "MD5"]);
    }
    expect(world.scripted["west"]!.requests).toEqual([]);
  });

  it.each(["SHA-256", "MD5"] as const)(
    "the right answer passes (%s), and he is asserted (RFC 3325)",
    async (algorithm) => {
      const client = await domain();
      const challenge = (await client.send("MESSAGE", BOB, { from: BOB })).at(-1)!;
      const headers = [answerTo(challenge, "MESSAGE", BOB, { algorithm })];
      expect(await client.status("MESSAGE", BOB, { from: BOB, headers })).toBe(200);
      expect(world.scripted["west"]!.seen("MESSAGE")[0]!.header("P-Asserted-Identity")).toBe(`<sip:${AOR}>`);
    },
  );

  it("a wrong password is challenged again, without stale", async () => {
    const client = await domain();
    const challenge = (await client.send("MESSAGE", BOB, { from: BOB })).at(-1)!;
    const headers = [answerTo(challenge, "MESSAGE", BOB, { password: "wrong" })];
    const again = (await client.send("MESSAGE", BOB, { from: BOB, headers })).at(-1)!;
    expect([again.status, again.header("Proxy-Authenticate")?.includes("stale")]).toEqual([407, false]);
  });

  it("a nonce count that does not grow is a replay: stale=true (RFC 7616 3.4)", async () => {
    const client = await domain();
    const challenge = (await client.send("MESSAGE", BOB, { from: BOB })).at(-1)!;
    const headers = [answerTo(challenge, "MESSAGE", BOB)];
    expect(await client.status("MESSAGE", BOB, { from: BOB, headers })).toBe(200);
    const replay = (await client.send("MESSAGE", BOB, { from: BOB, headers })).at(-1)!;
    expect([replay.status, replay.header("Proxy-Authenticate")]).toEqual([407, expect.stringContaining("stale=true")]);
    const next = [answerTo(challenge, "MESSAGE", BOB, { nc: "00000002" })];
    expect(await client.status("MESSAGE", BOB, { from: BOB, headers: next })).toBe(200);
  });

  it("a nonce that is too old is stale", async () => {
    const client = await domain();
    const challenge = (await client.send("MESSAGE", BOB, { from: BOB })).at(-1)!;
    await world.simulation.advance(301_000);
    const headers = [answerTo(challenge, "MESSAGE", BOB)];
    const answer = (await client.send("MESSAGE", BOB, { from: BOB, headers })).at(-1)!;
    expect([answer.status, answer.header("Proxy-Authenticate")]).toEqual([407, expect.stringContaining("stale=true")]);
  });

  it("an answer for another address is none for this one (RFC 7616 3.4.6, RFC 3261 22.4)", async () => {
    const client = await domain();
    const challenge = (await client.send("MESSAGE", BOB, { from: BOB })).at(-1)!;
    const headers = [answerTo(challenge, "MESSAGE", BOB, { digestUri: "sip:carol@example.com" })];
    expect(await client.status("MESSAGE", BOB, { from: BOB, headers })).toBe(407);
    // The same address, written differently, is the same (RFC 3261 19.1.4).
    const same = [answerTo(challenge, "MESSAGE", BOB, { digestUri: "sip:bob@EXAMPLE.com" })];
    expect(await client.status("MESSAGE", BOB, { from: BOB, headers: same })).toBe(200);
  });

  it("a user registers himself only: 403", async () => {
    const client = await domain();
    const carol = "sip:carol@example.com";
    const challenge = (await client.send("REGISTER", DOMAIN, { toUser: carol, from: carol })).at(-1)!;
    const headers = [answerTo(challenge, "REGISTER", DOMAIN)];
    expect(await client.status("REGISTER", DOMAIN, { toUser: carol, from: carol, headers })).toBe(403);
  });

  it("a dialog of his own lets nobody in as somebody else: what the directory is asked about is challenged", async () => {
    const client = await domain();
    const callId = "his-own";
    const challenge = (await client.send("INVITE", BOB, { from: BOB })).at(-1)!;
    const invite = client.begin("INVITE", BOB, { from: BOB, callId, headers: [answerTo(challenge, "INVITE", BOB)] });
    await client.all(invite);
    const route: HeaderPair = ["Route", invite.responses.at(-1)!.recordRoutes[0]!.raw];
    const carol = "sip:carol@example.com";
    const inside = { from: carol, toUser: carol, callId, headers: [route] };
    const forged = (method: string, uri: string) =>
      client.request(method, uri, inside).edit().set("To", `<${carol}>;tag=x`).build();
    for (const [method, uri, status] of [
      ["REGISTER", DOMAIN, 401],
      ["MESSAGE", carol, 407],
      ["PUBLISH", carol, 407],
      ["INVITE", "tel:+1", 407],
      // A request that really is one of the dialog is none of the directory's.
      ["INFO", "sip:127.0.0.11:5060", 200],
    ] as const) {
      const sent = client.beginRequest(forged(method, uri));
      await client.all(sent);
      expect([method, sent.final]).toEqual([method, status]);
    }
  });

  it("servers are not challenged", async () => {
    await domain();
    expect(await world.scripted["west"]!.status("MESSAGE", "sip:nobody@example.com")).toBe(404);
  });
});
