import type pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { PostgresDirectory } from "../../src/directory/postgres/postgres-directory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { subscriptionsContract } from "../contract/subscriptions.contract.ts";
import { startTestServer, type TestDatabase, type TestServer } from "../support/postgres.ts";

const runtime = createRealRuntime();
let server: TestServer;
let database: TestDatabase;
let client: pg.Client;
let east: PostgresDirectory;
let west: PostgresDirectory;

beforeAll(async () => {
  server = await startTestServer();
  database = await server.database();
  client = await database.connect();
  const options = { url: database.url, size: 4, sweepMs: 50 };
  east = new PostgresDirectory(runtime, new Telemetry(), { ...options, proxy: "east" });
  west = new PostgresDirectory(runtime, new Telemetry(), { ...options, proxy: "west" });
  await Promise.all([east.start(), west.start()]);
});

afterAll(async () => {
  await Promise.all([east?.stop(), west?.stop()]);
  await database?.drop();
  await server?.stop();
});

/** Lets time pass for what is stored: the database's clock cannot be turned, so everything else is put back. */
const AGE = `
with slots as (
  update codomain.slots set expires_at = expires_at - $1 * interval '1 ms', due_at = due_at - $1 * interval '1 ms'
),
leases as (update codomain.proxies set lease_until = lease_until - $1 * interval '1 ms')
update codomain.subscriptions set expires_at = expires_at - $1 * interval '1 ms'`;

subscriptionsContract("on PostgreSQL", async () => ({
  east,
  west,
  now: () => runtime.clock.wall(),
  async advance(ms) {
    await client.query(AGE, [ms]);
  },
  run: (promise) => promise,
  async eventually(met) {
    const limit = runtime.clock.now() + 10_000;
    while (!met() && runtime.clock.now() < limit) await new Promise((resolve) => setTimeout(resolve, 10));
    if (!met()) throw new Error("It did not come within 10 s.");
  },
  async close() {
    await client.query("truncate codomain.slots, codomain.users, codomain.proxies, codomain.subscriptions");
  },
}));

it("a lease that has been over for a day is forgotten, unless rows are left of it", async () => {
  const names = await Promise.all(
    ["sip:gone", "sip:left", "sip:fresh", "sip:lives"].map((each) => east.leases.open(each, 1000)),
  );
  const [gone, left, fresh, lives] = names as [string, string, string, string];
  const insert = `insert into codomain.subscriptions (id, kind, aor, watcher, event, owner, fence, dialog, expires_at,
    notify_reserved, leg_reserved, extended_epoch) values ('x', 'reg', 'a@x', 'b@x', 'reg', $1, 1, '', now() + interval '1 h', 0, 0, 0)`;
  await client.query(insert, [left]);
  for (const each of [gone, left, fresh]) await east.leases.close(each);
  const past = "update codomain.proxies set lease_until = now() - interval '25 h' where owner = any($1)";
  await client.query(past, [[gone, left, lives]]);
  const limit = runtime.clock.now() + 10_000;
  let there: string[] = names;
  while (there.includes(gone) && runtime.clock.now() < limit) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    there = (await client.query("select owner from codomain.proxies")).rows.map((row) => row.owner);
  }
  expect([...there].sort()).toEqual([left, fresh, lives].sort());
  await client.query("truncate codomain.proxies, codomain.subscriptions");
});
