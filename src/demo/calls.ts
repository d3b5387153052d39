import type { Timer } from "../runtime/runtime.ts";
import { buildResponse, type HeaderPair } from "../sip/message/build.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import { answeringDialog, dialogKey, requestKey } from "./dialog.ts";
import type { Stack } from "./stack.ts";

const MAX_CALLS = 10_000;
const T1 = 500;
const T2 = 4_000;

/** INVITE, ACK, BYE and CANCEL for the users of one example server. */
export class Calls {
  readonly #stack: Stack;
  readonly #ringing = new Map<ServerTransaction, string>();
  /** Answered calls by dialog; a timer runs until the ACK has come. */
  readonly #answered = new Map<string, { unacknowledged: Timer | undefined }>();

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  get live(): number {
    return this.#ringing.size + this.#answered.size;
  }

  /** @param how `answer` rings and answers at once, `ring` rings until it is cancelled. */
  invite(transaction: ServerTransaction, how: "answer" | "ring"): void {
    const { request } = transaction;
    if (this.live >= MAX_CALLS) {
      transaction.respond(buildResponse(request, 486));
      return;
    }
    const tag = this.#stack.runtime.random.token(10);
    transaction.respond(buildResponse(request, 180, undefined, { toTag: tag, headers: this.#headers(request) }));
    if (how === "ring") this.#ringing.set(transaction, tag);
    else this.#answer(transaction, tag);
  }

  /** RFC 3261 9.2. */
  cancel(invite: ServerTransaction): void {
    const tag = this.#ringing.get(invite);
    if (tag === undefined) return;
    this.#ringing.delete(invite);
    invite.respond(buildResponse(invite.request, 487, undefined, { toTag: tag }));
  }

  ack(request: SipRequest): boolean {
    const call = this.#answered.get(requestKey(request));
    call?.unacknowledged?.cancel();
    return call !== undefined;
  }

  knows(request: SipRequest): boolean {
    return this.#answered.has(requestKey(request));
  }

  bye(transaction: ServerTransaction): void {
    const key = requestKey(transaction.request);
    this.#answered.get(key)?.unacknowledged?.cancel();
    const known = this.#answered.delete(key);
    transaction.respond(buildResponse(transaction.request, known ? 200 : 481));
  }

  stop(): void {
    for (const call of this.#answered.values()) call.unacknowledged?.cancel();
    this.#answered.clear();
    this.#ringing.clear();
  }

  #answer(transaction: ServerTransaction, tag: string): void {
    const { request } = transaction;
    const response = buildResponse(request, 200, undefined, { toTag: tag, headers: this.#headers(request) });
    const key = dialogKey(answeringDialog(request, tag));
    const call: { unacknowledged: Timer | undefined } = { unacknowledged: undefined };
    this.#answered.set(key, call);
    this.#say(transaction, response, key, call, T1, 64 * T1);
  }

  /** RFC 3261 13.3.1.4: a 2xx is repeated until its ACK comes; without one the call ends. */
  #say(
    transaction: ServerTransaction,
    response: SipResponse,
    key: string,
    call: { unacknowledged: Timer | undefined },
    interval: number,
    left: number,
  ): void {
    transaction.respond(response);
    call.unacknowledged = this.#stack.runtime.timers.after(interval, () => {
      if (left <= interval) this.#answered.delete(key);
      else this.#say(transaction, response, key, call, Math.min(2 * interval, T2), left - interval);
    });
  }

  #headers(request: SipRequest): HeaderPair[] {
    const routes = request.headers("Record-Route").map((route): HeaderPair => ["Record-Route", route]);
    return [...routes, ["Contact", `<${this.#stack.uri}>`]];
  }
}
