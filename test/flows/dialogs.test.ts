import { afterEach, describe, expect, it } from "vitest";
import { answeringDialog, askingDialog, inDialog, notifiedDialog } from "../../src/demo/dialog.ts";
import { buildRequest, type HeaderPair } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import type { Client, Script, World } from "../support/world.ts";
import { always, createWorld, reply } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";
const AOR = "bob@example.com";

/** A NOTIFY of the notifier's side: its route set is the Record-Route of the SUBSCRIBE (RFC 3261 12.1.1). */
function notifyFor(subscribe: SipRequest, self: Client, state: string, cseq = 1): SipRequest {
  const contact = subscribe.contacts === "*" ? "" : subscribe.contacts[0]!.uri.raw;
  return buildRequest({
    method: "NOTIFY",
    uri: contact,
    headers: [
      ["Max-Forwards", "70"],
      ...subscribe.recordRoutes.map((route): HeaderPair => ["Route", route.raw]),
      ["From", `${subscribe.to.raw};tag=at-${self.host}`],
      ["To", subscribe.from.raw],
      ["Call-ID", subscribe.callId],
      ["CSeq", `${cseq} NOTIFY`],
      ["Contact", `<sip:${self.host}:5060>`],
      ["Event", "presence"],
      ["Subscription-State", state],
    ],
  });
}

/** Statuses of the NOTIFYs each server sent. */
const notified: Record<string, number[]> = {};

/** Accepts a SUBSCRIBE, and sends its NOTIFY so many virtual milliseconds before or after its 2xx. */
function notifies(options: { okMs: number; notifyMs: number; state?: string; status?: number }): Script {
  return (transaction, self) => {
    const { request } = transaction;
    if (request.method !== "SUBSCRIBE") return reply(transaction, self, 404);
    notified[self.host] = [];
    const { timers } = self.stack.runtime;
    timers.after(options.okMs, () => reply(transaction, self, options.status ?? 200, [["Expires", "600"]]));
    timers.after(options.notifyMs, () => {
      const notify = notifyFor(request, self, options.state ?? "active;expires=600");
      void self.stack.ask(notify).then((answer) => notified[self.host]!.push(answer?.status ?? 0));
    });
  };
}

async function servers(scripts: Readonly<Record<string, Script>>, options = {}): Promise<Client> {
  world = await createWorld({
    servers: Object.fromEntries(Object.entries(scripts).map(([name, script]) => [name, { script }])),
    ...options,
  });
  return world.client("127.0.0.50");
}

