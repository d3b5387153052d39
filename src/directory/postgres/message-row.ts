import type { StoredMessage } from "../messages.ts";

/** Columns of a waiting message, `m`. */
export const MESSAGE_COLUMNS = `m.id, m.recipient, m.sender, m.origin, m.call_id, m.from_tag, m.cseq::float8 as cseq,
  m.request_uri, m.request, m.tries, extract(epoch from m.received_at)::float8 * 1000 as received,
  extract(epoch from m.expires_at)::float8 * 1000 as expires`;

export interface MessageRow {
  readonly id: string;
  readonly recipient: string;
  readonly sender: string;
  readonly origin: string | null;
  readonly call_id: string;
  readonly from_tag: string;
  readonly cseq: number;
  readonly request_uri: string;
  readonly request: Buffer;
  readonly tries: number;
  readonly received: number;
  readonly expires: number;
}

export function messageOf(row: MessageRow): StoredMessage {
  return {
    id: row.id,
    recipient: row.recipient,
    sender: row.sender,
    origin: row.origin,
    callId: row.call_id,
    fromTag: row.from_tag,
    cseq: row.cseq,
    requestUri: row.request_uri,
    request: row.request.toString("latin1"),
    tries: row.tries,
    receivedAt: Math.round(row.received),
    expiresAt: Math.round(row.expires),
  };
}
