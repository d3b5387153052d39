-- Who has asked to watch whom and waits for a decision, also when his subscription is over (RFC 3857 4.7.1, `waiting`),
-- and the change that tells of it.

create table codomain.put_off_watchers (
  aor text collate "C" not null,
  watcher text collate "C" not null,
  -- Whether he was believed to be the watcher: rules that name someone do not match one who is not.
  trusted boolean not null,
  event text not null,
  since timestamptz not null default clock_timestamp(),
  until_at timestamptz not null,
  primary key (aor, watcher, trusted, event)
);

create index put_off_by_watcher on codomain.put_off_watchers (watcher);
create index put_off_by_expiry on codomain.put_off_watchers (until_at);

-- Whether anybody is told of a user's watchers. A kind never changes, so updates of rows touch no more indices than before.
create index subscriptions_to_watchers on codomain.subscriptions (aor) where kind = 'winfo';

alter table codomain.changes drop constraint changes_kind_check;
alter table codomain.changes add constraint changes_kind_check
  check (kind in ('binding', 'user', 'fork-closed', 'preparing', 'document', 'watchers'));
