import { type Transition, to } from "./machine.ts";

/** The INVITE client transaction: RFC 3261 17.1.1.2, figure 5 as RFC 6026 8.4 replaces it. */

export const InviteClientState = {
  calling: "calling",
  proceeding: "proceeding",
  completed: "completed",
  accepted: "accepted",
  terminated: "terminated",
} as const;
export type InviteClientState = (typeof InviteClientState)[keyof typeof InviteClientState];

export type InviteClientEvent =
  | "provisional"
  | "success"
  | "failure"
  | "cancel"
  | "timerA"
  | "timerB"
  | "timerD"
  | "timerM"
  | "timerCancel"
  | "transportError";

export type InviteClientAction =
  | "sendRequest"
  | "sendAck"
  | "sendCancel"
  | "startA"
  | "doubleA"
  | "stopA"
  | "startB"
  | "stopB"
  | "startD"
  | "startM"
  | "startCancel"
  | "informResponse"
  | "informTimeout"
  | "informError";

type Step = Transition<InviteClientState, InviteClientAction>;

const { calling, proceeding, completed, accepted, terminated } = InviteClientState;

const BEGUN_UNRELIABLE: Step = to(calling, "sendRequest", "startA", "startB");
const BEGUN_RELIABLE: Step = to(calling, "sendRequest", "startB");
const RETRANSMITTED: Step = to(calling, "doubleA", "sendRequest");
const PROCEEDED: Step = to(proceeding, "stopA", "stopB", "informResponse");
const PROVISIONAL: Step = to(proceeding, "informResponse");
const CANCELLED: Step = to(proceeding, "startCancel", "sendCancel");
const REFUSED_UNRELIABLE: Step = to(completed, "startD", "sendAck", "informResponse");
const REFUSED_RELIABLE: Step = to(terminated, "sendAck", "informResponse");
const ACKNOWLEDGED: Step = to(completed, "sendAck");
const ACCEPTED: Step = to(accepted, "startM", "informResponse");
const ACCEPTED_AGAIN: Step = to(accepted, "informResponse");
const TIMED_OUT: Step = to(terminated, "informTimeout");
const FAILED: Step = to(terminated, "informError");
const ENDED: Step = to(terminated);

const UNMOVED: Readonly<Record<InviteClientState, Step>> = {
  calling: to(calling),
  proceeding: to(proceeding),
  completed: to(completed),
  accepted: to(accepted),
  terminated: ENDED,
};

export function beginInviteClient(reliable: boolean): Step {
  // 17.1.1.2: "The initial state, "calling", MUST be entered when the TU initiates a new client transaction", the request
  // is passed to the transport; "If an unreliable transport is being used, the client transaction MUST start timer A with
  // a value of T1." "For any transport, the client transaction MUST start timer B with a value of 64*T1".
  return reliable ? BEGUN_RELIABLE : BEGUN_UNRELIABLE;
}

export function stepInviteClient(state: InviteClientState, event: InviteClientEvent, reliable: boolean): Step {
  switch (state) {
    case "calling":
      switch (event) {
        // 17.1.1.2: "When timer A fires, the client transaction MUST retransmit the request [...] and MUST reset the timer
        // with a value of 2*T1" and so on, "with intervals that double after each transmission".
        case "timerA":
          return RETRANSMITTED;
        // "If the client transaction is still in the "Calling" state when timer B fires, the client transaction SHOULD
        // inform the TU that a timeout has occurred. The client transaction MUST NOT generate an ACK."
        case "timerB":
          return TIMED_OUT;
        // "If the client transaction receives a provisional response while in the "Calling" state, it transitions to the
        // "Proceeding" state", where it "SHOULD NOT retransmit the request any longer".
        case "provisional":
          return PROCEEDED;
        // RFC 6026 7.2: "If a 2xx response is received while the client INVITE state machine is in the "Calling" or
        // "Proceeding" states, it MUST transition to the "Accepted" state, pass the 2xx response to the TU, and set Timer M
        // to 64*T1." "The client transaction MUST NOT generate an ACK to any 2xx response on its own."
        case "success":
          return ACCEPTED;
        // 17.1.1.2: "reception of a response with status code from 300-699 MUST cause the client transaction to transition
        // to "Completed" [...] and the client transaction MUST generate an ACK request, even if the transport is reliable";
        // timer D is "a value of zero seconds for reliable transports".
        case "failure":
          return reliable ? REFUSED_RELIABLE : REFUSED_UNRELIABLE;
        // 17.1.4: "the client transaction SHOULD transition directly to the "Terminated" state."
        case "transportError":
          return FAILED;
      }
      break;
    case "proceeding":
      switch (event) {
        // 17.1.1.2: "Any further provisional responses MUST be passed up to the TU while in the "Proceeding" state."
        case "provisional":
          return PROVISIONAL;
        case "success":
          return ACCEPTED;
        case "failure":
          return reliable ? REFUSED_RELIABLE : REFUSED_UNRELIABLE;
        // 9.1: "If no provisional response has been received, the CANCEL request MUST NOT be sent"; so only here.
        case "cancel":
          return CANCELLED;
        // 9.1: "If there is no final response for the original request in 64*T1 seconds [...], the client SHOULD then
        // consider the original transaction cancelled and SHOULD destroy the client transaction".
        case "timerCancel":
          return TIMED_OUT;
        // Figure 5 of RFC 6026 has no such arrow, for nothing is sent here; but the connection may die under the request
        // (17.1.4), and no response can come then.
        case "transportError":
          return FAILED;
      }
      break;
    case "completed":
      switch (event) {
        // 17.1.1.2: "Any retransmissions of the final response that are received while in the "Completed" state MUST cause
        // the ACK to be re-passed to the transport layer [...], but the newly received response MUST NOT be passed up".
        case "failure":
          return ACKNOWLEDGED;
        case "timerD":
          return ENDED;
        // Figure 5: Transport Err. / Inform TU.
        case "transportError":
          return FAILED;
      }
      break;
    case "accepted":
      switch (event) {
        // RFC 6026 8.4: "Any 2xx responses that match this client transaction and that are received while in the "Accepted"
        // state MUST be passed up to the TU."
        case "success":
          return ACCEPTED_AGAIN;
        // RFC 6026 8.4: "If Timer M fires while the client transaction is in the "Accepted" state, the client transaction
        // MUST move to the "Terminated" state."
        case "timerM":
          return ENDED;
      }
      break;
  }
  return UNMOVED[state];
}
