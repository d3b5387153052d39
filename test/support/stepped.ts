import type pg from "pg";
import { beforeAll } from "vitest";
import { ownDatabase } from "./own-database.ts";

interface Statement {
  readonly text: string;
  readonly values: unknown[];
}

/** One statement of one session, to be stepped: begin, the statement, commit. */
export interface Act extends Statement {
  /** A statement that goes before it in the transaction, and one that follows the commit: a step more each. */
  readonly first?: Statement;
  readonly afterwards?: Statement;
  /** One more in the transaction, made of what the statement has read; null: none after all. Its rows are the act's then. */
  readonly next?: (rows: object[]) => Statement | null;
}

/** Every order of the three steps of A and of B. */
export const ORDERS = orders("", 3, 3);

/** The same of acts that may have more. */
export function ordersOf(a: Act, b: Act): string[] {
  return orders("", stepsOf(a), stepsOf(b));
}

function stepsOf({ first, next, afterwards }: Act): number {
  return 3 + [first, next, afterwards].filter((each) => each !== undefined).length;
}

function orders(left: string, a: number, b: number): string[] {
  if (a === 0 && b === 0) return [left];
  return [...(a > 0 ? orders(`${left}A`, a - 1, b) : []), ...(b > 0 ? orders(`${left}B`, a, b - 1) : [])];
}

/** In a statement of which `gated` made this, the way past its snapshot; see there. */
const GATE = 7_310_868_735_077n;

/**
 * The same statement, stopped between its snapshot and its locks for as long as somebody else holds the gate: what a
 * statement that never waits does when the machine takes its time. `before` stands in the condition that is looked at
 * first.
 */
export function gated(text: string, before: string): string {
  if (text.split(before).length !== 2) throw new Error(`"${before}" does not stand in the statement once.`);
  return text.replace(before, `(select pg_advisory_xact_lock_shared(${GATE}))::text is not null and ${before}`);
}

class Session {
  readonly #client: pg.Client;
  readonly #watch: pg.Client;
  readonly #pid: number;
  readonly #steps: Array<() => Promise<unknown>>;
  #pending: Promise<void> | null = null;
  #done = false;
  #failure: unknown = null;
  rows: object[] = [];

  constructor(client: pg.Client, watch: pg.Client, act: Act) {
    this.#client = client;
    this.#watch = watch;
    this.#pid = (client as unknown as { processID: number }).processID;
    this.#steps = [
      () => this.#client.query("begin"),
      ...this.#step(act.first),
      async () => {
        this.rows = (await this.#client.query(act.text, act.values)).rows;
      },
      ...(act.next === undefined ? [] : [() => this.#run(act.next!(this.rows))]),
      () => this.#client.query("commit"),
      ...this.#step(act.afterwards),
    ];
  }

  async #run(statement: Statement | null): Promise<void> {
    if (statement !== null) this.rows = (await this.#client.query(statement.text, statement.values)).rows;
  }

  #step(statement: Statement | undefined): Array<() => Promise<unknown>> {
    return statement === undefined ? [] : [() => this.#client.query(statement.text, statement.values)];
  }

  /** False: it still waits, the step is not taken. */
  async step(): Promise<boolean> {
    if (this.#pending !== null && !(await this.#settled())) return false;
    const next = this.#steps.shift();
    if (next === undefined || this.#failure !== null) return true;
    this.#done = false;
    this.#pending = next()
      .catch((error: unknown) => {
        this.#failure = error;
      })
      .then(() => {
        this.#done = true;
      });
    await this.#settled();
    return true;
  }

  /** Rejects where a statement has failed; the transaction is rolled back then. */
  async finish(): Promise<void> {
    await this.#pending;
    while (this.#steps.length > 0 && this.#failure === null) {
      await this.step();
      await this.#pending;
    }
    if (this.#failure === null) return;
    await this.#client.query("rollback");
    throw this.#failure;
  }

  /** Whether the pending step is over; false once the server says that it waits for a lock. */
  async #settled(): Promise<boolean> {
    for (;;) {
      if (this.#done) return true;
      const { rows } = await this.#watch.query("select cardinality(pg_blocking_pids($1)) > 0 as waits", [this.#pid]);
      if (this.#done) return true;
      if (rows[0].waits === true) return false;
    }
  }
}

/** Two sessions on a database of one's own for the tests of one file, and a third that looks on. */
export class TwoSessions {
  #one!: pg.Client;
  #two!: pg.Client;
  #watch!: pg.Client;

  constructor() {
    const database = ownDatabase();
    beforeAll(async () => {
      [this.#one, this.#two, this.#watch] = await Promise.all([
        database.connect(),
        database.connect(),
        database.connect(),
      ]);
    });
  }

  /** What the one that looks on is asked or made to do, beside the race. */
  query<R extends pg.QueryResultRow = pg.QueryResultRow>(text: string, values?: unknown[]): Promise<pg.QueryResult<R>> {
    return this.#watch.query<R>(text, values);
  }

  /** Plays A and B in this order; a step that waits for the other's lock is taken as soon as it can be. Their rows. */
  async play(order: string, a: Act, b: Act): Promise<{ a: object[]; b: object[] }> {
    const sessions = { A: new Session(this.#one, this.#watch, a), B: new Session(this.#two, this.#watch, b) };
    const late: Array<"A" | "B"> = [];
    for (const name of order as Iterable<"A" | "B">) if (!(await sessions[name].step())) late.push(name);
    // Whoever does not wait ends first, and so frees the other.
    const last = late[0] ?? "A";
    const failures: unknown[] = [];
    for (const name of [last === "A" ? "B" : "A", last] as const)
      await sessions[name].finish().catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
    return { a: sessions.A.rows, b: sessions.B.rows };
  }

  /** A, which must be gated, takes its snapshot; then B runs from begin to commit; then A goes on. */
  async between(a: Act, b: Act): Promise<{ a: object[]; b: object[] }> {
    const sessions = { A: new Session(this.#one, this.#watch, a), B: new Session(this.#two, this.#watch, b) };
    await this.#watch.query("select pg_advisory_lock($1)", [GATE]);
    try {
      await sessions.A.step();
      await sessions.A.step();
      await sessions.B.finish();
    } finally {
      await this.#watch.query("select pg_advisory_unlock($1)", [GATE]);
    }
    await sessions.A.finish();
    return { a: sessions.A.rows, b: sessions.B.rows };
  }
}
