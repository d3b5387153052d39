import { expect, it } from "vitest";
import type { ProxyOptions } from "../../src/proxy/options.ts";
import { Sfc32 } from "../../src/runtime/sfc32.ts";
import { buildRequest } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import { createWorld, reply, type Script, type World } from "../support/world.ts";

/**
 * Random trees and meshes of servers, some of which send messages and calls on by themselves, as proxies or as B2BUAs that
 * leave nothing of the original but the two names and the text, one copy for all or one for each; some lack the user, and
 * say so or send him back. Whoever writes from wherever: each server has each message exactly once, and nothing goes round.
 */

const SEEDS = Number(process.env["CODOMAIN_SEEDS"] ?? (process.env["CODOMAIN_FULL"] === "1" ? 2_000 : 40));
const FIRST = Number(process.env["CODOMAIN_SEED"] ?? 1);

const DOWN = 5070;
const BOB = "sip:bob@example.com";
const ALL = ["a", "b", "c", "d", "e", "f"] as const;

interface Server {
  readonly name: string;
  readonly parent: string | null;
  readonly children: string[];
  readonly sendsOn: boolean;
  readonly as: "proxy" | "B2BUA";
  /** One copy for each of those it sends on to; else one for all. */
  readonly each: boolean;
  readonly proxy: string;
  /** Knows the user. Who does not, says so, or sends what it lacks back to the proxy as its default route says. */
  readonly has: boolean;
  readonly returns: boolean;
}

interface Shape {
  readonly peers: boolean;
  readonly servers: ReadonlyMap<string, Server>;
  readonly proxies: number;
  /** Nodes of the tree send what goes down to a listener for that. */
  readonly down: boolean;
}

function shapeOf(draw: (below: number) => number): Shape {
  const peers = draw(2) === 0;
  const proxies = 1 + draw(2);
  const down = !peers && draw(3) === 0;
  const names = ALL.slice(0, 2 + draw(ALL.length - 1));
  const servers = new Map<string, Server>();
  for (const [i, name] of names.entries()) {
    const parent = peers || i === 0 ? null : names[draw(i)]!;
    if (parent !== null) servers.get(parent)!.children.push(name);
    const as = draw(2) === 0 ? "proxy" : "B2BUA";
    const proxy = `127.0.0.${1 + draw(proxies)}`;
    const has = i === 0 || draw(5) > 0;
    const sendsOn = draw(2) === 0;
    // Only the proxy that asks it knows that it is being asked.
    const returns = !has && !sendsOn && proxies === 1 && draw(2) === 0;
    servers.set(name, { name, parent, children: [], sendsOn, as, each: draw(2) === 0, proxy, has, returns });
  }
  return { peers, servers, proxies, down };
}

/** How many copies a server makes of what it was sent, or what its own user writes (draft, "Routing" of both models). */
function copiesOf({ peers, servers }: Shape, server: Server, from: "asked" | "own"): number {
  if (from === "own" && !peers && server.parent !== null) return 1;
  const count = peers ? servers.size - 1 : server.children.length;
  if (from === "asked" && !server.sendsOn) return 0;
  // With new identifiers its copies would be as many messages of its user's: then it makes one (docs/messages.md).
  const one = !server.each || (from === "own" && (server.as === "B2BUA" || !server.sendsOn));
  return one ? Math.min(1, count) : count;
}

function copyOf(request: SipRequest, as: Server["as"], own: string): SipRequest {
  if (as === "proxy")
    return request
      .edit()
      .set("Max-Forwards", String((request.maxForwards ?? 70) - 1))
      .build();
  return buildRequest({
    method: request.method,
    uri: request.requestUri,
    headers: [
      ["Max-Forwards", "70"],
      ["From", `<${request.from.uri.raw}>;tag=${own}`],
      ["To", `<${request.to.uri.raw}>`],
      ["Call-ID", own],
      ["CSeq", `1 ${request.method}`],
      ["Contact", "<sip:b2bua@127.0.0.9>"],
    ],
    body: request.body,
  });
}

