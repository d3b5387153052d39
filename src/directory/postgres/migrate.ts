import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { CodomainError } from "../../base/errors.ts";

/** Migrations are shipped in `sql/` beside `src/` and `dist/` alike. */
export const MIGRATIONS = fileURLToPath(new URL("../../../sql/", import.meta.url));
/** The oldest server whose SQL we use: 15. */
export const LEAST_VERSION = 150_000;

/** Whoever migrates holds this advisory lock; the others wait and then find the work done. */
const LOCK = 7_310_868_735_001;
const LOCK_WAIT_MS = 60_000;

export interface Migration {
  readonly number: number;
  readonly name: string;
  readonly text: string;
  /** SHA-256 of the text, hexadecimal. */
  readonly checksum: string;
}

/** `0001-name.sql` and so on, without gaps. */
export async function readMigrations(directory: string = MIGRATIONS): Promise<Migration[]> {
  const files = (await readdir(directory)).filter((file) => /^\d{4}-[a-z0-9-]+\.sql$/.test(file)).sort();
  const migrations: Migration[] = [];
  for (const [i, file] of files.entries()) {
    if (Number(file.slice(0, 4)) !== i + 1)
      throw new CodomainError("migration", `The migrations in ${directory} have a gap before ${file}.`);
    const text = await readFile(`${directory}/${file}`, "utf8");
    migrations.push({
      number: i + 1,
      name: file.slice(5, -4),
      text,
      checksum: createHash("sha256").update(text).digest("hex"),
    });
  }
  if (migrations.length === 0) throw new CodomainError("migration", `There are no migrations in ${directory}.`);
  return migrations;
}

/**
 * Brings the database to the newest version, each migration in a transaction of its own. Any number of proxies may start
 * at once. `client` is connected and has no other use meanwhile. Returns the names of what was applied.
 * @throws CodomainError where the server is too old, a migration was changed after it ran, or the database is newer.
 */
export async function migrate(client: pg.Client, migrations: readonly Migration[]): Promise<string[]> {
  await checkVersion(client);
  await client.query(`set statement_timeout = 0; set lock_timeout = ${LOCK_WAIT_MS}`);
  await client.query("select pg_advisory_lock($1)", [LOCK]);
  try {
    await client.query("create schema if not exists codomain");
    await client.query(`create table if not exists codomain.migrations (
      number integer primary key,
      name text not null,
      checksum text not null,
      applied_at timestamptz not null default clock_timestamp())`);
    const { rows } = await client.query<{ number: number; name: string; checksum: string }>(
      "select number, name, checksum from codomain.migrations order by number",
    );
    const applied: string[] = [];
    for (const row of rows) check(row, migrations);
    for (const migration of migrations.slice(rows.length)) {
      await apply(client, migration);
      applied.push(migration.name);
    }
    return applied;
  } finally {
    await client.query("select pg_advisory_unlock($1)", [LOCK]).catch(() => undefined);
  }
}

async function checkVersion(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ number: string; version: string }>(
    "select current_setting('server_version_num') as number, current_setting('server_version') as version",
  );
  const row = rows[0];
  if (row === undefined || Number(row.number) >= LEAST_VERSION) return;
  throw new CodomainError(
    "database-version",
    `The database is PostgreSQL ${row.version}; codomain needs version ${LEAST_VERSION / 10_000} or newer. Upgrade it or name another one under "database".`,
  );
}

function check(row: { number: number; name: string; checksum: string }, migrations: readonly Migration[]): void {
  const known = migrations[row.number - 1];
  if (known === undefined) {
    throw new CodomainError(
      "migration",
      `The database was brought to version ${row.number} (${row.name}) by a newer codomain; this one knows ${migrations.length}. Start the newer one.`,
    );
  }
  if (known.checksum !== row.checksum) {
    throw new CodomainError(
      "migration",
      `Migration ${row.number} (${row.name}) was changed after it was applied to this database. Restore the file; put changes into a new one.`,
    );
  }
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  await client.query("begin");
  try {
    await client.query(migration.text);
    await client.query("insert into codomain.migrations (number, name, checksum) values ($1, $2, $3)", [
      migration.number,
      migration.name,
      migration.checksum,
    ]);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => undefined);
    const reason = error instanceof Error ? error.message : String(error);
    throw new CodomainError("migration", `Migration ${migration.number} (${migration.name}) failed: ${reason}.`, {
      cause: error,
    });
  }
}
