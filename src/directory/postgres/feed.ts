import type pg from "pg";
import type { Runtime, Timer } from "../../runtime/runtime.ts";
import type { Change } from "../directory.ts";
import { changeOf, FEED_READ, FEED_START, type FeedRow } from "./feed-sql.ts";
import { type Pool, sentence } from "./pool.ts";

export interface FeedOptions {
  /** Whose feed it is. */
  readonly proxy: string;
  /** Without a wake-up it reads this often. */
  readonly pollMs: number;
  /** While rows are held back by an open transaction, this often. */
  readonly heldPollMs: number;
  /** Changes are kept in the database this long; a reader who slept or was held back for half of it starts anew. */
  readonly keptMs: number;
}

const CHANNEL = "codomain_changes";
/** Wake-ups that come faster than this share one read. */
const COALESCE_MS = 5;
/** So do those that are about our own changes, of which everybody here has heard. */
const OWN_COALESCE_MS = 50;
const RECONNECT_MS = [0, 100, 250, 500, 1000] as const;

interface Cursor {
  readonly xid: bigint;
  readonly id: bigint;
}

/**
 * Reads the outbox in commit order over a connection of its own. States: *stopped*; *connecting*, with back-off;
 * *reading*: woken by LISTEN, by the poll, sooner while rows are held back. Whenever the connection was lost it first
 * says `reset`, since nobody knows what was missed, and goes on from where it was.
 */
export class Feed {
  readonly #runtime: Runtime;
  readonly #pool: Pool;
  readonly #options: FeedOptions;
  readonly #emit: (change: Change) => void;
  #client: pg.Client | null = null;
  #cursor: Cursor | null = null;
  #timer: Timer | null = null;
  /** When the timer runs out, monotonic milliseconds. */
  #timerAt = 0;
  #running = false;
  #reading = false;
  /** A wake-up came while it was reading: the next read follows after this, milliseconds. */
  #again = Number.POSITIVE_INFINITY;
  #lastRead = 0;
  /** Rows were held back for so long that they may be cleared away unread. */
  #overdue = false;
  #failures = 0;

  constructor(runtime: Runtime, pool: Pool, options: FeedOptions, emit: (change: Change) => void) {
    this.#runtime = runtime;
    this.#pool = pool;
    this.#options = options;
    this.#emit = emit;
  }

  /** Rejects where the first connection fails; later ones are tried until `stop`. */
  async start(): Promise<void> {
    this.#running = true;
    try {
      await this.#connect();
    } catch (error) {
      this.#running = false;
      throw error;
    }
    void this.#read();
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#timer?.cancel();
    this.#timer = null;
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => undefined);
  }

  /** A change was made here: no need to wait for the NOTIFY. */
  wake(): void {
    this.#wake(COALESCE_MS);
  }

  /** One of which everybody here has heard. */
  wakeOwn(): void {
    this.#wake(OWN_COALESCE_MS);
  }

  #wake(coalesceMs: number): void {
    if (this.#reading) this.#again = Math.min(this.#again, coalesceMs);
    else if (this.#running && this.#client !== null) {
      const wait = Math.max(0, this.#lastRead + coalesceMs - this.#runtime.clock.now());
      if (this.#timer === null || this.#runtime.clock.now() + wait < this.#timerAt) this.#schedule(wait);
    }
  }

  async #connect(): Promise<void> {
    const client = this.#pool.client();
    client.on("error", () => this.#broken(client));
    client.on("end", () => this.#broken(client));
    client.on("notification", ({ payload }) =>
      this.#wake(payload === this.#options.proxy ? OWN_COALESCE_MS : COALESCE_MS),
    );
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      // The read is planned once, when the outbox may be empty, and must not stay a scan of all of it as it grows.
      await client.query("set enable_seqscan = off");
      const { rows } = await client.query<{ xid: string }>(FEED_START.text);
      const start: Cursor = { xid: BigInt(rows[0]?.xid ?? "0"), id: 0n };
      // After a fail-over the new server may be behind what was read from the old one.
      const resumed = this.#cursor;
      this.#cursor = resumed !== null && resumed.xid < start.xid ? resumed : start;
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
    if (!this.#running) {
      await client.end().catch(() => undefined);
      return;
    }
    this.#client = client;
    this.#failures = 0;
    this.#lastRead = this.#runtime.clock.now();
  }

  #broken(client: pg.Client): void {
    if (this.#client !== client) return;
    this.#client = null;
    client.end().catch(() => undefined);
    if (this.#running) this.#reconnectLater();
  }

  #reconnectLater(): void {
    this.#timer?.cancel();
    const wait = RECONNECT_MS[Math.min(this.#failures++, RECONNECT_MS.length - 1)] as number;
    this.#timer = this.#runtime.timers.after(wait, () => {
      this.#timer = null;
      this.#connect().then(
        () => {
          if (this.#client === null) return;
          this.#pool.contact(true, "answers again");
          this.#emit({ kind: "reset" });
          void this.#read();
        },
        (error: unknown) => {
          if (!this.#running) return;
          this.#pool.contact(false, sentence(error));
          this.#reconnectLater();
        },
      );
    });
  }

  #schedule(ms: number): void {
    this.#timer?.cancel();
    this.#timerAt = this.#runtime.clock.now() + ms;
    this.#timer = this.#runtime.timers.after(ms, () => {
      this.#timer = null;
      void this.#read();
    });
  }

  async #read(): Promise<void> {
    const client = this.#client;
    if (client === null || this.#reading) return;
    this.#reading = true;
    this.#again = Number.POSITIVE_INFINITY;
    let rows: FeedRow[];
    try {
      rows = await this.#readOnce(client);
    } catch {
      this.#reading = false;
      this.#broken(client);
      return;
    }
    this.#reading = false;
    if (this.#client !== client) return;
    const slept = this.#runtime.clock.now() - this.#lastRead;
    const overdue = (rows[0]?.held_ms ?? 0) > this.#options.keptMs / 2;
    if (slept > this.#options.keptMs / 2 || (this.#overdue && !overdue)) this.#emit({ kind: "reset" });
    this.#overdue = overdue;
    this.#lastRead = this.#runtime.clock.now();
    const ready = rows.filter((row) => row.xid !== null);
    for (const row of ready) this.#emit(changeOf(row));
    const last = ready.at(-1);
    if (last !== undefined) this.#cursor = { xid: BigInt(last.xid as string), id: BigInt(last.id) };
    if (ready.length >= 1000) this.#schedule(0);
    else
      this.#schedule(Math.min(this.#again, rows[0]?.held === true ? this.#options.heldPollMs : this.#options.pollMs));
  }

  async #readOnce(client: pg.Client): Promise<FeedRow[]> {
    const cursor = this.#cursor ?? { xid: 0n, id: 0n };
    const { name, text } = FEED_READ;
    const result = await client.query<FeedRow>({ name, text, values: [cursor.xid.toString(), cursor.id.toString()] });
    return result.rows;
  }
}
