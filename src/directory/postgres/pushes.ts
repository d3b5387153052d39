import {
  MOST_PUSHES,
  type Push,
  type PushCount,
  type PushEnd,
  type Pushes,
  type PushQuery,
  type PushRow,
} from "../pushes.ts";
import type { Pool } from "./pool.ts";
import {
  END_FAILED,
  END_PUSHED,
  END_REMOVED,
  PUSH_COUNTS,
  PUSHES,
  type StoredPush,
  takePushes,
  WANT_PUSHES,
} from "./push-verbs.ts";

/** Rules on their way to servers, on PostgreSQL. */
export class PostgresPushes implements Pushes {
  readonly #pool: Pick<Pool, "run">;

  constructor(pool: Pick<Pool, "run">) {
    this.#pool = pool;
  }

  async want(aor: string, servers: readonly string[], wanted: string, again = false): Promise<void> {
    await this.#pool.run(WANT_PUSHES, [aor, servers, wanted, again]);
  }

  async take(limit: number, leaseMs: number): Promise<readonly Push[]> {
    return this.#pool.run<Push>(takePushes(Math.max(1, Math.min(Math.trunc(limit), MOST_PUSHES))), [leaseMs]);
  }

  async end({ aor, server, wanted, fence }: Push, end: PushEnd): Promise<void> {
    const key = [aor, server, wanted, fence];
    if (end.end === "removed") await this.#pool.run(END_REMOVED, key);
    else if (end.end === "pushed") await this.#pool.run(END_PUSHED, [...key, JSON.stringify(end.reductions)]);
    else await this.#pool.run(END_FAILED, [...key, end.error, end.retryMs]);
  }

  async list({ aor, server, state, reduced, after, limit }: PushQuery): Promise<readonly PushRow[]> {
    const rows = await this.#pool.run<StoredPush>(PUSHES, [
      aor ?? null,
      server ?? null,
      state ?? null,
      reduced === true,
      after?.aor ?? "",
      after?.server ?? "",
      Math.min(limit, MOST_PUSHES),
    ]);
    return rows.map(({ due, changed, ...row }) => ({
      ...row,
      dueAt: due === null ? null : Math.round(due),
      changedAt: Math.round(changed),
    }));
  }

  async counts(): Promise<readonly PushCount[]> {
    return this.#pool.run<PushCount>(PUSH_COUNTS, []);
  }
}
