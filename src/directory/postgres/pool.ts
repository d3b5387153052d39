import pg from "pg";
import { DirectoryUnavailable } from "../../base/errors.ts";
import type { Runtime, Timer } from "../../runtime/runtime.ts";
import type { Telemetry } from "../../telemetry/events.ts";

/** One SQL statement, prepared once per connection under its name. */
export interface Verb {
  readonly name: string;
  readonly text: string;
}

/** Runs one statement of a transaction. */
export type Run = <Row extends object>(verb: Verb, values: readonly unknown[]) => Promise<Row[]>;

export interface PoolOptions {
  /** postgres://user:password@host:port/database */
  readonly url: string;
  /** Connections at most, without the feed's. Default 8. */
  readonly size?: number;
  /** A statement is given up after this long, milliseconds. Default 5000. */
  readonly statementTimeoutMs?: number;
  /** So is the wait for a row lock. Default 3000. */
  readonly lockTimeoutMs?: number;
  /** And the way to a new connection. Default 2000. */
  readonly connectTimeoutMs?: number;
}

const PROBE_MS = [50, 100, 250, 500, 1000] as const;

/**
 * Connections to the database, bounded in number and in time. States: *up*: statements go out. *down*, after a
 * connection failed or broke: statements are refused at once, a probe tries to get through, the first that does makes
 * it up again. A statement that merely failed or took too long changes no state. Everything it throws is a
 * DirectoryUnavailable.
 */
export class Pool {
  readonly #pool: pg.Pool;
  readonly #runtime: Runtime;
  readonly #telemetry: Telemetry;
  readonly #config: pg.ClientConfig;
  #up = true;
  #probe: Timer | null = null;
  #failures = 0;
  #ended = false;

  constructor(runtime: Runtime, telemetry: Telemetry, options: PoolOptions) {
    this.#runtime = runtime;
    this.#telemetry = telemetry;
    const statement = options.statementTimeoutMs ?? 5000;
    this.#config = {
      connectionString: options.url,
      application_name: "codomain",
      statement_timeout: statement,
      lock_timeout: options.lockTimeoutMs ?? 3000,
      idle_in_transaction_session_timeout: 10_000,
      // For a server that has stopped answering altogether; the server's own limit comes first.
      query_timeout: statement + 1000,
      connectionTimeoutMillis: options.connectTimeoutMs ?? 2000,
      keepAlive: true,
    };
    this.#pool = new pg.Pool({ ...this.#config, max: options.size ?? 8, idleTimeoutMillis: 60_000 });
    // One that lay idle and was cut says little; whoever asks next finds out.
    this.#pool.on("error", () => undefined);
  }

  /** Whether the last contact succeeded. */
  get up(): boolean {
    return this.#up;
  }

  /** A connection of its own, outside the pool, not yet connected: for the feed and the migrations. */
  client(): pg.Client {
    return new pg.Client(this.#config);
  }

  run<Row extends object>(verb: Verb, values: readonly unknown[]): Promise<Row[]> {
    return this.#guard(verb.name, async () => (await this.#pool.query<Row>(queryOf(verb, values))).rows);
  }

  /**
   * Several statements in one transaction, for what must lock first and read after: under READ COMMITTED each sees what
   * was committed before it. Where `work` throws nothing is done.
   */
  transaction<T>(work: (run: Run) => Promise<T>): Promise<T> {
    return this.#guard("transaction", async () => {
      const client = await this.#pool.connect();
      let broken: Error | undefined;
      // Lost while it is ours: whatever is asked of it next says so.
      const lost = (error: Error): void => {
        broken = error;
      };
      client.on("error", lost);
      try {
        await client.query("begin");
        const result = await work(async (verb, values) => (await client.query(queryOf(verb, values))).rows);
        await client.query("commit");
        return result;
      } catch (error) {
        await client.query("rollback").catch((failed: Error) => {
          broken ??= failed;
        });
        throw error;
      } finally {
        client.off("error", lost);
        client.release(broken);
      }
    });
  }

  async #guard<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (!this.#up) throw new DirectoryUnavailable("The database does not answer; what it must decide has to wait.");
    try {
      const result = await work();
      this.contact(true, "answers");
      return result;
    } catch (error) {
      // With every connection in use, who waits in vain has met a slow database, not one that is away.
      const waited = error instanceof Error && error.message === "timeout exceeded when trying to connect";
      const crowded = waited && this.#pool.totalCount >= (this.#pool.options.max ?? 0);
      if (isConnectionFailure(error) && !crowded) this.#broken(error as Error);
      throw unavailable(name, error);
    }
  }

  /** Told by whoever else talks to the database. */
  contact(up: boolean, reason: string): void {
    if (up === this.#up) return;
    this.#up = up;
    if (up) this.#failures = 0;
    this.#telemetry.emit("database", { up, reason });
    if (!up) this.#scheduleProbe();
  }

  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#probe?.cancel();
    this.#probe = null;
    await this.#pool.end();
  }

  #broken(error: Error): void {
    if (!this.#ended) this.contact(false, sentence(error));
  }

  #scheduleProbe(): void {
    if (this.#ended || this.#probe !== null) return;
    const wait = PROBE_MS[Math.min(this.#failures++, PROBE_MS.length - 1)] as number;
    this.#probe = this.#runtime.timers.after(wait, () => {
      this.#probe = null;
      this.#pool.query("select 1").then(
        () => this.contact(true, "answers again"),
        () => this.#scheduleProbe(),
      );
    });
  }
}

function queryOf(verb: Verb, values: readonly unknown[]): pg.QueryConfig {
  return { name: verb.name, text: verb.text, values: [...values] };
}

/** Classes 08 and 57P: the connection is gone; 53: the server takes no more of them; no code: the socket's own errors. */
export function isConnectionFailure(error: unknown): boolean {
  const code = codeOf(error);
  if (code === null) return true;
  if (/^[0-9A-Z]{5}$/.test(code)) return /^(08|53|57P|28|3D)/.test(code);
  return true;
}

export function unavailable(what: string, error: unknown): DirectoryUnavailable {
  return new DirectoryUnavailable(`The database could not do "${what}": ${sentence(error)}.`, { cause: error });
}

function codeOf(error: unknown): string | null {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : null;
}

export function sentence(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return sentence(error.errors[0]);
  const message = error instanceof Error ? error.message : String(error);
  return message === "" ? (codeOf(error) ?? "no reason given") : message;
}
