import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import { Pool } from "../../src/directory/postgres/pool.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { ownDatabase } from "../support/own-database.ts";

const PUT = { name: "put", text: "insert into codomain.users (aor) values ($1)" };
const PID = { name: "pid", text: "select pg_backend_pid() as pid" };

const database = ownDatabase();
let watch: pg.Client;
let pool: Pool;
beforeAll(async () => {
  watch = await database.connect();
  pool = new Pool(createRealRuntime(), new Telemetry(), { url: database.url, size: 2 });
});
afterAll(async () => {
  await pool?.end();
});

async function users(): Promise<string[]> {
  const { rows } = await watch.query<{ aor: string }>("select aor from codomain.users order by aor");
  return rows.map((row) => row.aor);
}

describe("a transaction of several statements", () => {
  it("is done whole, and answers what the work does", async () => {
    const answer = await pool.transaction(async (run) => {
      await run(PUT, ["a@x"]);
      expect(await users()).toEqual([]);
      await run(PUT, ["b@x"]);
      return 7;
    });
    expect([answer, await users()]).toEqual([7, ["a@x", "b@x"]]);
  });

  it("that fails half way is not done at all, and its connection is as good as before", async () => {
    const failed = pool.transaction(async (run) => {
      await run(PUT, ["c@x"]);
      await run(PUT, ["a@x"]);
    });
    await expect(failed).rejects.toBeInstanceOf(DirectoryUnavailable);
    expect(await users()).toEqual(["a@x", "b@x"]);
    for (let i = 0; i < 3; i++) await pool.transaction((run) => run(PID, []));
    expect(pool.up).toBe(true);
  });

  it("whose connection is cut is not done; the pool knows, and finds its way back", async () => {
    const cut = pool.transaction(async (run) => {
      await run(PUT, ["d@x"]);
      const [row] = await run<{ pid: number }>(PID, []);
      await watch.query("select pg_terminate_backend($1)", [row!.pid]);
      await run(PUT, ["e@x"]);
    });
    await expect(cut).rejects.toBeInstanceOf(DirectoryUnavailable);
    expect(pool.up).toBe(false);
    await expect(pool.transaction((run) => run(PUT, ["f@x"]))).rejects.toBeInstanceOf(DirectoryUnavailable);
    while (!pool.up) await new Promise((resolve) => setTimeout(resolve, 5));
    await pool.transaction((run) => run(PUT, ["g@x"]));
    expect(await users()).toEqual(["a@x", "b@x", "g@x"]);
  });
});
