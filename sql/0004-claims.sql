-- Flap damping, out-of-order deregistrations, and servers that must be told that they have lost a user.

alter table codomain.slots
  -- When nothing of past takings by other servers counts any more: each moves it on by window/limit.
  add column calm_at timestamptz,
  drop constraint slots_verdict_check,
  add constraint slots_verdict_check
    check (verdict in ('bound', 'told', 'kept', 'held-by', 'stale', 'damped', 'overtaken'));

-- One row per user and server that lost him, until that server has acknowledged a REGISTER with Contact: *, Expires: 0.
create table codomain.evictions (
  aor text collate "C" not null,
  server text not null,
  -- Of the binding that replaced his.
  epoch bigint not null,
  tries integer not null default 0,
  -- When it is to be tried next. Whoever takes it moves this on, so that nobody else does meanwhile.
  due_at timestamptz not null default clock_timestamp(),
  since timestamptz not null default clock_timestamp(),
  primary key (aor, server)
);

create index evictions_by_due on codomain.evictions (due_at);
