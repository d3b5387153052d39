import type { Address } from "../runtime/runtime.ts";
import { buildResponse } from "../sip/message/build.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { ClientTransaction, ServerTransaction } from "../sip/transaction/transaction.ts";
import type { Stack } from "./stack.ts";

export interface Onward {
  /** Next hop; absent: the topmost Route or the Request-URI. */
  readonly to?: Address;
  /** A new Request-URI: a registered contact. */
  readonly uri?: string;
  /** Routes to go first: the Path a contact registered with (RFC 3327). */
  readonly routes?: readonly string[];
}

/** What an example server does as a proxy: one branch, record-routed (RFC 3261 16, without forking). */
export class Forwarder {
  readonly #stack: Stack;
  readonly #invites = new Map<ServerTransaction, ClientTransaction>();

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** @param request as it goes on: what came, without a Route that named us. */
  forward(transaction: ServerTransaction, onward: Onward, request = transaction.request): void {
    const hops = request.maxForwards ?? 70;
    if (hops === 0) {
      transaction.respond(buildResponse(request, 483));
      return;
    }
    const done = (): void => void this.#invites.delete(transaction);
    const unreachable = (): void => {
      done();
      if (!transaction.completed) transaction.respond(buildResponse(request, request.method === "INVITE" ? 408 : 480));
    };
    this.#stack
      .send(
        this.#onwards(request, onward, hops),
        {
          onResponse: (response) => {
            if (response.status === 100) return;
            if (response.status >= 200) done();
            transaction.respond(response.edit().removeFirstValue("Via").build());
          },
          onTimeout: unreachable,
          onTransportError: unreachable,
        },
        onward.to,
      )
      .then((sent) => {
        if (request.method === "INVITE" && !transaction.completed) this.#invites.set(transaction, sent);
      }, unreachable);
  }

  cancel(invite: ServerTransaction): void {
    this.#invites.get(invite)?.cancel();
  }

  /** An ACK for a 2xx follows its route set. */
  ack(request: SipRequest): void {
    const hops = request.maxForwards ?? 70;
    if (hops > 0)
      this.#stack.sendAck(
        request
          .edit()
          .set("Max-Forwards", String(hops - 1))
          .build(),
      );
  }

  stop(): void {
    this.#invites.clear();
  }

  #onwards(request: SipRequest, onward: Onward, hops: number): SipRequest {
    const edit = request.edit().set("Max-Forwards", String(hops - 1));
    if (onward.uri !== undefined) edit.setRequestUri(onward.uri);
    for (const route of [...(onward.routes ?? [])].reverse()) edit.prepend("Route", route);
    const makesDialog = request.method === "INVITE" || request.method === "SUBSCRIBE";
    if (makesDialog && request.to.tag === undefined) edit.prepend("Record-Route", `<${this.#stack.uri};lr>`);
    return edit.build();
  }
}
