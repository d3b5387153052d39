import type { Verb } from "./pool.ts";

/** A page of those whose record has identities, from an index that has nobody else in it. */
export const NAMED_USERS: Verb = {
  name: "named-users",
  text: `
select aor, identities from codomain.users
where identities <> '{}'::jsonb and aor > $1
order by aor
limit $2`,
};
