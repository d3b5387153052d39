import { TRIES_TRACED } from "../messages.ts";
import type { Verb } from "./pool.ts";

/** Gives a taken queue up for a while, and notes the try that was made, if one was. One row: it was in these hands. */
export const DEFER_QUEUE: Verb = {
  name: "defer-queue",
  text: `
with given_up as (
  update codomain.message_queues set
    owner = null, asked = '{}', due_at = clock_timestamp() + $4::float8 * interval '1 ms'
  where recipient = $1 and sender = $2 and fence = $3 and owner is not null
  returning recipient, sender
),
head as materialized (
  select m.id from given_up g
  cross join lateral (
    select m.id from codomain.messages m
    where m.recipient = g.recipient and m.sender = g.sender and m.state = 'stored'
    order by m.place limit 1
  ) m
  where $5::text is not null
),
tried as (
  update codomain.messages m set tries = m.tries + 1 from head where m.id = head.id and m.state = 'stored'
  returning m.id, m.tries
),
traced as (
  insert into codomain.message_trace (id, n, event, detail)
  select t.id, 1 + least(t.tries, ${TRIES_TRACED}), 'tried', $5 from tried t
  on conflict (id, n) do update set at = excluded.at, detail = excluded.detail
)
select 1 as given_up from given_up`,
};
