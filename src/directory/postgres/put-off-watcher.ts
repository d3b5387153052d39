import { MOST_OF_USER, MOST_OF_WATCHER } from "../watchers.ts";
import type { Verb } from "./pool.ts";

/**
 * One watcher more, and the oldest of the user's go, first those who were not believed. Those that have lapsed do not count. Two at once may pass the limits by
 * one each: the next that comes makes it good.
 */
export const PUT_OFF_WATCHER: Verb = {
  name: "put-off-watcher",
  text: `
with others as materialized (
  select watcher, trusted, event, row_number() over (order by trusted desc, since desc, watcher, event) as place
  from codomain.put_off_watchers
  where aor = $1 and until_at > statement_timestamp() and (watcher, trusted, event) <> ($2, $3::boolean, $4)
),
dropped as (
  delete from codomain.put_off_watchers p using others o
  where p.aor = $1 and p.watcher = o.watcher and p.trusted = o.trusted and p.event = o.event and o.place >= ${MOST_OF_USER}
)
insert into codomain.put_off_watchers as p (aor, watcher, trusted, event, until_at)
select $1, $2, $3::boolean, $4, clock_timestamp() + $5::float8 * interval '1 ms'
where (select count(*) from codomain.put_off_watchers
  where watcher = $2 and aor <> $1 and until_at > statement_timestamp()) < ${MOST_OF_WATCHER}
on conflict (aor, watcher, trusted, event) do update set until_at = excluded.until_at,
  since = case when p.until_at > statement_timestamp() then p.since else excluded.since end`,
};
