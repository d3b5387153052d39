import { afterEach, describe, expect, it } from "vitest";
import { printReginfo, REGINFO_TYPE } from "../../src/presence/reginfo.ts";
import { buildRequest, type HeaderPair } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import type { Client, Script, World, WorldOptions } from "../support/world.ts";
import { createWorld, reply } from "../support/world.ts";

// Servers that offer event reg tell who is registered with them; users who are watched are claimed by that (RFC 3680).

let world: World;
afterEach(async () => {
  await world.stop();
});

const AOR = "bob@example.com";
const BOB = `sip:${AOR}`;

/** A server that takes every subscription, and tells of registrations what the test says. */
class Telling {
  readonly subscribes: SipRequest[] = [];
  readonly answers: number[] = [];
  #cseq = 0;
  #version = 0;

  readonly script: Script = (transaction, self) => {
    const { request } = transaction;
    if (request.method !== "SUBSCRIBE" || request.event?.package !== "reg") {
      reply(transaction, self, request.method === "SUBSCRIBE" ? 404 : 200);
      return;
    }
    this.subscribes.push(request);
    reply(transaction, self, 200, [["Expires", String(request.expires)]]);
  };

  get last(): SipRequest {
    return this.subscribes.at(-1)!;
  }

  /** @param contact Call-ID and CSeq of his REGISTER there; null: nobody is registered. */
  async tell(server: string, contact: readonly [string, number] | null, more: Tell = {}): Promise<number> {
    const self = world.scripted[server]!;
    const notify = this.#notify(self, contact, more);
    const sent = self.beginRequest(notify);
    await self.all(sent);
    await world.simulation.advance(200);
    return sent.final;
  }

  #notify(self: Client, contact: readonly [string, number] | null, more: Tell): SipRequest {
    const to = this.subscribes.find((each) => each.to.tag === undefined)!;
    this.#cseq += 1;
    const state = contact === null ? "terminated" : "active";
    const one = {
      id: "c",
      uri: "sip:phone@127.0.0.77",
      state,
      event: contact === null ? "unregistered" : "registered",
      expires: more.expires ?? 600,
      ...(contact === null ? {} : { callId: contact[0], cseq: contact[1] }),
    } as const;
    const own = more.others === undefined ? [to.to.uri.raw] : more.others;
    const registrations = own.map((aor) => ({ aor, id: aor, state, contacts: [one] }) as const);
    const body = printReginfo({ version: this.#version++, state: "full", registrations });
    const headers: HeaderPair[] = [
      ["Max-Forwards", "70"],
      ["From", `<${to.to.uri.raw}>;tag=at-${self.host}`],
      ["To", `<${to.from.uri.raw}>;tag=${to.from.tag}`],
      ["Call-ID", to.callId],
      ["CSeq", `${this.#cseq} NOTIFY`],
      ["Contact", `<sip:${self.host}:5060>`],
      ["Event", "reg"],
      ["Subscription-State", more.state ?? "active;expires=3600"],
      ["Content-Type", more.type ?? REGINFO_TYPE],
    ];
    const uri = to.contacts === "*" ? "" : to.contacts[0]!.uri.raw;
    return buildRequest({ method: "NOTIFY", uri, headers, body: more.body ?? body });
  }
}

interface Tell {
  readonly expires?: number;
  readonly state?: string;
  readonly type?: string;
  readonly body?: string;
  /** Other users of an implicit set (RFC 5628). */
  readonly others?: readonly string[];
}

let east: Telling;
let west: Telling;

async function domain(more: Partial<WorldOptions> = {}): Promise<void> {
  east = new Telling();
  west = new Telling();
  world = await createWorld({
    servers: { east: { script: east.script }, west: { script: west.script } },
    options: {
      models: [{ match: "*@example.com", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }],
      hold: { users: "any", events: ["presence"] },
    },
    serverOptions: { offers: ["reg"] },
    ...more,
  });
}

async function watch(expires = 3600): Promise<void> {
  const client = world.client("127.0.0.50");
  const request = client.request("SUBSCRIBE", BOB).edit().set("Expires", String(expires)).build();
  const sent = client.beginRequest(request);
  await client.all(sent);
  expect(sent.final).toBe(200);
  await world.simulation.advance(500);
}

function lookup(): Promise<unknown> {
  return world.simulation.finish(world.proxies[0]!.directory.lookup(AOR));
}

describe("a user who is watched and is nowhere", () => {
  it("every server that offers reg is asked; others are not, and nobody while nobody watches", async () => {
    await domain({ each: { west: { offers: [] } } });
    await world.simulation.advance(5_000);
    expect([east.subscribes.length, west.subscribes.length]).toEqual([0, 0]);
    await watch();
    expect([east.subscribes.length, west.subscribes.length]).toEqual([1, 0]);
    expect([east.last.requestUri, east.last.header("Accept")]).toEqual([BOB, REGINFO_TYPE]);
  });

  it("registered there: claimed; unregistered: given up", async () => {
    await domain();
    await watch();
    expect(await east.tell("east", ["his-phone", 3])).toBe(200);
    expect(await lookup()).toMatchObject({
      state: "bound",
      binding: { server: "east", origin: "registered", epoch: 1 },
    });
    expect(await east.tell("east", null)).toBe(200);
    expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 2 });
  });

