-- The sweep that asks servers whether they really have their users: whose turn it is, how far it has come, what it found.

create table codomain.reconciler (
  only_row boolean primary key default true check (only_row),
  owner text,
  lease_until timestamptz,
  -- The last user looked at in this round.
  cursor text collate "C" not null default '',
  -- In this round; in all of them.
  checked integer not null default 0,
  rounds integer not null default 0,
  round_began_at timestamptz,
  round_ended_at timestamptz
);

insert into codomain.reconciler default values;

-- The latest of each kind of a user.
create table codomain.findings (
  id bigint generated always as identity primary key,
  aor text collate "C" not null,
  kind text not null check (kind in ('repaired', 'pinned', 'conflict')),
  server text not null,
  epoch bigint not null,
  detail text not null,
  at timestamptz not null default clock_timestamp(),
  unique (aor, kind)
);