async function begin(seed: number, shape: Shape): Promise<World> {
  let sent = 0;
  const script =
    (server: Server): Script =>
    (transaction, self) => {
      const { request } = transaction;
      if (server.returns) {
        sent++;
        const back = self.beginRequest(copyOf(request, server.as, `${server.name}-${sent}`), server.proxy);
        void back.done.then((status) => reply(transaction, self, status));
        return;
      }
      if (!server.has) return reply(transaction, self, 404);
      for (let i = 0; i < copiesOf(shape, server, "asked"); i++) {
        sent++;
        const copy = copyOf(request, server.as, `${server.name}-${sent}`);
        void self.stack.ask(copy, { host: server.proxy, port: shape.down ? DOWN : 5060 });
      }
      if (request.method === "MESSAGE") return reply(transaction, self, 200);
      reply(transaction, self, 180);
      self.stack.runtime.timers.after(500, () => reply(transaction, self, 486));
    };
  const { peers, servers, proxies } = shape;
  const names = [...servers.keys()];
  const children = Object.fromEntries(
    [...servers.values()].filter((each) => each.children.length > 0).map((each) => [each.name, each.children]),
  );
  const options: Partial<ProxyOptions> = peers
    ? { models: [{ match: "bob@example.com", model: { model: "unioned", style: "peer", servers: names } }] }
    : {
        models: [{ match: "bob@example.com", model: { model: "unioned", style: "hierarchical", tree: "t" } }],
        unions: { trees: [{ name: "t", root: names[0]!, children }], downListener: shape.down, unreachable: "wait" },
      };
  const world = await createWorld({
    seed,
    proxies,
    servers: Object.fromEntries([...servers.values()].map((each) => [each.name, { script: script(each) }])),
    each: Object.fromEntries(
      [...servers.values()].map((each) => [each.name, { onward: each.sendsOn ? "both" : "none" }]),
    ),
    ...(shape.down ? { downPort: DOWN } : {}),
    database: { latencyMs: [0, seed % 5] },
    options,
  });
  world.simulation.faults({ delay: [0.5, 20], loss: 0 });
  return world;
}

function countOf(world: World, name: string): number {
  const server = world.scripted[name]!;
  return server.seen("MESSAGE").length + server.seen("INVITE").length;
}

async function live(seed: number): Promise<void> {
  const random = new Sfc32(seed, 77);
  const draw = (below: number): number => random.next() % below;
  const shape = shapeOf(draw);
  const world = await begin(seed, shape);
  const expected = new Map([...shape.servers.keys()].map((name) => [name, 0]));
  const client = world.client("127.0.0.50");
  for (let i = 0; i < 4; i++) {
    const from = draw(2) === 0 ? null : [...shape.servers.values()][draw(shape.servers.size)]!;
    // Twice in a row the same: from the sender's side it is always new, but from a server that has just sent it on itself.
    const body = from?.sendsOn === true ? `own ${i}` : "ok";
    for (const name of expected.keys()) expected.set(name, expected.get(name)! + 1);
    const method = draw(4) === 0 ? "INVITE" : "MESSAGE";
    if (from === null) {
      expect(
        await client.status(method, BOB, { body, proxy: `127.0.0.${1 + draw(shape.proxies)}` }),
        `seed ${seed}`,
      ).toBe(method === "INVITE" ? 486 : 200);
    } else {
      const itself = world.scripted[from.name]!;
      const message = itself.request(method, BOB, { body, from: "sip:watcher@example.com" });
      const copies = copiesOf(shape, from, "own");
      const out = Array.from({ length: copies }, () => itself.beginRequest(message, from.proxy));
      await itself.all(...out);
      // As the root for it, it has the message itself.
      if (shape.peers || from.parent === null) expected.set(from.name, expected.get(from.name)! - 1);
    }
    // What may come back of a call that is over counts 5 s more.
    await world.simulation.advance(method === "INVITE" ? 8_000 : 3_000);
  }
  const got = new Map([...expected.keys()].map((name) => [name, countOf(world, name)]));
  expect(got, `seed ${seed}: ${JSON.stringify([...shape.servers.values()])}, peers ${shape.peers}`).toEqual(expected);
  expect(await world.leftOver(), `seed ${seed}`).toEqual([]);
  await world.stop();
}

it("each server has each message, and each call, exactly once", async () => {
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) await live(seed);
}, 600_000);
