-- Where users are. Every statement that changes a row here writes its change to codomain.changes in the same
-- transaction. Names are explained for other readers in sql/README.md.

create schema if not exists codomain;

-- One row per AoR that was ever claimed; never deleted, so that its epoch is never reset.
create table codomain.slots (
  aor text collate "C" primary key,
  server text,
  origin text check (origin in ('learned', 'published', 'registered', 'admin', 'provisioned')),
  epoch bigint not null check (epoch >= 0),
  expires_at timestamptz,
  -- When the sweep is to look at it: at the latest when it expires. A refresh leaves it, so that no index has to change.
  due_at timestamptz,
  -- Call-ID -> cseq, until, flags, server, with tabs between: RFC 3261 10.3 step 7. In the row, so that the row's lock covers it.
  claims jsonb not null default '{}',
  -- What the last claim was told, and who held before it: `returning old` needs version 18, we run from 15 on.
  verdict text not null check (verdict in ('bound', 'told', 'kept', 'held-by', 'stale')),
  previous text,
  changed_at timestamptz not null default clock_timestamp(),
  check ((server is null) = (origin is null)),
  check (server is not null or expires_at is null),
  check (expires_at is null or due_at <= expires_at)
) with (fillfactor = 70);

create index slots_by_server on codomain.slots (server, aor) where server is not null;
create index slots_by_due on codomain.slots (due_at) where due_at is not null;

-- What an admin provisioned about a user.
create table codomain.users (
  aor text collate "C" primary key,
  model text check (model in ('partitioned', 'exclusive', 'unioned')),
  settings jsonb not null default '{}',
  identities jsonb not null default '{}',
  changed_at timestamptz not null default clock_timestamp()
);

-- Digest credentials (RFC 8760): H(user:realm:password).
create table codomain.credentials (
  aor text collate "C" primary key,
  realm text not null,
  md5 text,
  sha256 text,
  changed_at timestamptz not null default clock_timestamp()
);

-- Forks under way. One per (recipient, sender, method, event), of which `key` is a digest; one joinable per recipient.
create table codomain.open_forks (
  id text primary key,
  key text not null unique,
  recipient text collate "C" not null,
  sender text not null,
  method text not null,
  event text not null,
  asked text[] not null,
  owner text not null,
  joinable boolean not null,
  expires_at timestamptz not null
);

create index open_forks_by_recipient on codomain.open_forks (recipient);
create unique index open_forks_one_joinable on codomain.open_forks (recipient) where joinable;
create index open_forks_by_expiry on codomain.open_forks (expires_at);

-- The outbox. Readers go by (xid, id), never by id alone: a row that commits late would be skipped for ever.
create table codomain.changes (
  id bigint generated always as identity primary key,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default clock_timestamp(),
  kind text not null check (kind in ('binding', 'user', 'fork-closed')),
  aor text not null,
  server text,
  previous text,
  epoch bigint,
  fork text,
  result text check (result in ('learned', 'all-said-404', 'inconclusive'))
);

create index changes_by_cursor on codomain.changes (xid, id);
create index changes_by_age on codomain.changes (at);

create table codomain.audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor text not null,
  action text not null,
  aor text collate "C",
  before jsonb,
  after jsonb
);

create index audit_by_aor on codomain.audit (aor, id);
create index audit_by_age on codomain.audit (at);

-- For other readers: who is bound where at this moment.
create view codomain.bindings as
  select aor, server, origin, epoch, expires_at
  from codomain.slots
  where server is not null and (expires_at is null or expires_at > clock_timestamp());
