import { SLOT_OF } from "./insert-subscriptions.ts";
import { DEAD_OWNERS } from "./owners.ts";
import type { Verb } from "./pool.ts";
import { COLUMNS, type SlotRow, type SubscriptionRow } from "./subscription-rows.ts";

/**
 * Takes rows from owners whose lease is over: owner, fence and both reserves change in one write of the locked row. What
 * is expired is removed. One row comes back for each that was locked, `id` null where it was removed, so that a full
 * batch tells that there may be more.
 *
 * - Against another TAKE: `skip locked`, so that neither waits; and whoever locks a row after the other has committed looks
 *   at its newest version, whose owner is not dead.
 * - Against UPDATE and REMOVE of the old owner: see there. A row locked by one of these is passed over, and is found at
 *   the next call, changed or not. A version newer than the snapshot is followed to: what is raised is what was
 *   reserved last.
 * - Against RENEW: none is possible any more; the lease is over.
 * - Against END_LAPSED of the taker's own lease: what it takes nevertheless belongs to an owner that is over, and is
 *   taken from it by the next.
 *
 * Rejected: one owner a call, by name: the caller would have to ask for each, and one that died while taking from another
 * would be found a round later. Locking without `skip`: two proxies would take turns at every batch.
 */
export function takeSubscriptions(limit: number): Verb {
  return {
    // The limit is in the text: by a parameter's the planner would expect a tenth of the table, and read all of it.
    name: `take-subscriptions-${limit}`,
    text: `
with recursive ${DEAD_OWNERS},
picked as materialized (
  select s.id, s.expires_at <= clock_timestamp() as expired
  from dead d
  cross join lateral (
    select s.id, s.expires_at from codomain.subscriptions s
    where s.owner = d.owner
    order by s.owner, s.id
    limit ${limit}
    for update skip locked
  ) s
  where exists (select from codomain.proxies p where p.owner = $1 and not p.over)
  limit ${limit}
),
removed as (
  delete from codomain.subscriptions s using picked p where s.id = p.id and p.expired
),
a as (
  update codomain.subscriptions s set
    owner = $1, fence = s.fence + 1, revision = 0,
    notify_reserved = s.notify_reserved + $2, leg_reserved = s.leg_reserved + $2
  from picked p
  where s.id = p.id and not p.expired
  returning s.*
)
select taken.*
from picked p
left join (select ${COLUMNS.replaceAll("r.", "a.")}, slot.server, slot.epoch from a${SLOT_OF}) taken on taken.id = p.id`,
  };
}

export type TakenRow = (SubscriptionRow & SlotRow) | { readonly id: null };
