import type { SipRequest, SipResponse } from "../message/message.ts";
import type { Flow } from "../transport/transport.ts";
import type { ClientDriver, LiveClient } from "./drivers.ts";
import {
  beginInviteClient,
  type InviteClientAction,
  type InviteClientEvent,
  InviteClientState,
  stepInviteClient,
} from "./invite-client.ts";
import type { Transition } from "./machine.ts";
import { RefusedInvite } from "./refused-invite.ts";
import { ackFor } from "./requests.ts";
import { type TimerOwner, WheelTimer } from "./timer-wheel.ts";
import type { ClientTransaction, ClientTransactionUser } from "./transaction.ts";

/** Drives the machine of `invite-client.ts` up to a non-2xx final response. */
export class InviteClientTransaction implements ClientTransaction, LiveClient, TimerOwner<InviteClientEvent> {
  readonly branch: string;
  readonly method = "INVITE";
  readonly request: SipRequest;
  readonly flow: Flow;
  absorbing = false;
  readonly #via: string;
  readonly #user: ClientTransactionUser;
  readonly #driver: ClientDriver;
  /** A. */
  readonly #pulse = new WheelTimer<InviteClientEvent>(this);
  /** B, M, and the wait after CANCEL. */
  readonly #end = new WheelTimer<InviteClientEvent>(this);
  readonly #failed = (error: Error): void => this.#step("transportError", null, error);
  #unwatch: (() => void) | null = null;
  #state: InviteClientState = InviteClientState.calling;
  #intervalA = 0;
  #cancel: "no" | "wanted" | "sent" = "no";
  #reason: string | undefined;

  /** `via` is the value of our Via in `request`. */
  constructor(
    branch: string,
    request: SipRequest,
    via: string,
    flow: Flow,
    user: ClientTransactionUser,
    driver: ClientDriver,
  ) {
    this.branch = branch;
    this.request = request;
    this.flow = flow;
    this.#via = via;
    this.#user = user;
    this.#driver = driver;
  }

  get completed(): boolean {
    return this.#state !== InviteClientState.calling && this.#state !== InviteClientState.proceeding;
  }

  begin(): void {
    // A dead connection brings no response: 17.1.4 need not wait for the timer.
    if (this.flow.reliable) this.#unwatch = this.flow.watch(this.#failed);
    this.#perform(beginInviteClient(this.flow.reliable), null, null);
  }

  cancel(reason?: string): void {
    if (this.#cancel !== "no" || this.completed) return;
    this.#cancel = "wanted";
    this.#reason = reason;
    // RFC 3261 9.1: "the client MUST wait for the arrival of a provisional response before sending the request."
    if (this.#state === InviteClientState.proceeding) this.#sendCancel();
  }

  abandon(): void {
    if (this.#state !== InviteClientState.terminated) this.#terminate();
  }

  receive(response: SipResponse): void {
    const status = response.status;
    this.#step(status < 200 ? "provisional" : status < 300 ? "success" : "failure", response);
    if (this.#cancel === "wanted" && this.#state === InviteClientState.proceeding) this.#sendCancel();
  }

  fired(label: InviteClientEvent): void {
    this.#step(label);
  }

  drop(): void {
    this.#state = InviteClientState.terminated;
    this.#driver.wheel.stop(this.#pulse);
    this.#driver.wheel.stop(this.#end);
    this.#unwatch?.();
    this.#unwatch = null;
  }

  #sendCancel(): void {
    this.#cancel = "sent";
    this.#step("cancel");
  }

  #step(event: InviteClientEvent, response: SipResponse | null = null, error: Error | null = null): void {
    this.#perform(stepInviteClient(this.#state, event, this.flow.reliable), response, error);
  }

  #perform(
    transition: Transition<InviteClientState, InviteClientAction>,
    response: SipResponse | null,
    error: Error | null,
  ): void {
    const { wheel, timing } = this.#driver;
    const before = this.#state;
    if (transition.state === InviteClientState.terminated) {
      if (before !== InviteClientState.terminated) this.#terminate();
    } else {
      this.#state = transition.state;
    }
    const actions = transition.actions;
    for (let i = 0; i < actions.length; i++) {
      switch (actions[i]) {
        case "sendRequest":
          if (this.#intervalA > timing.t1) this.#driver.onRetransmit(this.method);
          this.flow.send(this.request.raw, this.#failed);
          break;
        case "startA":
          this.#intervalA = timing.t1;
          wheel.start(this.#pulse, this.#intervalA, "timerA");
          break;
        case "doubleA":
          this.#intervalA *= 2;
          wheel.start(this.#pulse, this.#intervalA, "timerA");
          break;
        case "stopA":
          wheel.stop(this.#pulse);
          break;
        case "startB":
          wheel.start(this.#end, timing.transaction, "timerB");
          break;
        case "stopB":
          wheel.stop(this.#end);
          break;
        case "startCancel":
          wheel.start(this.#end, timing.transaction, "timerCancel");
          break;
        case "startM":
          wheel.stop(this.#pulse);
          wheel.start(this.#end, timing.transaction, "timerM");
          this.#driver.onAccepted(this);
          break;
        case "startD": {
          // What is left to do needs neither the request nor the TU: a small stand-in does it for Timer D.
          this.drop();
          const ack = ackFor(this.request, response!, this.#via).raw;
          this.#driver.onRefused(new RefusedInvite(this.branch, ack, this.flow, this.#driver));
          break;
        }
        case "sendAck":
          // Over unreliable transports the stand-in has sent it.
          if (this.flow.reliable) this.flow.send(ackFor(this.request, response!, this.#via).raw);
          break;
        case "sendCancel":
          this.#driver.sendCancel(this, this.#via, this.#reason);
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
