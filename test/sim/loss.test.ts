import { describe, expect, it } from "vitest";
import { createWorld } from "../support/world.ts";

const SEEDS = process.env["CODOMAIN_FULL"] === "1" ? 400 : 60;
const USERS = ["ann", "bob", "cid", "dan", "eve", "fay"];
const PLACES = ["east", "west", "north"];
/** Probes would be under way whenever one looks. */
const OPTIONS = { health: { intervalMs: 0, failures: 3, timeoutMs: 2_000 } };

/** One small domain, with datagrams lost, doubled and late on every link. */
async function run(seed: number): Promise<readonly number[]> {
  const home = (place: number) => USERS.filter((_, index) => index % PLACES.length === place);
  const world = await createWorld({
    seed,
    proxies: 1 + (seed % 2),
    servers: Object.fromEntries(PLACES.map((name, place) => [name, { users: home(place) }])),
    options: OPTIONS,
    faults: { loss: 0.1, duplicate: 0.02, reorder: 0.02, delay: [0.5, 30] },
  });
  const { simulation } = world;
  const client = world.client("127.0.0.50");
  const proxy = () => `127.0.0.${1 + simulation.random.integer(world.proxies.length)}`;
  const messages = [...USERS, "nobody", "noone"].flatMap((user) =>
    [1, 2].map((turn) => ({
      user,
      sent: client.begin("MESSAGE", `sip:${user}@example.com`, {
        from: `sip:s${turn}@example.com`,
        body: `${user} ${turn}`,
        proxy: proxy(),
      }),
    })),
  );
  const watches = USERS.map((user, index) =>
    world.servers[PLACES[(index + 1) % 3]!]!.watch("joe", `${user}@example.com`),
  );
  const calls = USERS.slice(0, 3).map((user) => client.call(`sip:${user}@example.com`, { proxy: proxy() }));
  const statuses = await simulation.finish(Promise.all(messages.map(({ sent }) => sent.done)));
  const answers = (await simulation.finish(Promise.all(watches))).map((watch) => watch.answer?.status ?? 0);
  await simulation.finish(Promise.all(calls));
  await simulation.advance(1_000);

  // Exactly one final response each; of those who are nowhere never a success.
  for (const { user, sent } of messages) {
    const expected = USERS.includes(user) ? [200, 480] : [404, 480];
    expect(expected, `seed ${seed}: MESSAGE to ${user}`).toContain(sent.final);
    expect(sent.statuses.filter((status) => status >= 200)).toHaveLength(1);
  }
  for (const status of answers) expect([200, 480], `seed ${seed}: SUBSCRIBE`).toContain(status);
  // One effect each: nobody reads a message twice, and what was answered 200 was read.
  for (const { user, sent } of messages.filter((each) => USERS.includes(each.user))) {
    const text = sent.request.body;
    const read = PLACES.flatMap((name) => world.servers[name]!.inboxes.get(user) ?? []).filter(
      (each) => each.text === text,
    );
    const times = read.length;
    expect(sent.final === 200 ? times === 1 : times <= 1, `seed ${seed}: "${text}" was read ${times} times`).toBe(true);
  }
  const warnings = world.proxies.flatMap((each) => each.told.warning ?? []);
  expect(warnings, `seed ${seed}`).toEqual([]);
  expect(await world.leftOver(), `seed ${seed}`).toEqual([]);
  await world.stop();
  expect(simulation.leaks(), `seed ${seed}`).toEqual([]);
  return [...statuses, ...answers];
}

describe("10 % of all datagrams lost, both ways (models.md, Always)", () => {
  it(`over ${SEEDS} seeds: exactly one final response to every non-INVITE, one effect, and nothing is left`, async () => {
    const counts = new Map<number, number>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      for (const status of await run(seed)) counts.set(status, (counts.get(status) ?? 0) + 1);
    }
    const total = [...counts.values()].reduce((a, b) => a + b, 0);
    // A request is lost five times in a row only so often; this would be zero without retransmissions.
    expect((counts.get(480) ?? 0) / total).toBeLessThan(0.02);
    if (process.env["CODOMAIN_FULL"] === "1") console.log("loss", SEEDS, "seeds", Object.fromEntries(counts));
  }, 600_000);
});
