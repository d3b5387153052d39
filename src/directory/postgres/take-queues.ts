import { MESSAGE_COLUMNS, type MessageRow } from "./message-row.ts";
import type { Verb } from "./pool.ts";

/**
 * Takes queues that are due, each with the message at its head. `due_at` is the end of the taking as well: when a proxy
 * dies, what it had taken is due again. Rows another is taking at this moment are left to him, and one he has taken a
 * moment ago is judged again on the locked row, and is not due any more.
 *
 * Rejected: `owner` with a lease of the process: a queue is in somebody's hands for seconds, not for days, and it can be
 * lost in them only that long. A renewal per queue would be a write a second for each that hangs.
 */
export const TAKE_QUEUES: Verb = {
  name: "take-queues",
  text: `
with due as materialized (
  select q.recipient, q.sender from codomain.message_queues q
  where q.due_at <= statement_timestamp()
  order by q.due_at
  limit $1
  for update skip locked
),
taken as (
  update codomain.message_queues q set
    owner = $2,
    fence = nextval('codomain.message_fences'),
    asked = (
      select case when s.server is null then '{}'::text[] else array[s.server] end
      from (select) one left join codomain.slots s on s.aor = q.recipient
    ),
    due_at = clock_timestamp() + $3::float8 * interval '1 ms'
  from due
  where q.recipient = due.recipient and q.sender = due.sender
  returning q.recipient, q.sender, q.fence, q.asked[1] as server
)
select t.fence::float8 as fence, t.server, ${MESSAGE_COLUMNS}
from taken t
cross join lateral (
  select m.* from codomain.messages m
  where m.recipient = t.recipient and m.sender = t.sender and m.state = 'stored'
  order by m.place limit 1
) m`,
};

export type TakenRow = MessageRow & { readonly fence: number; readonly server: string | null };

/** Notes who is asked, where it is not the server the user is bound to. */
export const ASKING: Verb = {
  name: "asking",
  text: `
update codomain.message_queues set asked = $4
where recipient = $1 and sender = $2 and fence = $3 and owner is not null
returning fence::float8 as fence`,
};
