import { IDLE_MS, messageKey, type StoreAsk, type StoreOutcome } from "../messages.ts";
import type { Verb } from "./pool.ts";

/**
 * Judges and stores one message, second statement of a transaction that holds the recipient's slot (`lock-slot.ts`):
 * nobody else inserts for him or removes his last meanwhile, so what this reads is so until the commit.
 *
 * Rejected:
 * - One statement with the lock in it: its snapshot is older than the wait for the lock, so it would see a queue that was
 *   emptied meanwhile, and put the message behind nobody.
 * - Counts in the slot: a second copy that the unique key turns away would have been counted.
 * - A count per sender under a lock of the sender's: two locks a message, of two users, in either order.
 */
export const STORE_MESSAGE: Verb = {
  name: "store-message",
  text: `
with asked as materialized (
  select a.*, clock_timestamp() as now
  from json_to_record($1::json) as a(
    id text, key text, recipient text, sender text, origin text, call_id text, from_tag text, cseq bigint,
    request_uri text, received float8, expires float8, why text, behind boolean, per_recipient int, octets_per_recipient float8,
    per_sender int, delay float8, server text, hold float8)
),
queue as materialized (
  select q.*, q.owner is not null and q.due_at > a.now as busy
  from asked a join codomain.message_queues q on q.recipient = a.recipient and q.sender = a.sender
),
known as materialized (
  select m.id from asked a join codomain.messages m on m.key = decode(a.key, 'hex')
),
judged as materialized (
  select case
    when (select q.busy and a.origin = any(q.asked) from queue q) then 'returned'
    when exists (select from known) then 'known'
    when a.behind and not exists (select from queue) then 'empty'
    when h.count >= a.per_recipient or h.octets + octet_length($2::bytea) > a.octets_per_recipient then 'recipient'
    when (select coalesce(sum(q.count), 0) from codomain.message_queues q where q.sender = a.sender) >= a.per_sender
      then 'sender'
    else 'stored' end as verdict
  from asked a
  cross join lateral (
    select coalesce(sum(q.count), 0) as count, coalesce(sum(q.octets), 0) as octets
    from codomain.message_queues q where q.recipient = a.recipient
  ) h
),
bound as materialized (
  select s.server from asked a join codomain.slots s on s.aor = a.recipient
  where s.server is not null and (s.expires_at is null or s.expires_at > a.now)
),
inserted as (
  insert into codomain.messages
    (id, key, recipient, sender, origin, call_id, from_tag, cseq, request_uri, request, octets, received_at, expires_at)
  select a.id, decode(a.key, 'hex'), a.recipient, a.sender, a.origin, a.call_id, a.from_tag, a.cseq, a.request_uri,
    $2::bytea, octet_length($2::bytea), to_timestamp(a.received / 1000.0), to_timestamp(a.expires / 1000.0)
  from asked a, judged j where j.verdict = 'stored'
  on conflict do nothing
  returning id, recipient, sender, origin, octets, received_at
),
traced as (
  insert into codomain.message_trace (id, n, event, at, detail)
  select i.id, 0, 'received', i.received_at, coalesce(i.origin, '') from inserted i
  union all
  select i.id, 1, 'stored', clock_timestamp(), a.why from inserted i, asked a
),
queued as (
  insert into codomain.message_queues as q (recipient, sender, count, octets, fence, owner, asked, due_at)
  select i.recipient, i.sender, 1, i.octets, nextval('codomain.message_fences'),
    case when a.server is not null then $3::text end,
    case when a.server is not null then array[a.server] else '{}' end,
    clock_timestamp() + interval '1 ms' * case
      when a.server is not null then a.hold
      when a.delay is not null then a.delay
      when exists (select from bound) then 0
      else ${IDLE_MS} end
  from inserted i, asked a
  on conflict (recipient, sender) do update set count = q.count + 1, octets = q.octets + excluded.octets
  returning q.fence, q.count, q.owner
),
flagged as (
  update codomain.slots s set stored = true from inserted i where s.aor = i.recipient and not s.stored returning s.aor
),
told as (
  insert into codomain.changes (kind, aor) select 'user', f.aor from flagged f
)
select
  case when j.verdict = 'stored' and not exists (select from inserted) then 'known' else j.verdict end as verdict,
  (select b.server from bound b) as bound,
  exists (select from flagged) as first,
  coalesce(
    (select w.fence from queued w where w.count = 1 and a.server is not null),
    (select q.fence from queue q where j.verdict = 'known' and q.owner = $3::text and q.busy and a.server = any(q.asked)
      and exists (select from known k where k.id = a.id))
  )::float8 as fence
from asked a, judged j`,
};

export interface StoreRow {
  readonly verdict: "stored" | "known" | "empty" | "returned" | "recipient" | "sender";
  readonly bound: string | null;
  readonly first: boolean;
  readonly fence: number | null;
}

export function valuesOfStore(ask: StoreAsk, proxy: string): unknown[] {
  const { message, limits, underWay } = ask;
  const asked = {
    id: message.id,
    key: messageKey(message),
    recipient: message.recipient,
    sender: storable(message.sender),
    origin: message.origin,
    call_id: storable(message.callId),
    from_tag: storable(message.fromTag),
    cseq: message.cseq,
    request_uri: storable(message.requestUri),
    received: message.receivedAt,
    expires: message.expiresAt,
    why: ask.why,
    behind: ask.behindOthers,
    per_recipient: limits.perRecipient,
    octets_per_recipient: limits.octetsPerRecipient,
    per_sender: limits.perSender,
    delay: ask.delayMs,
    server: underWay?.server ?? null,
    hold: underWay?.holdMs ?? null,
  };
  return [JSON.stringify(asked), Buffer.from(message.request, "latin1"), proxy];
}

/** NUL has no place in a text of PostgreSQL. */
function storable(text: string): string {
  return text.includes("\0") ? text.replaceAll("\0", "\ufffd") : text;
}

export function outcomeOfStore({ message: { recipient, sender } }: StoreAsk, row: StoreRow): StoreOutcome {
  const queue = row.fence === null ? null : { recipient, sender, fence: row.fence };
  switch (row.verdict) {
    case "stored":
      return { outcome: "stored", queue, bound: row.bound };
    case "known":
      return { outcome: "known", queue };
    case "recipient":
    case "sender":
      return { outcome: "full", what: row.verdict };
    default:
      return { outcome: row.verdict };
  }
}
