import type { ListedMessage, MessageQuery, MessageState, TraceEntry } from "../messages.ts";
import type { Verb } from "./pool.ts";

/**
 * A page of messages in the order they were stored, without their bodies. A statement for each way of asking: one for
 * all of them is planned for none, and reads every message there is to find one user's.
 */
export function listMessages({ recipient, sender, state }: MessageQuery): Verb {
  if (recipient !== undefined) return sender === undefined ? OF_RECIPIENT : OF_PAIR;
  if (sender !== undefined) return OF_SENDER;
  return state === undefined ? OF_ALL : OF_STATE[state];
}

const verb = (name: string, condition: string): Verb => ({
  name: `list-messages-${name}`,
  text: `
select m.id, m.place::float8 as place, m.recipient, m.sender, m.origin, m.call_id, m.octets, m.state, m.tries,
  extract(epoch from m.received_at)::float8 * 1000 as received,
  extract(epoch from m.expires_at)::float8 * 1000 as expires,
  extract(epoch from m.ended_at)::float8 * 1000 as ended
from codomain.messages m
where ${condition} and ($3::text is null or m.state = $3) and m.place > $4
order by m.place
limit $5`,
});

const OF_ALL = verb("all", "$1::text is null and $2::text is null");
const OF_RECIPIENT = verb("of-recipient", "m.recipient = $1 and $2::text is null");
const OF_SENDER = verb("of-sender", "$1::text is null and m.sender = $2");
const OF_PAIR = verb("of-pair", "m.recipient = $1 and m.sender = $2");
/** The state as a constant, so that the index of those that were not delivered serves: few, among all remembered. */
const ofState = (state: MessageState): Verb =>
  verb(`of-state-${state}`, `$1::text is null and $2::text is null and m.state = '${state}'`);
const OF_STATE: Readonly<Record<MessageState, Verb>> = {
  stored: ofState("stored"),
  delivered: ofState("delivered"),
  failed: ofState("failed"),
  expired: ofState("expired"),
};

export interface ListRow {
  readonly id: string;
  readonly place: number;
  readonly recipient: string;
  readonly sender: string;
  readonly origin: string | null;
  readonly call_id: string;
  readonly octets: number;
  readonly state: MessageState;
  readonly tries: number;
  readonly received: number;
  readonly expires: number;
  readonly ended: number | null;
}

export function listedOf({ call_id, received, expires, ended, ...row }: ListRow): ListedMessage {
  return {
    ...row,
    callId: call_id,
    receivedAt: Math.round(received),
    expiresAt: Math.round(expires),
    endedAt: ended === null ? null : Math.round(ended),
  };
}

export const TRACE_MESSAGE: Verb = {
  name: "trace-message",
  text: `
select t.event, extract(epoch from t.at)::float8 * 1000 as at, t.detail
from codomain.message_trace t where t.id = $1 order by t.n`,
};

export function traceOf({ event, at, detail }: TraceEntry): TraceEntry {
  return { event, at: Math.round(at), detail };
}

export const COUNT_MESSAGES: Verb = {
  name: "count-messages",
  text: `
select coalesce(sum(count), 0)::float8 as messages, count(*)::float8 as queues, coalesce(sum(octets), 0)::float8 as octets
from codomain.message_queues`,
};
