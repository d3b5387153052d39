import {
  type Finding,
  type FindingQuery,
  MOST_FINDINGS,
  type NewFinding,
  type Reconciliation,
  type SweepState,
} from "../reconciliation.ts";
import type { Pool } from "./pool.ts";
import {
  ADVANCE_SWEEP,
  END_ROUND,
  FINDINGS,
  NOTE_FINDING,
  RELEASE_SWEEP,
  SETTLE_FINDINGS,
  SWEEP_STATE,
  type SweepRow,
  TAKE_SWEEP,
} from "./reconciler.ts";

/** What the sweep keeps, on PostgreSQL. */
export class PostgresReconciliation implements Reconciliation {
  readonly #pool: Pick<Pool, "run">;

  constructor(pool: Pick<Pool, "run">) {
    this.#pool = pool;
  }

  async take(owner: string, leaseMs: number): Promise<SweepState | null> {
    const [row] = await this.#pool.run<SweepRow>(TAKE_SWEEP, [owner, leaseMs]);
    return row === undefined ? null : stateOf(row);
  }

  async advance(owner: string, cursor: string, checked: number): Promise<boolean> {
    return (await this.#pool.run(ADVANCE_SWEEP, [owner, cursor, checked])).length > 0;
  }

  async endRound(owner: string, keptMs: number): Promise<boolean> {
    return (await this.#pool.run(END_ROUND, [owner, keptMs, MOST_FINDINGS])).length > 0;
  }

  async release(owner: string): Promise<void> {
    await this.#pool.run(RELEASE_SWEEP, [owner]);
  }

  async state(): Promise<SweepState> {
    const [row] = await this.#pool.run<SweepRow>(SWEEP_STATE, []);
    return stateOf(row as SweepRow);
  }

  async note({ aor, kind, server, epoch, detail }: NewFinding): Promise<void> {
    await this.#pool.run(NOTE_FINDING, [aor, kind, server, epoch, detail]);
  }

  async settle(aor: string): Promise<void> {
    await this.#pool.run(SETTLE_FINDINGS, [aor]);
  }

  async findings(query: FindingQuery): Promise<readonly Finding[]> {
    const values = [query.before ?? null, Math.min(query.limit, 1000)];
    const rows = await this.#pool.run<Finding>(FINDINGS, values);
    return rows.map((row) => ({ ...row, at: Math.round(row.at) }));
  }
}

function stateOf({ owner, cursor, checked, rounds, began, ended }: SweepRow): SweepState {
  return { owner, cursor, checked, rounds, roundBeganAt: moment(began), roundEndedAt: moment(ended) };
}

function moment(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
}
