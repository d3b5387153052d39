import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterEach, describe, expect, test } from "vitest";
import { createExampleServer, type ExampleServer, type OnUnknown } from "../../src/demo/example-server.ts";
import { EmbeddedPostgres } from "../../src/directory/postgres/embedded.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { eventually } from "../support/child.ts";
import { type RunningProxy, startProxy } from "../support/proxy.ts";

/** Many users at once over real sockets, on one proxy and on two that share a Postgres. */
const PROXIES = ["127.0.0.131", "127.0.0.132"];
const SERVERS = ["127.0.0.133", "127.0.0.134", "127.0.0.135"];
const NAMES = ["east", "west", "north"];
/** Requests under way at a time. */
const AT_ONCE = 100;

let stops: Array<() => Promise<unknown>> = [];

afterEach(async () => {
  for (const stop of stops.reverse()) await stop();
  stops = [];
});

interface Domain {
  readonly servers: readonly ExampleServer[];
  readonly proxies: readonly RunningProxy[];
  readonly url: string;
}

async function domain(proxies: number, onUnknown: OnUnknown, users: readonly string[], more: string): Promise<Domain> {
  const runtime = createRealRuntime();
  const directory = mkdtempSync(join(tmpdir(), "many-users-"));
  chmodSync(directory, 0o755);
  stops.push(async () => rmSync(directory, { recursive: true, force: true }));
  const postgres = await EmbeddedPostgres.start(runtime, new Telemetry(), { directory: join(directory, "postgres") });
  stops.push(() => postgres.stop());
  const servers = SERVERS.map((host, i) =>
    createExampleServer(runtime, {
      name: NAMES[i] ?? "",
      listen: { host, port: 5060 },
      users: users.filter((_, user) => user % SERVERS.length === i),
      domain: "example.com",
      proxy: { host: PROXIES[i % proxies] ?? "", port: 5060 },
      onUnknown,
    }),
  );
  for (const server of servers) {
    await server.start();
    stops.push(() => server.stop());
  }
  const uris = Object.fromEntries(servers.map((server) => [server.name, server.uri]));
  const running: RunningProxy[] = [];
  for (const host of PROXIES.slice(0, proxies)) {
    const proxy = await startProxy({
      host,
      servers: uris,
      database: postgres.url,
      more: `proxy-name: ${host}\nhealth: { interval: 1s }\n${more}`,
    });
    stops.push(() => proxy.stop());
    running.push(proxy);
  }
  // A server that sends strangers to a proxy that was not there yet has its marks checked again with the next round.
  for (const proxy of running) await eventually("all marks to be checked", () => isChecked(proxy), 30_000);
  return { servers, proxies: running, url: postgres.url };
}

async function isChecked(proxy: RunningProxy): Promise<boolean> {
  const { servers } = (await proxy.api("GET", "/api/v1/servers")) as { servers: Array<{ proves: string[] }> };
  return servers.every((server) => server.proves.includes("MESSAGE"));
}

/** Works through all of it, so many at a time. */
async function each<T>(items: readonly T[], work: (item: T, index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      await work(items[index] as T, index);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

function tally(statuses: readonly unknown[]): Record<string, number> {
  const counted: Record<string, number> = {};
  for (const status of statuses) counted[String(status)] = (counted[String(status)] ?? 0) + 1;
  return counted;
}

describe.each([
  { proxies: 1, onUnknown: "404" as const, count: 10_000 },
  { proxies: 1, onUnknown: "proxy-back" as const, count: 3_000 },
  { proxies: 2, onUnknown: "proxy-back" as const, count: 10_000 },
  { proxies: 2, onUnknown: "b2bua-back" as const, count: 10_000 },
])("$count users of whom none is known, $proxies proxies, servers that answer strangers by $onUnknown", (world) => {
  test("every request is answered rightly; each user's first request forks, no second does", {
    timeout: 180_000,
  }, async () => {
    const users = Array.from({ length: world.count }, (_, i) => `user${i}`);
    const { servers } = await domain(world.proxies, world.onUnknown, users, "");
    const at = (i: number): ExampleServer => servers[i % servers.length] as ExampleServer;
    const round = async (from: number): Promise<Record<string, number>> => {
      const statuses: unknown[] = [];
      await each(users, async (user, i) => {
        const started = performance.now();
        const answer = await at(i + from).ask({ method: "MESSAGE", from: "someone", to: `${user}@example.com` });
        statuses[i] = performance.now() - started > 8_500 ? "late" : answer?.status;
      });
      return tally(statuses);
    };
    const seen = (who: number): number[] => users.map((user, i) => at(i + who).seen("MESSAGE", user));

    expect(await round(1)).toEqual({ 200: world.count });
    expect(tally(seen(0))).toEqual({ 1: world.count });
    expect(tally(seen(1)), "the one who asked").toEqual({ 0: world.count });
    // A server whose branch would have left after the answer came is not asked at all.
    const third = seen(2);
    expect(Math.max(...third)).toBe(1);
    expect(await round(2)).toEqual({ 200: world.count });
    // The home was asked once more, nobody else was.
    expect(tally(seen(0))).toEqual({ 2: world.count });
    expect(tally(seen(1)), "the one who asked").toEqual({ 0: world.count });
    expect(seen(2)).toEqual(third);

    const strangers = Array.from({ length: 500 }, (_, i) => `stranger${i}`);
    const statuses: unknown[] = [];
    await each(strangers, async (user, i) => {
      statuses[i] = (await at(i).ask({ method: "MESSAGE", from: "someone", to: `${user}@example.com` }))?.status;
    });
    expect(tally(statuses)).toEqual({ 404: 500 });
    const asked = (who: number) => tally(strangers.map((user, i) => at(i + who).seen("MESSAGE", user)));
    expect([asked(0), asked(1), asked(2)]).toEqual([{ 0: 500 }, { 1: 500 }, { 1: 500 }]);
  });
});

test("two servers claim the same 1,000 users at once through two proxies, under refuse: one 200 and one 403 each, one holder everywhere", {
  timeout: 120_000,
}, async () => {
  const users = Array.from({ length: 1_000 }, (_, i) => `claimed${i}`);
  const { servers, proxies, url } = await domain(
    2,
    "404",
    [],
    'models: [{ match: "*@example.com", model: exclusive, conflict: refuse }]',
  );
  const [east, west] = servers as [ExampleServer, ExampleServer];
  const holders = new Map<string, string>();
  const pairs: string[] = [];
  await each(users, async (user) => {
    const answers = await Promise.all([east.claim(user, 600), west.claim(user, 600)]);
    const statuses = answers.map((answer) => answer?.status);
    pairs.push(statuses.toSorted().join(" "));
    holders.set(`${user}@example.com`, statuses[0] === 200 ? "east" : "west");
  });
  expect(tally(pairs)).toEqual({ "200 403": 1_000 });
  expect(new Set(holders.values()).size).toBeGreaterThan(0);

  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ aor: string; server: string }>("select aor, server from codomain.bindings");
  await client.end();
  expect(new Map(rows.map((row) => [row.aor, row.server]))).toEqual(holders);
  for (const proxy of proxies) {
    const wrong: string[] = [];
    await each([...holders], async ([aor, holder]) => {
      const plan = await proxy.explain("MESSAGE", aor);
      if (plan.kind !== "relay" || plan.server !== holder)
        wrong.push(`${aor}: ${plan.kind} ${plan.server}, not ${holder}`);
    });
    expect(wrong).toEqual([]);
  }
});
