import type { Verb } from "./pool.ts";

/**
 * Locks who watches whom until the transaction ends; its first statement, so that what the next ones read is as new as
 * the lock (concurrency.md 4). A lock by number and no row: nobody's name has to be stored for it, nothing is written,
 * and the watchers of one user do not wait for each other. Two pairs of one hash wait for each other, and that is all.
 *
 * Rejected: the slot's row (`lock-slot.ts`): a row for ever for any name that is asked for, a version of it for every
 * SUBSCRIBE, and claims would wait for those.
 */
const LOCK = "pg_advisory_xact_lock(1731086873, hashtext(p.aor || E'\\n' || p.watcher || E'\\n' || p.event))";

export const LOCK_PAIR: Verb = {
  name: "lock-pair",
  text: `select ${LOCK}::text as locked from (select $1::text as aor, $2::text as watcher, $3::text as event) p`,
};

/** The same by one of its subscriptions. No row: there is no such subscription. */
export const LOCK_PAIR_OF_SUBSCRIPTION: Verb = {
  name: "lock-pair-of-subscription",
  text: `select ${LOCK}::text as locked from codomain.subscriptions p where p.id = $1`,
};
