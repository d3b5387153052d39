import type { Change } from "../directory.ts";
import {
  type BatchHold,
  type BatchOrder,
  type BatchQuery,
  type BatchState,
  type BegunStep,
  type EndedStep,
  MOST_STEPS,
  type MoveBatch,
  type MoveStep,
  type Moves,
  type NewBatch,
  type NewStep,
  ORDERS,
  type Standing,
  type SteerOutcome,
  type StepQuery,
} from "../moves.ts";
import {
  ADD_STEPS,
  BATCH_OF,
  BATCHES,
  type BatchRow,
  batchOf,
  CREATE_BATCH,
  OPEN_STEPS_OF,
  STEER,
  STEPS,
  STEPS_IN,
  STEPS_OPEN,
  STEPS_REFUSED,
  type StepRow,
  stepOf,
} from "./move-batches.ts";
import { FILL_FROM_SERVER, FILL_UNDO } from "./move-fill.ts";
import { BEGIN_STEPS, CLEAR_BATCHES, COMPLETE_BATCH, END_STEPS, PREPARE, RENEW_BATCH, TAKE_BATCH } from "./move-run.ts";
import type { Pool, Verb } from "./pool.ts";

/** The journal of moves on PostgreSQL. */
export class PostgresMoves implements Moves {
  readonly #pool: Pick<Pool, "run">;
  readonly #tell: (changes: readonly Change[]) => void;

  /** @param tell says changes that are written now to whoever listens here, and wakes the readers of the feed. */
  constructor(pool: Pick<Pool, "run">, tell: (changes: readonly Change[]) => void) {
    this.#pool = pool;
    this.#tell = tell;
  }

  async create(batch: NewBatch): Promise<SteerOutcome> {
    const { id, source, rate, makeBeforeBreak, actor } = batch;
    const from = source.kind === "server" ? source.from : null;
    const to = source.kind === "server" ? source.to : null;
    const of = source.kind === "undo" ? source.of : null;
    await this.#pool.run(CREATE_BATCH, [id, source.kind, from, to, of, rate, makeBeforeBreak, actor]);
    const made = await this.batch(id);
    if (made !== null) return { outcome: "done", batch: made };
    const original = of === null ? null : await this.batch(of);
    return original === null ? { outcome: "no-such-batch" } : { outcome: "refused", batch: original };
  }

  async add(id: string, steps: readonly NewStep[]): Promise<SteerOutcome> {
    const rows = await this.#pool.run<BatchRow>(ADD_STEPS, [id, JSON.stringify(steps.slice(0, MOST_STEPS))]);
    return this.#outcome(id, rows[0]);
  }

  async steer(id: string, order: BatchOrder): Promise<SteerOutcome> {
    const { from, to } = ORDERS[order];
    const rows = await this.#pool.run<BatchRow>(STEER, [id, from, to, order === "start"]);
    return this.#outcome(id, rows[0]);
  }

  async #outcome(id: string, row: BatchRow | undefined): Promise<SteerOutcome> {
    if (row !== undefined) return { outcome: "done", batch: batchOf(row) };
    const batch = await this.batch(id);
    return batch === null ? { outcome: "no-such-batch" } : { outcome: "refused", batch };
  }

  async batch(id: string): Promise<MoveBatch | null> {
    const [row] = await this.#pool.run<BatchRow>(BATCH_OF, [id]);
    return row === undefined ? null : batchOf(row);
  }

  async batches(query: BatchQuery): Promise<readonly MoveBatch[]> {
    const values = [query.open === true, query.before ?? null, Math.min(query.limit, MOST_STEPS)];
    return (await this.#pool.run<BatchRow>(BATCHES, values)).map(batchOf);
  }

  async steps(id: string, query: StepQuery): Promise<readonly MoveStep[]> {
    const values: unknown[] = [id, query.after ?? 0, Math.min(query.limit, MOST_STEPS)];
    const { states } = query;
    const verb = verbFor(states);
    if (verb === STEPS_IN) values.push(states);
    return (await this.#pool.run<StepRow>(verb, values)).map(stepOf);
  }

  async openOf(aor: string): Promise<readonly (MoveStep & { readonly batch: string })[]> {
    const rows = await this.#pool.run<StepRow>(OPEN_STEPS_OF, [aor]);
    return rows.map((row) => ({ ...stepOf(row), batch: row.batch }));
  }

  async take(
    owner: string,
    mine: readonly string[],
    leaseMs: number,
  ): Promise<(BatchHold & { batch: MoveBatch }) | null> {
    const [row] = await this.#pool.run<BatchRow>(TAKE_BATCH, [owner, mine, leaseMs]);
    return row === undefined ? null : { id: row.id, owner, fence: row.fence, batch: batchOf(row) };
  }

  renew(hold: BatchHold, leaseMs: number): Promise<Standing> {
    return this.#standing(RENEW_BATCH, hold, leaseMs);
  }

  async release(hold: BatchHold): Promise<void> {
    await this.#standing(RENEW_BATCH, hold, 0);
  }

  async fill(hold: BatchHold, limit: number): Promise<"more" | "filled" | "lost"> {
    const batch = await this.batch(hold.id);
    if (batch === null) return "lost";
    const verb = batch.source.kind === "undo" ? FILL_UNDO : FILL_FROM_SERVER;
    const values = [hold.id, hold.owner, hold.fence, limit];
    const [row] = await this.#pool.run<{ filled: boolean }>(verb, values);
    if (row === undefined) return "lost";
    return row.filled ? "filled" : "more";
  }

  begin(hold: BatchHold, steps: readonly BegunStep[], state: "preparing" | "moving"): Promise<Standing> {
    return this.#standing(BEGIN_STEPS, hold, JSON.stringify(steps), state, positions(steps));
  }

  end(hold: BatchHold, steps: readonly EndedStep[]): Promise<Standing> {
    return this.#standing(END_STEPS, hold, JSON.stringify(steps), positions(steps));
  }

  complete(hold: BatchHold): Promise<Standing> {
    return this.#standing(COMPLETE_BATCH, hold);
  }

  async #standing(verb: Verb, { id, owner, fence }: BatchHold, ...more: readonly unknown[]): Promise<Standing> {
    const [row] = await this.#pool.run<{ state: BatchState }>(verb, [id, owner, fence, ...more]);
    return row?.state ?? "lost";
  }

  async prepare(users: readonly { readonly aor: string; readonly server: string }[], until: number): Promise<void> {
    if (users.length === 0) return;
    await this.#pool.run(PREPARE, [JSON.stringify(users), until]);
    this.#tell(users.map(({ aor, server }) => ({ kind: "preparing", aor, server, until })));
  }

  async clear(olderThanMs: number): Promise<void> {
    await this.#pool.run(CLEAR_BATCHES, [olderThanMs]);
  }
}

function positions(steps: readonly { readonly position: number }[]): number[] {
  return steps.map((step) => step.position);
}

/** Partial indexes are used where the statement itself has their condition. */
function verbFor(states: StepQuery["states"]): Verb {
  if (states === undefined) return STEPS;
  if (states.length === 1 && states[0] === "refused") return STEPS_REFUSED;
  const open = ["waiting", "preparing", "moving"];
  return states.length === open.length && states.every((state) => open.includes(state)) ? STEPS_OPEN : STEPS_IN;
}
