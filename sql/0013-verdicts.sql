-- The change that tells that a decision point decides otherwise about a user; an empty aor: about anybody.

alter table codomain.changes drop constraint changes_kind_check;
alter table codomain.changes add constraint changes_kind_check
  check (kind in ('binding', 'user', 'fork-closed', 'preparing', 'document', 'watchers', 'verdicts'));
