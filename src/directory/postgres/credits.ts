import { SENT_ON_MS } from "../unions.ts";
import type { Verb } from "./pool.ts";

/** Grantings, a batch in one statement. One row a credit, so that each is spent by itself. What is there already, spent or not, is left as it is. */
export const GRANT: Verb = {
  name: "grant",
  text: `
insert into codomain.credits (id, server, n, aor, watcher, event, digest, until_at, under_way)
select g.id, g.server, n, g.aor, g.watcher, g.event, g.digest, to_timestamp(g.until / 1000), g."underWay"
from json_to_recordset($1::json) as g(
  id text, server text, aor text, watcher text, event text, digest text, count int, until float8, "underWay" boolean)
cross join lateral generate_series(1, g.count) n
order by g.id collate "C", g.server collate "C", n
on conflict do nothing`,
};

/**
 * What they are for has come, a batch in one statement. Against SPEND: whoever has the row first; one that is spent
 * afterwards was on its way.
 */
export const ARRIVED: Verb = {
  name: "arrived",
  text: `
with asked as materialized (
  select a.* from json_to_recordset($1::json) as a(id text, server text, one int) where a.one = 1
)
update codomain.credits c set under_way = false,
  until_at = case when c.spent_by is null
    then least(c.until_at, clock_timestamp() + interval '${SENT_ON_MS} ms') else c.until_at end
from asked a
where c.id = a.id and c.server = a.server and c.under_way`,
};

/**
 * Takes back what was not spent, or too early, a batch in one statement. Against SPEND: whoever has the row first.
 * `a.one = 1`: see INSERT_SUBSCRIPTIONS.
 */
export const REVOKE: Verb = {
  name: "revoke",
  text: `
with asked as materialized (
  select a.* from json_to_recordset($1::json) as a(id text, server text, one int) where a.one = 1
)
delete from codomain.credits c using asked a
where c.id = a.id and c.server = a.server and (c.spent_by is null or c.under_way)`,
};

/**
 * Spends one credit; a row comes back where there was one. Two that want the same wait for each other: the second looks
 * at the row as the first has left it, and where that has spent it goes on to the next. One that the same request has
 * spent before is found first.
 *
 * Rejected: `for update skip locked`, which never waits: of one request that came by two ways each would spend one.
 */
export const SPEND: Verb = {
  name: "spend",
  text: `
with one as materialized (
  select c.id, c.server, c.n
  from codomain.credits c
  where c.aor = $1 and c.watcher = $2 and c.server = $3 and c.event = $4 and c.digest = $5
    and c.until_at > clock_timestamp() and (c.spent_by is null or c.spent_by = $6)
  order by c.spent_by nulls last, c.until_at, c.id, c.n
  limit 1
  for update
)
update codomain.credits c set spent_by = $6
from one o
where c.id = o.id and c.server = o.server and c.n = o.n
returning c.n`,
};

/** What one request has spent: whether what that was granted for is still under way. */
export const SPENT: Verb = {
  name: "spent",
  text: `
select c.under_way
from codomain.credits c
where c.aor = $1 and c.watcher = $2 and c.server = $3 and c.event = $4 and c.digest = $5
  and c.until_at > clock_timestamp() and c.spent_by = $6`,
};