  it("nobody registered there, as the first thing said, gives up nobody", async () => {
    await domain();
    await watch();
    const { directory } = world.proxies[0]!;
    await world.simulation.finish(directory.move({ aor: AOR, to: "east", equalRank: true, actor: "admin" }));
    await east.tell("east", null);
    expect(await lookup()).toMatchObject({ state: "bound", binding: { server: "east", origin: "admin" } });
  });

  it("registered at another server: taken over; the old one's refresh is a late one, and changes nothing", async () => {
    await domain();
    await watch();
    await east.tell("east", ["east-phone", 1]);
    await west.tell("west", ["west-phone", 1]);
    expect(await lookup()).toMatchObject({ binding: { server: "west", epoch: 2 } });
    await east.tell("east", ["east-phone", 2]);
    expect(await lookup()).toMatchObject({ binding: { server: "west", epoch: 2 } });
    expect(world.proxies[0]!.told.refused!.at(-1)).toMatchObject({ server: "east", reason: "stale" });
    await east.tell("east", null);
    expect(await lookup()).toMatchObject({ binding: { server: "west", epoch: 2 } });
  });

  it("the binding lasts as long as his registration there, and the grace time", async () => {
    await domain();
    await watch();
    await east.tell("east", ["his-phone", 1], { expires: 60 });
    await world.simulation.advance(61_000);
    expect(await lookup()).toMatchObject({ state: "bound" });
    await world.simulation.advance(10_000);
    expect(await lookup()).toMatchObject({ state: "no-binding" });
  });

  it("others told of with him are not he (RFC 5628)", async () => {
    await domain();
    await watch();
    await east.tell("east", ["his-phone", 1], { others: ["sip:ann@example.com", "tel:+1", "nonsense"] });
    expect(await lookup()).not.toMatchObject({ state: "bound" });
    await east.tell("east", ["his-phone", 1], { others: ["sip:ann@example.com", "sip:bob@EXAMPLE.com;user=phone"] });
    expect(await lookup()).toMatchObject({ state: "bound", binding: { server: "east" } });
  });

  it("two proxies that learn the same make one claim of it", async () => {
    await domain({ proxies: 2 });
    await watch();
    const other = world.client("127.0.0.51");
    await other.send("SUBSCRIBE", BOB, { proxy: "127.0.0.2" });
    await world.simulation.advance(500);
    expect(east.subscribes).toHaveLength(2);
    await east.tell("east", ["his-phone", 1]);
    expect(await lookup()).toMatchObject({ binding: { server: "east", epoch: 1 } });
  });

