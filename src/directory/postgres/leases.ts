import type { Runtime } from "../../runtime/runtime.ts";
import type { Leases } from "../leases.ts";
import { CLOSE_LEASE, END_LAPSED } from "./end-leases.ts";
import { OPEN_LEASE } from "./open-lease.ts";
import type { Pool, Verb } from "./pool.ts";
import { RENEW_LEASE } from "./renew-lease.ts";

const CONTACT_OF: Verb = {
  name: "contact-of",
  text: "select contact from codomain.proxies where owner = $1 and not over and lease_until > clock_timestamp()",
};

/** Leases on PostgreSQL. States of one: *running*, renewed now and then; *lapsed*, may yet be renewed; *over*, for good. */
export class PostgresLeases implements Leases {
  readonly #runtime: Runtime;
  readonly #pool: Pool;
  readonly #proxy: string;

  constructor(runtime: Runtime, pool: Pool, proxy: string) {
    this.#runtime = runtime;
    this.#pool = pool;
    this.#proxy = proxy;
  }

  async open(contact: string, leaseMs: number): Promise<string> {
    const owner = `${this.#proxy}-${this.#runtime.random.token(12)}`;
    await this.#pool.run(OPEN_LEASE, [owner, contact, leaseMs]);
    return owner;
  }

  async renew(owner: string, leaseMs: number): Promise<"renewed" | "over"> {
    const rows = await this.#pool.run(RENEW_LEASE, [owner, leaseMs]);
    return rows.length > 0 ? "renewed" : "over";
  }

  async close(owner: string): Promise<void> {
    await this.#pool.run(CLOSE_LEASE, [owner]);
  }

  async endLapsed(): Promise<readonly string[]> {
    return (await this.#pool.run<{ owner: string }>(END_LAPSED, [])).map((row) => row.owner);
  }

  async contactOf(owner: string): Promise<string | null> {
    const [row] = await this.#pool.run<{ contact: string }>(CONTACT_OF, [owner]);
    return row?.contact ?? null;
  }
}
