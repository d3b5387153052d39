import type { UserRow } from "../directory.ts";
import type { DocumentKind } from "../user-documents.ts";
import { bindingOf } from "./claim.ts";
import { epochOfRow, type LookupRow, recordOfRow } from "./lookup.ts";
import type { Verb } from "./pool.ts";

const COLUMNS = `
select p.aor, s.server, s.origin, coalesce(s.epoch, 0)::float8 as epoch,
  extract(epoch from s.expires_at)::float8 * 1000 as expires,
  s.server is not null and (s.expires_at is null or s.expires_at > clock_timestamp()) as live,
  u.aor is not null as recorded, u.model, u.settings, u.identities`;

/**
 * A page of users, in byte order of their AoR: who has a record or is bound. Each side of the union is read from its
 * primary key and cut at the page's length, so that a page costs the same at 10,000,000 users.
 */
export const USERS: Verb = {
  name: "users",
  text: `
with page as (
  (select u.aor from codomain.users u
   where u.aor >= $1 and u.aor < $1 || U&'\\+10FFFF' and u.aor > $2 order by u.aor limit $3)
  union
  (select s.aor from codomain.slots s
   where s.aor >= $1 and s.aor < $1 || U&'\\+10FFFF' and s.aor > $2
     and s.server is not null and (s.expires_at is null or s.expires_at > clock_timestamp())
   order by s.aor limit $3)
)${COLUMNS}
from page p
left join codomain.slots s on s.aor = p.aor
left join codomain.users u on u.aor = p.aor
order by p.aor
limit $3`,
};

/**
 * The same, of those who are bound to one server. Each record is looked up by its key: joined, all users were read for
 * every page (110 ms of 300,000), by the plan that is kept.
 */
export const USERS_OF_SERVER: Verb = {
  name: "users-of-server",
  text: `
with page as materialized (
  select aor, server, origin, epoch, expires_at from codomain.slots
  where server = $4 and aor >= $1 and aor < $1 || U&'\\+10FFFF' and aor > $2
    and (expires_at is null or expires_at > clock_timestamp())
  order by aor
  limit $3
)${COLUMNS}
from page s
cross join lateral (select s.aor) p
left join lateral (select u.* from codomain.users u where u.aor = p.aor offset 0) u on true
order by p.aor`,
};

/** Writes a record; with others in one statement where many are imported. Sorted, for the order of locks. */
export const PUT_USERS: Verb = {
  name: "put-users",
  text: `
with given as materialized (
  select g.* from json_to_recordset($1::json) as g(aor text, model text, settings jsonb, identities jsonb)
),
before as materialized (
  select u.aor, jsonb_build_object('aor', u.aor, 'model', u.model, 'settings', u.settings, 'identities', u.identities) as record
  from codomain.users u join given g on g.aor = u.aor
  order by u.aor for update of u
),
put as (
  insert into codomain.users as u (aor, model, settings, identities)
  select g.aor, g.model, g.settings, g.identities
  from given g left join before b on b.aor = g.aor
  order by g.aor collate "C"
  on conflict (aor) do update set
    model = excluded.model, settings = excluded.settings, identities = excluded.identities, changed_at = clock_timestamp()
  returning u.aor
),
told as (
  insert into codomain.changes (kind, aor) select 'user', aor from put order by aor
),
audited as (
  insert into codomain.audit (actor, action, aor, before, after)
  select $2, case when b.aor is null then 'add-user' else 'change-user' end, p.aor, b.record, to_jsonb(g)
  from put p join given g on g.aor = p.aor left join before b on b.aor = p.aor
  order by p.aor
)
select count(*)::int as put from put`,
};

/**
 * Takes record, credentials, documents and binding; the slot with its epoch stays. The slot is locked first, as everywhere.
 * One row comes back, with what there was.
 */
export const REMOVE_USER: Verb = {
  name: "remove-user",
  text: `
with unbound as (
  update codomain.slots s set
    server = null, origin = null, expires_at = null, due_at = null, epoch = s.epoch + 1, verdict = 'stale',
    previous = s.server, changed_at = clock_timestamp()
  where s.aor = $1 and s.server is not null and (s.expires_at is null or s.expires_at > clock_timestamp())
  returning s.aor, s.previous, s.epoch
),
forgotten as (delete from codomain.users where aor = $1 and (select count(*) from unbound) >= 0 returning *),
locked_out as (delete from codomain.credentials where aor = $1 and (select count(*) from unbound) >= 0 returning aor),
dropped as (
  delete from codomain.user_documents where kind = any($3) and aor = $1 and (select count(*) from unbound) >= 0 returning kind
),
removed as (
  select (select count(*) from unbound)::int as bound,
    (select count(*) from forgotten)::int + (select count(*) from locked_out)::int
      + (select count(*) from dropped)::int as recorded
),
told as (
  insert into codomain.changes (kind, aor, server, previous, epoch, document)
  select t.kind, $1, null, t.previous, t.epoch, t.document
  from (
    select 0 as part, 'binding' as kind, previous, epoch, null as document from unbound
    union all
    select 1, 'user', null, null, null from removed where bound + recorded > 0
    union all
    select 2, 'document', null, null, kind from dropped
  ) t
  order by t.part
),
audited as (
  insert into codomain.audit (actor, action, aor, before, after)
  select $2, 'remove-user', $1, (select to_jsonb(f) - 'changed_at' from forgotten f), null
  from removed where bound + recorded > 0
)
select r.bound + r.recorded > 0 as removed, array(select kind from dropped) as documents from removed r`,
};

export interface RemovedRow {
  readonly removed: boolean;
  readonly documents: readonly DocumentKind[];
}

export function userRowOf(row: LookupRow): UserRow | null {
  const record = recordOfRow(row);
  const binding = bindingOf(row);
  return record === null && binding === null ? null : { aor: row.aor, record, binding, epoch: epochOfRow(row) };
}
