import type { Credentials } from "../directory.ts";
import type { Verb } from "./pool.ts";

export interface CredentialsRow extends Omit<Credentials, "whole"> {
  readonly md5_whole: string | null;
  readonly sha256_whole: string | null;
}

export function credentialsOf({ md5_whole, sha256_whole, ...row }: CredentialsRow): Credentials {
  if (md5_whole === null && sha256_whole === null) return row;
  return { ...row, whole: { md5: md5_whole, sha256: sha256_whole } };
}

export const CREDENTIALS: Verb = {
  name: "credentials",
  text: "select aor, realm, md5, sha256, md5_whole, sha256_whole from codomain.credentials where aor = $1",
};

/** The audit row says that they were set, never to what. */
export const PUT_CREDENTIALS: Verb = {
  name: "put-credentials",
  text: `
with put as (
  insert into codomain.credentials (aor, realm, md5, sha256, md5_whole, sha256_whole)
  values ($1, $2, $3, $4, $6, $7)
  on conflict (aor) do update set
    realm = excluded.realm, md5 = excluded.md5, sha256 = excluded.sha256,
    md5_whole = excluded.md5_whole, sha256_whole = excluded.sha256_whole, changed_at = clock_timestamp()
)
insert into codomain.audit (actor, action, aor, before, after)
values ($5, 'set-credentials', $1, null, jsonb_build_object('realm', $2::text))`,
};
