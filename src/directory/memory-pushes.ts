import type { MemoryAccess } from "./memory-leases.ts";
import {
  MOST_PUSHES,
  type Push,
  type PushCount,
  type PushEnd,
  type Pushes,
  type PushQuery,
  type PushRow,
} from "./pushes.ts";

const TABLE = "pushes";

interface Row extends PushRow {
  readonly fence: number;
  readonly takenUntil: number | null;
}

/** The twin of `postgres/pushes.ts`. */
export class MemoryPushes implements Pushes {
  readonly #access: MemoryAccess;
  readonly #now: () => number;

  /** @param now milliseconds since 1970. */
  constructor(access: MemoryAccess, now: () => number) {
    this.#access = access;
    this.#now = now;
  }

  async want(aor: string, servers: readonly string[], wanted: string, again = false): Promise<void> {
    await this.#access.write(async (s) => {
      const kept = s.scan<Row>(TABLE).flatMap(([, row]) => (row.aor === aor ? [row.server] : []));
      for (const server of [...new Set([...kept, ...servers])].sort()) {
        const key = keyOf({ aor, server });
        const row = await s.lock<Row>(TABLE, key);
        if (row === undefined && !servers.includes(server)) continue;
        if (row === undefined && wanted === "") continue;
        if (row !== undefined && row.wanted === wanted && !again) continue;
        const now = this.#now();
        s.write(TABLE, key, {
          aor,
          server,
          wanted,
          pushed: row?.pushed ?? null,
          tries: 0,
          state: "waiting",
          reductions: row?.reductions ?? [],
          error: row?.error ?? null,
          dueAt: now,
          changedAt: now,
          fence: row?.fence ?? 0,
          takenUntil: row?.takenUntil ?? null,
        } satisfies Row);
      }
    });
  }

  take(limit: number, leaseMs: number): Promise<readonly Push[]> {
    return this.#access.write(async (s) => {
      const now = this.#now();
      const due = s
        .scan<Row>(TABLE)
        .filter(([, row]) => isDue(row, now))
        .sort(([, a], [, b]) => a.dueAt! - b.dueAt!);
      const taken: Push[] = [];
      for (const [key] of due.slice(0, limit)) {
        const row = s.tryLock<Row>(TABLE, key);
        if (row === undefined || !isDue(row, now)) continue;
        const next = { ...row, tries: row.tries + 1, fence: row.fence + 1, takenUntil: now + leaseMs };
        s.write(TABLE, key, next satisfies Row);
        taken.push(pushOf(next));
      }
      return taken;
    });
  }

  async end(push: Push, end: PushEnd): Promise<void> {
    await this.#access.write(async (s) => {
      const key = keyOf(push);
      const taken = await s.lock<Row>(TABLE, key);
      if (taken === undefined || taken.fence !== push.fence || taken.takenUntil === null) return;
      const row = { ...taken, takenUntil: null };
      const same = row.wanted === push.wanted;
      const now = this.#now();
      if (end.end === "removed") {
        if (same) s.write(TABLE, key, undefined);
        else s.write(TABLE, key, { ...row, pushed: null, dueAt: now } satisfies Row);
      } else if (end.end === "pushed") {
        const { reductions } = end;
        const done = { state: "pushed", error: null, dueAt: null } as const;
        const next = { ...row, pushed: push.wanted, reductions, changedAt: now };
        s.write(TABLE, key, (same ? { ...next, ...done } : { ...next, dueAt: now }) satisfies Row);
      } else {
        const failed = { state: "failed", error: end.error, dueAt: now + end.retryMs } as const;
        s.write(TABLE, key, (same ? { ...row, ...failed } : { ...row, dueAt: now }) satisfies Row);
      }
    });
  }

  list({ aor, server, state, reduced, after, limit }: PushQuery): Promise<readonly PushRow[]> {
    return this.#access.ask(async (s) =>
      s
        .scan<Row>(TABLE)
        .map(([, { fence: _fence, takenUntil: _until, ...row }]): PushRow => row)
        .filter((row) => aor === undefined || row.aor === aor)
        .filter((row) => server === undefined || row.server === server)
        .filter((row) => state === undefined || row.state === state)
        .filter((row) => reduced !== true || row.reductions.length > 0)
        .sort((a, b) => compare(a.aor, b.aor) || compare(a.server, b.server))
        .filter((row) => {
          if (after === undefined) return true;
          return (compare(row.aor, after.aor) || compare(row.server, after.server)) > 0;
        })
        .slice(0, Math.min(limit, MOST_PUSHES)),
    );
  }

  counts(): Promise<readonly PushCount[]> {
    return this.#access.ask(async (s) => {
      const counts = new Map<string, PushCount>();
      for (const [, { server, state, reductions }] of s.scan<Row>(TABLE)) {
        const { count, reduced } = counts.get(`${server} ${state}`) ?? { count: 0, reduced: 0 };
        counts.set(`${server} ${state}`, {
          server,
          state,
          count: count + 1,
          reduced: reduced + (reductions.length > 0 ? 1 : 0),
        });
      }
      return [...counts.values()].sort((a, b) => compare(a.server, b.server) || compare(a.state, b.state));
    });
  }
}

function isDue({ dueAt, takenUntil }: Row, now: number): boolean {
  return dueAt !== null && dueAt <= now && (takenUntil === null || takenUntil <= now);
}

function pushOf({ aor, server, wanted, pushed, tries, fence }: Row): Push {
  return { aor, server, wanted, pushed, tries, fence };
}

function keyOf({ aor, server }: { readonly aor: string; readonly server: string }): string {
  return `${server} ${aor}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
