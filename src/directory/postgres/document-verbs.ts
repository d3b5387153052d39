import type { DocumentKind, UserDocument } from "../user-documents.ts";
import type { Verb } from "./pool.ts";

const COLUMNS = "d.aor, d.kind, d.etag, d.text, extract(epoch from d.changed_at)::float8 * 1000 as changed";

export const DOCUMENT: Verb = {
  name: "document",
  text: `select ${COLUMNS} from codomain.user_documents d where d.aor = $1 and d.kind = $2`,
};

export const DOCUMENTS: Verb = {
  name: "documents",
  text: `
select ${COLUMNS} from codomain.user_documents d
where d.kind = $1 and d.aor > $2
order by d.aor
limit $3`,
};

/** What every write does besides; the text itself is in no audit row. */
const told = (action: string, before: string, after: string) => `
told as (insert into codomain.changes (kind, aor, document) select 'document', $1, $2 from done),
audited as (
  insert into codomain.audit (actor, action, aor, before, after)
  select $3, '${action}', $1, ${before}, ${after} from done
)
select etag from done`;
const AFTER = "jsonb_build_object('kind', $2::text, 'etag', $4::text, 'octets', octet_length($5::text))";
const before = (etag: string) => `jsonb_build_object('kind', $2::text, 'etag', ${etag}::text)`;

/** Where there is none. No row comes back where there is one by now: it is to be judged anew. */
export const CREATE_DOCUMENT: Verb = {
  name: "create-document",
  text: `
with done as (
  insert into codomain.user_documents (aor, kind, etag, text) values ($1, $2, $4, $5)
  on conflict do nothing
  returning etag
),${told("put-document", "null", AFTER)}`,
};

/** Where this one stands: what is compared is the locked row. */
export const REPLACE_DOCUMENT: Verb = {
  name: "replace-document",
  text: `
with done as (
  update codomain.user_documents d set etag = $4, text = $5, changed_at = clock_timestamp()
  where d.aor = $1 and d.kind = $2 and d.etag = $6
  returning d.etag
),${told("put-document", before("$6"), AFTER)}`,
};

export const REMOVE_DOCUMENT: Verb = {
  name: "remove-document",
  text: `
with done as (
  delete from codomain.user_documents d where d.aor = $1 and d.kind = $2 and d.etag = $4
  returning d.etag
),${told("remove-document", before("$4"), "null")}`,
};

export interface DocumentRow {
  readonly aor: string;
  readonly kind: DocumentKind;
  readonly etag: string;
  readonly text: string;
  readonly changed: number;
}

export function documentOf({ aor, kind, etag, text, changed }: DocumentRow): UserDocument {
  return { aor, kind, etag, text, changedAt: Math.floor(changed) };
}
