import type { Change } from "./directory.ts";
import { currentBinding, type Slot } from "./judge.ts";
import type { MemoryAccess } from "./memory-leases.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { Statement } from "./memory-transaction.ts";
import {
  type BatchHold,
  type BatchOrder,
  type BatchQuery,
  type BegunStep,
  type EndedStep,
  MOST_STEPS,
  type MoveBatch,
  type MoveStep,
  type Moves,
  type NewBatch,
  type NewStep,
  OPEN_STEPS,
  ORDERS,
  type Standing,
  type SteerOutcome,
  type StepQuery,
} from "./moves.ts";

interface BatchRow extends MoveBatch {
  readonly fence: number;
  readonly leaseUntil: number;
  /** As far as the source has been read. */
  readonly filledTo: string;
  /** In the order of making. */
  readonly serial: number;
}

interface StepRow extends MoveStep {
  readonly batch: string;
}

/** The journal of moves over the simulated database. */
export class MemoryMoves implements Moves {
  readonly #store: MemoryStore;
  readonly #desk: MemoryAccess;
  readonly #emit: (change: Change) => void;

  constructor(store: MemoryStore, desk: MemoryAccess, emit: (change: Change) => void) {
    this.#store = store;
    this.#desk = desk;
    this.#emit = emit;
  }

