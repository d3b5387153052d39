import type { Verb } from "./pool.ts";

/** Rows one statement looks at or clears away at most. Whoever gets as many has not come to the end. */
export const SWEEP_BATCH = 1000;
export const CLEAR_BATCH = 10_000;

/**
 * Ends bindings whose time is over, by the database's clock, and tells of it. Any proxy may; rows another has locked
 * are left to him. What is judged is judged again on the locked row: it may have been renewed a moment ago, and then it
 * is only noted when to look again.
 *
 * Rejected: an index on `expires_at` itself: every refresh would change all indexes of the row, not only those whose
 * binding ends (half the claims a second, measured with bench/register-sql.ts). `due_at <= clock_timestamp()`: a volatile
 * function is no index condition, so that each sweep would read the whole index.
 */
export const END_EXPIRED: Verb = {
  name: "end-expired",
  text: `
with due as (
  select aor from codomain.slots
  where due_at <= statement_timestamp()
  order by due_at
  limit ${SWEEP_BATCH}
  for update skip locked
),
looked as (
  update codomain.slots s set
    (server, origin, expires_at, due_at, epoch, verdict, previous, changed_at) = (
    select
      case when not l.over then s.server end,
      case when not l.over then s.origin end,
      case when not l.over then s.expires_at end,
      case when not l.over then s.expires_at end,
      case when l.over then s.epoch + 1 else s.epoch end,
      case when l.over then 'bound' else 'kept' end,
      s.server,
      case when l.over then clock_timestamp() else s.changed_at end
    from (select coalesce(s.expires_at <= clock_timestamp(), false) as over) l
  )
  from due
  where s.aor = due.aor
  returning s.aor, s.previous, s.epoch, s.verdict
),
told as (
  insert into codomain.changes (kind, aor, server, previous, epoch)
  select 'binding', aor, null, previous, epoch from looked where verdict = 'bound' order by aor
  returning 1
)
select (select count(*) from told)::int as ended, (select count(*) from looked)::int as looked`,
};

/** One proxy at a time clears away what nobody needs any more: lapsed visits, credits and watchers, read changes, dead forks, old audit rows. */
export const CLEAR: Verb = {
  name: "clear",
  text: `
with turn as materialized (select pg_try_advisory_xact_lock(7310868735002) as mine),
forks as (
  delete from codomain.open_forks where expires_at <= statement_timestamp() and (select mine from turn)
),
visited as (
  delete from codomain.visited where subscription is null and ctid = any (array(
    select ctid from codomain.visited where subscription is null and kept_until < statement_timestamp()
    order by kept_until limit ${CLEAR_BATCH}))
  and (select mine from turn)
  returning 1
),
credits as (
  delete from codomain.credits where (id, server, n) in (
    select id, server, n from codomain.credits where until_at < statement_timestamp()
    order by until_at limit ${CLEAR_BATCH})
  and (select mine from turn)
  returning 1
),
watchers as (
  delete from codomain.put_off_watchers where ctid = any (array(
    select ctid from codomain.put_off_watchers where until_at < statement_timestamp()
    order by until_at limit ${CLEAR_BATCH}))
  and (select mine from turn)
  returning 1
),
changes as (
  delete from codomain.changes where id in (
    select id from codomain.changes where at < statement_timestamp() - $1::float8 * interval '1 ms'
    order by at limit ${CLEAR_BATCH})
  and (select mine from turn)
  returning 1
),
audit as (
  delete from codomain.audit where id in (
    select id from codomain.audit where at < statement_timestamp() - $2::float8 * interval '1 ms'
    order by at limit ${CLEAR_BATCH})
  and (select mine from turn)
  returning 1
)
select greatest((select count(*) from visited), (select count(*) from credits), (select count(*) from watchers),
  (select count(*) from changes), (select count(*) from audit))::int as cleared`,
};
