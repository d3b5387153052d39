import type { Verb } from "./pool.ts";

/** Makes the queues of these recipients due, but for those in somebody's hands: he looks by himself what has changed. */
export const WAKE_QUEUES: Verb = {
  name: "wake-queues",
  text: `
with wanted as materialized (
  select q.recipient, q.sender from codomain.message_queues q
  where q.recipient = any($1::text[]) and q.owner is null and q.due_at > statement_timestamp()
  order by q.recipient, q.sender
  for update
),
woken as (
  update codomain.message_queues q set due_at = clock_timestamp() from wanted w
  where q.recipient = w.recipient and q.sender = w.sender
  returning 1
)
select count(*)::int as woken from woken`,
};

/** The same by server, or for all who are bound anywhere: after a server was away, and after the feed was. */
export const WAKE_BOUND: Verb = {
  name: "wake-bound",
  text: `
with wanted as materialized (
  select q.recipient, q.sender from codomain.message_queues q
  join codomain.slots s on s.aor = q.recipient
  where s.server is not null and ($1::text is null or s.server = $1)
    and q.owner is null and q.due_at > statement_timestamp() + $3::float8 * interval '1 ms'
  limit $2
  for update of q skip locked
),
woken as (
  update codomain.message_queues q set due_at = clock_timestamp() + random() * $3::float8 * interval '1 ms' from wanted w
  where q.recipient = w.recipient and q.sender = w.sender
  returning 1
)
select count(*)::int as woken from woken`,
};
