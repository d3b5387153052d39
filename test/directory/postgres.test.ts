import { directoryContract } from "../contract/directory.contract.ts";
import { twoOnPostgres } from "./two-on-postgres.ts";

const AGE = `
with binding as (
  update codomain.slots set
    expires_at = expires_at - $1 * interval '1 ms',
    due_at = due_at - $1 * interval '1 ms',
    calm_at = calm_at - $1 * interval '1 ms',
    claims = coalesce((
      select jsonb_object_agg(e.key, array_to_string(array[p[1], (p[2]::bigint - $1)::text] || p[3:], E'\\t'))
      from jsonb_each_text(claims) e, string_to_array(e.value, E'\\t') p), '{}')
),
eviction as (
  update codomain.evictions set due_at = due_at - $1 * interval '1 ms', since = since - $1 * interval '1 ms'
)
update codomain.open_forks set expires_at = expires_at - $1 * interval '1 ms'`;
const RESET =
  "truncate codomain.slots, codomain.users, codomain.credentials, codomain.open_forks, codomain.audit, codomain.evictions restart identity";

const postgres = twoOnPostgres({ age: AGE, reset: RESET, sweepMs: 50 });
directoryContract("on PostgreSQL", postgres.harness);
