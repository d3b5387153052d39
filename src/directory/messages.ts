import { createHash } from "node:crypto";

/**
 * Messages that wait until they can be delivered (models.md, "Stored messages"; RFC 3428): the port. They stand in queues,
 * one per (recipient, sender), in the order they came. A queue that is due is *taken* by one proxy at a time, for a while
 * and under a fence that rises with every taking; when that while is over without a word, the queue is due again for
 * everybody, so that nothing a dead proxy had taken is lost. Emptiness check, insert and last removal happen under the
 * lock of the recipient's slot. `memory-messages.ts` and `postgres/postgres-messages.ts` pass one contract suite. What is
 * expected is answered as data; what is thrown is a DirectoryUnavailable.
 */

/** What makes two requests the same message. */
export interface MessageIdentity {
  readonly callId: string;
  readonly fromTag: string;
  readonly cseq: number;
  readonly requestUri: string;
}

export interface NewMessage extends MessageIdentity {
  /** Made by the caller, random: the same id again is the same insert. */
  readonly id: string;
  /** Canonical AoRs. */
  readonly recipient: string;
  readonly sender: string;
  /** Server it came from; null: a client, or this proxy itself. */
  readonly origin: string | null;
  /** The whole request as it will be sent, without Via, Route and Record-Route. One character per octet. */
  readonly request: string;
  /** When it was received, and when it is worth nothing any more: milliseconds since 1970. */
  readonly receivedAt: number;
  readonly expiresAt: number;
}

export interface StoredMessage extends NewMessage {
  /** Tries that failed. */
  readonly tries: number;
}

/** Most that may wait; more is refused. */
export interface MessageLimits {
  /** Messages for one recipient, of all senders. */
  readonly perRecipient: number;
  /** Octets of them. */
  readonly octetsPerRecipient: number;
  /** Messages of one sender, for all recipients. Counted without a lock, so that a few more may slip in at once. */
  readonly perSender: number;
}

export interface StoreAsk {
  readonly message: NewMessage;
  /** Only where earlier messages of this pair are waiting. */
  readonly behindOthers: boolean;
  /** Why it is stored, for its trace: `no server holds the user now`. */
  readonly why: string;
  readonly limits: MessageLimits;
  /** Milliseconds until the first try; null: at once where the user is bound, else when he is bound. */
  readonly delayMs: number | null;
  /**
   * The request is still under way to this server: the queue is taken at once, for so many milliseconds, if this message
   * is first in it.
   */
  readonly underWay: { readonly server: string; readonly holdMs: number } | null;
}

export type StoreOutcome =
  /** Durable. `queue`: taken for the caller, as asked. `bound`: where the user is, as the statement saw it. */
  | { readonly outcome: "stored"; readonly queue: QueueRef | null; readonly bound: string | null }
  /** The same message is here, or was a while ago. */
  | { readonly outcome: "known"; readonly queue: QueueRef | null }
  /** Asked for `behindOthers`, and nothing is waiting. */
  | { readonly outcome: "empty" }
  /** It comes from a server that is being asked to take a message of this very pair: its way of saying *not here*. */
  | { readonly outcome: "returned" }
  | { readonly outcome: "full"; readonly what: "recipient" | "sender" };

/** A queue as one taking of it. */
export interface QueueRef {
  readonly recipient: string;
  readonly sender: string;
  readonly fence: number;
}

export interface TakenQueue extends QueueRef {
  /** The oldest that waits. */
  readonly message: StoredMessage;
  /** Server the user was bound to: noted as being asked; null: none. */
  readonly server: string | null;
}

/** How a message ended. */
export interface MessageEnd {
  readonly state: "delivered" | "failed" | "expired";
  /** For the trace: `200 from east`, `603 Declined from east`. */
  readonly detail: string;
}

export interface EndOutcome {
  /** False: it had ended before. */
  readonly ended: boolean;
  /** The next of the queue, taken under the same fence for another while; null: it is empty, or another has it. */
  readonly next: StoredMessage | null;
}

export interface MessageQuery {
  readonly recipient?: string;
  readonly sender?: string;
  readonly state?: MessageState;
  /** Exclusive lower bound, for paging: `place` of the last one seen. */
  readonly after?: number;
  /** At most 1000. */
  readonly limit: number;
}

export type MessageState = "stored" | MessageEnd["state"];

/** One message as an admin sees it: no body. */
export interface ListedMessage {
  readonly id: string;
  /** Rises with every message stored. */
  readonly place: number;
  readonly recipient: string;
  readonly sender: string;
  readonly origin: string | null;
  readonly callId: string;
  readonly octets: number;
  readonly state: MessageState;
  readonly tries: number;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
  readonly expiresAt: number;
  /** Null: it waits. */
  readonly endedAt: number | null;
}

export interface TraceEntry {
  /** `failed` with the reason in `detail`, expiry too. */
  readonly event: "received" | "stored" | "tried" | "delivered" | "failed";
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly detail: string;
}

export interface MessageStore {
  /** Safe to repeat. */
  store(ask: StoreAsk): Promise<StoreOutcome>;
  /** Up to `limit` queues that are due, the longest due first, each for `holdMs`. Two that take at once get different ones. */
  take(limit: number, holdMs: number): Promise<readonly TakenQueue[]>;
  /** Notes which servers are about to be asked, where they are others than at the taking. False: another has the queue. */
  asking(queue: QueueRef, servers: readonly string[]): Promise<boolean>;
  /** Removes a message from its queue for good. Needs no fence: what was delivered is. Safe to repeat. */
  end(id: string, end: MessageEnd, queue: QueueRef | null, holdMs: number): Promise<EndOutcome>;
  /**
   * Gives the queue up until `delayMs` from now. `detail` goes into the trace of the message at its head, as one more try;
   * null: none was made. False: another has it.
   */
  defer(queue: QueueRef, delayMs: number, detail: string | null): Promise<boolean>;
  /** Makes the queues of these recipients due now, but for those that are taken. How many. */
  wake(recipients: readonly string[]): Promise<number>;
  /** The same for all users bound to a server, or with null to any; at most so many queues, `spreadMs` apart at random. */
  wakeBound(server: string | null, limit: number, spreadMs: number): Promise<number>;
  /** Messages that wait and have outlived their time. */
  overdue(limit: number): Promise<readonly StoredMessage[]>;
  /** Forgets what ended longer ago than this, with its trace. How many. */
  sweep(keptMs: number, limit: number): Promise<number>;

  list(query: MessageQuery): Promise<readonly ListedMessage[]>;
  /** In order; empty: no such message is remembered. */
  trace(id: string): Promise<readonly TraceEntry[]>;
  /** What waits: messages, queues, octets. */
  count(): Promise<{ readonly messages: number; readonly queues: number; readonly octets: number }>;
}

/** Messages one listing names at most. */
export const MOST_MESSAGES = 1000;
/** When the queue of a user who is nowhere is looked at again, though nobody has told that he is bound: milliseconds. */
export const IDLE_MS = 600_000;

/** The key under which a message is remembered. */
export function messageKey({ fromTag, callId, cseq, requestUri }: MessageIdentity): string {
  return createHash("sha256")
    .update(JSON.stringify([fromTag, callId, cseq, requestUri]), "utf8")
    .digest("hex");
}

/** Tries of one message that stand in its trace each by itself; the last of them is overwritten by later ones. */
export const TRIES_TRACED = 40;
