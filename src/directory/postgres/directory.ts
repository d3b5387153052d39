import type { Runtime } from "../../runtime/runtime.ts";
import type { Telemetry } from "../../telemetry/events.ts";
import type { Directory } from "../directory.ts";
import { EmbeddedPostgres } from "./embedded.ts";
import { PostgresDirectory, type PostgresOptions } from "./postgres-directory.ts";

export interface DirectoryOptions extends Omit<PostgresOptions, "url"> {
  /** `embedded`: data in `dataDirectory`; `embedded:/path`: there; or the URL of a server, postgres://user@host/db. */
  readonly database: string;
  readonly dataDirectory?: string;
  /** Further settings of the embedded server, `name=value`. */
  readonly settings?: readonly string[];
}

/**
 * The directory on an embedded or an external server. The embedded one is started here and stopped by `stop`; `start`
 * connects and brings the tables up to date. `url`: where the database is, with the password.
 */
export async function createDirectory(
  runtime: Runtime,
  telemetry: Telemetry,
  options: DirectoryOptions,
): Promise<PostgresDirectory & { readonly url: string }> {
  const { database } = options;
  if (database !== "embedded" && !database.startsWith("embedded:"))
    return new LocatedDirectory(runtime, telemetry, database, null, options);
  const directory = database.startsWith("embedded:")
    ? database.slice("embedded:".length)
    : (options.dataDirectory ?? "./data");
  const server = await EmbeddedPostgres.start(runtime, telemetry, { directory, settings: options.settings ?? [] });
  return new LocatedDirectory(runtime, telemetry, server.url, server, options);
}

class LocatedDirectory extends PostgresDirectory implements Directory {
  readonly url: string;
  readonly #server: EmbeddedPostgres | null;

  constructor(
    runtime: Runtime,
    telemetry: Telemetry,
    url: string,
    server: EmbeddedPostgres | null,
    options: DirectoryOptions,
  ) {
    super(runtime, telemetry, { ...options, url });
    this.url = url;
    this.#server = server;
  }

  override async start(): Promise<void> {
    try {
      await super.start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  override async stop(): Promise<void> {
    try {
      await super.stop();
    } finally {
      await this.#server?.stop();
    }
  }
}
