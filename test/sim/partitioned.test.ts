import { describe, expect, it } from "vitest";
import type { OnUnknown } from "../../src/demo/example-server.ts";
import { type Client, createWorld, type World } from "../support/world.ts";

/**
 * The acceptance of the partitioned model: a domain of users of whom none is known, asked for from all sides. Each user's
 * first request forks, no second does; nobody waits; what servers that default-route to us add is bounded.
 */

const FULL = process.env["CODOMAIN_FULL"] === "1";
const USERS = FULL ? 10_000 : 1_000;
const AT_ONCE = 50;
const PLACES = ["east", "west", "north"] as const;
const METHODS = ["MESSAGE", "SUBSCRIBE", "INVITE"] as const;
type Method = (typeof METHODS)[number];

interface Figures {
  readonly requests: number;
  readonly forks: number;
  /** Requests that servers got, outside dialogs. */
  readonly received: number;
  readonly slowestMs: number;
  readonly seconds: number;
}

const placeOf = (user: number): number => user % PLACES.length;
const aorOf = (user: number): string => `u${user}@example.com`;

/** One request for this user, from a client or from a user of another server; true: answered as it should be. */
async function ask(world: World, client: Client, user: number, method: Method, side: number): Promise<boolean> {
  const proxy = `127.0.0.${1 + ((user + side) % world.proxies.length)}`;
  const to = `sip:${aorOf(user)}`;
  if (side === 0) {
    const from = `sip:watcher${user}@example.com`;
    if (method === "INVITE") return (await client.call(to, { from, proxy })).join() === "200,200";
    return (await client.begin(method, to, { from, proxy, body: method === "MESSAGE" ? "hello" : "" }).done) === 200;
  }
  const server = world.servers[PLACES[(placeOf(user) + side) % PLACES.length]!]!;
  const from = `friend${user}`;
  if (method === "MESSAGE") return (await server.ask({ method, from, to: aorOf(user), body: "hello" }))?.status === 200;
  if (method === "SUBSCRIBE") return (await server.watch(from, aorOf(user))).answer?.status === 200;
  const call = await server.call(from, aorOf(user));
  return call.answer?.status === 200 && (await call.hangUp())?.status === 200;
}

async function inBatches(world: World, run: (user: number) => Promise<boolean>, count: number): Promise<number> {
  let slowest = 0;
  for (let from = 0; from < count; from += AT_ONCE) {
    const begun = world.simulation.now;
    const users = Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, index) => from + index);
    const answers = await world.simulation.finish(Promise.all(users.map(run)));
    expect(answers.flatMap((right, index) => (right ? [] : [users[index]]))).toEqual([]);
    slowest = Math.max(slowest, world.simulation.now - begun);
  }
  return slowest;
}

function received(world: World): number {
  let sum = 0;
  for (const server of Object.values(world.servers)) {
    for (const [what, times] of server.received) if (/^\w+ (?:u\d|absent)/.test(what)) sum += times;
  }
  return sum;
}

async function domain(count: number, onUnknown: OnUnknown, proxies: number): Promise<Figures> {
  const begun = performance.now();
  const users = Array.from({ length: count }, (_, user) => user);
  const world = await createWorld({
    proxies,
    servers: Object.fromEntries(
      PLACES.map((name, place) => [
        name,
        {
          onUnknown,
          viaProxy: place % proxies,
          users: users.filter((user) => placeOf(user) === place).map((user) => `u${user}`),
        },
      ]),
    ),
  });
  const client = world.client("127.0.0.50");
  const plans = new Map<string, number>();
  for (const proxy of world.proxies) {
    proxy.telemetry.on("request", ({ plan, user, status }) => {
      const kind = plan.slice(0, plan.indexOf(" "));
      if (user !== "" && status !== 404) plans.set(kind, (plans.get(kind) ?? 0) + 1);
    });
  }

  const first = await inBatches(
    world,
    (user) => ask(world, client, user, METHODS[user % 3]!, Math.floor(user / 3) % 3),
    count,
  );
  await world.simulation.advance(1_000);
  expect({ forks: plans.get("fork") }).toEqual({ forks: count });
  const searched = received(world);
  // Every server but the sender's own is asked once, whatever it makes of it.
  expect(searched).toBeLessThanOrEqual(PLACES.length * count);
  // A server that is not asked, and has him not, may still send the request of its own user to us: no more than that.
  const second = await inBatches(
    world,
    (user) => ask(world, client, user, METHODS[(user + 1) % 3]!, (Math.floor(user / 3) + 1) % 3),
    count,
  );
  await world.simulation.advance(1_000);
  expect({ forks: plans.get("fork"), relays: plans.get("relay") }).toEqual({ forks: count, relays: count });
  expect(received(world) - searched).toBe(count);

  // And for those who are nowhere: 404, one request a server.
  const before = received(world);
  const absent = Math.min(100, count);
  const third = await inBatches(
    world,
    async (user) => {
      const to = `sip:absent${user}@example.com`;
      return (await client.begin("MESSAGE", to, { proxy: `127.0.0.${1 + (user % proxies)}` }).done) === 404;
    },
    absent,
  );
  expect(received(world) - before).toBe(PLACES.length * absent);

  const slowestMs = Math.max(first, second, third);
  expect(slowestMs).toBeLessThan(1_000);
  expect(world.proxies.flatMap((proxy) => [...proxy.told.warning!, ...proxy.told.conflict!])).toEqual([]);
  const left = (await world.leftOver()).filter((line) => !line.includes("transactions"));
  expect(left).toEqual([]);
  await world.stop();
  expect(world.simulation.leaks()).toEqual([]);
  const requests = 2 * count + absent;
  return {
    requests,
    forks: count + absent,
    received: received(world),
    slowestMs,
    seconds: (performance.now() - begun) / 1000,
  };
}

describe("partitioned: users of whom none is known, asked for from all sides", () => {
  it.each([
    ["that say 404", "404", 1, USERS],
    ["that say 404", "404", 2, USERS],
    ["that send them back as proxies", "proxy-back", 1, FULL ? USERS : 300],
    ["that send them back as proxies", "proxy-back", 2, FULL ? USERS : 300],
    ["that send them back as B2BUAs", "b2bua-back", 1, FULL ? USERS : 300],
    ["that send them back as B2BUAs", "b2bua-back", 2, FULL ? USERS : 300],
  ] as const)(
    "3 servers %s (%s), %i proxies: %i users, each forked for once",
    async (_, onUnknown, proxies, count) => {
      const figures = await domain(count, onUnknown, proxies);
      if (FULL) console.log(JSON.stringify({ onUnknown, proxies, users: count, ...figures }));
    },
    600_000,
  );
});
