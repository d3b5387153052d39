import type { SipRequest, SipResponse } from "../message/message.ts";
import type { Flow } from "../transport/transport.ts";
import type { TimerWheel } from "./timer-wheel.ts";
import type { Timing } from "./timing.ts";
import type { ClientTransaction, ServerTransaction } from "./transaction.ts";

/** What the transactions of the layer's tables and the layer know of each other. */

export interface LiveServer extends ServerTransaction {
  readonly key: string;
  /** Set by the layer: final, kept only to absorb. */
  absorbing: boolean;
  begin(): void;
  /** The request has come again. */
  retransmitted(): void;
  /** Ends it silently. */
  drop(): void;
}

export interface LiveClient {
  readonly branch: string;
  readonly method: string;
  /** Set by the layer: final, kept only to absorb. */
  absorbing: boolean;
  begin(): void;
  receive(response: SipResponse): void;
  /** Ends it silently. */
  drop(): void;
}

interface Driver {
  readonly wheel: TimerWheel;
  readonly timing: Timing;
  now(): number;
}

/** What server transactions need of the layer. */
export interface ServerDriver extends Driver {
  respond(raw: string, transaction: LiveServer): void;
  /** A new request, for the TU. */
  onRequest(transaction: LiveServer): void;
  onAck(ack: SipRequest, flow: Flow): void;
  /** Timer H: nobody acknowledged. */
  onUnacknowledged(transaction: LiveServer, status: number): void;
  /**
   * The final response was given over an unreliable transport: retransmissions of the request are from now on answered out of
   * the completed store, and the transaction is in no table any more.
   */
  store(transaction: LiveServer, hash: number, response: string): void;
  /** A final response was given, or none ever will be; the transaction stays to absorb. */
  onCompleted(transaction: LiveServer): void;
  /** Nothing will match any more. */
  onServerEnd(transaction: LiveServer): void;
}

/** What client transactions need of the layer. */
export interface ClientDriver extends Driver {
  onRetransmit(method: string): void;
  /** Sends the CANCEL for `invite`, whose top Via is `via`. */
  sendCancel(invite: ClientTransaction, via: string, reason: string | undefined): void;
  /** `rest` takes the place of the transaction with its branch. */
  onRefused(rest: LiveClient): void;
  onAccepted(transaction: LiveClient): void;
  /** Nothing will match any more. Called before the TU is told of the end. */
  onClientEnd(transaction: LiveClient): void;
}
