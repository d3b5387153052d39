import type { Verb } from "./pool.ts";

/**
 * Ends bindings whose time is over, by the database's clock, and tells of it. Any proxy may; rows another has locked
 * are left to him. What is judged is judged again on the locked row: it may have been renewed a moment ago.
 */
export const END_EXPIRED: Verb = {
  name: "end-expired",
  text: `
with due as (
  select aor from codomain.slots
  where expires_at <= clock_timestamp()
  order by expires_at
  limit 1000
  for update skip locked
),
ended as (
  update codomain.slots s set
    server = null, origin = null, expires_at = null, epoch = s.epoch + 1, verdict = 'stale',
    previous = s.server, changed_at = clock_timestamp()
  from due
  where s.aor = due.aor and s.expires_at <= clock_timestamp()
  returning s.aor, s.previous, s.epoch
),
told as (
  insert into codomain.changes (kind, aor, server, previous, epoch)
  select 'binding', aor, null, previous, epoch from ended order by aor
  returning 1
)
select (select count(*) from ended)::int as ended, count(pg_notify('codomain_changes', '')) as notified
from (select 1 from told limit 1) t`,
};

/** One proxy at a time clears away what nobody needs any more: read changes, dead forks, old audit rows. */
export const CLEAR: Verb = {
  name: "clear",
  text: `
with turn as materialized (select pg_try_advisory_xact_lock(7310868735002) as mine),
forks as (
  delete from codomain.open_forks where expires_at <= clock_timestamp() and (select mine from turn)
),
changes as (
  delete from codomain.changes where id in (
    select id from codomain.changes where at < clock_timestamp() - $1::float8 * interval '1 ms' order by at limit 10000)
  and (select mine from turn)
)
delete from codomain.audit where id in (
  select id from codomain.audit where at < clock_timestamp() - $2::float8 * interval '1 ms' order by at limit 10000)
and (select mine from turn)`,
};