describe("a forked SUBSCRIBE (models.md, Partitioned; RFC 6665 4.4.1, RFC 3856 6.9)", () => {
  it("the first NOTIFY makes the dialog; another branch's gets 481 from us, and the first keeps working", async () => {
    const client = await servers({
      east: notifies({ okMs: 10, notifyMs: 20 }),
      west: notifies({ okMs: 200, notifyMs: 220 }),
    });
    const sent = client.begin("SUBSCRIBE", BOB);
    await client.all(sent);
    await world.simulation.advance(1_000);
    expect(sent.statuses).toEqual([200]);
    expect(client.seen("NOTIFY").map((each) => each.from.tag)).toEqual(["at-127.0.0.11"]);
    expect([notified["127.0.0.11"], notified["127.0.0.12"]]).toEqual([[200], [481]]);
    // A later NOTIFY of the chosen one.
    const subscribe = world.scripted["east"]!.seen("SUBSCRIBE")[0]!;
    const later = await world.simulation.finish(
      world.scripted["east"]!.stack.ask(notifyFor(subscribe, world.scripted["east"]!, "active;expires=500", 2)),
    );
    expect(later?.status).toBe(200);
  });

  it("a NOTIFY before its 2xx chooses its branch; the other's 2xx is absorbed", async () => {
    const client = await servers({
      east: notifies({ okMs: 100, notifyMs: 200 }),
      west: notifies({ okMs: 300, notifyMs: 10 }),
    });
    const sent = client.begin("SUBSCRIBE", BOB);
    await client.all(sent);
    await world.simulation.advance(1_000);
    expect(sent.responses.map((response) => response.to.tag)).toEqual(["at-127.0.0.12"]);
    expect([notified["127.0.0.11"], notified["127.0.0.12"]]).toEqual([[481], [200]]);
  });

  it("is learned by 2xx and an active NOTIFY, in whatever order; not by pending", async () => {
    const client = await servers({ east: always(404), west: notifies({ okMs: 300, notifyMs: 10 }) });
    await client.all(client.begin("SUBSCRIBE", BOB));
    await world.simulation.advance(100);
    expect(world.proxies[0]!.told.learned).toEqual([expect.objectContaining({ aor: AOR, server: "west" })]);
    await world.stop();
    const other = await servers({ east: always(404), west: notifies({ okMs: 1, notifyMs: 10, state: "pending" }) });
    await other.all(other.begin("SUBSCRIBE", BOB));
    await world.simulation.advance(60_000);
    expect(world.proxies[0]!.told.learned).toEqual([]);
    expect(notified["127.0.0.12"]).toEqual([200]);
  });

  it("of two servers that both prove, the conflict is reported and nothing learned", async () => {
    const client = await servers({
      east: notifies({ okMs: 10, notifyMs: 20 }),
      west: notifies({ okMs: 200, notifyMs: 220 }),
    });
    await client.all(client.begin("SUBSCRIBE", BOB));
    await world.simulation.advance(1_000);
    expect(world.proxies[0]!.told.conflict).toEqual([{ aor: AOR, servers: ["east", "west"] }]);
    expect(await world.simulation.finish(world.proxies[0]!.directory.lookup(AOR))).toMatchObject({
      state: "no-binding",
    });
  });

  it("a NOTIFY that is lost and sent again has one effect, and is answered", async () => {
    const client = await servers({ east: always(404), west: notifies({ okMs: 10, notifyMs: 20 }) });
    const sent = client.begin("SUBSCRIBE", BOB);
    await client.all(sent);
    world.simulation.link("127.0.0.50", "127.0.0.1", { loss: 1 });
    await world.simulation.advance(3_000);
    world.simulation.link("127.0.0.50", "127.0.0.1", { loss: 0 });
    await world.simulation.advance(10_000);
    expect(notified["127.0.0.12"]).toEqual([200]);
    expect(client.seen("NOTIFY")).toHaveLength(1);
    expect(world.proxies[0]!.told.learned).toHaveLength(1);
  });

  it("NOTIFYs are record-routed, so that the watcher's route set is whole (RFC 6665 4.4.1)", async () => {
    const client = await servers({ east: always(404), west: notifies({ okMs: 10, notifyMs: 20 }) });
    const sent = client.begin("SUBSCRIBE", BOB);
    await client.all(sent);
    await world.simulation.advance(100);
    const dialog = notifiedDialog(sent.request, client.seen("NOTIFY")[0]!);
    const headers: HeaderPair[] = [
      ["Contact", "<sip:127.0.0.50:5060>"],
      ["Event", "presence"],
      ["Expires", "600"],
    ];
    const refreshed = await world.simulation.finish(client.stack.ask(inDialog(dialog, "SUBSCRIBE", headers)));
    expect(refreshed?.status).toBe(200);
    expect(world.scripted["west"]!.seen("SUBSCRIBE")).toHaveLength(2);
    expect(await world.leftOver()).toEqual([]);
  });

  it("404 from all but one that cannot be asked: 480 with Retry-After, and its late NOTIFY still teaches", async () => {
    const client = await servers({ east: always(404), west: notifies({ okMs: 9_000, notifyMs: 9_100 }) });
    const sent = client.begin("SUBSCRIBE", BOB);
    await client.all(sent);
    expect([sent.final, sent.responses.at(-1)!.header("Retry-After")]).toEqual([480, "10"]);
    expect(sent.tookMs! / 1000).toBeCloseTo(8, 1);
    await world.simulation.advance(5_000);
    expect(sent.statuses.filter((status) => status >= 200)).toEqual([480]);
    expect(await world.leftOver()).toEqual([]);
  });
});