  create(batch: NewBatch): Promise<SteerOutcome> {
    return this.#desk.write(async (s) => {
      const there = await s.lock<BatchRow>("move_batches", batch.id);
      if (there !== undefined) return { outcome: "done", batch: toldOf(there) };
      const { source } = batch;
      if (source.kind === "undo") {
        const undone = await s.lock<BatchRow>("move_batches", source.of);
        if (undone === undefined) return { outcome: "no-such-batch" };
        if (undone.state === "running" || undone.state === "filling")
          return { outcome: "refused", batch: toldOf(undone) };
      }
      const row: BatchRow = {
        ...batch,
        state: source.kind === "list" ? "filling" : "running",
        createdAt: this.#now(),
        endedAt: null,
        filled: false,
        total: 0,
        moved: 0,
        refused: 0,
        undone: 0,
        owner: null,
        fence: 0,
        leaseUntil: 0,
        filledTo: "",
        serial: s.scan("move_batches").length,
      };
      s.write("move_batches", batch.id, row);
      return { outcome: "done", batch: toldOf(row) };
    });
  }

  add(id: string, steps: readonly NewStep[]): Promise<SteerOutcome> {
    return this.#desk.write(async (s) => {
      const row = await s.lock<BatchRow>("move_batches", id);
      if (row === undefined) return { outcome: "no-such-batch" };
      if (row.state !== "filling") return { outcome: "refused", batch: toldOf(row) };
      let { total } = row;
      for (const step of steps.slice(0, MOST_STEPS)) {
        const key = keyOf(id, step.position);
        if ((await s.lock<StepRow>("move_steps", key)) !== undefined) continue;
        s.write("move_steps", key, newStep(id, step, null));
        total++;
      }
      const next = { ...row, total };
      s.write("move_batches", id, next);
      return { outcome: "done", batch: toldOf(next) };
    });
  }

  steer(id: string, order: BatchOrder): Promise<SteerOutcome> {
    return this.#desk.write(async (s) => {
      const row = await s.lock<BatchRow>("move_batches", id);
      if (row === undefined) return { outcome: "no-such-batch" };
      const { from, to } = ORDERS[order];
      if (!from.includes(row.state)) return { outcome: "refused", batch: toldOf(row) };
      const endedAt = to === "cancelled" ? (row.endedAt ?? this.#now()) : null;
      const next = { ...row, state: to, endedAt, filled: row.filled || order === "start" };
      s.write("move_batches", id, next);
      return { outcome: "done", batch: toldOf(next) };
    });
  }

  batch(id: string): Promise<MoveBatch | null> {
    return this.#desk.ask(async (s) => {
      const row = s.read<BatchRow>("move_batches", id);
      return row === undefined ? null : toldOf(row);
    });
  }

  batches(query: BatchQuery): Promise<readonly MoveBatch[]> {
    return this.#desk.ask(async (s) => {
      const before = query.before === undefined ? undefined : s.read<BatchRow>("move_batches", query.before);
      return s
        .scan<BatchRow>("move_batches")
        .map(([, row]) => row)
        .filter((row) => query.open !== true || row.endedAt === null)
        .filter((row) => query.before === undefined || row.serial < (before?.serial ?? 0))
        .sort((a, b) => b.serial - a.serial)
        .slice(0, Math.min(query.limit, MOST_STEPS))
        .map(toldOf);
    });
  }

  steps(id: string, query: StepQuery): Promise<readonly MoveStep[]> {
    return this.#desk.ask(async (s) =>
      stepsOf(s, id)
        .filter((step) => query.states === undefined || query.states.includes(step.state))
        .filter((step) => step.position > (query.after ?? 0))
        .slice(0, Math.min(query.limit, MOST_STEPS))
        .map(toldStep),
    );
  }

  openOf(aor: string): Promise<readonly (MoveStep & { readonly batch: string })[]> {
    return this.#desk.ask(async (s) =>
      s
        .scan<StepRow>("move_steps")
        .map(([, step]) => step)
        .filter((step) => step.aor === aor && OPEN_STEPS.includes(step.state))
        .filter((step) => ["running", "paused"].includes(s.read<BatchRow>("move_batches", step.batch)?.state ?? ""))
        .slice(0, 100),
    );
  }

  take(owner: string, mine: readonly string[], leaseMs: number): Promise<(BatchHold & { batch: MoveBatch }) | null> {
    return this.#desk.write(async (s) => {
      const free = (row: BatchRow): boolean =>
        row.state === "running" &&
        !mine.includes(row.id) &&
        (row.owner === null || row.owner === owner || row.leaseUntil <= this.#now());
      const found = s.scan<BatchRow>("move_batches").map(([, row]) => row);
      for (const each of found.filter(free).sort((a, b) => a.serial - b.serial)) {
        const row = await s.lock<BatchRow>("move_batches", each.id);
        if (row === undefined || !free(row)) continue;
        const next: BatchRow = { ...row, owner, fence: row.fence + 1, leaseUntil: this.#now() + leaseMs };
        s.write("move_batches", row.id, next);
        return { id: row.id, owner, fence: next.fence, batch: toldOf(next) };
      }
      return null;
    });
  }

  renew(hold: BatchHold, leaseMs: number): Promise<Standing> {
    return this.#under(hold, async (s, row) => {
      s.write("move_batches", row.id, { ...row, leaseUntil: this.#now() + leaseMs });
      return row.state;
    });
  }

  async release(hold: BatchHold): Promise<void> {
    await this.#under(hold, async (s, row) => {
      s.write("move_batches", row.id, { ...row, leaseUntil: 0 });
      return row.state;
    });
  }

  fill(hold: BatchHold, limit: number): Promise<"more" | "filled" | "lost"> {
    return this.#desk.write(async (s) => {
      const row = await this.#held(s, hold);
      if (row === null) return "lost";
      if (row.filled) return "filled";
      const found = this.#next(s, row, limit);
      for (const step of found) s.write("move_steps", keyOf(row.id, step.position), step);
      const last = found.at(-1);
      const filledTo = last === undefined ? row.filledTo : row.source.kind === "undo" ? `${last.position}` : last.aor;
      const filled = found.length < limit;
      s.write("move_batches", row.id, { ...row, total: row.total + found.length, filledTo, filled });
      return filled ? "filled" : "more";
    });
  }

  #next(s: Statement, row: BatchRow, limit: number): StepRow[] {
    const { source, total, id } = row;
    if (source.kind === "list") return [];
    if (source.kind === "undo") {
      return stepsOf(s, source.of)
        .filter((step) => step.state === "moved" && step.position > Number(row.filledTo || "0"))
        .slice(0, limit)
        .map(({ position, aor, from, to, epoch }) => newStep(id, { position, aor, from: to, to: from ?? to }, epoch));
    }
    return s
      .scan<Slot>("slots")
      .filter(([aor, slot]) => currentBinding(aor, slot, this.#now()).binding?.server === source.from)
      .map(([aor]) => aor)
      .filter((aor) => aor > row.filledTo)
      .sort((a, b) => (a < b ? -1 : 1))
      .slice(0, limit)
      .map((aor, i) => newStep(id, { position: total + i + 1, aor, from: source.from, to: source.to }, null));
  }

  begin(hold: BatchHold, steps: readonly BegunStep[], state: "preparing" | "moving"): Promise<Standing> {
    return this.#under(hold, async (s, row) => {
      for (const { position, from, epoch } of steps) {
        const key = keyOf(row.id, position);
        const step = await s.lock<StepRow>("move_steps", key);
        if (step === undefined || !OPEN_STEPS.includes(step.state)) continue;
        s.write("move_steps", key, { ...step, state, from, epochBefore: epoch, begunAt: this.#now() });
      }
      return row.state;
    });
  }

  end(hold: BatchHold, steps: readonly EndedStep[]): Promise<Standing> {
    return this.#under(hold, async (s, row) => {
      let { moved, refused } = row;
      let reversed = 0;
      for (const { position, ...end } of steps) {
        const key = keyOf(row.id, position);
        const step = await s.lock<StepRow>("move_steps", key);
        if (step === undefined || !OPEN_STEPS.includes(step.state)) continue;
        s.write("move_steps", key, { ...step, ...end, endedAt: this.#now() });
        if (end.state === "refused") refused++;
        else {
          moved++;
          if (row.source.kind === "undo" && (await this.#undo(s, row.source.of, position))) reversed++;
        }
      }
      s.write("move_batches", row.id, { ...row, moved, refused });
      if (row.source.kind === "undo" && reversed > 0) {
        const original = await s.lock<BatchRow>("move_batches", row.source.of);
        if (original !== undefined)
          s.write("move_batches", original.id, { ...original, undone: original.undone + reversed });
      }
      return row.state;
    });
  }

  async #undo(s: Statement, of: string, position: number): Promise<boolean> {
    const key = keyOf(of, position);
    const step = await s.lock<StepRow>("move_steps", key);
    if (step === undefined || step.state !== "moved") return false;
    s.write("move_steps", key, { ...step, state: "undone" });
    return true;
  }

  complete(hold: BatchHold): Promise<Standing> {
    return this.#under(hold, async (s, row) => {
      if (row.state !== "running" || !row.filled) return row.state;
      if (stepsOf(s, row.id).some((step) => OPEN_STEPS.includes(step.state))) return row.state;
      s.write("move_batches", row.id, { ...row, state: "done", endedAt: this.#now() });
      return "done";
    });
  }

  async prepare(users: readonly { readonly aor: string; readonly server: string }[], until: number): Promise<void> {
    const changes = users.map(({ aor, server }): Change => ({ kind: "preparing", aor, server, until }));
    await this.#desk.write(async (s) => {
      for (const change of changes) s.tell(change);
    });
    for (const change of changes) this.#emit(change);
  }

  clear(olderThanMs: number): Promise<void> {
    return this.#desk.write(async (s) => {
      const limit = this.#now() - olderThanMs;
      for (const [id, row] of s.scan<BatchRow>("move_batches")) {
        const over = row.endedAt ?? (row.state === "filling" ? row.createdAt : null);
        if (over === null || over > limit) continue;
        for (const step of stepsOf(s, id)) s.write("move_steps", keyOf(id, step.position), undefined);
        s.write("move_batches", id, undefined);
      }
    });
  }

  async #held(s: Statement, hold: BatchHold): Promise<BatchRow | null> {
    const row = await s.lock<BatchRow>("move_batches", hold.id);
    return row === undefined || row.owner !== hold.owner || row.fence !== hold.fence ? null : row;
  }

  #under(hold: BatchHold, work: (s: Statement, row: BatchRow) => Promise<Standing>): Promise<Standing> {
    return this.#desk.write(async (s) => {
      const row = await this.#held(s, hold);
      return row === null ? "lost" : work(s, row);
    });
  }

  #now(): number {
    return this.#store.runtime.clock.wall();
  }
}

function keyOf(batch: string, position: number): string {
  return `${batch}/${position}`;
}

function stepsOf(s: Statement, batch: string): StepRow[] {
  const rows = s.scan<StepRow>("move_steps").map(([, step]) => step);
  return rows.filter((step) => step.batch === batch).sort((a, b) => a.position - b.position);
}

function newStep(batch: string, step: NewStep, onlyEpoch: number | null): StepRow {
  const { position, aor, from, to } = step;
  const open = {
    state: "waiting",
    epochBefore: null,
    epoch: null,
    reason: null,
    begunAt: null,
    endedAt: null,
  } as const;
  return { batch, position, aor, from, to, onlyEpoch, ...open };
}

function toldOf(row: BatchRow): MoveBatch {
  const { fence: _fence, leaseUntil: _lease, filledTo: _to, serial: _serial, ...told } = row;
  return told;
}

function toldStep({ batch: _batch, ...step }: StepRow): MoveStep {
  return step;
}
