import { DEAD_OWNERS } from "./owners.ts";
import type { Verb } from "./pool.ts";

/** Its owner gives up a lease. */
export const CLOSE_LEASE: Verb = {
  name: "close-lease",
  text: "update codomain.proxies set over = true where owner = $1 and not over",
};

/**
 * Declares lapsed leases over, and names owners of whom rows are left. Two steps on purpose, this one and TAKE: "over" is
 * committed, for good, before anybody takes a row, so that taking needs no look at the clock and no lock on the lease.
 *
 * What the owner in question may do at the same moment:
 * - renew: see RENEW_LEASE; one of the two fails to find its row.
 * - insert: the statement may have seen the lease before it was over, and commit after others have taken everything
 *   else. Such a row is durable, and shows up here at the next call, because owners that have rows are asked for every
 *   time, not only in the call that ended their lease.
 * - update, remove: under owner and fence; see UPDATE_SUBSCRIPTIONS.
 * - send: no. Its own clock has ended its lease before the database's did.
 *
 * Rejected: taking rows where `lease_until` has passed, without declaring: a renewal would then have to be seen by
 * every row that is being taken. `for share` on the lease by inserts: sharers pass each other by while the renewal
 * waits for all of them, and a busy proxy would lose its lease to its own inserts.
 */
export const END_LAPSED: Verb = {
  name: "end-lapsed",
  text: `
with recursive ended as (
  update codomain.proxies set over = true
  where not over and lease_until <= clock_timestamp()
  returning owner
),${DEAD_OWNERS}
select owner from dead
union
select o.owner from owners o join ended e on e.owner = o.owner
order by owner`,
};
