-- Who is called otherwise by some server, for proxies that start: from a server's name for him to his record.

create index users_named on codomain.users (aor) where identities <> '{}'::jsonb;
