import type pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { startTestServer, type TestDatabase, type TestServer } from "./postgres.ts";

/** A server and a database with all migrations for the tests of one file: there once its first `beforeAll` has run. */
export interface OwnDatabase {
  readonly url: string;
  /** A connection of one's own, closed at the end. */
  connect(): Promise<pg.Client>;
}

export function ownDatabase(settings?: readonly string[]): OwnDatabase {
  let server: TestServer;
  let database: TestDatabase;
  beforeAll(async () => {
    server = await startTestServer(settings);
    database = await server.database();
  });
  afterAll(async () => {
    await database?.drop();
    await server?.stop();
  });
  return {
    get url() {
      return database.url;
    },
    connect: () => database.connect(),
  };
}
