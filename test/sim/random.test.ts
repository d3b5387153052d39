import { describe, expect, it } from "vitest";
import type { OnUnknown } from "../../src/demo/example-server.ts";
import { createWorld, type Outgoing, type World } from "../support/world.ts";

/**
 * Small worlds in which anything happens: users move, servers are cut off or drained, the database goes away, datagrams
 * are lost. What holds all the time: one final answer to each client's request, no message read twice. What holds when
 * peace has come: everybody is found again, nobody else is, and nothing is left.
 */

const SEEDS = process.env["CODOMAIN_FULL"] === "1" ? 300 : 30;
const PLACES = ["east", "west", "north"] as const;
const USERS = ["ann", "bob", "cid", "dan", "eve", "fay"];
const STEPS = 60;

interface Story {
  readonly world: World;
  /** Who lives where now. */
  readonly homes: Map<string, string>;
  readonly sent: { readonly outgoing: Outgoing; readonly user: string }[];
  readonly others: Promise<unknown>[];
  disturbed: boolean;
}

function pick<T>(world: World, from: readonly T[]): T {
  return from[world.simulation.random.integer(from.length)]!;
}

async function begin(seed: number): Promise<Story> {
  const returning: readonly OnUnknown[] = ["404", "404", "proxy-back", "b2bua-back"];
  const homes = new Map<string, string>();
  const draw = (index: number) => (seed * 7 + index * 13) % 4;
  USERS.forEach((user, index) => {
    const place = PLACES[draw(index)];
    if (place !== undefined) homes.set(user, place);
  });
  const world = await createWorld({
    seed,
    proxies: 1 + (seed % 2),
    servers: Object.fromEntries(
      PLACES.map((name, index) => [
        name,
        {
          onUnknown: returning[(seed + index) % 4]!,
          viaProxy: (seed + index) % (1 + (seed % 2)),
          users: [...homes].filter(([, home]) => home === name).map(([user]) => user),
        },
      ]),
    ),
    database: { latencyMs: [0, seed % 3] },
    options: { health: { intervalMs: 3_000, failures: 2, timeoutMs: 1_000 } },
  });
  world.simulation.faults({ delay: [0.5, 10], loss: seed % 4 === 0 ? 0.02 : 0 });
  return { world, homes, sent: [], others: [], disturbed: false };
}

const STEPS_OF_LIFE: ReadonlyArray<(story: Story, step: number) => void> = [
  message,
  message,
  message,
  message,
  watch,
  call,
  move,
  cutOff,
  heal,
  drain,
  away,
  burst,
];

function message(story: Story, step: number): void {
  const { world, sent } = story;
  const client = world.client(`127.0.1.${sent.length + 1}`);
  const user = pick(world, [...USERS, "nobody"]);
  const proxy = pick(world, world.proxies).host;
  const from = `sip:s${world.simulation.random.integer(3)}@example.com`;
  const outgoing = client.begin("MESSAGE", `sip:${user}@example.com`, { from, proxy, body: `${step} ${sent.length}` });
  sent.push({ outgoing, user });
}

function burst(story: Story, step: number): void {
  for (let i = 0; i < 5; i++) message(story, step);
}

function watch({ world, others }: Story): void {
  const server = world.servers[pick(world, PLACES)]!;
  others.push(server.watch("friend", `${pick(world, USERS)}@example.com`));
}

function call({ world, others }: Story): void {
  const server = world.servers[pick(world, PLACES)]!;
  others.push(server.call("friend", `${pick(world, USERS)}@example.com`).then((made) => made.hangUp()));
}

function move({ world, homes }: Story): void {
  const user = pick(world, USERS);
  const from = homes.get(user);
  const to = pick(world, PLACES);
  if (from === to) return;
  if (from !== undefined) world.servers[from]!.release(user);
  world.servers[to]!.hold(user);
  homes.set(user, to);
}

function cutOff(story: Story): void {
  const { world } = story;
  story.disturbed = true;
  world.simulation.partition([
    [...world.proxies.map((proxy) => proxy.host), "127.0.0.200"],
    [`127.0.0.${11 + world.simulation.random.integer(3)}`],
  ]);
}

function heal({ world }: Story): void {
  world.simulation.heal();
  for (const { core } of world.proxies) for (const name of PLACES) core.rotation.drain(name, false);
}

function drain({ world }: Story): void {
  pick(world, world.proxies).core.rotation.drain(pick(world, PLACES), true);
}

function away(story: Story): void {
  story.disturbed = true;
  story.world.database.setAway(story.world.simulation.random.integer(2) === 0);
}

async function live(story: Story, seed: number): Promise<void> {
  const { world, sent } = story;
  const { simulation } = world;
  for (let step = 0; step < STEPS; step++) {
    pick(world, STEPS_OF_LIFE)(story, step);
    await simulation.advance(simulation.random.integer(1_500));
  }
  heal(story);
  world.database.setAway(false);
  simulation.faults({ loss: 0 });
  await simulation.run(() => sent.every(({ outgoing }) => outgoing.ended));
  await simulation.finish(Promise.all(story.others));
  for (const { outgoing, user } of sent) {
    const finals = outgoing.statuses.filter((status) => status >= 200);
    expect([200, 404, 480, 500], `seed ${seed}: MESSAGE to ${user}`).toContain(finals[0]);
    expect(finals, `seed ${seed}: MESSAGE to ${user}`).toHaveLength(1);
    if (user === "nobody") expect(finals[0], `seed ${seed}`).not.toBe(200);
  }
}

function readTwice({ world }: Story): string[] {
  const read = PLACES.flatMap((name) => [...world.servers[name]!.inboxes.values()].flat().map((each) => each.text));
  return read.filter((text, index) => read.indexOf(text) !== index);
}

/** Everybody is found where he is now, through each proxy; who is nowhere is not. */
async function peace(story: Story, seed: number): Promise<void> {
  const { world, homes } = story;
  await world.simulation.advance(40_000);
  const client = world.client("127.0.0.60");
  for (const proxy of world.proxies) {
    for (const user of [...USERS, "nobody"]) {
      const status = await client.status("MESSAGE", `sip:${user}@example.com`, { proxy: proxy.host, body: `p${seed}` });
      expect(status, `seed ${seed}: ${user}, in peace`).toBe(homes.has(user) ? 200 : 404);
    }
  }
}

describe("partitioned, whatever happens", () => {
  it(`over ${SEEDS} seeds`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const story = await begin(seed);
      await live(story, seed);
      // With the database away nobody can be told what another proxy is asking.
      if (!story.disturbed) expect(readTwice(story), `seed ${seed}`).toEqual([]);
      await peace(story, seed);
      const { world } = story;
      expect(
        world.proxies.flatMap((proxy) => proxy.told.warning),
        `seed ${seed}`,
      ).toEqual([]);
      const left = (await world.leftOver()).filter((line) => !line.includes("transactions"));
      expect(left, `seed ${seed}`).toEqual([]);
      await world.stop();
      // What was on its way to the database arrives.
      await world.simulation.advance(1_000);
      expect(world.simulation.leaks(), `seed ${seed}`).toEqual([]);
    }
  }, 600_000);
});
