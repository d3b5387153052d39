-- Who owns what, and subscriptions of which this domain's proxies are the notifier. Names are explained for other
-- readers in sql/README.md.

-- One row per running process of a proxy: its lease. Small and always busy.
create table codomain.proxies (
  owner text collate "C" primary key,
  -- SIP URI under which the other proxies reach it.
  contact text not null,
  lease_until timestamptz not null,
  -- Declared so by anybody, once it had lapsed, or by the proxy itself. Never taken back.
  over boolean not null default false
) with (fillfactor = 50);

create table codomain.subscriptions (
  -- Our tag in the watcher's dialog.
  id text collate "C" primary key,
  kind text not null check (kind in ('presence', 'reg')),
  aor text collate "C" not null,
  watcher text collate "C" not null,
  origin text,
  event text not null,
  -- Of codomain.proxies. One that is not there is over.
  owner text collate "C" not null,
  fence bigint not null,
  -- The owner's own count of updates: one that arrives late changes nothing. From 0 with every owner.
  revision bigint not null default 0,
  dialog text not null,
  expires_at timestamptz not null,
  notify_reserved bigint not null,
  leg text,
  leg_server text,
  leg_reserved bigint not null,
  extended_epoch bigint not null,
  inserted_at timestamptz not null default clock_timestamp()
) with (fillfactor = 75);

-- No index on anything that a refresh, a document or a move changes: such updates touch one page and no index.
create index subscriptions_by_aor on codomain.subscriptions (aor, id);
create index subscriptions_by_watcher on codomain.subscriptions (watcher, id);
create index subscriptions_by_owner on codomain.subscriptions (owner, id);
