-- Made from the catalog by tools/schema-dump.ts; compared in test/directory/postgres-migrate.test.ts.

create table codomain.audit (
  id bigint not null generated always as identity,
  at timestamp with time zone not null default clock_timestamp(),
  actor text not null,
  action text not null,
  aor text collate "C",
  before jsonb,
  after jsonb,
  PRIMARY KEY (id)
);

CREATE INDEX audit_by_age ON codomain.audit USING btree (at);
CREATE INDEX audit_by_aor ON codomain.audit USING btree (aor, id);

create table codomain.changes (
  id bigint not null generated always as identity,
  xid xid8 not null default pg_current_xact_id(),
  at timestamp with time zone not null default clock_timestamp(),
  kind text not null,
  aor text not null,
  server text,
  previous text,
  epoch bigint,
  fork text,
  result text,
  until_at timestamp with time zone,
  document text,
  CHECK ((kind = ANY (ARRAY['binding'::text, 'user'::text, 'fork-closed'::text, 'preparing'::text, 'document'::text, 'watchers'::text, 'verdicts'::text]))),
  CHECK ((result = ANY (ARRAY['learned'::text, 'all-said-404'::text, 'inconclusive'::text]))),
  PRIMARY KEY (id)
);

CREATE INDEX changes_by_age ON codomain.changes USING btree (at);
CREATE INDEX changes_by_cursor ON codomain.changes USING btree (xid, id);

create table codomain.credentials (
  aor text collate "C" not null,
  realm text not null,
  md5 text,
  sha256 text,
  changed_at timestamp with time zone not null default clock_timestamp(),
  md5_whole text,
  sha256_whole text,
  PRIMARY KEY (aor)
);

create table codomain.credits (
  id text not null,
  server text not null,
  n smallint not null,
  aor text collate "C" not null,
  watcher text collate "C" not null,
  event text not null,
  digest text not null,
  until_at timestamp with time zone not null,
  spent_by text,
  under_way boolean not null default false,
  PRIMARY KEY (id, server, n)
);

CREATE INDEX credits_by_expiry ON codomain.credits USING btree (until_at);
CREATE INDEX credits_by_pair ON codomain.credits USING btree (aor, watcher, server);

create table codomain.evictions (
  aor text collate "C" not null,
  server text not null,
  epoch bigint not null,
  tries integer not null default 0,
  due_at timestamp with time zone not null default clock_timestamp(),
  since timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (aor, server)
);

CREATE INDEX evictions_by_due ON codomain.evictions USING btree (due_at);

create table codomain.findings (
  id bigint not null generated always as identity,
  aor text collate "C" not null,
  kind text not null,
  server text not null,
  epoch bigint not null,
  detail text not null,
  at timestamp with time zone not null default clock_timestamp(),
  CHECK ((kind = ANY (ARRAY['repaired'::text, 'pinned'::text, 'conflict'::text]))),
  PRIMARY KEY (id),
  UNIQUE (aor, kind)
);

create table codomain.message_queues (
  recipient text collate "C" not null,
  sender text collate "C" not null,
  count integer not null,
  octets bigint not null,
  fence bigint not null,
  owner text,
  asked text[] not null default '{}'::text[],
  due_at timestamp with time zone not null,
  CHECK ((count > 0)),
  CHECK ((octets >= 0)),
  PRIMARY KEY (recipient, sender)
);

CREATE INDEX message_queues_by_due ON codomain.message_queues USING btree (due_at);
CREATE INDEX message_queues_by_sender ON codomain.message_queues USING btree (sender);

create table codomain.message_trace (
  id text not null,
  n smallint not null,
  event text not null,
  at timestamp with time zone not null default clock_timestamp(),
  detail text not null,
  CHECK ((event = ANY (ARRAY['received'::text, 'stored'::text, 'tried'::text, 'delivered'::text, 'failed'::text]))),
  FOREIGN KEY (id) REFERENCES codomain.messages(id) ON DELETE CASCADE,
  PRIMARY KEY (id, n)
);

