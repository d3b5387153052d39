import { afterEach, describe, expect, it } from "vitest";
import type { ProxyOptions } from "../../src/proxy/options.ts";
import { buildRequest } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import type { Client, Script, World } from "../support/world.ts";
import { createWorld, reply } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";
const AOR = "bob@example.com";
const NAMES = ["east", "west", "north", "south"] as const;

type As = "proxy" | "B2BUA";

/** As it goes on from a server: the same request one hop further, or one of its own for the same two. */
function onward(request: SipRequest, as: As, own: string): SipRequest {
  if (as === "proxy") {
    return request
      .edit()
      .set("Max-Forwards", String((request.maxForwards ?? 70) - 1))
      .build();
  }
  return buildRequest({
    method: request.method,
    uri: request.requestUri,
    headers: [
      ["Max-Forwards", "70"],
      ["From", `<${request.from.uri.raw}>;tag=${own}`],
      ["To", `<${request.to.uri.raw}>`],
      ["Call-ID", own],
      ["CSeq", `1 ${request.method}`],
      ["Contact", "<sip:b2bua@127.0.0.1>"],
    ],
    body: request.body,
  });
}

/** Delivers to its own phones, and sends so many copies on through a proxy, whatever comes; 482 of them are counted. */
function sendsOn(as: As, copies: number, proxy: string, refused: number[]): Script {
  let sent = 0;
  return (transaction, self) => {
    const { request } = transaction;
    for (let i = 0; i < copies; i++) {
      sent++;
      const copy = onward(request, as, `${self.host}-${sent}`);
      const listen = {
        onResponse: ({ status }: { status: number }) => void (status >= 200 && refused.push(status)),
        onTimeout: () => void refused.push(408),
        onTransportError: () => void refused.push(503),
      };
      void self.stack.send(copy, listen, { host: proxy, port: 5060 });
    }
    if (request.method === "INVITE") {
      reply(transaction, self, 180);
      self.stack.runtime.timers.after(3_000, () => reply(transaction, self, self.host === "127.0.0.11" ? 200 : 486));
    } else reply(transaction, self, 200);
  };
}

const PEER: ProxyOptions["models"] = [{ match: AOR, model: { model: "unioned", style: "peer", servers: [...NAMES] } }];
const TREE: Partial<ProxyOptions> = {
  models: [{ match: AOR, model: { model: "unioned", style: "hierarchical", tree: "t" } }],
  unions: {
    trees: [{ name: "t", root: "east", children: { east: ["west", "north"], west: ["south"] } }],
    downListener: false,
    unreachable: "wait",
  },
};

const at = (name: string): Client => world.scripted[name]!;
const got = (method = "MESSAGE") => NAMES.map((name) => at(name).seen(method).length);

async function domain(
  as: As,
  proxies: number,
  copies: Partial<Record<(typeof NAMES)[number], number>>,
  options: Partial<ProxyOptions>,
  scripts: Partial<Record<string, Script>> = {},
): Promise<number[]> {
  const refused: number[] = [];
  world = await createWorld({
    proxies,
    servers: Object.fromEntries(
      NAMES.map((name, i) => [
        name,
        { script: scripts[name] ?? sendsOn(as, copies[name] ?? 0, `127.0.0.${1 + (i % proxies)}`, refused) },
      ]),
    ),
    each: Object.fromEntries(NAMES.map((name) => [name, { onward: copies[name] === undefined ? "none" : "both" }])),
    options,
  });
  return refused;
}

const WAYS = [
  ["as proxies", "proxy", 1],
  ["as B2BUAs with new identifiers", "B2BUA", 1],
  ["as proxies, through two proxies", "proxy", 2],
  ["as B2BUAs with new identifiers, through two proxies", "B2BUA", 2],
] as const;

