import type { SubscriptionQuery } from "../subscriptions.ts";
import { SLOT_OF } from "./insert-subscriptions.ts";
import type { Verb } from "./pool.ts";
import { COLUMNS } from "./subscription-rows.ts";

/** A page of an owner's rows, in order of the id, with the slots. */
export const OWNED_SUBSCRIPTIONS: Verb = {
  name: "owned-subscriptions",
  text: `
with page as materialized (
  select id, aor, fence, extended_epoch
  from codomain.subscriptions
  where owner = $1 and id > $2
  order by owner, id
  limit $3
)
select a.id, a.fence::float8 as fence, a.extended_epoch::float8 as extended_epoch, slot.server, slot.epoch
from page a${SLOT_OF}
order by a.id`,
};

/** Rows of an owner by their ids, with the slots. */
export const LOAD_SUBSCRIPTIONS: Verb = {
  name: "load-subscriptions",
  text: `
select ${COLUMNS}, slot.server, slot.epoch
from unnest($2::text[]) as i(id)
cross join lateral (select * from codomain.subscriptions r where r.id = i.id and r.owner = $1 offset 0) r
cross join lateral (select r.aor) a${SLOT_OF}`,
};

export const OWNER_OF_SUBSCRIPTION: Verb = {
  name: "owner-of-subscription",
  text: `
select r.owner, p.contact
from codomain.subscriptions r
left join codomain.proxies p on p.owner = r.owner and not p.over and p.lease_until > clock_timestamp()
where r.id = $1`,
};

/** One verb for each index that leads to the page; the other conditions are looked at row by row. */
function listBy(name: string, condition: string): Verb {
  return {
    name,
    text: `
select ${COLUMNS}
from codomain.subscriptions r
where ${condition} and r.id > $1
  and ($2::text is null or r.kind = $2)
  and ($3::text is null or r.aor = $3)
  and ($4::text is null or r.watcher = $4)
  and ($5::boolean is null or case when $5 then r.leg is null and r.kind = 'presence' else r.leg is not null end)
order by r.id
limit $6`,
  };
}

const LIST = listBy("list-subscriptions", "true");
const LIST_BY_AOR = listBy("list-subscriptions-by-aor", "r.aor = $3");
const LIST_BY_WATCHER = listBy("list-subscriptions-by-watcher", "r.watcher = $4");

export function listVerb(query: SubscriptionQuery): Verb {
  if (query.aor !== undefined) return LIST_BY_AOR;
  return query.watcher !== undefined ? LIST_BY_WATCHER : LIST;
}

export const COUNT_SUBSCRIPTIONS: Verb = {
  name: "count-subscriptions",
  text: `
select
  count(*) filter (where leg is null and kind = 'presence')::int as held,
  count(*) filter (where leg is not null and kind = 'presence')::int as live,
  count(*) filter (where kind = 'composed')::int as composed,
  count(*) filter (where kind = 'reg')::int as reg,
  count(*) filter (where kind = 'winfo')::int as winfo
from codomain.subscriptions`,
};