describe("requests within a dialog follow the route set (RFC 3261 12.2, 16.12)", () => {
  it("ACK, re-INVITE and BYE, both ways, whatever becomes of the binding", async () => {
    world = await createWorld({ servers: { east: { users: ["joe"] }, west: { users: ["bob"] } } });
    const call = await world.simulation.finish(world.servers["east"]!.call("joe", AOR));
    expect(call.answer?.status).toBe(200);
    await world.simulation.advance(2_000);
    await world.simulation.finish(
      world.proxies[0]!.directory.claim({
        aor: AOR,
        server: "east",
        origin: "admin",
        expiresAt: null,
        conflict: "takeover",
        equalRank: false,
        actor: "test",
      }),
    );
    expect((await world.simulation.finish(call.hangUp()))?.status).toBe(200);
    expect(world.servers["west"]!.live).toBe(0);
  });

  it("the ACK of a 2xx is routed without state and stops the callee's retransmissions", async () => {
    world = await createWorld({ servers: { east: { users: ["joe"] }, west: { users: ["bob"] } } });
    let retransmissions = 0;
    world.proxies[0]!.telemetry.on("retransmission", () => retransmissions++);
    const call = await world.simulation.finish(world.servers["east"]!.call("joe", AOR));
    await world.simulation.advance(40_000);
    expect(retransmissions).toBe(0);
    expect(world.servers["west"]!.live).toBe(1);
    await world.simulation.finish(call.hangUp());
    expect(await world.leftOver()).toEqual([]);
  });

  it("an ACK for an address of record goes where its user is", async () => {
    const client = await servers({ east: always(404), west: always(200) });
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    const ack = client.request("ACK", BOB);
    client.stack.sendAck(ack, { host: "127.0.0.1", port: 5060 });
    client.stack.sendAck(client.request("ACK", "sip:nobody@example.com"), { host: "127.0.0.1", port: 5060 });
    client.stack.sendAck(client.request("ACK", BOB, { maxForwards: 0 }), { host: "127.0.0.1", port: 5060 });
    await world.simulation.advance(1_000);
    expect(world.scripted["west"]!.acks.map((each) => each.callId)).toEqual([ack.callId]);
    expect(world.scripted["east"]!.acks).toEqual([]);
  });

  it("the next SUBSCRIBE of a dialog whose user has moved is 481, and nothing else is", async () => {
    world = await createWorld({ servers: { east: { users: ["joe"] }, west: { users: ["bob"] }, north: {} } });
    const watch = await world.simulation.finish(world.servers["east"]!.watch("joe", AOR));
    await world.simulation.advance(1_000);
    expect((await world.simulation.finish(watch.refresh(600)))?.status).toBe(200);
    await world.simulation.finish(
      world.proxies[0]!.directory.claim({
        aor: AOR,
        server: "north",
        origin: "registered",
        expiresAt: null,
        conflict: "takeover",
        equalRank: false,
        actor: "test",
      }),
    );
    await world.simulation.advance(1_000);
    const before = watch.notified.length;
    world.servers["west"]!.show("bob", "open");
    await world.simulation.advance(1_000);
    expect(watch.notified.length).toBe(before + 1);
    expect((await world.simulation.finish(watch.refresh(600)))?.status).toBe(481);
  });

  it("the next SUBSCRIBE of a dialog whose user is on several servers now is 481, and the next one is composed", async () => {
    world = await createWorld({ servers: { east: { users: ["joe"] }, west: { users: ["bob"] }, north: {} } });
    const watch = await world.simulation.finish(world.servers["east"]!.watch("joe", AOR));
    await world.simulation.advance(1_000);
    const servers = ["west", "north"];
    world.configure({ models: [{ match: AOR, model: { model: "unioned", style: "peer", servers } }] });
    expect((await world.simulation.finish(watch.refresh(600)))?.status).toBe(481);
    const anew = await world.simulation.finish(world.servers["east"]!.watch("joe", AOR));
    await world.simulation.advance(1_000);
    expect(anew.notified.map(({ state }) => state.split(";")[0])).toEqual(["pending", "active"]);
    expect((await world.simulation.finish(anew.refresh(0)))?.status).toBe(200);
  });

  it.each([
    ["BYE", 0],
    ["INVITE", 408],
  ] as const)(
    "%s to somebody who is silent: RFC 4320 4.2 and 3261 16.8, and nothing is left",
    async (method, status) => {
      let silent = false;
      const client = await servers({ east: (t, s) => (silent ? undefined : reply(t, s, 200)) });
      const invite = client.begin("INVITE", BOB);
      await client.all(invite);
      silent = true;
      if (method === "INVITE") world.simulation.partition([["127.0.0.1"], ["127.0.0.11"]]);
      const dialog = askingDialog(invite.request, invite.responses.at(-1)!);
      const sent = client.beginRequest(inDialog(dialog, method, [["Contact", "<sip:127.0.0.50:5060>"]]));
      await client.all(sent);
      expect(sent.final).toBe(status);
      world.simulation.heal();
      expect(await world.leftOver()).toEqual([]);
    },
  );

  it("a branch's 503 is no 503 of ours (16.7 step 6): 500", async () => {
    let status = 200;
    const other = await servers({ east: (t, s) => reply(t, s, status) });
    const invite = other.begin("INVITE", BOB);
    await other.all(invite);
    status = 503;
    const answer = invite.responses.at(-1)!;
    const bye = other.beginRequest(
      buildRequest({
        method: "BYE",
        uri: "sip:127.0.0.11:5060",
        headers: [
          ["Max-Forwards", "70"],
          ...answer.recordRoutes.map((route): HeaderPair => ["Route", route.raw]).reverse(),
          ["From", invite.request.from.raw],
          ["To", answer.to.raw],
          ["Call-ID", invite.request.callId],
          ["CSeq", "2 BYE"],
        ],
      }),
    );
    await other.all(bye);
    expect(bye.final).toBe(500);
  });
});

