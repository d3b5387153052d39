import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { dumpSchema } from "../src/directory/postgres/dump-schema.ts";
import { EmbeddedPostgres } from "../src/directory/postgres/embedded.ts";
import { MIGRATIONS, migrate, readMigrations } from "../src/directory/postgres/migrate.ts";
import { createRealRuntime } from "../src/runtime/real.ts";
import { Telemetry } from "../src/telemetry/events.ts";

// Writes sql/schema.dump.sql: npx tsx tools/schema-dump.ts

const directory = await mkdtemp(join(tmpdir(), "codomain-schema-"));
const server = await EmbeddedPostgres.start(createRealRuntime(), new Telemetry(), { directory, withoutSync: true });
try {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  await migrate(client, await readMigrations());
  await writeFile(`${MIGRATIONS}schema.dump.sql`, await dumpSchema(client));
  await client.end();
} finally {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
}