describe.each(WAYS)("peers that send everything on to the others %s", (_, as, proxies) => {
  const ALL = { east: 3, west: 3, north: 3, south: 3 };

  it("a client's MESSAGE reaches each server once, and what comes back gets 482", async () => {
    const refused = await domain(as, proxies, ALL, { models: PEER });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB, { body: "ok" })).toBe(200);
    await world.simulation.advance(5_000);
    expect(got()).toEqual([1, 1, 1, 1]);
    expect(refused).toEqual(Array(12).fill(482));
    expect(await world.leftOver()).toEqual([]);
  });

  it("a second 'ok' from the sender's side is always new, at once and later", async () => {
    await domain(as, proxies, ALL, { models: PEER });
    const client = world.client("127.0.0.50");
    const both = [client.begin("MESSAGE", BOB, { body: "ok" }), client.begin("MESSAGE", BOB, { body: "ok" })];
    await client.all(...both);
    expect(await client.status("MESSAGE", BOB, { body: "ok", proxy: `127.0.0.${proxies}` })).toBe(200);
    await world.simulation.advance(10_000);
    expect(got()).toEqual([3, 3, 3, 3]);
  });

  it("from the sender's own server, which is the root for it, it reaches the others once, and so does a second 'ok'", async () => {
    await domain(as, proxies, ALL, { models: PEER });
    for (const expected of [1, 2]) {
      const sent = at("east").begin("MESSAGE", BOB, { body: "ok" });
      await at("east").all(sent);
      expect(sent.final).toBe(200);
      await world.simulation.advance(2_000);
      expect(got()).toEqual([0, expected, expected, expected]);
    }
  });

  it("an INVITE rings once at each, and a second call after it rings again", async () => {
    const refused = await domain(as, proxies, ALL, { models: PEER });
    const client = world.client("127.0.0.50");
    for (const expected of [1, 2]) {
      const call = client.begin("INVITE", BOB, { body: `v=0 o=- ${expected}` });
      await client.all(call);
      expect(call.final).toBe(200);
      await world.simulation.advance(10_000);
      expect(got("INVITE")).toEqual(Array(4).fill(expected));
    }
    expect(refused).toEqual(Array(24).fill(482));
  });

  it("a call from the side of a server that was called a moment ago is new", async () => {
    // What each could have sent back it has not.
    await domain(as, proxies, { east: 0, west: 0, north: 0, south: 0 }, { models: PEER });
    const client = world.client("127.0.0.50");
    await client.all(client.begin("INVITE", BOB));
    // What was under way when the call was taken counts a moment longer.
    await world.simulation.advance(6_000);
    const call = at("west").begin("INVITE", BOB);
    await at("west").all(call);
    expect(call.final).toBe(200);
  });
});

it("the sender's own server forks as a proxy: its copies are one request (RFC 3261 8.2.2.2), on two proxies too", async () => {
  await domain("proxy", 2, { east: 0, west: 0, north: 0, south: 0 }, { models: PEER });
  const message = at("east").request("MESSAGE", BOB, { body: "ok" });
  const copies = ["127.0.0.1", "127.0.0.2", "127.0.0.1"].map((proxy) => at("east").beginRequest(message, proxy));
  expect((await at("east").all(...copies)).toSorted()).toEqual([200, 482, 482]);
  expect(got()).toEqual([0, 1, 1, 1]);
});

describe.each(WAYS)("nodes of a tree that send on to their children %s", (_, as, proxies) => {
  // One copy for all children, or one for each of them.
  it.each([
    ["one copy", { east: 1, west: 1 }],
    ["one copy a child", { east: 2, west: 1 }],
  ])("%s: a client's MESSAGE goes to the root, down, and reaches each server once", async (_name, copies) => {
    await domain(as, proxies, copies, TREE);
    const client = world.client("127.0.0.50");
    for (const expected of [1, 2]) {
      expect(await client.status("MESSAGE", BOB, { body: "ok" })).toBe(200);
      await world.simulation.advance(2_000);
      expect(got()).toEqual(Array(4).fill(expected));
    }
    expect(await world.leftOver()).toEqual([]);
  });

  it("what a leaf or a middle node sends goes to the root and comes down to all, the sender among them", async () => {
    await domain(as, proxies, { east: 2, west: 1 }, TREE);
    for (const [i, name] of (["south", "west"] as const).entries()) {
      const sent = at(name).begin("MESSAGE", BOB, { body: `from ${name}` });
      await at(name).all(sent);
      expect(sent.final).toBe(200);
      await world.simulation.advance(2_000);
      expect(got()).toEqual(Array(4).fill(i + 1));
    }
  });
});

