import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { EmbeddedPostgres } from "../../src/directory/postgres/embedded.ts";
import { migrate, readMigrations } from "../../src/directory/postgres/migrate.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";

/** A database of one's own on this worker's server, cloned from a template that has all migrations. */
export interface TestDatabase {
  readonly url: string;
  /** A connection of one's own; closed by `drop`. */
  connect(): Promise<pg.Client>;
  drop(): Promise<void>;
}

export interface TestServer {
  readonly postgres: EmbeddedPostgres;
  /** Shuts it down; the function that is returned starts it again, with its data, where it was. */
  halt(): Promise<() => Promise<void>>;
  database(options?: { empty?: boolean }): Promise<TestDatabase>;
  stop(): Promise<void>;
}

/**
 * One server for a test file: started in about a second, its data thrown away at the end. CODOMAIN_TEST_POSTGRES names
 * another installation to test on, such as /usr/lib/postgresql/15.
 */
export async function startTestServer(settings: readonly string[] = []): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), "codomain-test-"));
  const runtime = createRealRuntime();
  const programs = process.env.CODOMAIN_TEST_POSTGRES;
  const start = () =>
    EmbeddedPostgres.start(runtime, new Telemetry(), {
      directory,
      // It would look at tables, and hold transactions open, at moments of its own.
      settings: ["autovacuum=off", ...settings],
      withoutSync: true,
      ...(programs === undefined ? {} : { programs }),
    });
  let postgres = await start();
  const urlOf = (name: string) => {
    const url = new URL(postgres.url);
    url.pathname = `/${name}`;
    return url.toString();
  };
  const enter = async () => {
    const client = new pg.Client({ connectionString: postgres.url });
    client.on("error", () => undefined);
    await client.connect();
    return client;
  };
  let admin = await enter();
  await admin.query("create database template_codomain");
  const template = new pg.Client({ connectionString: urlOf("template_codomain") });
  await template.connect();
  await migrate(template, await readMigrations());
  await template.end();
  let count = 0;
  return {
    get postgres() {
      return postgres;
    },
    async halt() {
      await admin.end();
      await postgres.stop();
      return async () => {
        postgres = await start();
        admin = await enter();
      };
    },
    async database({ empty = false } = {}) {
      const name = `test_${++count}`;
      await admin.query(`create database ${name} template ${empty ? "template0" : "template_codomain"}`);
      const clients: pg.Client[] = [];
      return {
        url: urlOf(name),
        async connect() {
          const client = new pg.Client({ connectionString: urlOf(name) });
          client.on("error", () => undefined);
          await client.connect();
          clients.push(client);
          return client;
        },
        async drop() {
          for (const client of clients) await client.end().catch(() => undefined);
          await admin.query(`drop database if exists ${name} with (force)`);
        },
      };
    },
    async stop() {
      await admin.end().catch(() => undefined);
      await postgres.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
