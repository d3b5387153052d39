import type { Verb } from "./pool.ts";

/** One row a credit, so that each is spent by itself. What is there already, spent or not, is left as it is. */
export const GRANT: Verb = {
  name: "grant",
  text: `
insert into codomain.credits (id, server, n, aor, watcher, event, digest, until_at)
select $1, g.server, n, g.aor, g.watcher, g.event, g.digest, to_timestamp($3::float8 / 1000)
from json_to_recordset($2::json) as g(server text, aor text, watcher text, event text, digest text, count int)
cross join lateral generate_series(1, g.count) n
order by g.server collate "C", n
on conflict do nothing`,
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
