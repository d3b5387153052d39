import { FIRST_RETRY_MS, KEPT_MS, MOST_RETRY_MS } from "../evictions.ts";
import type { Verb } from "./pool.ts";

/**
 * Rows that are due, each for one proxy: whoever takes a row moves on when it is due, and rows another has locked are
 * left to him. One whose user is back, or that is too old, is removed in place of taken.
 *
 * The limit is in the text, and `one` is compared, so that the planner expects few rows and goes by keys, however small
 * the tables were when it planned. Rejected: rows by `ctid = any(…)`, which it reads the whole of a small table for.
 */
export function takeEvictions(limit: number): Verb {
  return {
    name: `take-evictions-${limit}`,
    text: `
with due as materialized (
  select aor, server, since > statement_timestamp() - ${KEPT_MS} * interval '1 ms' as young
  from codomain.evictions
  where due_at <= statement_timestamp()
  order by due_at
  limit ${limit}
  for update skip locked
),
looked as materialized (
  select d.aor, d.server, d.young, 1 as one,
    coalesce(s.server = d.server and (s.expires_at is null or s.expires_at > clock_timestamp()), false) as back
  from due d
  left join lateral (select * from codomain.slots s where s.aor = d.aor offset 0) s on true
),
taken as (
  update codomain.evictions e set
    tries = e.tries + 1,
    due_at = statement_timestamp() + least(${FIRST_RETRY_MS} * 2.0 ^ least(e.tries, 16), ${MOST_RETRY_MS}) * interval '1 ms'
  from looked l
  where e.aor = l.aor and e.server = l.server and l.one = 1 and not l.back and l.young
  returning e.aor, e.server, e.epoch, e.tries
),
gone as (
  delete from codomain.evictions e
  using looked l
  where e.aor = l.aor and e.server = l.server and l.one = 1 and (l.back or not l.young)
  returning e.aor, e.server, l.back
)
select aor, server, epoch::float8 as epoch, tries, null::boolean as back from taken
union all
select aor, server, null, null, back from gone`,
  };
}

export interface EvictionRow {
  readonly aor: string;
  readonly server: string;
  /** With `tries`, of a row that was taken. */
  readonly epoch: number | null;
  readonly tries: number | null;
  /** Of a row that was removed. */
  readonly back: boolean | null;
}
