import type { SipResponse } from "../sip/message/message.ts";
import { Branch, type BranchResult, type BranchUser } from "./branch.ts";
import type { Core } from "./core.ts";
import type { Exchange } from "./exchange.ts";
import type { Way } from "./next-hop.ts";

/** A response on its way back: our Via is taken off (RFC 3261 16.7 step 3). */
export function upstream(response: SipResponse): SipResponse {
  return response.withoutTopVia();
}

/**
 * How it ended. `redirected`: a 3xx was followed, and the result says nothing of the server that was asked. `late`: what
 * may yet be answered on a way that lingers; null: nothing.
 */
export type OnEnd = (result: BranchResult, redirected: boolean, late: Branch["late"]) => void;

/** A request that goes one way: provisional answers and every 2xx to INVITE pass, the end is `onEnd`'s to judge. */
export class SingleBranch implements BranchUser {
  readonly #exchange: Exchange;
  readonly #onEnd: OnEnd;

  constructor(exchange: Exchange, onEnd: OnEnd) {
    this.#exchange = exchange;
    this.#onEnd = onEnd;
  }

  start(core: Core, way: Way): void {
    // The client gave up while the way was being found: nobody rings for him (RFC 3261 9.2).
    if (this.#exchange.transaction.completed) return;
    const branch = new Branch(core, this, this.#exchange, way);
    if (this.#exchange.isInvite) this.#exchange.onCancel = (reason) => branch.cancel(reason);
    branch.start();
  }

  onProvisional(response: SipResponse): void {
    if (!this.#exchange.transaction.completed) this.#exchange.respond(upstream(response));
  }

  onFurtherSuccess(response: SipResponse): void {
    this.#exchange.respond(upstream(response));
  }

  onFinal(result: BranchResult, branch: Branch): void {
    // Whatever follows, there is nothing to take back until somebody else is asked.
    this.#exchange.onCancel = null;
    this.#onEnd(result, branch.redirected, branch.late);
  }
}
