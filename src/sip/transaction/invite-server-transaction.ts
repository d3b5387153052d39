import { buildResponse } from "../message/build.ts";
import type { SipRequest, SipResponse } from "../message/message.ts";
import type { Flow } from "../transport/transport.ts";
import type { LiveServer, ServerDriver } from "./drivers.ts";
import {
  beginInviteServer,
  type InviteServerAction,
  type InviteServerEvent,
  InviteServerState,
  stepInviteServer,
} from "./invite-server.ts";
import type { Transition } from "./machine.ts";
import { type TimerOwner, WheelTimer } from "./timer-wheel.ts";

/** Drives the machine of `invite-server.ts`. */
export class InviteServerTransaction implements LiveServer, TimerOwner<InviteServerEvent> {
  readonly request: SipRequest;
  readonly flow: Flow;
  readonly receivedAt: number;
  readonly key: string;
  absorbing = false;
  readonly #driver: ServerDriver;
  /** 100 Trying, then G. */
  readonly #pulse = new WheelTimer<InviteServerEvent>(this);
  /** H, I, L. */
  readonly #end = new WheelTimer<InviteServerEvent>(this);
  #state: InviteServerState = InviteServerState.proceeding;
  #last: SipResponse | null = null;
  #intervalG = 0;

  constructor(request: SipRequest, flow: Flow, key: string, receivedAt: number, driver: ServerDriver) {
    this.request = request;
    this.flow = flow;
    this.key = key;
    this.receivedAt = receivedAt;
    this.#driver = driver;
  }

  get completed(): boolean {
    return this.#state !== InviteServerState.proceeding;
  }

  /** The response sent last, if any. */
  get last(): SipResponse | null {
    return this.#last;
  }

  begin(): void {
    this.#perform(beginInviteServer(), null, null);
  }

  respond(response: SipResponse): void {
    const status = response.status;
    this.#step(status >= 300 ? "failure" : status >= 200 ? "success" : "provisional", response);
  }

  retransmitted(): void {
    this.#step("invite");
  }

  acknowledged(ack: SipRequest, flow: Flow): void {
    this.#perform(stepInviteServer(this.#state, "ack", this.flow.reliable), null, ack, flow);
  }

  fired(label: InviteServerEvent): void {
    this.#step(label);
  }

  drop(): void {
    this.#state = InviteServerState.terminated;
    this.#stop();
  }

  #step(event: InviteServerEvent, response: SipResponse | null = null): void {
    this.#perform(stepInviteServer(this.#state, event, this.flow.reliable), response, null);
  }

  #perform(
    transition: Transition<InviteServerState, InviteServerAction>,
    response: SipResponse | null,
    ack: SipRequest | null,
    flow: Flow = this.flow,
  ): void {
    const before = this.#state;
    this.#state = transition.state;
    const driver = this.#driver;
    const { wheel, timing } = driver;
    if (transition.state === InviteServerState.terminated && before !== transition.state) {
      this.#stop();
      driver.onServerEnd(this);
    }
    const actions = transition.actions;
    for (let i = 0; i < actions.length; i++) {
      switch (actions[i]) {
        case "informRequest":
          driver.onRequest(this);
          break;
        case "informAck":
          driver.onAck(ack!, flow);
          break;
        case "informFailure":
          driver.onUnacknowledged(this, this.#last?.status ?? 0);
          break;
        case "sendResponse":
          this.#last = response;
          if (before === InviteServerState.proceeding && this.completed) driver.onCompleted(this);
          driver.respond(response!.raw, this);
          break;
        case "sendLast":
          // A retransmission before the 100 was due: it is due now.
          this.#last ??= buildResponse(this.request, 100);
          driver.respond(this.#last.raw, this);
          break;
        case "send100":
          this.#last ??= buildResponse(this.request, 100);
          driver.respond(this.#last.raw, this);
          break;
        case "start100":
          wheel.start(this.#pulse, timing.invite100, "timer100");
          break;
        case "startG":
          this.#intervalG = timing.t1;
          wheel.start(this.#pulse, this.#intervalG, "timerG");
          break;
        case "doubleG":
          this.#intervalG = Math.min(2 * this.#intervalG, timing.t2);
          wheel.start(this.#pulse, this.#intervalG, "timerG");
          break;
        case "stop100":
        case "stopG":
          wheel.stop(this.#pulse);
          break;
        case "startH":
          wheel.start(this.#end, timing.transaction, "timerH");
          break;
        case "startI":
          wheel.start(this.#end, timing.t4, "timerI");
          break;
        case "startL":
          wheel.start(this.#end, timing.transaction, "timerL");
          break;
        case "informError":
          // The transport has counted it; the TU learns of it by the silence that follows.
          break;
      }
    }
  }

  #stop(): void {
    this.#driver.wheel.stop(this.#pulse);
    this.#driver.wheel.stop(this.#end);
  }
}
