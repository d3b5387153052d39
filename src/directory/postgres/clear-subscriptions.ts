import { DEAD_OWNERS } from "./owners.ts";
import type { Verb } from "./pool.ts";

/** Rows one statement removes at most; whoever gets as many has not come to the end. */
export const CLEAR_SUBSCRIPTIONS_BATCH = 1000;
/** Of each owner: the first in order of the id. Those behind come to the front, since nobody refreshes any of them. */
const LOOKED_AT = 1000;

/**
 * Removes what is expired of owners that are over, for a domain in which nobody takes subscriptions over any more, and
 * leases that have been over for a day and own nothing. A live owner removes its own.
 *
 * The day is for inserts that began before the lease was over; a statement lasts seconds. Should a row appear later
 * nevertheless, its owner is over all the same (`owners.ts`).
 *
 * A row that is being taken is waited for and then belongs to somebody; TAKE never waits for this one.
 *
 * Rejected: an index by expiry: every refresh would change all indexes of its row.
 */
export const CLEAR_SUBSCRIPTIONS: Verb = {
  name: "clear-subscriptions",
  text: `
with recursive ${DEAD_OWNERS},
expired as materialized (
  select s.id, s.owner
  from dead d
  cross join lateral (
    select s.id, s.owner, s.expires_at from codomain.subscriptions s
    where s.owner = d.owner
    order by s.owner, s.id
    limit ${LOOKED_AT}
  ) s
  where s.expires_at <= statement_timestamp()
  limit ${CLEAR_SUBSCRIPTIONS_BATCH}
),
removed as (
  delete from codomain.subscriptions s using expired e
  where s.id = e.id and s.owner = e.owner and s.expires_at <= statement_timestamp()
  returning 1
),
forgotten as (
  delete from codomain.proxies p
  where p.over and p.lease_until < statement_timestamp() - interval '1 day'
    and not exists (select from owners o where o.owner = p.owner)
)
select count(*)::int as removed from removed`,
};
