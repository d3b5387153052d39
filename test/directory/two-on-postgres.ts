import type pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { PostgresDirectory } from "../../src/directory/postgres/postgres-directory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import type { Harness } from "../contract/harness.ts";
import { ownDatabase } from "../support/own-database.ts";

const runtime = createRealRuntime();

export interface TwoOnPostgres {
  readonly client: pg.Client;
  readonly east: PostgresDirectory;
  readonly harness: () => Promise<Harness>;
}

/** Two proxies on one PostgreSQL for the tests of one file. */
export function twoOnPostgres(options: {
  /** SQL: the database's clock cannot be turned, so whatever is stored is put back by $1 milliseconds. */
  readonly age: string;
  /** SQL: empties what a test has filled. Tables in the order in which sweeps lock them, which go on meanwhile: a deadlock otherwise. */
  readonly reset: string;
  readonly sweepMs?: number;
}): TwoOnPostgres {
  const { age, reset, ...more } = options;
  const database = ownDatabase();
  let client: pg.Client;
  let east: PostgresDirectory;
  let west: PostgresDirectory;
  let tests = 0;
  beforeAll(async () => {
    client = await database.connect();
    const place = { url: database.url, size: 4, ...more };
    east = new PostgresDirectory(runtime, new Telemetry(), { ...place, proxy: "east" });
    west = new PostgresDirectory(runtime, new Telemetry(), { ...place, proxy: "west" });
    await Promise.all([east.start(), west.start()]);
  });
  afterAll(async () => {
    await Promise.all([east?.stop(), west?.stop()]);
  });

  /** Both feeds have told everything of a test once they tell the mark behind it. */
  async function close(): Promise<void> {
    const mark = `mark-${++tests}@example.com`;
    let heard = 0;
    const ends = [east, west].map((each) =>
      each.onChange((change) => {
        if ("aor" in change && change.aor === mark) heard++;
      }),
    );
    await client.query(reset);
    await client.query(
      "with told as (insert into codomain.changes (kind, aor) values ('user', $1)) select pg_notify('codomain_changes', '')",
      [mark],
    );
    await eventually(() => heard >= 2);
    for (const end of ends) end();
  }

  return {
    get client() {
      return client;
    },
    get east() {
      return east;
    },
    harness: async () => ({
      east,
      west,
      now: () => runtime.clock.wall(),
      async advance(ms) {
        await client.query(age, [ms]);
      },
      run: (promise) => promise,
      eventually,
      close,
    }),
  };
}

async function eventually(met: () => boolean): Promise<void> {
  const limit = runtime.clock.now() + 60_000;
  while (!met() && runtime.clock.now() < limit) await new Promise((resolve) => setTimeout(resolve, 2));
  if (!met()) throw new Error("It did not come within 60 s.");
}
