import type { Verb } from "./pool.ts";

/**
 * The next steps of a batch, out of what is bound now or out of another batch, up to $4. `filled`: there was less. The
 * batch is locked under owner and fence; no row comes back where another has it.
 *
 * Rejected: all in one statement: a million steps take longer than a statement may.
 */
export const FILL_FROM_SERVER: Verb = {
  name: "fill-from-server",
  text: `
with held as materialized (
  select * from codomain.move_batches where id = $1 and owner = $2 and fence = $3 for update
),
page as materialized (
  select s.aor, row_number() over (order by s.aor)::integer as number
  from held h cross join lateral (
    select s.aor from codomain.slots s
    where s.server = h.from_server and s.aor > h.filled_to
      and (s.expires_at is null or s.expires_at > clock_timestamp())
    order by s.aor
    limit case when h.filled then 0 else $4::integer end
  ) s
),
added as (
  insert into codomain.move_steps (batch, position, aor, from_server, to_server)
  select h.id, h.total + p.number, p.aor, h.from_server, h.to_server from held h, page p
)
update codomain.move_batches b set
  total = h.total + (select count(*) from page),
  filled_to = coalesce((select max(aor) from page), h.filled_to),
  filled = h.filled or (select count(*) from page) < $4::integer
from held h where b.id = h.id
returning b.filled`,
};

/** The same positions as in the batch undone, whose steps are found by them when they are moved back. */
export const FILL_UNDO: Verb = {
  name: "fill-undo",
  text: `
with held as materialized (
  select *, coalesce(nullif(filled_to, ''), '0')::integer as behind
  from codomain.move_batches where id = $1 and owner = $2 and fence = $3 for update
),
page as materialized (
  select s.*
  from held h cross join lateral (
    select s.position, s.aor, s.from_server, s.to_server, s.epoch from codomain.move_steps s
    where s.batch = h.undo_of and s.position > h.behind and s.state = 'moved'
    order by s.position
    limit case when h.filled then 0 else $4::integer end
  ) s
),
added as (
  insert into codomain.move_steps (batch, position, aor, from_server, to_server, only_epoch)
  select h.id, p.position, p.aor, p.to_server, coalesce(p.from_server, p.to_server), p.epoch from held h, page p
)
update codomain.move_batches b set
  total = h.total + (select count(*) from page),
  filled_to = coalesce((select max(position)::text from page), h.filled_to),
  filled = h.filled or (select count(*) from page) < $4::integer
from held h where b.id = h.id
returning b.filled`,
};
