import type { Verb } from "./pool.ts";

export const CREDENTIALS: Verb = {
  name: "credentials",
  text: "select aor, realm, md5, sha256 from codomain.credentials where aor = $1",
};

/** The audit row says that they were set, never to what. */
export const PUT_CREDENTIALS: Verb = {
  name: "put-credentials",
  text: `
with put as (
  insert into codomain.credentials (aor, realm, md5, sha256) values ($1, $2, $3, $4)
  on conflict (aor) do update set
    realm = excluded.realm, md5 = excluded.md5, sha256 = excluded.sha256, changed_at = clock_timestamp()
)
insert into codomain.audit (actor, action, aor, before, after)
values ($5, 'set-credentials', $1, null, jsonb_build_object('realm', $2::text))`,
};
