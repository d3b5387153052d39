import { afterEach, describe, expect, it } from "vitest";
import type { ProxyOptions } from "../../src/proxy/options.ts";
import { buildRequest } from "../../src/sip/message/build.ts";
import type { ServerTransaction } from "../../src/sip/transaction/transaction.ts";
import { ALICE, Unioned } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";
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
const NAMES = ["east", "west", "north"] as const;
const OPTIONS: Partial<ProxyOptions> = {
  models: [{ match: "*@example.com", model: { model: "unioned", style: "peer", servers: [...NAMES] } }],
  imRouting: { algorithm: "mostactive", copies: false },
};

const at = (name: string): Client => world.scripted[name]!;
const got = (method = "MESSAGE") => NAMES.map((name) => at(name).seen(method).length);

/** A presence server: shows him as the test says; null: answers no SUBSCRIBE. */
function shows(basic: () => string | null): Script {
  return (transaction, self) => {
    if (transaction.request.method !== "SUBSCRIBE") return always(200)(transaction, self);
    const now = basic();
    if (now === null) return;
    reply(transaction, self, 200, [["Expires", "0"]]);
    notify(transaction, self, now);
  };
}

function notify({ request }: ServerTransaction, self: Client, basic: string): void {
  const document = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${BOB}"><tuple id="t"><status><basic>${basic}</basic></status></tuple></presence>`;
  const contact = request.contacts;
  if (contact === "*") return;
  const notice = buildRequest({
    method: "NOTIFY",
    uri: contact[0]!.uri.raw,
    headers: [
      ["Max-Forwards", "70"],
      ["From", `${request.header("To")};tag=at-${self.host}`],
      ["To", request.header("From")!],
      ["Call-ID", request.callId],
      ["CSeq", "1 NOTIFY"],
      ["Contact", `<sip:${self.host}:5060>`],
      ["Event", "presence"],
      ["Subscription-State", "terminated;reason=timeout"],
      ["Content-Type", "application/pidf+xml"],
    ],
    body: document,
  });
  self.beginRequest(notice);
}

async function domain(states: Record<string, string | null>, more: WorldOptions = {}): Promise<void> {
  world = await createWorld({
    servers: Object.fromEntries(NAMES.map((name) => [name, { script: shows(() => states[name] ?? null) }])),
    ...more,
    options: { ...OPTIONS, ...more.options },
  });
}

describe("mostactive, where nobody watches him here", () => {
  it("his servers are asked once, in his own name, and what they show counts for 30 s", async () => {
    const states: Record<string, string | null> = { east: "closed", west: "open", north: "closed" };
    await domain(states);
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB, { body: "1" })).toBe(200);
    expect(got()).toEqual([0, 1, 0]);
    const [asked] = at("west").seen("SUBSCRIBE");
    expect(asked!.header("P-Asserted-Identity")).toBe(`<${BOB}>`);
    expect(asked!.header("Expires")).toBe("0");
    states["west"] = "closed";
    states["north"] = "open";
    await world.simulation.advance(10_000);
    await client.status("MESSAGE", BOB, { body: "2" });
    expect(got()).toEqual([0, 2, 0]);
    expect(got("SUBSCRIBE")).toEqual([1, 1, 1]);
    await world.simulation.advance(30_000);
    await client.status("MESSAGE", BOB, { body: "3" });
    expect(got()).toEqual([0, 2, 1]);
    expect(got("SUBSCRIBE")).toEqual([2, 2, 2]);
    // What it was told was answered.
    expect(world.proxies[0]!.told.warning).toEqual([]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("messages that come at once share one question", async () => {
    await domain({ east: "open", west: "closed", north: "closed" });
    const client = world.client("127.0.0.50");
    const sent = ["1", "2", "3"].map((body) => client.begin("MESSAGE", BOB, { body }));
    expect(await client.all(...sent)).toEqual([200, 200, 200]);
    expect(got("SUBSCRIBE")).toEqual([1, 1, 1]);
    expect(got()).toEqual([3, 0, 0]);
  });

  it("who does not answer is waited for two seconds, and no longer", async () => {
    await domain({ east: null, west: null, north: "open" });
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", BOB);
    await client.all(sent);
    expect(sent.final).toBe(200);
    expect(sent.tookMs).toBeLessThan(2_100);
    expect(got()).toEqual([0, 0, 1]);
  });

  it("nobody tells anything: all of them", async () => {
    await domain({ east: null, west: null, north: null });
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(200);
    expect(got()).toEqual([1, 1, 1]);
  });

  it("a server that goes onward is not asked: the question would come back", async () => {
    await domain({ east: "closed", west: "open", north: "open" }, { each: { west: { onward: "both" } } });
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(200);
    expect(got("SUBSCRIBE")).toEqual([1, 0, 1]);
    expect(got()).toEqual([0, 0, 1]);
  });

  it("a NOTIFY for a question that was never asked is 481", async () => {
    await domain({ east: "open", west: "closed", north: "closed" });
    const headers = [
      ["Event", "presence"],
      ["Subscription-State", "active"],
    ] as const;
    const notify = at("east")
      .request("NOTIFY", "sip:cdm@127.0.0.1:5060", { headers })
      .edit()
      .set("To", `<${BOB}>;tag=cdmf-aaaaaaaaaaaaaaaaaaaa`)
      .build();
    const sent = at("east").beginRequest(notify);
    expect(await at("east").all(sent)).toEqual([481]);
  });
});

it("mostactive, where somebody watches him here: what the watcher is shown counts, at once, and nobody is asked", async () => {
  const domain = new Unioned();
  world = await domain.begin({
    names: ["east", "west"],
    options: { imRouting: { algorithm: "mostactive", copies: false } },
  });
  const watcher = new Watcher(world, "127.0.0.50");
  const client = world.client("127.0.0.51");
  const spread = async () => {
    expect(await client.status("MESSAGE", ALICE, { from: "sip:bob@example.com" })).toBe(200);
    return world.proxies[0]!.told.spread!.at(-1)!.took;
  };
  domain.east.basic = "closed";
  await watcher.subscribe(ALICE);
  await domain.wait(1_000);
  expect(await spread()).toEqual(["west"]);
  for (const [server, basic] of [
    [domain.east, "open"],
    [domain.west, "closed"],
  ] as const) {
    server.basic = basic;
    for (const each of server.live) server.notify(each);
  }
  await domain.wait(1_000);
  expect(await spread()).toEqual(["east"]);
  expect([domain.east.firsts.length, domain.west.firsts.length]).toEqual([1, 1]);
  await watcher.refresh(0);
  await domain.wait(1_000);
});
