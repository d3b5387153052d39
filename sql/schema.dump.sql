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
  CHECK ((kind = ANY (ARRAY['binding'::text, 'user'::text, 'fork-closed'::text]))),
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
  PRIMARY KEY (aor)
);

create table codomain.migrations (
  number integer not null,
  name text not null,
  checksum text not null,
  applied_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (number)
);

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
  CHECK (((expires_at IS NULL) OR (due_at <= expires_at))),
  CHECK (((server IS NOT NULL) OR (expires_at IS NULL))),
  CHECK (((server IS NULL) = (origin IS NULL))),
  CHECK ((epoch >= 0)),
  CHECK ((origin = ANY (ARRAY['learned'::text, 'published'::text, 'registered'::text, 'admin'::text, 'provisioned'::text]))),
  CHECK ((verdict = ANY (ARRAY['bound'::text, 'told'::text, 'kept'::text, 'held-by'::text, 'stale'::text]))),
  PRIMARY KEY (aor)
) with (fillfactor=70);

CREATE INDEX slots_by_due ON codomain.slots USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX slots_by_server ON codomain.slots USING btree (server, aor) WHERE (server IS NOT NULL);

create table codomain.users (
  aor text collate "C" not null,
  model text,
  settings jsonb not null default '{}'::jsonb,
  identities jsonb not null default '{}'::jsonb,
  changed_at timestamp with time zone not null default clock_timestamp(),
  CHECK ((model = ANY (ARRAY['partitioned'::text, 'exclusive'::text, 'unioned'::text]))),
  PRIMARY KEY (aor)
);

create view codomain.bindings as
 SELECT aor,
    server,
    origin,
    epoch,
    expires_at
   FROM codomain.slots
  WHERE ((server IS NOT NULL) AND ((expires_at IS NULL) OR (expires_at > clock_timestamp())));
