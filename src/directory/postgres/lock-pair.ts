import type { Verb } from "./pool.ts";

/**
 * Locks who watches whom until the transaction ends, a batch of pairs; its first statement, so that what the next ones
 * read is as new as the lock (concurrency.md 4). In one order for everybody, so that two batches never wait for each other.
 * A lock by number and no row: nobody's name has to be stored for it, nothing is written, and the watchers of one user do not
 * wait for each other. Two pairs of one hash wait for each other, and that is all.
 *
 * Rejected: the slot's row (`lock-slot.ts`): a row for ever for any name that is asked for, a version of it for every
 * SUBSCRIBE, and claims would wait for those.
 */
const CLASS = 1731086873;
const HASH = "hashtext(p.aor || E'\\n' || p.watcher || E'\\n' || p.event)";

export const LOCK_PAIRS: Verb = {
  name: "lock-pairs",
  text: `
select pg_advisory_xact_lock(${CLASS}, p.hash)::text as locked
from (
  select distinct ${HASH} as hash
  from unnest($1::text[], $2::text[], $3::text[]) as p(aor, watcher, event)
  order by hash
) p`,
};

/** The same by one of its subscriptions. No row: there is no such subscription. */
export const LOCK_PAIR_OF_SUBSCRIPTION: Verb = {
  name: "lock-pair-of-subscription",
  text: `select pg_advisory_xact_lock(${CLASS}, ${HASH})::text as locked from codomain.subscriptions p where p.id = $1`,
};
