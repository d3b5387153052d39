import type { ClaimOutcome } from "../directory.ts";
import { GroupCommit } from "../group-commit.ts";
import type { ClaimAsk } from "../judge.ts";
import { askOfClaim, CLAIM, type ClaimRow, outcomeOfClaim } from "./claim.ts";
import { CLAIM_FREE, type FreeRow, mayBeFree, outcomeOfFree, valuesOfFree } from "./claim-free.ts";
import { isConnectionFailure, type Pool } from "./pool.ts";

/** `tell`: others must hear of it. */
export interface Judged {
  readonly outcome: ClaimOutcome;
  readonly tell: boolean;
  /** Messages are stored for him. */
  readonly stored: boolean;
}

export interface ClaimsOptions {
  /** In one statement at most. */
  readonly batch: number;
  readonly maxWaiting: number;
  readonly soon: (run: () => void) => void;
  /** Servers that are evicted durably. */
  readonly evicted: () => readonly string[];
}

/** Claims in group commit: tried as what nobody contests, and judged by the whole statement where that is not so. */
export class PostgresClaims {
  readonly #pool: Pool;
  readonly #evicted: () => readonly string[];
  readonly #tried: GroupCommit<ClaimAsk, Judged | null>;
  readonly #contested: GroupCommit<ClaimAsk, Judged | null>;

  constructor(pool: Pool, { batch, maxWaiting, soon, evicted }: ClaimsOptions) {
    this.#pool = pool;
    this.#evicted = evicted;
    const options = {
      key: (ask: ClaimAsk) => ask.aor,
      maxBatch: batch,
      lanes: 2,
      maxWaiting,
      splits: (error: unknown) => !isConnectionFailure((error as Error).cause),
      soon,
    };
    this.#tried = new GroupCommit({ ...options, run: (asks) => this.#try(asks) });
    this.#contested = new GroupCommit({ ...options, run: (asks) => this.judge(asks) });
  }

  /** Null: it is `unread`, and he has a record. */
  submit(ask: ClaimAsk): Promise<Judged | null> {
    return this.#tried.submit(ask);
  }

  /** All in one statement. @param batch sorted by AoR, each of them once. */
  async judge(batch: readonly ClaimAsk[]): Promise<Array<Judged | null>> {
    const rows = await this.#pool.run<ClaimRow>(CLAIM, [JSON.stringify(batch.map(askOfClaim)), this.#evicted()]);
    const byAor = new Map(rows.map((row) => [row.aor, row]));
    return batch.map((ask) => {
      const row = byAor.get(ask.aor);
      if (row === undefined) return null;
      const tell = row.verdict === "bound" || row.verdict === "told";
      return { outcome: outcomeOfClaim(row), tell, stored: row.stored };
    });
  }

  async #try(batch: readonly ClaimAsk[]): Promise<Array<Judged | Promise<Judged | null>>> {
    const tried = batch.filter(mayBeFree);
    const rows = tried.length === 0 ? [] : await this.#pool.run<FreeRow>(CLAIM_FREE, valuesOfFree(tried));
    const byAor = new Map(rows.map((row) => [row.aor, row]));
    return batch.map((ask) => {
      const row = byAor.get(ask.aor);
      if (row === undefined) return this.#contested.submit(ask);
      return { outcome: outcomeOfFree(ask, row), tell: row.verdict === "bound", stored: row.stored };
    });
  }
}
