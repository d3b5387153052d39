import { MESSAGE_COLUMNS } from "./message-row.ts";
import type { Verb } from "./pool.ts";

/** Waiting messages that have outlived their time; not those of a queue in somebody's hands, who looks by himself. */
export const OVERDUE_MESSAGES: Verb = {
  name: "overdue-messages",
  text: `
select ${MESSAGE_COLUMNS}
from codomain.messages m
join codomain.message_queues q on q.recipient = m.recipient and q.sender = m.sender
where m.state = 'stored' and m.expires_at <= statement_timestamp()
  and (q.owner is null or q.due_at <= statement_timestamp())
order by m.expires_at, m.place
limit $1`,
};

/** Forgets what ended long ago; its trace goes with it. */
export const SWEEP_MESSAGES: Verb = {
  name: "sweep-messages",
  text: `
with gone as (
  delete from codomain.messages where place in (
    select place from codomain.messages
    where ended_at < statement_timestamp() - $1::float8 * interval '1 ms'
    order by ended_at limit $2 for update skip locked)
  returning 1
)
select count(*)::int as gone from gone`,
};
