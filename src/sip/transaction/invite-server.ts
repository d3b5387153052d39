import { type Transition, to } from "./machine.ts";

/** The INVITE server transaction: RFC 3261 17.2.1, figure 7 as RFC 6026 8.6 replaces it. */

export const InviteServerState = {
  proceeding: "proceeding",
  completed: "completed",
  confirmed: "confirmed",
  accepted: "accepted",
  terminated: "terminated",
} as const;
export type InviteServerState = (typeof InviteServerState)[keyof typeof InviteServerState];

/** `invite` and `ack` come from the network, `provisional`, `success` and `failure` from the TU. */
export type InviteServerEvent =
  | "invite"
  | "ack"
  | "provisional"
  | "success"
  | "failure"
  | "timer100"
  | "timerG"
  | "timerH"
  | "timerI"
  | "timerL"
  | "transportError";

export type InviteServerAction =
  | "informRequest"
  | "informAck"
  | "informFailure"
  | "informError"
  | "sendResponse"
  | "sendLast"
  | "send100"
  | "start100"
  | "stop100"
  | "startG"
  | "doubleG"
  | "stopG"
  | "startH"
  | "startI"
  | "startL";

type Step = Transition<InviteServerState, InviteServerAction>;

const { proceeding, completed, confirmed, accepted, terminated } = InviteServerState;

const BEGUN: Step = to(proceeding, "start100", "informRequest");
const TRYING: Step = to(proceeding, "send100");
const PROVISIONAL: Step = to(proceeding, "stop100", "sendResponse");
const PROCEEDING_AGAIN: Step = to(proceeding, "sendLast");
const REFUSED_UNRELIABLE: Step = to(completed, "startG", "startH", "sendResponse");
const REFUSED_RELIABLE: Step = to(completed, "stop100", "startH", "sendResponse");
const REFUSED_AGAIN: Step = to(completed, "sendLast");
const RETRANSMITTED: Step = to(completed, "doubleG", "sendLast");
const CONFIRMED_UNRELIABLE: Step = to(confirmed, "stopG", "startI");
const ACCEPTED: Step = to(accepted, "stop100", "startL", "sendResponse");
const ACCEPTED_AGAIN: Step = to(accepted, "sendResponse");
const ACK_ACCEPTED: Step = to(accepted, "informAck");
const UNACKNOWLEDGED: Step = to(terminated, "informFailure");
const ENDED: Step = to(terminated);

const UNMOVED: Readonly<Record<InviteServerState, Step>> = {
  proceeding: to(proceeding),
  completed: to(completed),
  confirmed: to(confirmed),
  accepted: to(accepted),
  terminated: ENDED,
};

// RFC 6026 8.8: if all means of delivery fail, "the server transaction SHOULD inform the TU that a failure has occurred, and
// MUST remain in the current state", so that retransmissions of the INVITE are absorbed and not taken for new requests.
const UNDELIVERED: Readonly<Record<InviteServerState, Step>> = {
  proceeding: to(proceeding, "informError"),
  completed: to(completed, "informError"),
  confirmed: to(confirmed),
  accepted: to(accepted, "informError"),
  terminated: ENDED,
};

export function beginInviteServer(): Step {
  // 17.2.1: "The server transaction MUST generate a 100 (Trying) response unless it knows that the TU will generate a
  // provisional or final response within 200 ms". "The request MUST be passed to the TU."
  return BEGUN;
}

export function stepInviteServer(state: InviteServerState, event: InviteServerEvent, reliable: boolean): Step {
  if (event === "transportError") return UNDELIVERED[state];
  switch (state) {
    case "proceeding":
      switch (event) {
        // Figure 7: "send 100 if TU won't in 200 ms".
        case "timer100":
          return TRYING;
        // 17.2.1: "If a request retransmission is received while in the "Proceeding" state, the most recent provisional
        // response that was received from the TU MUST be passed to the transport layer for retransmission."
        case "invite":
          return PROCEEDING_AGAIN;
        // "So long as the server transaction is in the "Proceeding" state, each of these MUST be passed to the transport
        // layer for transmission. They are not sent reliably [...] and do not cause a change in the state".
        case "provisional":
          return PROVISIONAL;
        // RFC 6026 7.1: "If the [...] TU [...] issues a 2xx response for this transaction while the state machine is in the
        // "Proceeding" state, the state machine MUST transition to the "Accepted" state and set Timer L to 64*T1".
        case "success":
          return ACCEPTED;
        // 17.2.1: "if the TU passes a response with status code from 300 to 699 [...], the response MUST be passed to the
        // transport layer for transmission, and the state machine MUST enter the "Completed" state. For unreliable
        // transports, timer G is set to fire in T1 seconds, and is not set to fire for reliable transports." "When the
        // "Completed" state is entered, timer H MUST be set to fire in 64*T1 seconds for all transports."
        case "failure":
          return reliable ? REFUSED_RELIABLE : REFUSED_UNRELIABLE;
      }
      break;
    case "completed":
      switch (event) {
        // 17.2.1: "while in the "Completed" state, if a request retransmission is received, the server SHOULD pass the
        // response to the transport for retransmission."
        case "invite":
          return REFUSED_AGAIN;
        // "If timer G fires, the response is passed to the transport layer once more for retransmission, and timer G is set
        // to fire in MIN(2*T1, T2) seconds. From then on, [...] timer G is reset with a value that doubles, unless that
        // value exceeds T2, in which case it is reset with the value of T2."
        case "timerG":
          return RETRANSMITTED;
        // "If an ACK is received while the server transaction is in the "Completed" state, the server transaction MUST
        // transition to the "Confirmed" state"; timer I is "T4 seconds for unreliable transports, and zero seconds for
        // reliable transports".
        case "ack":
          return reliable ? ENDED : CONFIRMED_UNRELIABLE;
        // "If timer H fires while in the "Completed" state, it implies that the ACK was never received. In this case, the
        // server transaction MUST transition to the "Terminated" state, and MUST indicate to the TU that a transaction
        // failure has occurred."
        case "timerH":
          return UNACKNOWLEDGED;
      }
      break;
    case "confirmed":
      // 17.2.1: "The purpose of the "Confirmed" state is to absorb any additional ACK messages that arrive". "Once timer I
      // fires, the server MUST transition to the "Terminated" state."
      if (event === "timerI") return ENDED;
      break;
    case "accepted":
      switch (event) {
        // RFC 6026 7.1: "Any retransmission of the 2xx response passed from the TU to the transaction while in the
        // "Accepted" state MUST be passed to the transport layer for transmission."
        case "success":
          return ACCEPTED_AGAIN;
        // "Any ACKs received from the network while in the "Accepted" state MUST be passed directly to the TU and not
        // absorbed."
        case "ack":
          return ACK_ACCEPTED;
        // "When Timer L fires and the state machine is in the "Accepted" state, the machine MUST transition to the
        // "Terminated" state."
        case "timerL":
          return ENDED;
        // "any retransmissions of the INVITE received will match this transaction state machine and will be absorbed by the
        // machine without changing its state. These retransmissions are not passed onto the TU."
        case "invite":
          return UNMOVED.accepted;
      }
      break;
  }
  return UNMOVED[state];
}
