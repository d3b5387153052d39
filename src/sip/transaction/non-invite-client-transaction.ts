import type { SipRequest, SipResponse } from "../message/message.ts";
import type { Flow } from "../transport/transport.ts";
import type { ClientDriver, LiveClient } from "./drivers.ts";
import type { Transition } from "./machine.ts";
import {
  beginNonInviteClient,
  type NonInviteClientAction,
  type NonInviteClientEvent,
  NonInviteClientState,
  stepNonInviteClient,
} from "./non-invite-client.ts";
import { type TimerOwner, WheelTimer } from "./timer-wheel.ts";
import type { ClientTransaction, ClientTransactionUser } from "./transaction.ts";

/** Drives the machine of `non-invite-client.ts`. */
export class NonInviteClientTransaction implements ClientTransaction, LiveClient, TimerOwner<NonInviteClientEvent> {
  readonly branch: string;
  readonly method: string;
  readonly request: SipRequest;
  readonly flow: Flow;
  absorbing = false;
  readonly #user: ClientTransactionUser;
  readonly #driver: ClientDriver;
  /** E. */
  readonly #pulse = new WheelTimer<NonInviteClientEvent>(this);
  /** F. */
  readonly #end = new WheelTimer<NonInviteClientEvent>(this);
  readonly #failed = (error: Error): void => this.#step("transportError", null, error);
  #unwatch: (() => void) | null = null;
  readonly #timeout: number;
  #state: NonInviteClientState = NonInviteClientState.trying;
  #intervalE = 0;

  constructor(
    branch: string,
    request: SipRequest,
    flow: Flow,
    user: ClientTransactionUser,
    timeoutMs: number,
    driver: ClientDriver,
  ) {
    this.branch = branch;
    this.method = request.method;
    this.request = request;
    this.flow = flow;
    this.#user = user;
    this.#timeout = timeoutMs;
    this.#driver = driver;
  }

  get completed(): boolean {
    return this.#state === NonInviteClientState.completed || this.#state === NonInviteClientState.terminated;
  }

  begin(): void {
    // A dead connection brings no response: 17.1.4 need not wait for the timer.
    if (this.flow.reliable) this.#unwatch = this.flow.watch(this.#failed);
    this.#perform(beginNonInviteClient(this.flow.reliable), null, null);
  }

  /** RFC 3261 9.1: "A CANCEL request SHOULD NOT be sent to cancel a request other than INVITE." */
  cancel(): void {}

  abandon(): void {
    if (this.completed) return;
    this.#terminate();
  }

  receive(response: SipResponse): void {
    this.#step(response.status < 200 ? "provisional" : "final", response);
  }

  fired(label: NonInviteClientEvent): void {
    this.#step(label);
  }

  drop(): void {
    this.#state = NonInviteClientState.terminated;
    this.#driver.wheel.stop(this.#pulse);
    this.#driver.wheel.stop(this.#end);
    this.#unwatch?.();
    this.#unwatch = null;
  }

  #step(event: NonInviteClientEvent, response: SipResponse | null = null, error: Error | null = null): void {
    this.#perform(stepNonInviteClient(this.#state, event, this.flow.reliable), response, error);
  }

  #perform(
    transition: Transition<NonInviteClientState, NonInviteClientAction>,
    response: SipResponse | null,
    error: Error | null,
  ): void {
    const { wheel, timing } = this.#driver;
    if (transition.state === NonInviteClientState.terminated) {
      if (this.#state !== NonInviteClientState.terminated) this.#terminate();
    } else {
      this.#state = transition.state;
    }
    // Both timers of a request begin with it.
    const now = transition.state === NonInviteClientState.trying ? this.#driver.now() : undefined;
    const actions = transition.actions;
    for (let i = 0; i < actions.length; i++) {
      switch (actions[i]) {
        case "sendRequest":
          if (this.#intervalE > timing.t1) this.#driver.onRetransmit(this.method);
          this.flow.send(this.request.raw, this.#failed);
          break;
        case "startE":
          this.#intervalE = timing.t1;
          wheel.start(this.#pulse, this.#intervalE, "timerE", now);
          break;
        case "doubleE":
          this.#intervalE = Math.min(2 * this.#intervalE, timing.t2);
          wheel.start(this.#pulse, this.#intervalE, "timerE");
          break;
        case "slowE":
          this.#intervalE = timing.t2;
          wheel.start(this.#pulse, this.#intervalE, "timerE");
          break;
        case "startF":
          wheel.start(this.#end, this.#timeout, "timerF", now);
          break;
        case "startK":
          // Timer K is there to absorb retransmissions of the response. RFC 6026 8.9 makes every element but a stateless
          // proxy discard a response that matches nothing, so that forgetting the transaction absorbs them as well.
          this.#terminate();
          break;
        case "informResponse":
          this.#user.onResponse(response!, this);
          break;
        case "informTimeout":
          this.#user.onTimeout(this);
          break;
        case "informError":
          this.#user.onTransportError(error!, this);
          break;
      }
    }
  }

  #terminate(): void {
    this.drop();
    this.#driver.onClientEnd(this);
  }
}
