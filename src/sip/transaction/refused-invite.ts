import type { SipResponse } from "../message/message.ts";
import type { Flow } from "../transport/transport.ts";
import type { ClientDriver, LiveClient } from "./drivers.ts";
import { type InviteClientEvent, InviteClientState, stepInviteClient } from "./invite-client.ts";
import { type TimerOwner, WheelTimer } from "./timer-wheel.ts";

/** An INVITE client transaction in "Completed": acknowledges retransmissions of a 300-699 response until Timer D fires. */
export class RefusedInvite implements LiveClient, TimerOwner<InviteClientEvent> {
  readonly branch: string;
  readonly method = "INVITE";
  absorbing = false;
  readonly #ack: string;
  readonly #flow: Flow;
  readonly #driver: ClientDriver;
  readonly #end = new WheelTimer<InviteClientEvent>(this);
  // Figure 5 informs the TU here, but the TU has its final response; the transport has counted the error.
  readonly #failed = (): void => this.fired("transportError");
  #state: InviteClientState = InviteClientState.completed;

  constructor(branch: string, ack: string, flow: Flow, driver: ClientDriver) {
    this.branch = branch;
    this.#ack = ack;
    this.#flow = flow;
    this.#driver = driver;
  }

  begin(): void {
    this.#driver.wheel.start(this.#end, this.#driver.timing.d, "timerD");
    this.#flow.send(this.#ack, this.#failed);
  }

  receive(response: SipResponse): void {
    const status = response.status;
    const event = status < 200 ? "provisional" : status < 300 ? "success" : "failure";
    const { actions } = stepInviteClient(this.#state, event, this.#flow.reliable);
    if (actions.includes("sendAck")) this.#flow.send(this.#ack, this.#failed);
  }

  fired(label: InviteClientEvent): void {
    const { state } = stepInviteClient(this.#state, label, this.#flow.reliable);
    if (state !== InviteClientState.terminated || this.#state === state) return;
    this.drop();
    this.#driver.onClientEnd(this);
  }

  drop(): void {
    this.#state = InviteClientState.terminated;
    this.#driver.wheel.stop(this.#end);
  }
}
