import { batchColumns } from "./move-batches.ts";
import type { Verb } from "./pool.ts";

/**
 * The journal of moves, as its owner writes it. Every statement locks the batch under owner and fence first, and does
 * nothing where another has it: no row comes back.
 *
 * Rejected: to join the steps with the array alone: planned while the journal was small, the statement read all 300,000
 * of it for every 64 (350 ms to 20 s), whatever order of joins was chosen. With the positions in a condition of their own
 * every index has both its columns. A `not exists` in COMPLETE read all steps likewise.
 */

/** The oldest running batch that nobody has. `skip locked`: two that take at once get different ones. */
export const TAKE_BATCH: Verb = {
  name: "take-batch",
  text: `
with free as (
  select id from codomain.move_batches
  where state = 'running' and not id = any($2)
    and (owner is null or owner = $1 or lease_until <= clock_timestamp())
  order by serial
  limit 1
  for update skip locked
)
update codomain.move_batches b set
  owner = $1, fence = b.fence + 1, lease_until = clock_timestamp() + $3 * interval '1 ms'
from free where b.id = free.id
returning ${batchColumns("b")}`,
};

/** With 0 milliseconds: given up. */
export const RENEW_BATCH: Verb = {
  name: "renew-batch",
  text: `
update codomain.move_batches set lease_until = clock_timestamp() + $4 * interval '1 ms'
where id = $1 and owner = $2 and fence = $3
returning state`,
};

export const BEGIN_STEPS: Verb = {
  name: "begin-steps",
  text: `
with held as materialized (
  select id, state from codomain.move_batches where id = $1 and owner = $2 and fence = $3 for update
),
begun as (
  update codomain.move_steps s set
    state = $5, from_server = a."from", epoch_before = a.epoch, begun_at = clock_timestamp()
  from held h, json_to_recordset($4::json) as a(position integer, "from" text, epoch bigint)
  where s.batch = $1 and s.position = any($6::integer[]) and s.position = a.position and s.state in ('waiting', 'preparing', 'moving')
)
select state from held`,
};

/** Each step is counted when it ceases to be open, so once. An undo marks the step it undoes, and counts it there. */
export const END_STEPS: Verb = {
  name: "end-steps",
  text: `
with held as materialized (
  select id, state, undo_of from codomain.move_batches where id = $1 and owner = $2 and fence = $3 for update
),
ended as (
  update codomain.move_steps s set state = a.state, epoch = a.epoch, reason = a.reason, ended_at = clock_timestamp()
  from held h, json_to_recordset($4::json) as a(position integer, state text, epoch bigint, reason text)
  where s.batch = $1 and s.position = any($5::integer[]) and s.position = a.position and s.state in ('waiting', 'preparing', 'moving')
  returning s.position, s.state
),
reversed as (
  update codomain.move_steps s set state = 'undone'
  from held h, ended e
  where s.batch = h.undo_of and s.position = any($5::integer[]) and s.position = e.position and e.state = 'moved' and s.state = 'moved'
  returning 1
),
counted as (
  update codomain.move_batches b set
    moved = b.moved + case when b.id = h.id then (select count(*) from ended where state = 'moved') else 0 end,
    refused = b.refused + case when b.id = h.id then (select count(*) from ended where state = 'refused') else 0 end,
    undone = b.undone + case when b.id = h.undo_of then (select count(*) from reversed) else 0 end
  from held h where b.id in (h.id, h.undo_of)
)
select state from held`,
};

export const COMPLETE_BATCH: Verb = {
  name: "complete-batch",
  text: `
with held as materialized (
  select id, state from codomain.move_batches where id = $1 and owner = $2 and fence = $3 for update
),
done as (
  update codomain.move_batches b set state = 'done', ended_at = clock_timestamp()
  from held h
  where b.id = h.id and h.state = 'running' and b.filled and (
    select s.position from codomain.move_steps s
    where s.batch = h.id and s.state in ('waiting', 'preparing', 'moving') order by s.position limit 1) is null
  returning b.state
)
select coalesce(d.state, h.state) as state from held h left join done d on true`,
};

export const PREPARE: Verb = {
  name: "prepare-moves",
  text: `
insert into codomain.changes (kind, aor, server, until_at)
select 'preparing', a.aor, a.server, to_timestamp($2::float8 / 1000)
from json_to_recordset($1::json) as a(aor text, server text)
order by a.aor`,
};

/**
 * A piece of the oldest that may go: first its steps, so many at a time, then the batch itself. In one statement with a
 * cascade, a million steps would outlast its time limit for ever.
 */
export const CLEAR_BATCHES: Verb = {
  name: "clear-batches",
  text: `
with old as materialized (
  select id from codomain.move_batches
  where ended_at < clock_timestamp() - $1 * interval '1 ms'
    or (state = 'filling' and created_at < clock_timestamp() - $1 * interval '1 ms')
  order by serial limit 100
),
piece as materialized (
  select s.batch, s.position from old o join codomain.move_steps s on s.batch = o.id limit 10000
),
steps as (
  delete from codomain.move_steps s using piece m where s.batch = m.batch and s.position = m.position
)
delete from codomain.move_batches b using old o
where b.id = o.id and (
  select s.position from codomain.move_steps s where s.batch = b.id order by s.position limit 1) is null`,
};
