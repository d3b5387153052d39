import type { BatchSource, BatchState, MoveBatch, MoveStep, StepState } from "../moves.ts";
import type { Verb } from "./pool.ts";

/** The journal of moves, as those see it who make batches and read them. */

/** The columns of a batch, of the table as it is called in the statement. */
export function batchColumns(b: string): string {
  return `${b}.id, ${b}.serial::text as serial, ${b}.kind, ${b}.from_server, ${b}.to_server, ${b}.undo_of, ${b}.state,
  ${b}.rate, ${b}.make_before_break, ${b}.actor, extract(epoch from ${b}.created_at)::float8 * 1000 as created,
  extract(epoch from ${b}.ended_at)::float8 * 1000 as ended, ${b}.filled, ${b}.total, ${b}.moved, ${b}.refused,
  ${b}.undone, ${b}.owner, ${b}.fence::float8 as fence`;
}

const STEP = `s.batch, s.position, s.aor, s.from_server, s.to_server, s.only_epoch::float8 as only_epoch, s.state,
  s.epoch_before::float8 as epoch_before, s.epoch::float8 as epoch, s.reason,
  extract(epoch from s.begun_at)::float8 * 1000 as begun, extract(epoch from s.ended_at)::float8 * 1000 as ended`;

export interface BatchRow {
  readonly id: string;
  readonly serial: string;
  readonly kind: BatchSource["kind"];
  readonly from_server: string | null;
  readonly to_server: string | null;
  readonly undo_of: string | null;
  readonly state: BatchState;
  readonly rate: number;
  readonly make_before_break: boolean;
  readonly actor: string;
  readonly created: number;
  readonly ended: number | null;
  readonly filled: boolean;
  readonly total: number;
  readonly moved: number;
  readonly refused: number;
  readonly undone: number;
  readonly owner: string | null;
  readonly fence: number;
}

export interface StepRow {
  readonly batch: string;
  readonly position: number;
  readonly aor: string;
  readonly from_server: string | null;
  readonly to_server: string;
  readonly only_epoch: number | null;
  readonly state: StepState;
  readonly epoch_before: number | null;
  readonly epoch: number | null;
  readonly reason: string | null;
  readonly begun: number | null;
  readonly ended: number | null;
}

/** Nothing comes back where the batch to be undone is missing, or is still worked on. */
export const CREATE_BATCH: Verb = {
  name: "create-batch",
  text: `
insert into codomain.move_batches
  (id, kind, from_server, to_server, undo_of, state, rate, make_before_break, actor)
select $1, $2::text, $3, $4, $5, case when $2::text = 'list' then 'filling' else 'running' end, $6, $7, $8
where $2::text <> 'undo'
  or exists (select from codomain.move_batches o where o.id = $5 and o.state in ('paused', 'cancelled', 'done'))
on conflict (id) do nothing`,
};

export const BATCH_OF: Verb = {
  name: "batch-of",
  text: `select ${batchColumns("b")} from codomain.move_batches b where b.id = $1`,
};

/** Locks the batch, so that steps are never added to one that was started meanwhile. */
export const ADD_STEPS: Verb = {
  name: "add-steps",
  text: `
with filling as materialized (
  select id from codomain.move_batches where id = $1 and state = 'filling' for update
),
added as (
  insert into codomain.move_steps (batch, position, aor, from_server, to_server)
  select f.id, s.position, s.aor, s."from", s."to"
  from filling f, json_to_recordset($2::json) as s(position integer, aor text, "from" text, "to" text)
  on conflict (batch, position) do nothing
  returning 1
)
update codomain.move_batches b set total = b.total + (select count(*) from added)
from filling f where b.id = f.id
returning ${batchColumns("b")}`,
};

/** $2: from which states; $3: to which. */
export const STEER: Verb = {
  name: "steer-batch",
  text: `
update codomain.move_batches b set
  state = $3,
  ended_at = case when $3 = 'cancelled' then coalesce(b.ended_at, clock_timestamp()) end,
  filled = b.filled or $4
where b.id = $1 and b.state = any($2)
returning ${batchColumns("b")}`,
};

export const BATCHES: Verb = {
  name: "batches",
  text: `
select ${batchColumns("b")} from codomain.move_batches b
where (not $1::boolean or b.ended_at is null)
  and ($2::text is null or b.serial < (select o.serial from codomain.move_batches o where o.id = $2))
order by b.serial desc
limit $3`,
};

export const STEPS: Verb = {
  name: "steps",
  text: `
select ${STEP} from codomain.move_steps s where s.batch = $1 and s.position > $2 order by s.position limit $3`,
};

/** Of certain states only; each of them that people ask for has an index. */
export const STEPS_IN: Verb = {
  name: "steps-in",
  text: `
select ${STEP} from codomain.move_steps s
where s.batch = $1 and s.position > $2 and s.state = any($4) order by s.position limit $3`,
};

/** What is to be done next. The condition is that of the index. */
export const STEPS_OPEN: Verb = {
  name: "steps-open",
  text: `
select ${STEP} from codomain.move_steps s
where s.batch = $1 and s.position > $2 and s.state in ('waiting', 'preparing', 'moving') order by s.position limit $3`,
};

export const STEPS_REFUSED: Verb = {
  name: "steps-refused",
  text: `
select ${STEP} from codomain.move_steps s
where s.batch = $1 and s.position > $2 and s.state = 'refused' order by s.position limit $3`,
};

export const OPEN_STEPS_OF: Verb = {
  name: "open-steps-of",
  text: `
select ${STEP}
from codomain.move_steps s join codomain.move_batches b on b.id = s.batch
where s.aor = $1 and s.state in ('waiting', 'preparing', 'moving') and b.state in ('running', 'paused')
limit 100`,
};

export function batchOf(row: BatchRow): MoveBatch {
  return {
    id: row.id,
    source: sourceOf(row),
    state: row.state,
    rate: row.rate,
    makeBeforeBreak: row.make_before_break,
    actor: row.actor,
    createdAt: Math.round(row.created),
    endedAt: moment(row.ended),
    filled: row.filled,
    total: row.total,
    moved: row.moved,
    refused: row.refused,
    undone: row.undone,
    owner: row.owner,
  };
}

function sourceOf({ kind, from_server, to_server, undo_of }: BatchRow): BatchSource {
  if (kind === "server") return { kind, from: from_server ?? "", to: to_server ?? "" };
  return kind === "undo" ? { kind, of: undo_of ?? "" } : { kind };
}

export function stepOf(row: StepRow): MoveStep {
  return {
    position: row.position,
    aor: row.aor,
    from: row.from_server,
    to: row.to_server,
    state: row.state,
    onlyEpoch: row.only_epoch,
    epochBefore: row.epoch_before,
    epoch: row.epoch,
    reason: row.reason,
    begunAt: moment(row.begun),
    endedAt: moment(row.ended),
  };
}

function moment(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
}
