import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PostgresDirectory, type PostgresOptions } from "../../src/directory/postgres/postgres-directory.ts";
import { CLEAR, END_EXPIRED } from "../../src/directory/postgres/sweep.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { startTestServer, type TestDatabase, type TestServer } from "../support/postgres.ts";

const runtime = createRealRuntime();
let server: TestServer;
let database: TestDatabase;

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server?.stop();
});
beforeEach(async () => {
  database = await server.database();
});
afterEach(async () => {
  await database.drop();
});

const BINDINGS = `insert into codomain.slots (aor, server, origin, epoch, expires_at, due_at, verdict)
  select 'u' || i || '@x', 'a', 'registered', 1, now() + $1::interval, now() + $1::interval, 'bound'
  from generate_series(1, $2::int) i`;
const CHANGES = `insert into codomain.changes (kind, aor, at)
  select 'user', 'u@x', now() - $1::interval from generate_series(1, $2::int)`;

describe("the sweep", () => {
  it("reads what is due and not the rest, however many users, changes and audit rows there are", async () => {
    const client = await database.connect();
    await client.query(BINDINGS, ["1 hour", 20_000]);
    await client.query(CHANGES, ["1 minute", 20_000]);
    await client.query("insert into codomain.audit (actor, action) select 't', 't' from generate_series(1, 20000)");
    await client.query("analyze");
    for (const [text, values] of [
      [END_EXPIRED.text, []],
      [CLEAR.text, [600_000, 86_400_000]],
    ] as const) {
      const { rows } = await client.query(`explain (analyze, timing off) ${text}`, [...values]);
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
      expect(plan).toMatch(/Index Cond: \((due_at|at) </);
      expect(plan).not.toMatch(/Rows Removed by Filter: \d{3,}/);
    }
  });

  it("goes on at once while there is more than one statement takes: neither bindings nor changes pile up", async () => {
    const client = await database.connect();
    await client.query(BINDINGS, ["-1 second", 3500]);
    await client.query(CHANGES, ["1 hour", 25_000]);
    const options: PostgresOptions = { url: database.url, size: 2, proxy: "p", sweepMs: 2000 };
    const directory = new PostgresDirectory(runtime, new Telemetry(), options);
    await directory.start();
    const began = runtime.clock.now();
    try {
      let left = 1;
      while (left > 0 && runtime.clock.now() - began < 5500) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        const { rows } = await client.query(`select
          (select count(*) from codomain.slots where server is not null)::int
          + (select count(*) from codomain.changes where at < now() - interval '30 min')::int as left`);
        left = rows[0].left;
      }
      // One statement every two seconds would need six.
      expect(left).toBe(0);
    } finally {
      await directory.stop();
    }
  });
});
