import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dumpSchema } from "../../src/directory/postgres/dump-schema.ts";
import {
  LEAST_VERSION,
  MIGRATIONS,
  type Migration,
  migrate,
  readMigrations,
} from "../../src/directory/postgres/migrate.ts";
import { startTestServer, type TestServer } from "../support/postgres.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server?.stop();
});

const migration = (number: number, name: string, text: string): Migration => ({
  number,
  name,
  text,
  checksum: createHash("sha256").update(text).digest("hex"),
});

describe("migrations", () => {
  it("eight racing starters: each is applied once, all of them find it done", async () => {
    const database = await server.database({ empty: true });
    const shipped = await readMigrations();
    const migrations = [
      ...shipped,
      migration(shipped.length + 1, "slow", "create table codomain.slow as select pg_sleep(0.05)::text as slept"),
    ];
    const clients = await Promise.all(Array.from({ length: 8 }, () => database.connect()));
    const applied = await Promise.all(clients.map((client) => migrate(client, migrations)));
    expect(applied.flat().sort()).toEqual(migrations.map((each) => each.name).sort());
    const { rows } = await (await database.connect()).query(
      "select number, name from codomain.migrations order by number",
    );
    expect(rows).toEqual(migrations.map(({ number, name }) => ({ number, name })));
    await database.drop();
  });

  it("one that fails leaves nothing behind, and says which", async () => {
    const database = await server.database({ empty: true });
    const client = await database.connect();
    const broken = [migration(1, "broken", "create table codomain.half (x integer); select 1 / 0")];
    await expect(migrate(client, broken)).rejects.toThrow("Migration 1 (broken) failed: division by zero");
    const { rows } = await client.query(
      "select to_regclass('codomain.half') as half, (select count(*)::int from codomain.migrations) as applied",
    );
    expect(rows[0]).toEqual({ half: null, applied: 0 });
    await database.drop();
  });

  it("one that was changed after it ran is refused", async () => {
    const database = await server.database({ empty: true });
    const client = await database.connect();
    await migrate(client, [migration(1, "first", "create table codomain.a (x integer)")]);
    await expect(migrate(client, [migration(1, "first", "create table codomain.b (x integer)")])).rejects.toThrow(
      "Migration 1 (first) was changed after it was applied",
    );
    await database.drop();
  });

  it("a database of a newer codomain is refused", async () => {
    const database = await server.database({ empty: true });
    const client = await database.connect();
    const two = [migration(1, "first", "select 1"), migration(2, "second", "select 1")];
    await migrate(client, two);
    await expect(migrate(client, two.slice(0, 1))).rejects.toThrow(
      "by a newer codomain; this one knows 1. Start the newer one.",
    );
    await database.drop();
  });

  it("a server older than 15 is refused with a sentence that says what to do", async () => {
    class OldServer extends pg.Client {
      override query = (async () => ({ rows: [{ number: "140011", version: "14.11" }] })) as never;
    }
    expect(LEAST_VERSION).toBe(150_000);
    await expect(migrate(new OldServer(), [])).rejects.toThrow(
      'The database is PostgreSQL 14.11; codomain needs version 15 or newer. Upgrade it or name another one under "database".',
    );
  });

  it("schema.dump.sql is what the migrations make; npx tsx tools/schema-dump.ts writes it anew", async () => {
    const database = await server.database();
    const dumped = await dumpSchema(await database.connect());
    expect(dumped).toBe(await readFile(`${MIGRATIONS}schema.dump.sql`, "utf8"));
    await database.drop();
  });
});
