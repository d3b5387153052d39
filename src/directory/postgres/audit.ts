import type { AuditEntry } from "../directory.ts";
import type { Verb } from "./pool.ts";

/** The newest first; `$2` pages backwards by id. */
export const AUDIT: Verb = {
  name: "audit",
  text: `
select id::text, extract(epoch from at)::float8 * 1000 as at, actor, action, aor, before, after
from codomain.audit
where ($1::text is null or aor = $1) and ($2::bigint is null or id < $2)
order by id desc
limit $3`,
};

export const RECORD_AUDIT: Verb = {
  name: "record-audit",
  text: "insert into codomain.audit (actor, action, aor, before, after) values ($1, $2, $3, $4::jsonb, $5::jsonb)",
};

export function auditEntryOf(row: AuditEntry): AuditEntry {
  return { ...row, at: Math.floor(row.at) };
}
