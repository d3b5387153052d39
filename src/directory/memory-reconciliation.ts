import type { MemoryAccess } from "./memory-leases.ts";
import type { Statement } from "./memory-transaction.ts";
import {
  type Finding,
  type FindingQuery,
  MOST_FINDINGS,
  type NewFinding,
  type Reconciliation,
  type SweepState,
} from "./reconciliation.ts";

interface Row extends SweepState {
  readonly leaseUntil: number;
  readonly nextId: number;
}

const TABLE = "reconciler";
const KEY = "only";
const START: Row = {
  owner: null,
  cursor: "",
  checked: 0,
  rounds: 0,
  roundBeganAt: null,
  roundEndedAt: null,
  leaseUntil: 0,
  nextId: 1,
};

/** The twin of `postgres/reconciliation.ts`. */
export class MemoryReconciliation implements Reconciliation {
  readonly #access: MemoryAccess;
  readonly #now: () => number;

  /** @param now milliseconds since 1970. */
  constructor(access: MemoryAccess, now: () => number) {
    this.#access = access;
    this.#now = now;
  }

  take(owner: string, leaseMs: number): Promise<SweepState | null> {
    return this.#access.write(async (s) => {
      const row = (await s.lock<Row>(TABLE, KEY)) ?? START;
      const now = this.#now();
      if (row.owner !== null && row.owner !== owner && row.leaseUntil > now) return null;
      const next = { ...row, owner, leaseUntil: now + leaseMs, roundBeganAt: row.roundBeganAt ?? now };
      s.write(TABLE, KEY, next);
      return toldOf(next);
    });
  }

  advance(owner: string, cursor: string, checked: number): Promise<boolean> {
    return this.#under(owner, (s, row) => s.write(TABLE, KEY, { ...row, cursor, checked: row.checked + checked }));
  }

  endRound(owner: string, keptMs: number): Promise<boolean> {
    return this.#under(owner, (s, row) => {
      const next = { ...row, cursor: "", checked: 0, rounds: row.rounds + 1, roundBeganAt: null };
      s.write(TABLE, KEY, { ...next, roundEndedAt: this.#now() });
      const found = sorted(s.scan<Finding>("findings").map(([, each]) => each));
      const old = found.filter((each, i) => i >= MOST_FINDINGS || each.at < this.#now() - keptMs);
      for (const each of old) s.write("findings", keyOf(each), undefined);
    });
  }

  async release(owner: string): Promise<void> {
    await this.#under(owner, (s, row) => s.write(TABLE, KEY, { ...row, owner: null, leaseUntil: 0 }));
  }

  state(): Promise<SweepState> {
    return this.#access.ask(async (s) => toldOf(s.read<Row>(TABLE, KEY) ?? START));
  }

  async note(finding: NewFinding): Promise<void> {
    await this.#access.write(async (s) => {
      const row = (await s.lock<Row>(TABLE, KEY)) ?? START;
      s.write(TABLE, KEY, { ...row, nextId: row.nextId + 1 });
      await s.lock("findings", keyOf(finding));
      s.write("findings", keyOf(finding), { ...finding, id: String(row.nextId), at: this.#now() } satisfies Finding);
    });
  }

  async settle(aor: string): Promise<void> {
    await this.#access.write(async (s) => {
      for (const kind of ["pinned", "conflict"] as const) {
        await s.lock("findings", keyOf({ aor, kind }));
        s.write("findings", keyOf({ aor, kind }), undefined);
      }
    });
  }

  findings(query: FindingQuery): Promise<readonly Finding[]> {
    return this.#access.ask(async (s) =>
      sorted(s.scan<Finding>("findings").map(([, each]) => each))
        .filter((each) => query.before === undefined || Number(each.id) < Number(query.before))
        .slice(0, Math.min(query.limit, 1000)),
    );
  }

  #under(owner: string, work: (s: Statement, row: Row) => void): Promise<boolean> {
    return this.#access.write(async (s) => {
      const row = await s.lock<Row>(TABLE, KEY);
      if (row === undefined || row.owner !== owner) return false;
      work(s, row);
      return true;
    });
  }
}

function keyOf({ aor, kind }: Pick<Finding, "aor" | "kind">): string {
  return `${kind}/${aor}`;
}

function sorted(found: Finding[]): Finding[] {
  return found.sort((a, b) => Number(b.id) - Number(a.id));
}

function toldOf({ leaseUntil: _lease, nextId: _next, ...told }: Row): SweepState {
  return told;
}