describe("a node that sends on by itself and does not have him", () => {
  /** The node says this, and sends nothing on. */
  async function without(status: number, method: "MESSAGE" | "INVITE", scripts: Record<string, Script> = {}) {
    await domain("proxy", 1, { west: 1 }, TREE, { west: (t, s) => reply(t, s, status), ...scripts });
    const client = world.client("127.0.0.50");
    const sent = client.begin(method, BOB, { body: "ok" });
    await client.all(sent);
    await world.simulation.advance(2_000);
    return sent;
  }

  it.each([404, 480, 503])("%i: who is below it is asked in its place, once", async (status) => {
    expect((await without(status, "MESSAGE")).final).toBe(200);
    expect(got()).toEqual([1, 1, 1, 1]);
    expect(world.proxies[0]!.told.spread).toMatchObject([{ servers: ["east", "west", "north", "south"] }]);
    expect(await world.leftOver()).toEqual([]);
  });

  it.each([482, 403])("%i: nobody is: it was there, or has refused", async (status) => {
    await without(status, "MESSAGE");
    expect(got()).toEqual([1, 1, 1, 0]);
  });

  it("an INVITE: they ring in its place, and are cancelled as all are", async () => {
    await without(404, "INVITE", { south: (t, s) => reply(t, s, 180) });
    expect(got("INVITE")).toEqual([1, 1, 1, 1]);
    expect(at("south").cancelled).toHaveLength(1);
  });
});

it("what a server has refused it cannot send on: its own user's same words are new", async () => {
  const answers: Record<string, number> = { west: 404, north: 403 };
  const script =
    (name: string): Script =>
    (t, s) =>
      reply(t, s, answers[name] ?? 200);
  await domain(
    "proxy",
    1,
    { east: 0, west: 0, north: 0, south: 0 },
    { models: PEER },
    { west: script("west"), north: script("north") },
  );
  expect(await world.client("127.0.0.50").status("MESSAGE", BOB, { body: "ok" })).toBe(200);
  await world.simulation.advance(1_000);
  for (const name of ["west", "north"]) {
    expect(await at(name).status("MESSAGE", BOB, { body: "ok" })).toBe(200);
  }
  expect(got()).toEqual([3, 2, 2, 3]);
});

describe.each(WAYS.slice(0, 2))("a server that lacks him, and sends what it lacks back to us %s", (_, as) => {
  it.each([
    ["peers", { models: PEER }],
    ["a tree", TREE],
  ])(
    "is told that nobody else has him there, while it is asked: the others have it once (%s)",
    async (_name, options) => {
      const answers: number[] = [];
      const lacks: Script = (transaction, self) => {
        const listen = {
          onResponse: ({ status }: { status: number }) => {
            if (status < 200) return;
            answers.push(status);
            reply(transaction, self, status);
          },
          onTimeout: () => undefined,
          onTransportError: () => undefined,
        };
        const again = onward(transaction.request, as, `again-${answers.length}`);
        void self.stack.send(again, listen, { host: "127.0.0.1", port: 5060 });
      };
      await domain(as, 1, {}, options, { south: lacks, north: lacks });
      const client = world.client("127.0.0.50");
      for (const expected of [1, 2]) {
        expect(await client.status("MESSAGE", BOB, { body: "ok" })).toBe(200);
        await world.simulation.advance(2_000);
        expect(got()).toEqual(Array(4).fill(expected));
      }
      expect(answers).toEqual([404, 404, 404, 404]);
      expect(world.proxies[0]!.core.openSpreads.size).toBe(0);
    },
  );
});

it("a server that sends everything back though nobody said so: nothing goes round for ever, and an admin hears of it", async () => {
  const refused = await domain("B2BUA", 1, { east: 3, west: 3, north: 3, south: 3 }, { models: PEER });
  const options = world.proxies[0]!.core.options;
  world.proxies[0]!.core.configure({
    ...options,
    servers: options.servers.map((each) => ({ ...each, onward: "none" })),
  });
  expect(await world.client("127.0.0.50").status("MESSAGE", BOB, { body: "ok" })).toBe(200);
  await world.simulation.advance(300_000);
  // Each of four is let through so many times at most, and each time to the three others.
  expect(got().reduce((a, b) => a + b)).toBeLessThanOrEqual(4 + 4 * 8 * 3);
  expect(refused.filter((status) => status === 482).length).toBeGreaterThan(0);
  expect(world.proxies[0]!.told.warning?.[0]?.what).toMatch(/^\w+ sends back what it is sent$/);
});