  it("a user of another model is not asked about", async () => {
    await domain({ options: { hold: { users: "any", events: ["presence"] } } });
    const client = world.client("127.0.0.50");
    await client.send("SUBSCRIBE", BOB);
    await world.simulation.advance(2_000);
    expect(east.subscribes).toEqual([]);
  });
});

describe("another configuration, while somebody is watched", () => {
  it("a server that offers reg from now on is asked, one that does no longer is left", async () => {
    await domain({ each: { west: { offers: [] } } });
    await watch();
    expect([east.subscribes.length, west.subscribes.length]).toEqual([1, 0]);
    await east.tell("east", ["his-phone", 1]);
    const [{ core, telemetry }] = world.proxies as [World["proxies"][number]];
    const servers = core.options.servers.map((each) => ({
      ...each,
      offers: each.name === "west" ? (["reg"] as const) : [],
    }));
    core.configure({ ...core.options, servers });
    telemetry.emit("configReloaded", { changes: [] });
    await world.simulation.advance(500);
    expect([east.last.expires, west.subscribes.length]).toEqual([0, 1]);
    await west.tell("west", ["other-phone", 1]);
    expect(await lookup()).toMatchObject({ binding: { server: "west" } });
  });
});

describe("what a server says badly", () => {
  it.each([
    ["no XML", { body: "hello" }],
    ["a document type", { body: '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>' }],
    ["another content", { type: "text/plain" }],
  ])("%s: answered 200, and claims nobody", async (_, more) => {
    await domain();
    await watch();
    expect(await east.tell("east", ["his-phone", 1], more)).toBe(200);
    expect(await lookup()).not.toMatchObject({ state: "bound" });
  });

  it("a NOTIFY of another dialog, or of none: 481", async () => {
    await domain();
    await watch();
    await east.tell("east", ["his-phone", 1]);
    const self = world.scripted["west"]!;
    const foreign = buildRequest({
      method: "NOTIFY",
      uri: "sip:cdm@127.0.0.1:5060",
      headers: [
        ["Max-Forwards", "70"],
        ["From", `<${BOB}>;tag=other`],
        ["To", `<${east.last.from.uri.raw}>;tag=${east.last.from.tag}`],
        ["Call-ID", east.last.callId],
        ["CSeq", "99 NOTIFY"],
        ["Contact", "<sip:127.0.0.12:5060>"],
        ["Event", "reg"],
        ["Subscription-State", "active"],
      ],
    });
    const sent = self.beginRequest(foreign);
    await self.all(sent);
    expect(sent.final).toBe(481);
  });
});

describe("how long it goes on", () => {
  it("refreshed while somebody watches; ended when the last watcher has gone", async () => {
    await domain({ each: { west: { offers: [] } } });
    await watch(3600);
    await east.tell("east", ["his-phone", 1]);
    await world.simulation.advance(3_490_000);
    expect(east.subscribes.map((each) => each.expires)).toEqual([3600, 3600]);
    // RFC 6665 4.2.1.2: a refresh is followed by a NOTIFY.
    await east.tell("east", ["his-phone", 2]);
    await world.simulation.advance(110_000);
    expect(east.subscribes.map((each) => each.expires)).toEqual([3600, 3600, 0]);
  });

  it("a server that does not have the package is asked again, rarely", async () => {
    const asked: number[] = [];
    world = await createWorld({
      servers: {
        east: {
          script: (transaction, self) => {
            if (transaction.request.event?.package === "reg") asked.push(world.simulation.now);
            reply(transaction, self, 489);
          },
        },
      },
      options: {
        models: [{ match: "*@example.com", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }],
        hold: { users: "any", events: ["presence"] },
      },
      serverOptions: { offers: ["reg"] },
    });
    await watch(3600);
    await world.simulation.advance(1_800_000);
    const gaps = asked.slice(1).map((at, i) => at - asked[i]!);
    expect(gaps.length).toBeGreaterThan(3);
    expect(gaps).toEqual([...gaps].sort((a, b) => a - b));
    expect(gaps.at(-1)).toBeGreaterThan(300_000);
  });
});
