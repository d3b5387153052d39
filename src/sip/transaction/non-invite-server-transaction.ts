import { buildResponse } from "../message/build.ts";
import type { SipRequest, SipResponse } from "../message/message.ts";
import type { Flow } from "../transport/transport.ts";
import type { LiveServer, ServerDriver } from "./drivers.ts";
import type { Transition } from "./machine.ts";
import {
  beginNonInviteServer,
  type NonInviteServerAction,
  type NonInviteServerEvent,
  NonInviteServerState,
  stepNonInviteServer,
} from "./non-invite-server.ts";
import { type TimerOwner, WheelTimer } from "./timer-wheel.ts";

/** Drives the machine of `non-invite-server.ts`. */
export class NonInviteServerTransaction implements LiveServer, TimerOwner<NonInviteServerEvent> {
  readonly request: SipRequest;
  readonly flow: Flow;
  readonly receivedAt: number;
  readonly key: string;
  absorbing = false;
  readonly #driver: ServerDriver;
  readonly #hash: number;
  readonly #timer = new WheelTimer<NonInviteServerEvent>(this);
  #state: NonInviteServerState = NonInviteServerState.trying;
  /** The last provisional response sent. */
  #last = "";

  /** `hash` is the key's, for the completed store. */
  constructor(request: SipRequest, flow: Flow, key: string, hash: number, receivedAt: number, driver: ServerDriver) {
    this.request = request;
    this.flow = flow;
    this.key = key;
    this.#hash = hash;
    this.receivedAt = receivedAt;
    this.#driver = driver;
  }

  get completed(): boolean {
    return this.#state === NonInviteServerState.completed || this.#state === NonInviteServerState.terminated;
  }

  begin(): void {
    this.#perform(beginNonInviteServer(), "");
  }

  respond(response: SipResponse): void {
    const status = response.status;
    this.#step(
      status === 408 ? "timeout" : status >= 200 ? "final" : status === 100 ? "trying" : "provisional",
      response.raw,
    );
  }

  retransmitted(): void {
    this.#step("request");
  }

  fired(label: NonInviteServerEvent): void {
    this.#step(label);
  }

  drop(): void {
    this.#state = NonInviteServerState.terminated;
    this.#driver.wheel.stop(this.#timer);
  }

  #step(event: NonInviteServerEvent, raw = ""): void {
    this.#perform(stepNonInviteServer(this.#state, event, this.flow.reliable), raw);
  }

  #perform(transition: Transition<NonInviteServerState, NonInviteServerAction>, raw: string): void {
    const before = this.#state;
    this.#state = transition.state;
    const driver = this.#driver;
    if (transition.state === NonInviteServerState.terminated && before !== transition.state) {
      driver.wheel.stop(this.#timer);
      driver.onServerEnd(this);
    }
    const actions = transition.actions;
    for (let i = 0; i < actions.length; i++) {
      switch (actions[i]) {
        case "informRequest":
          driver.onRequest(this);
          break;
        case "sendResponse":
          this.#last = raw;
          driver.respond(raw, this);
          break;
        case "sendLast":
          if (this.#last !== "") driver.respond(this.#last, this);
          break;
        case "send100":
          this.#last = buildResponse(this.request, 100).raw;
          driver.respond(this.#last, this);
          break;
        case "start100":
          // In the very call that it was received in.
          driver.wheel.start(this.#timer, driver.timing.nonInvite100, "timer100", this.receivedAt);
          break;
        case "startExpire":
          driver.wheel.start(this.#timer, this.#left(0), "timerExpire");
          break;
        case "startAbsorb":
          // Until the client has given up (its Timer F) and the network is clear of what it sent (T4).
          this.#last = "";
          driver.wheel.start(this.#timer, this.#left(driver.timing.t4), "timerJ");
          driver.onCompleted(this);
          break;
        case "startJ":
          driver.wheel.stop(this.#timer);
          driver.store(this, this.#hash, raw);
          break;
        case "informError":
          // The transport has counted it, and nothing the TU could do would help this request.
          break;
      }
    }
  }

  #left(more: number): number {
    return Math.max(0, this.receivedAt + this.#driver.timing.transaction + more - this.#driver.now());
  }
}