create table codomain.messages (
  place bigint not null generated always as identity,
  id text not null,
  key bytea not null,
  recipient text collate "C" not null,
  sender text collate "C" not null,
  origin text,
  call_id text not null,
  from_tag text not null,
  cseq bigint not null,
  request_uri text not null,
  request bytea,
  octets integer not null,
  state text not null default 'stored'::text,
  tries integer not null default 0,
  received_at timestamp with time zone not null,
  expires_at timestamp with time zone not null,
  ended_at timestamp with time zone,
  CHECK (((state = 'stored'::text) = (ended_at IS NULL))),
  CHECK (((state = 'stored'::text) = (request IS NOT NULL))),
  CHECK ((state = ANY (ARRAY['stored'::text, 'delivered'::text, 'failed'::text, 'expired'::text]))),
  PRIMARY KEY (place),
  UNIQUE (id),
  UNIQUE (key)
);

CREATE INDEX messages_by_end ON codomain.messages USING btree (ended_at) WHERE (ended_at IS NOT NULL);
CREATE INDEX messages_by_expiry ON codomain.messages USING btree (expires_at) WHERE (state = 'stored'::text);
CREATE INDEX messages_by_recipient ON codomain.messages USING btree (recipient, place);
CREATE INDEX messages_by_sender ON codomain.messages USING btree (sender, place);
CREATE INDEX messages_by_state ON codomain.messages USING btree (state, place) WHERE (state <> 'delivered'::text);
CREATE INDEX messages_waiting ON codomain.messages USING btree (recipient, sender, place) WHERE (state = 'stored'::text);

create table codomain.migrations (
  number integer not null,
  name text not null,
  checksum text not null,
  applied_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (number)
);

create table codomain.move_batches (
  id text not null,
  serial bigint not null generated always as identity,
  kind text not null,
  from_server text,
  to_server text,
  undo_of text,
  state text not null,
  rate integer not null,
  make_before_break boolean not null,
  actor text not null,
  created_at timestamp with time zone not null default clock_timestamp(),
  ended_at timestamp with time zone,
  filled boolean not null default false,
  filled_to text collate "C" not null default ''::text,
  total integer not null default 0,
  moved integer not null default 0,
  refused integer not null default 0,
  undone integer not null default 0,
  owner text,
  fence bigint not null default 0,
  lease_until timestamp with time zone,
  CHECK (((kind = 'server'::text) = ((from_server IS NOT NULL) AND (to_server IS NOT NULL)))),
  CHECK (((kind = 'undo'::text) = (undo_of IS NOT NULL))),
  CHECK (((state = ANY (ARRAY['cancelled'::text, 'done'::text])) = (ended_at IS NOT NULL))),
  CHECK ((kind = ANY (ARRAY['list'::text, 'server'::text, 'undo'::text]))),
  CHECK ((rate > 0)),
  CHECK ((state = ANY (ARRAY['filling'::text, 'running'::text, 'paused'::text, 'cancelled'::text, 'done'::text]))),
  PRIMARY KEY (id),
  UNIQUE (serial)
);

CREATE INDEX move_batches_to_run ON codomain.move_batches USING btree (serial) WHERE (state = 'running'::text);

create table codomain.move_steps (
  batch text not null,
  position integer not null,
  aor text collate "C" not null,
  from_server text,
  to_server text not null,
  only_epoch bigint,
  state text not null default 'waiting'::text,
  epoch_before bigint,
  epoch bigint,
  reason text,
  begun_at timestamp with time zone,
  ended_at timestamp with time zone,
  CHECK (("position" > 0)),
  CHECK ((state = ANY (ARRAY['waiting'::text, 'preparing'::text, 'moving'::text, 'moved'::text, 'refused'::text, 'undone'::text]))),
  FOREIGN KEY (batch) REFERENCES codomain.move_batches(id) ON DELETE CASCADE,
  PRIMARY KEY (batch, "position")
) with (fillfactor=80);

