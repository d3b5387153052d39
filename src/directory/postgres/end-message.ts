import { TRIES_TRACED } from "../messages.ts";
import { MESSAGE_COLUMNS, type MessageRow } from "./message-row.ts";
import type { Verb } from "./pool.ts";

/**
 * Removes a message from its queue, and the queue with its last one; second statement of a transaction that holds the
 * recipient's slot. Who holds the queue gets the next message, and holds it for another while. Repeated, it ends nothing
 * more and answers with the same next one.
 */
export const END_MESSAGE: Verb = {
  name: "end-message",
  text: `
with ended as (
  update codomain.messages m set state = $2, ended_at = clock_timestamp(), request = null
  where m.id = $1 and m.state = 'stored'
  returning m.id, m.octets
),
traced as (
  insert into codomain.message_trace (id, n, event, detail)
  select e.id, ${TRIES_TRACED + 2}, case when $2 = 'delivered' then 'delivered' else 'failed' end, $3 from ended e
),
of as materialized (
  select q.recipient, q.sender, q.count - (select count(*) from ended) as left_over,
    q.owner is not null and q.fence = $4 as mine
  from codomain.messages m
  join codomain.message_queues q on q.recipient = m.recipient and q.sender = m.sender
  where m.id = $1
),
emptied as (
  delete from codomain.message_queues q using of
  where of.left_over = 0 and q.recipient = of.recipient and q.sender = of.sender
  returning q.recipient, q.sender
),
lessened as (
  update codomain.message_queues q set
    count = of.left_over,
    octets = q.octets - (select coalesce(sum(e.octets), 0) from ended e),
    due_at = case when q.owner is not null and q.fence = $4
      then clock_timestamp() + $5::float8 * interval '1 ms' else q.due_at end
  from of
  where of.left_over > 0 and q.recipient = of.recipient and q.sender = of.sender
  returning q.recipient, q.sender, q.owner is not null and q.fence = $4 as mine
),
flagged as (
  update codomain.slots s set stored = false from emptied d
  where s.aor = d.recipient
    and not exists (select from codomain.message_queues q where q.recipient = d.recipient and q.sender <> d.sender)
  returning s.aor
),
told as (
  insert into codomain.changes (kind, aor) select 'user', f.aor from flagged f
)
select exists (select from ended) as ended, exists (select from flagged) as last, ${MESSAGE_COLUMNS}
from (select) one
left join lessened l on l.mine
left join lateral (
  select m.* from codomain.messages m
  where m.recipient = l.recipient and m.sender = l.sender and m.state = 'stored' and m.id <> $1
  order by m.place limit 1
) m on true`,
};

export type EndRow = (MessageRow | { readonly id: null }) & { readonly ended: boolean; readonly last: boolean };
