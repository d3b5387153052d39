-- Users moved in bulk: the journal. A batch has one owner at a time, by a lease and a fence of its own; each step is one
-- move, a test-and-set on the user's slot.

create table codomain.move_batches (
  id text primary key,
  serial bigint generated always as identity unique,
  kind text not null check (kind in ('list', 'server', 'undo')),
  from_server text,
  to_server text,
  -- No foreign key: the batch that was undone may be cleared away first.
  undo_of text,
  state text not null check (state in ('filling', 'running', 'paused', 'cancelled', 'done')),
  -- Users a second, at most.
  rate integer not null check (rate > 0),
  make_before_break boolean not null,
  actor text not null,
  created_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  filled boolean not null default false,
  -- As far as the source has been read: an AoR, or a position of the batch undone.
  filled_to text collate "C" not null default '',
  total integer not null default 0,
  moved integer not null default 0,
  refused integer not null default 0,
  undone integer not null default 0,
  owner text,
  fence bigint not null default 0,
  lease_until timestamptz,
  check ((kind = 'server') = (from_server is not null and to_server is not null)),
  check ((kind = 'undo') = (undo_of is not null)),
  check ((state in ('cancelled', 'done')) = (ended_at is not null))
);

create index move_batches_to_run on codomain.move_batches (serial) where state = 'running';

create table codomain.move_steps (
  batch text not null references codomain.move_batches on delete cascade,
  -- From 1, in the order of work.
  position integer not null check (position > 0),
  aor text collate "C" not null,
  -- Null: wherever he is, until the step is begun.
  from_server text,
  to_server text not null,
  only_epoch bigint,
  state text not null default 'waiting'
    check (state in ('waiting', 'preparing', 'moving', 'moved', 'refused', 'undone')),
  -- Of his binding when the step was begun, and of the one the move made.
  epoch_before bigint,
  epoch bigint,
  reason text,
  begun_at timestamptz,
  ended_at timestamptz,
  primary key (batch, position)
) with (fillfactor = 80);

create index move_steps_open on codomain.move_steps (batch, position) where state in ('waiting', 'preparing', 'moving');
create index move_steps_open_of on codomain.move_steps (aor) where state in ('waiting', 'preparing', 'moving');
create index move_steps_refused on codomain.move_steps (batch, position) where state = 'refused';

-- Every proxy is told who is about to move, so that second legs go up before.
alter table codomain.changes add column until_at timestamptz;
alter table codomain.changes drop constraint changes_kind_check;
alter table codomain.changes add constraint changes_kind_check
  check (kind in ('binding', 'user', 'fork-closed', 'preparing'));
