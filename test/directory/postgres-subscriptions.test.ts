import type pg from "pg";
import { afterAll, beforeAll } from "vitest";
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
