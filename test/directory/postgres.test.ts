import type pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { PostgresDirectory } from "../../src/directory/postgres/postgres-directory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { directoryContract } from "../contract/directory.contract.ts";
import { startTestServer, type TestDatabase, type TestServer } from "../support/postgres.ts";

const runtime = createRealRuntime();
let server: TestServer;
let database: TestDatabase;
let client: pg.Client;
let east: PostgresDirectory;
let west: PostgresDirectory;
let tests = 0;

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
with binding as (
  update codomain.slots set
    expires_at = expires_at - $1 * interval '1 ms',
    due_at = due_at - $1 * interval '1 ms',
    calm_at = calm_at - $1 * interval '1 ms',
    claims = coalesce((
      select jsonb_object_agg(e.key, array_to_string(array[p[1], (p[2]::bigint - $1)::text] || p[3:], E'\\t'))
      from jsonb_each_text(claims) e, string_to_array(e.value, E'\\t') p), '{}')
),
eviction as (
  update codomain.evictions set due_at = due_at - $1 * interval '1 ms', since = since - $1 * interval '1 ms'
)
update codomain.open_forks set expires_at = expires_at - $1 * interval '1 ms'`;

async function eventually(met: () => boolean): Promise<void> {
  const limit = runtime.clock.now() + 10_000;
  while (!met() && runtime.clock.now() < limit) await new Promise((resolve) => setTimeout(resolve, 2));
  if (!met()) throw new Error("It did not come within 10 s.");
}

directoryContract("on PostgreSQL", async () => ({
  east,
  west,
  now: () => runtime.clock.wall(),
  async advance(ms) {
    await client.query(AGE, [ms]);
  },
  run: (promise) => promise,
  eventually,
  async close() {
    // Both feeds have told everything of this test once they tell the mark behind it.
    const mark = `mark-${++tests}@example.com`;
    let heard = 0;
    const ends = [east, west].map((each) =>
      each.onChange((change) => (heard += "aor" in change && change.aor === mark ? 1 : 0)),
    );
    await client.query(
      "truncate codomain.slots, codomain.users, codomain.credentials, codomain.open_forks, codomain.audit, codomain.evictions restart identity",
    );
    await client.query(
      "with told as (insert into codomain.changes (kind, aor) values ('user', $1)) select pg_notify('codomain_changes', '')",
      [mark],
    );
    await eventually(() => heard >= 2);
    for (const end of ends) end();
  },
}));