describe("strict routers (RFC 3261 16.4, 16.6 step 6, 16.12.1.2)", () => {
  async function established(): Promise<{ client: Client; route: string; to: string; invite: SipRequest }> {
    const client = await servers({ east: always(404), west: always(200) });
    const sent = client.begin("INVITE", BOB);
    await client.all(sent);
    const answer = sent.responses.at(-1)!;
    return { client, route: answer.recordRoutes[0]!.uri.raw, to: answer.to.raw, invite: sent.request };
  }

  it("16.4: one behind us has put our Record-Route into the Request-URI: undone, also for a client", async () => {
    const { client, route, to, invite } = await established();
    const sent = client.beginRequest(
      buildRequest({
        method: "BYE",
        uri: route,
        headers: [
          ["Max-Forwards", "70"],
          ["Route", "<sip:127.0.0.12:5060>"],
          ["From", invite.from.raw],
          ["To", to],
          ["Call-ID", invite.callId],
          ["CSeq", "2 BYE"],
        ],
      }),
    );
    await client.all(sent);
    expect(sent.final).toBe(200);
    const bye = world.scripted["west"]!.seen("BYE")[0]!;
    expect([bye.requestUri, bye.headers("Route")]).toEqual(["sip:127.0.0.12:5060", []]);
  });

  it("16.4: the Request-URI counts as our Route then: it shows the dialog, and a client may go on in it", async () => {
    const { client, route, to, invite } = await established();
    const callee = world.client("127.0.0.71");
    await world.simulation.finish(callee.started);
    const strict = (key: string) =>
      client.beginRequest(
        buildRequest({
          method: "BYE",
          uri: route.replace(/k=\w+/, key),
          headers: [
            ["Max-Forwards", "70"],
            ["Route", "<sip:127.0.0.71:5060>"],
            ["From", invite.from.raw],
            ["To", to],
            ["Call-ID", invite.callId],
            ["CSeq", "2 BYE"],
          ],
        }),
      );
    const right = strict(/k=\w+/.exec(route)![0]);
    const wrong = strict("k=0123456789abcdef");
    await client.all(right, wrong);
    expect([right.final, wrong.final]).toEqual([200, 403]);
  });

  it("16.6 step 6: one in front of us gets its own URI as Request-URI, the real one last in Route", async () => {
    const { client, route, to, invite } = await established();
    const strict = world.client("127.0.0.71");
    await world.simulation.finish(strict.started);
    const sent = client.beginRequest(
      buildRequest({
        method: "BYE",
        uri: "sip:127.0.0.12:5060",
        headers: [
          ["Max-Forwards", "70"],
          ["Route", `<${route}>, <sip:127.0.0.71:5060>, <sip:127.0.0.72:5060;lr>`],
          ["From", invite.from.raw],
          ["To", to],
          ["Call-ID", invite.callId],
          ["CSeq", "2 BYE"],
        ],
      }),
    );
    await client.all(sent);
    const bye = strict.seen("BYE")[0]!;
    expect(bye.requestUri).toBe("sip:127.0.0.71:5060");
    expect(bye.routes.map((each) => each.raw)).toEqual(["<sip:127.0.0.72:5060;lr>", "<sip:127.0.0.12:5060>"]);
  });
});

