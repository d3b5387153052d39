import type { PushRow } from "../pushes.ts";
import type { Verb } from "./pool.ts";

/** Rules on their way to servers. */

/** Rows that stand are wanted anew together with those of the servers named; the order keeps two of these from a deadlock. */
export const WANT_PUSHES: Verb = {
  name: "want-pushes",
  text: `
with servers as (
  select unnest($2::text[]) as server
  union
  select p.server from codomain.pushes p where p.aor = $1
),
wanted as (
  select s.server from servers s
  where $3 <> '' or exists (select 1 from codomain.pushes p where p.aor = $1 and p.server = s.server)
)
insert into codomain.pushes as p (aor, server, wanted, state, due_at)
select $1, w.server, $3, 'waiting', clock_timestamp() from wanted w order by w.server
on conflict (aor, server) do update set
  wanted = excluded.wanted, state = 'waiting', tries = 0, due_at = excluded.due_at, changed_at = clock_timestamp()
where p.wanted <> excluded.wanted or $4`,
};

/**
 * What is due, each for one proxy. The limit is in the text, and `one` is compared, so that the planner expects few rows
 * and goes by keys, however small the table was when it planned.
 */
export function takePushes(limit: number): Verb {
  return {
    name: `take-pushes-${limit}`,
    text: `
with due as materialized (
  select aor, server, 1 as one from codomain.pushes
  where due_at <= statement_timestamp() and (taken_until is null or taken_until <= statement_timestamp())
  order by due_at
  limit ${limit}
  for update skip locked
)
update codomain.pushes p set
  tries = p.tries + 1, fence = p.fence + 1, taken_until = statement_timestamp() + $1 * interval '1 ms'
from due d
where p.aor = d.aor and p.server = d.server and d.one = 1
returning p.aor, p.server, p.wanted, p.pushed, p.tries, p.fence::float8 as fence`,
  };
}

/** What another change has overtaken is due at once. */
export const END_PUSHED: Verb = {
  name: "end-pushed",
  text: `
update codomain.pushes set
  pushed = $3, reductions = $5::jsonb, taken_until = null, changed_at = clock_timestamp(),
  state = case when wanted = $3 then 'pushed' else state end,
  error = case when wanted = $3 then null else error end,
  due_at = case when wanted = $3 then null else clock_timestamp() end
where aor = $1 and server = $2 and fence = $4 and taken_until is not null`,
};

export const END_REMOVED: Verb = {
  name: "end-removed",
  text: `
with gone as (
  delete from codomain.pushes where aor = $1 and server = $2 and wanted = $3 and fence = $4 and taken_until is not null returning 1
)
update codomain.pushes set pushed = null, due_at = clock_timestamp(), taken_until = null
where aor = $1 and server = $2 and fence = $4 and taken_until is not null and wanted <> $3 and not exists (select 1 from gone)`,
};

export const END_FAILED: Verb = {
  name: "end-failed",
  text: `
update codomain.pushes set
  state = case when wanted = $3 then 'failed' else state end,
  error = case when wanted = $3 then $5 else error end, taken_until = null,
  due_at = clock_timestamp() + case when wanted = $3 then $6 else 0 end * interval '1 ms'
where aor = $1 and server = $2 and fence = $4 and taken_until is not null`,
};

export const PUSHES: Verb = {
  name: "pushes",
  text: `
select aor, server, wanted, pushed, tries, state, reductions, error,
  extract(epoch from due_at)::float8 * 1000 as due, extract(epoch from changed_at)::float8 * 1000 as changed
from codomain.pushes
where ($1::text is null or aor = $1) and ($2::text is null or server = $2) and ($3::text is null or state = $3)
  and (not $4::boolean or reductions <> '[]') and (aor, server) > ($5, $6)
order by aor, server
limit $7`,
};

export interface StoredPush extends Omit<PushRow, "dueAt" | "changedAt"> {
  readonly due: number | null;
  readonly changed: number;
}

export const PUSH_COUNTS: Verb = {
  name: "push-counts",
  text: `
select server, state, count(*)::int as count, (count(*) filter (where reductions <> '[]'))::int as reduced
from codomain.pushes
group by server, state
order by server, state`,
};
