-- Users' rules on their way to servers that keep their own (central provisioning): what each should have and what it has.

create table codomain.pushes (
  aor text collate "C" not null,
  server text collate "C" not null,
  -- Tag of what the server should have; empty: no document.
  wanted text not null,
  -- Tag of what it has; null: nothing was ever pushed.
  pushed text,
  state text not null check (state in ('waiting', 'pushed', 'failed')),
  -- What of the rules the server cannot express, one sentence each.
  reductions jsonb not null default '[]',
  error text,
  tries integer not null default 0,
  -- Null: nothing is to be done.
  due_at timestamptz,
  -- Whoever brings it is alone until then; two versions on the way at once could overtake each other.
  fence bigint not null default 0,
  taken_until timestamptz,
  changed_at timestamptz not null default clock_timestamp(),
  primary key (aor, server),
  check ((state = 'pushed') = (due_at is null))
);

create index pushes_due on codomain.pushes (due_at) where due_at is not null;
