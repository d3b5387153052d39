-- What users and admins keep about a user: who may see him, who may write to him, where his messages go.

create table codomain.user_documents (
  kind text not null check (kind in ('pres-rules', 'im-rules', 'im-routing')),
  aor text collate "C" not null,
  -- A digest of the text.
  etag text not null,
  text text not null check (octet_length(text) <= 65536),
  changed_at timestamptz not null default clock_timestamp(),
  primary key (kind, aor)
);

alter table codomain.changes
  -- Of the kind `document`: which of his it is.
  add column document text,
  drop constraint changes_kind_check,
  add constraint changes_kind_check check (kind in ('binding', 'user', 'fork-closed', 'preparing', 'document'));
