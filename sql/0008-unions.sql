-- Users on several servers: composed subscriptions, and what keeps requests between their servers from going round.

alter table codomain.subscriptions
  drop constraint subscriptions_kind_check,
  add constraint subscriptions_kind_check check (kind in ('presence', 'composed', 'reg', 'winfo'));

-- Servers on live chains of a pair. A row goes with the subscription that holds it.
create table codomain.visited (
  holder text collate "C" not null references codomain.subscriptions (id) on delete cascade,
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
  -- The order in which they came.
  place bigint generated always as identity,
  check (server is not null or role = 'start')
);

create index visited_by_pair on codomain.visited (aor, watcher);
create index visited_by_holder on codomain.visited (holder);
create unique index visited_one_start on codomain.visited (holder) where role = 'start';
create unique index visited_one_leg on codomain.visited (chain, server) where role = 'leg';

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
