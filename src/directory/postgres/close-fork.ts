import type { Verb } from "./pool.ts";

/**
 * Ends a fork that taught nothing and tells every proxy, in one transaction. One that taught something is closed by the
 * statement of the claim (`claim.ts`), which binds in the same transaction. Repeated, it tells again.
 */
export const CLOSE_FORK: Verb = {
  name: "close-fork",
  text: `
with quick as materialized (select set_config('synchronous_commit', 'off', true) as set),
closed as (delete from codomain.open_forks where id = $1)
insert into codomain.changes (kind, aor, fork, result)
select 'fork-closed', $2, $1, $3 from quick`,
};
