-- Users on several servers: composed subscriptions, and what keeps requests between their servers from going round.

alter table codomain.subscriptions
  drop constraint subscriptions_kind_check,
  add constraint subscriptions_kind_check check (kind in ('presence', 'composed', 'reg', 'winfo'));

-- Servers on chains of a pair. A row goes with the subscription that holds it, but a leg's not before what the leg has
-- set off can be back.
create table codomain.visited (
  holder text collate "C" not null,
  -- The same while it lives, and the leg with it; null: gone.
  subscription text collate "C" references codomain.subscriptions (id) on delete set null,
  -- Id of the first subscription of the chain, which may be gone before the chain.
  chain text collate "C" not null,
  -- start: a SUBSCRIBE of the chain came from there. leg: a leg leads there.
  role text not null check (role in ('start', 'leg')),
  -- Null: a client.
  server text,
  aor text collate "C" not null,
  watcher text collate "C" not null,
  event text not null,
  evidence text,
  echoed boolean not null default false,
  -- Something has come from there since.
  returned boolean not null default false,
  -- One that is gone counts until then.
  kept_until timestamptz not null default clock_timestamp() + interval '64 s',
  -- The order in which they came.
  place bigint generated always as identity,
  check (server is not null or role = 'start'),
  check (subscription = holder)
);

create index visited_by_pair on codomain.visited (aor, watcher);
create index visited_by_subscription on codomain.visited (subscription) where subscription is not null;
create index visited_gone on codomain.visited (kept_until) where subscription is null;
create unique index visited_one_start on codomain.visited (subscription) where role = 'start' and subscription is not null;
create unique index visited_one_leg on codomain.visited (chain, server) where role = 'leg' and subscription is not null;

-- What a server may send on, or back, once each.
create table codomain.credits (
  -- The granting, the server, and which of its credits: so that a granting that is repeated grants nothing more.
  id text not null,
  server text not null,
  n smallint not null,
  aor text collate "C" not null,
  watcher text collate "C" not null,
  event text not null,
  digest text not null,
  until_at timestamptz not null,
  -- Names the request that spent it.
  spent_by text,
  primary key (id, server, n)
);

create index credits_by_pair on codomain.credits (aor, watcher, server);
create index credits_by_expiry on codomain.credits (until_at);
