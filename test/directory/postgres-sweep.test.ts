import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PostgresDirectory, type PostgresOptions } from "../../src/directory/postgres/postgres-directory.ts";
import { CLEAR, END_EXPIRED } from "../../src/directory/postgres/sweep.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import type { Runtime, Timers } from "../../src/runtime/runtime.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { eventually } from "../support/child.ts";
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

/** An hour from one sweep to the next, of which the first comes at once. */
const SWEEP_MS = 3_600_000;
function sweepingAtOnce(): Runtime {
  const { timers } = runtime;
  let first = true;
  const after: Timers["after"] = (ms, run) => {
    const isFirst = first && ms === SWEEP_MS;
    if (isFirst) first = false;
    return timers.after(isFirst ? 0 : ms, run);
  };
  return { ...runtime, timers: { after, soon: (run) => timers.soon(run) } };
}

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
    const options: PostgresOptions = { url: database.url, size: 2, proxy: "p", sweepMs: SWEEP_MS };
    const directory = new PostgresDirectory(sweepingAtOnce(), new Telemetry(), options);
    await directory.start();
    try {
      await eventually("nothing is left", async () => {
        const { rows } = await client.query(`select
          (select count(*) from codomain.slots where server is not null)::int
          + (select count(*) from codomain.changes where at < now() - interval '30 min')::int as left`);
        return rows[0].left === 0;
      });
    } finally {
      await directory.stop();
    }
  });
});
