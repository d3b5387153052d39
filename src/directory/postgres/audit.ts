import type { AuditEntry } from "../directory.ts";
import type { Verb } from "./pool.ts";

/** The newest first; `$2` pages backwards by id: by the number, not by the text of it that is put out. */
export const AUDIT: Verb = {
  name: "audit",
  text: `
select a.id::text as id, extract(epoch from a.at)::float8 * 1000 as at, a.actor, a.action, a.aor, a.before, a.after
from codomain.audit a
where ($1::text is null or a.aor = $1) and ($2::bigint is null or a.id < $2)
order by a.id desc
limit $3`,
};

export const RECORD_AUDIT: Verb = {
  name: "record-audit",
  text: "insert into codomain.audit (actor, action, aor, before, after) values ($1, $2, $3, $4::jsonb, $5::jsonb)",
};

export function auditEntryOf(row: AuditEntry): AuditEntry {
  return { ...row, at: Math.floor(row.at) };
}
