-- Messages that wait until they can be delivered. Emptiness check, insert and last removal happen under the lock of the
-- recipient's slot; what is read under it is read in a later statement of the same transaction.

-- True while something is stored for him; lookups tell it, so that a relay to anybody else asks nothing.
alter table codomain.slots add column stored boolean not null default false;

create table codomain.messages (
  -- The order within a queue: taken under the slot's lock.
  place bigint generated always as identity primary key,
  id text not null unique,
  -- SHA-256 of From tag, Call-ID, CSeq and Request-URI: a second copy is stored once.
  key bytea not null unique,
  recipient text collate "C" not null,
  sender text collate "C" not null,
  origin text,
  call_id text not null,
  from_tag text not null,
  cseq bigint not null,
  request_uri text not null,
  request bytea,
  octets integer not null,
  state text not null default 'stored' check (state in ('stored', 'delivered', 'failed', 'expired')),
  tries integer not null default 0,
  received_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz,
  check ((state = 'stored') = (ended_at is null)),
  check ((state = 'stored') = (request is not null))
);

create index messages_waiting on codomain.messages (recipient, sender, place) where state = 'stored';
create index messages_by_recipient on codomain.messages (recipient, place);
create index messages_by_sender on codomain.messages (sender, place);
create index messages_by_expiry on codomain.messages (expires_at) where state = 'stored';
create index messages_by_end on codomain.messages (ended_at) where ended_at is not null;

-- n: 0 received, 1 stored, then the tries, the last place for the end.
create table codomain.message_trace (
  id text not null references codomain.messages (id) on delete cascade,
  n smallint not null,
  event text not null check (event in ('received', 'stored', 'tried', 'delivered', 'failed')),
  at timestamptz not null default clock_timestamp(),
  detail text not null,
  primary key (id, n)
);

-- One row per pair of which something waits.
create table codomain.message_queues (
  recipient text collate "C" not null,
  sender text collate "C" not null,
  count integer not null check (count > 0),
  octets bigint not null check (octets >= 0),
  -- From a sequence, so that no queue ever has one twice, not even one that was empty in between.
  fence bigint not null,
  -- The proxy that has it until due_at; null: nobody.
  owner text,
  -- Servers that are asked meanwhile.
  asked text[] not null default '{}',
  due_at timestamptz not null,
  primary key (recipient, sender)
);

create index message_queues_by_due on codomain.message_queues (due_at);
create index message_queues_by_sender on codomain.message_queues (sender);

create sequence codomain.message_fences;
