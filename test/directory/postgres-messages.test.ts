import type pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { PostgresDirectory } from "../../src/directory/postgres/postgres-directory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { messagesContract } from "../contract/messages.contract.ts";
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
  const options = { url: database.url, size: 4 };
  east = new PostgresDirectory(runtime, new Telemetry(), { ...options, proxy: "east" });
  west = new PostgresDirectory(runtime, new Telemetry(), { ...options, proxy: "west" });
  await Promise.all([east.start(), west.start()]);
});

afterAll(async () => {
  await Promise.all([east?.stop(), west?.stop()]);
  await database?.drop();
  await server?.stop();
});

/** The database's clock cannot be turned, so everything else is put back. */
const AGE = `
with messages as (
  update codomain.messages set expires_at = expires_at - $1 * interval '1 ms', ended_at = ended_at - $1 * interval '1 ms'
)
update codomain.message_queues set due_at = due_at - $1 * interval '1 ms'`;

async function eventually(met: () => boolean): Promise<void> {
  const limit = runtime.clock.now() + 10_000;
  while (!met() && runtime.clock.now() < limit) await new Promise((resolve) => setTimeout(resolve, 2));
  if (!met()) throw new Error("It did not come within 10 s.");
}

messagesContract("on PostgreSQL", async () => ({
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
      each.onChange((change) => {
        if ("aor" in change && change.aor === mark) heard++;
      }),
    );
    await client.query(
      "truncate codomain.slots, codomain.messages, codomain.message_trace, codomain.message_queues, codomain.audit",
    );
    await client.query(
      "with told as (insert into codomain.changes (kind, aor) values ('user', $1)) select pg_notify('codomain_changes', '')",
      [mark],
    );
    await eventually(() => heard >= 2);
    for (const end of ends) end();
  },
}));