describe("a client behind a connection (RFC 5626 5.3, RFC 3327)", () => {
  /** A client that cannot be connected to: only the connection it opened leads to it. */
  async function register(
    headers: readonly HeaderPair[],
  ): Promise<{ client: Client; path: string | undefined; contact: string }> {
    const client = world.client("127.0.0.51");
    await client.status("REGISTER", "sip:example.com", {
      toUser: BOB,
      from: BOB,
      headers,
      contacts: ["<sip:bob@hidden.invalid>"],
      // Too large for a datagram (RFC 3261 18.1.1): it opens a connection.
      body: "x".repeat(1_500),
    });
    const seen = world.scripted["west"]!.seen("REGISTER")[0]!;
    return { client, path: seen.header("Path"), contact: "sip:bob@hidden.invalid" };
  }

  it("Path leads its server's requests over the very connection it registered over, in any call", async () => {
    await servers({ east: always(404), west: always(200) }, home("west"));
    const { path, contact } = await register([["Supported", "path"]]);
    // It names the point that the registrar is asked from: it need not speak the client's transport.
    expect(path).toMatch(/^<sip:127\.0\.0\.1:5060;transport=tcp;lr;cf=/);
    const west = world.scripted["west"]!;
    const sent = west.begin("MESSAGE", contact, { headers: [["Route", path!]] });
    await west.all(sent);
    expect(sent.final).toBe(200);
  });

  it("a Path that we did not write leads nowhere (its key is wrong)", async () => {
    await servers({ east: always(404), west: always(200) }, home("west"));
    const { path, contact } = await register([["Supported", "path"]]);
    const forged = path!.replace(/k=[0-9a-f]+/, "k=0123456789abcdef");
    const west = world.scripted["west"]!;
    const sent = west.begin("MESSAGE", contact, { headers: [["Route", forged]] });
    await west.all(sent);
    expect(sent.final).not.toBe(200);
  });

  it("430 where its connection is gone (RFC 5626 5.3.1)", async () => {
    await servers({ east: always(404), west: always(200) }, home("west"));
    const { client, path, contact } = await register([["Supported", "path"]]);
    await world.simulation.finish(client.stop());
    await world.simulation.advance(1_000);
    const west = world.scripted["west"]!;
    const sent = west.begin("MESSAGE", contact, { headers: [["Route", path!]] });
    await west.all(sent);
    expect(sent.final).toBe(430);
  });

  it("a dialog leads back over it too: NOTIFY, BYE and re-INVITE of the other side, by our Record-Route", async () => {
    await servers({ east: always(404), west: always(200) });
    const client = world.client("127.0.0.51");
    const sent = client.begin("INVITE", BOB, { contacts: ["<sip:me@hidden.invalid>"], body: "x".repeat(1_500) });
    await client.all(sent);
    const west = world.scripted["west"]!;
    const invite = west.seen("INVITE")[0]!;
    const dialog = answeringDialog(invite, `at-${west.host}`);
    for (const method of ["INVITE", "BYE"]) {
      const answer = await world.simulation.finish(
        west.stack.ask(inDialog(dialog, method, [["Contact", `<sip:${west.host}:5060>`]])),
      );
      expect([method, answer?.status]).toEqual([method, 200]);
    }
    expect(client.requests.map((each) => each.method)).toEqual(["INVITE", "BYE"]);
    await world.simulation.finish(client.stop());
    await world.simulation.advance(1_000);
    expect((await world.simulation.finish(west.stack.ask(inDialog(dialog, "BYE", []))))?.status).toBe(430);
  });

  it("who comes over a new connection, the old one gone, goes on with his dialog", async () => {
    await servers({ east: always(404), west: always(200) });
    const client = world.client("127.0.0.51");
    const body = "x".repeat(1_500);
    const sent = client.begin("INVITE", BOB, { contacts: ["<sip:me@hidden.invalid>"], body });
    await client.all(sent);
    // Nothing moves for ten minutes: the connection is closed.
    await world.simulation.advance(700_000);
    const dialog = askingDialog(sent.request, sent.responses.at(-1)!);
    const bye = await world.simulation.finish(client.stack.ask(inDialog(dialog, "BYE", [], body)));
    expect(bye?.status).toBe(200);
    expect(world.scripted["west"]!.seen("BYE")).toHaveLength(1);
  });

  it("no Path for a client that does not say it knows it (RFC 3327 5.2)", async () => {
    await servers({ east: always(404), west: always(200) }, home("west"));
    expect((await register([])).path).toBeUndefined();
  });

  function home(server: string) {
    return { options: { clients: { authenticate: "none" as const, realm: "example.com", home: server } } };
  }
});