CREATE INDEX move_steps_open ON codomain.move_steps USING btree (batch, "position") WHERE (state = ANY (ARRAY['waiting'::text, 'preparing'::text, 'moving'::text]));
CREATE INDEX move_steps_open_of ON codomain.move_steps USING btree (aor) WHERE (state = ANY (ARRAY['waiting'::text, 'preparing'::text, 'moving'::text]));
CREATE INDEX move_steps_refused ON codomain.move_steps USING btree (batch, "position") WHERE (state = 'refused'::text);

create table codomain.open_forks (
  id text not null,
  key text not null,
  recipient text collate "C" not null,
  sender text not null,
  method text not null,
  event text not null,
  asked text[] not null,
  owner text not null,
  joinable boolean not null,
  expires_at timestamp with time zone not null,
  PRIMARY KEY (id),
  UNIQUE (key)
);

CREATE INDEX open_forks_by_expiry ON codomain.open_forks USING btree (expires_at);
CREATE INDEX open_forks_by_recipient ON codomain.open_forks USING btree (recipient);
CREATE UNIQUE INDEX open_forks_one_joinable ON codomain.open_forks USING btree (recipient) WHERE joinable;

create table codomain.proxies (
  owner text collate "C" not null,
  contact text not null,
  lease_until timestamp with time zone not null,
  over boolean not null default false,
  PRIMARY KEY (owner)
) with (fillfactor=50);

create table codomain.pushes (
  aor text collate "C" not null,
  server text collate "C" not null,
  wanted text not null,
  pushed text,
  state text not null,
  reductions jsonb not null default '[]'::jsonb,
  error text,
  tries integer not null default 0,
  due_at timestamp with time zone,
  fence bigint not null default 0,
  taken_until timestamp with time zone,
  changed_at timestamp with time zone not null default clock_timestamp(),
  CHECK (((state = 'pushed'::text) = (due_at IS NULL))),
  CHECK ((state = ANY (ARRAY['waiting'::text, 'pushed'::text, 'failed'::text]))),
  PRIMARY KEY (aor, server)
);

CREATE INDEX pushes_due ON codomain.pushes USING btree (due_at) WHERE (due_at IS NOT NULL);

create table codomain.put_off_watchers (
  aor text collate "C" not null,
  watcher text collate "C" not null,
  trusted boolean not null,
  event text not null,
  since timestamp with time zone not null default clock_timestamp(),
  until_at timestamp with time zone not null,
  PRIMARY KEY (aor, watcher, trusted, event)
);

CREATE INDEX put_off_by_expiry ON codomain.put_off_watchers USING btree (until_at);
CREATE INDEX put_off_by_watcher ON codomain.put_off_watchers USING btree (watcher);

create table codomain.reconciler (
  only_row boolean not null default true,
  owner text,
  lease_until timestamp with time zone,
  cursor text collate "C" not null default ''::text,
  checked integer not null default 0,
  rounds integer not null default 0,
  round_began_at timestamp with time zone,
  round_ended_at timestamp with time zone,
  CHECK (only_row),
  PRIMARY KEY (only_row)
);

create table codomain.slots (
  aor text collate "C" not null,
  server text,
  origin text,
  epoch bigint not null,
  expires_at timestamp with time zone,
  due_at timestamp with time zone,
  claims jsonb not null default '{}'::jsonb,
  verdict text not null,
  previous text,
  changed_at timestamp with time zone not null default clock_timestamp(),
  stored boolean not null default false,
  calm_at timestamp with time zone,
  CHECK (((expires_at IS NULL) OR (due_at <= expires_at))),
  CHECK (((server IS NOT NULL) OR (expires_at IS NULL))),
  CHECK (((server IS NULL) = (origin IS NULL))),
  CHECK ((epoch >= 0)),
  CHECK ((origin = ANY (ARRAY['learned'::text, 'published'::text, 'registered'::text, 'admin'::text, 'provisioned'::text]))),
  CHECK ((verdict = ANY (ARRAY['bound'::text, 'told'::text, 'kept'::text, 'held-by'::text, 'stale'::text, 'damped'::text, 'overtaken'::text]))),
  PRIMARY KEY (aor)
) with (fillfactor=70);

