import type { Editor } from "../message/edit.ts";
import type { SipRequest, SipResponse } from "../message/message.ts";
import type { Flow } from "../transport/transport.ts";

/** The upward contract of the transaction layer (RFC 3261 section 17, RFC 6026). */

export interface ServerTransaction {
  readonly request: SipRequest;
  readonly flow: Flow;
  /** Monotonic milliseconds at which the request arrived. */
  readonly receivedAt: number;
  /** True once a final response was given; a further `respond` is ignored, but for 2xx to INVITE (RFC 6026 7.1). */
  readonly completed: boolean;
  /** Sends a response; retransmissions of the request are answered with the last one. */
  respond(response: SipResponse): void;
}

export interface ClientTransaction {
  readonly branch: string;
  /** The request as sent, with our Via. */
  readonly request: SipRequest;
  readonly flow: Flow;
  /** INVITE only: sends CANCEL as soon as a provisional response has come (RFC 3261 9.1). Idempotent. */
  cancel(reason?: string): void;
  /** Forgets the transaction; late responses are absorbed. */
  abandon(): void;
}

export interface ClientTransactionUser {
  /** Every response that is no retransmission; for INVITE also every 2xx (RFC 6026 7.2). */
  onResponse(response: SipResponse, transaction: ClientTransaction): void;
  /** Timer B or F: nobody answered. */
  onTimeout(transaction: ClientTransaction): void;
  onTransportError(error: Error, transaction: ClientTransaction): void;
}

export interface TransactionUser {
  /** A new request: no retransmission, no ACK, no CANCEL. */
  onRequest(transaction: ServerTransaction): void;
  /** An ACK that belongs to no transaction: for a 2xx, to be routed on without state (RFC 3261 16.11, 17.1.1.3). */
  onAck(request: SipRequest, flow: Flow): void;
  /** A CANCEL for this INVITE has come and was answered 200 (RFC 3261 9.2). One that matches nothing was answered 481. */
  onCancel(invite: ServerTransaction, cancel: SipRequest): void;
}

export interface SendOptions {
  /** Our branch; a new random one where absent. Must start with z9hG4bK. */
  readonly branch?: string;
  /** Non-INVITE: give up after this many milliseconds (at most 64*T1, Timer F). */
  readonly timeoutMs?: number;
}

export interface TransactionLayer {
  user: TransactionUser;
  /** Adds our Via for `flow` and sends (RFC 3261 8.1.1.7, 16.6 step 8). A copy still being edited is built once, with the Via. */
  send(
    request: SipRequest | Editor<SipRequest>,
    flow: Flow,
    user: ClientTransactionUser,
    options?: SendOptions,
  ): ClientTransaction;
  /** Sends without a transaction, with our Via: ACK for a 2xx. */
  sendStateless(request: SipRequest | Editor<SipRequest>, flow: Flow, branch?: string): void;
  /** Live transactions of each kind, for metrics and leak checks. Completed ones that only absorb retransmissions are counted apart. */
  counts(): TransactionCounts;
  /** Drops everything at once. */
  stop(): void;
}

export interface TransactionCounts {
  readonly server: number;
  readonly client: number;
  readonly completed: number;
  /** Octets of the off-heap store of completed transactions. */
  readonly completedBytes: number;
}
