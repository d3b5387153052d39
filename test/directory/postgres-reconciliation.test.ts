import type pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { PostgresDirectory } from "../../src/directory/postgres/postgres-directory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { reconciliationContract } from "../contract/reconciliation.contract.ts";
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
with turn as (update codomain.reconciler set lease_until = lease_until - $1 * interval '1 ms')
update codomain.findings set at = at - $1 * interval '1 ms'`;

reconciliationContract("on PostgreSQL", async () => ({
  east,
  west,
  async advance(ms) {
    await client.query(AGE, [ms]);
  },
  run: (promise) => promise,
  async close() {
    await client.query("truncate codomain.reconciler, codomain.findings restart identity");
    await client.query("insert into codomain.reconciler default values");
  },
}));