CREATE INDEX slots_by_due ON codomain.slots USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX slots_by_server ON codomain.slots USING btree (server, aor) WHERE (server IS NOT NULL);

create table codomain.subscriptions (
  id text collate "C" not null,
  kind text not null,
  aor text collate "C" not null,
  watcher text collate "C" not null,
  origin text,
  event text not null,
  owner text collate "C" not null,
  fence bigint not null,
  revision bigint not null default 0,
  dialog text not null,
  expires_at timestamp with time zone not null,
  notify_reserved bigint not null,
  leg text,
  leg_server text,
  leg_reserved bigint not null,
  extended_epoch bigint not null,
  inserted_at timestamp with time zone not null default clock_timestamp(),
  CHECK ((kind = ANY (ARRAY['presence'::text, 'composed'::text, 'reg'::text, 'winfo'::text]))),
  PRIMARY KEY (id)
) with (fillfactor=75);

CREATE INDEX subscriptions_by_aor ON codomain.subscriptions USING btree (aor, id);
CREATE INDEX subscriptions_by_owner ON codomain.subscriptions USING btree (owner, id);
CREATE INDEX subscriptions_by_watcher ON codomain.subscriptions USING btree (watcher, id);
CREATE INDEX subscriptions_to_watchers ON codomain.subscriptions USING btree (aor) WHERE (kind = 'winfo'::text);

create table codomain.user_documents (
  kind text not null,
  aor text collate "C" not null,
  etag text not null,
  text text not null,
  changed_at timestamp with time zone not null default clock_timestamp(),
  CHECK ((kind = ANY (ARRAY['pres-rules'::text, 'im-rules'::text, 'im-routing'::text]))),
  CHECK ((octet_length(text) <= 65536)),
  PRIMARY KEY (kind, aor)
);

create table codomain.users (
  aor text collate "C" not null,
  model text,
  settings jsonb not null default '{}'::jsonb,
  identities jsonb not null default '{}'::jsonb,
  changed_at timestamp with time zone not null default clock_timestamp(),
  CHECK ((model = ANY (ARRAY['partitioned'::text, 'exclusive'::text, 'unioned'::text]))),
  PRIMARY KEY (aor)
);

CREATE INDEX users_named ON codomain.users USING btree (aor) WHERE (identities <> '{}'::jsonb);

create table codomain.visited (
  holder text collate "C" not null,
  subscription text collate "C",
  chain text collate "C" not null,
  role text not null,
  server text,
  aor text collate "C" not null,
  watcher text collate "C" not null,
  event text not null,
  evidence text,
  echoed boolean not null default false,
  returned boolean not null default false,
  kept_until timestamp with time zone not null default (clock_timestamp() + '00:01:04'::interval),
  place bigint not null generated always as identity,
  CHECK (((server IS NOT NULL) OR (role = 'start'::text))),
  CHECK ((role = ANY (ARRAY['start'::text, 'leg'::text]))),
  CHECK ((subscription = holder)),
  FOREIGN KEY (subscription) REFERENCES codomain.subscriptions(id) ON DELETE SET NULL
);

CREATE INDEX visited_by_pair ON codomain.visited USING btree (aor, watcher);
CREATE INDEX visited_by_subscription ON codomain.visited USING btree (subscription) WHERE (subscription IS NOT NULL);
CREATE INDEX visited_gone ON codomain.visited USING btree (kept_until) WHERE (subscription IS NULL);
CREATE UNIQUE INDEX visited_one_leg ON codomain.visited USING btree (chain, server) WHERE ((role = 'leg'::text) AND (subscription IS NOT NULL));
CREATE UNIQUE INDEX visited_one_start ON codomain.visited USING btree (subscription) WHERE ((role = 'start'::text) AND (subscription IS NOT NULL));

create view codomain.bindings as
 SELECT aor,
    server,
    origin,
    epoch,
    expires_at
   FROM codomain.slots
  WHERE ((server IS NOT NULL) AND ((expires_at IS NULL) OR (expires_at > clock_timestamp())));
