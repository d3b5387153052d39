import type { Verb } from "./pool.ts";

/**
 * The subscription, while it is its owner's; locked, so that nobody takes it before this is committed. What follows asks
 * whether it is there, and finds rows by the parameter: joined, all of them were read, by a plan from when there were few.
 */
const HELD = `
with held as materialized (
  select s.id from codomain.subscriptions s where s.id = $1 and s.owner = $2 and s.fence = $3 for share
)`;

/**
 * Takes one more server for a subscription that is on a chain; second statement of a transaction that holds the pair.
 * `held`: it is ours. `taken`: the server is visited by this holder now, or was already.
 *
 * Against TAKE: whoever has the row first. A server taken under an owner that has lost the subscription would be visited by
 * nobody until its end. Against REMOVE: the row's lock; afterwards there is no row to hold it.
 */
export const VISIT: Verb = {
  name: "visit",
  text: `${HELD},
own as (
  select v.* from codomain.visited v
  where v.subscription = $1 and v.role = 'start' and exists (select from held)
),
put as (
  insert into codomain.visited (holder, subscription, chain, role, server, aor, watcher, event, evidence)
  select o.holder, o.holder, o.chain, 'leg', $4, o.aor, o.watcher, o.event, $5
  from own o
  where not exists (
    select from codomain.visited v where v.chain = o.chain and v.server = $4 and v.subscription is not null
      and v.aor = o.aor and v.watcher = o.watcher
  )
  returning 1
)
select exists (select from own) as held,
  exists (select from put)
    or exists (select from codomain.visited v where v.subscription = $1 and v.server = $4 and v.role <> 'start') as taken`,
};

/**
 * Gives it back. Against TAKE: see VISIT; one that was taken over has its leg still. `<> 'start'`, so that the index by chain
 * cannot be meant.
 */
export const LEAVE: Verb = {
  name: "leave",
  text: `${HELD}
update codomain.visited v set subscription = null
where v.subscription = $1 and v.server = $4 and v.role <> 'start' and exists (select from held)`,
};
