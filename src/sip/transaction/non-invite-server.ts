import { type Transition, to } from "./machine.ts";

/** The non-INVITE server transaction: RFC 3261 17.2.2, figure 8, with RFC 4320 and RFC 6026 8.8. */

export const NonInviteServerState = {
  trying: "trying",
  proceeding: "proceeding",
  completed: "completed",
  terminated: "terminated",
} as const;
export type NonInviteServerState = (typeof NonInviteServerState)[keyof typeof NonInviteServerState];

/**
 * `request` comes from the network; `trying` (100), `provisional` (101-199), `final` and `timeout` (408) from the TU.
 * `timer100` fires when a client's Timer E would be reset to T2, `timerExpire` when its Timer F has run out.
 */
export type NonInviteServerEvent =
  | "request"
  | "trying"
  | "provisional"
  | "final"
  | "timeout"
  | "timer100"
  | "timerExpire"
  | "timerJ"
  | "transportError";

export type NonInviteServerAction =
  | "informRequest"
  | "informError"
  | "sendResponse"
  | "sendLast"
  | "send100"
  | "start100"
  | "startExpire"
  | "startAbsorb"
  | "startJ";

type Step = Transition<NonInviteServerState, NonInviteServerAction>;

const { trying, proceeding, completed, terminated } = NonInviteServerState;

const BEGUN: Step = to(trying, "start100", "informRequest");
const LATE: Step = to(proceeding, "startExpire", "send100");
const TRIED: Step = to(proceeding, "sendResponse");
const PROCEEDING_ON: Step = to(proceeding, "startExpire");
const PROCEEDING_AGAIN: Step = to(proceeding, "sendLast");
const ANSWERED_UNRELIABLE: Step = to(completed, "startJ", "sendResponse");
const ANSWERED_RELIABLE: Step = to(terminated, "sendResponse");
const ANSWERED_AGAIN: Step = to(completed, "sendLast");
const UNANSWERED: Step = to(completed, "startAbsorb");
const ENDED: Step = to(terminated);

const UNMOVED: Readonly<Record<NonInviteServerState, Step>> = {
  trying: to(trying),
  proceeding: to(proceeding),
  completed: to(completed),
  terminated: ENDED,
};

// RFC 6026 8.8 replaces the arrows "Trnsprt Err" of figure 8: "the server transaction SHOULD inform the TU that a failure has
// occurred, and MUST remain in the current state."
const UNDELIVERED: Readonly<Record<NonInviteServerState, Step>> = {
  trying: to(trying),
  proceeding: to(proceeding, "informError"),
  completed: to(completed, "informError"),
  terminated: ENDED,
};

export function beginNonInviteServer(): Step {
  // 17.2.2: "The state machine is initialized in the "Trying" state and is passed a request other than INVITE or ACK when
  // initialized. This request is passed up to the TU."
  return BEGUN;
}

export function stepNonInviteServer(state: NonInviteServerState, event: NonInviteServerEvent, reliable: boolean): Step {
  if (event === "transportError") return UNDELIVERED[state];
  switch (state) {
    case "trying":
      switch (event) {
        // RFC 4320 4.1: "An SIP element MUST NOT respond to a non-INVITE request with a Status-Code of 100 over any unreliable
        // transport, such as UDP, before the amount of time it takes a client transaction's Timer E to be reset to T2. An SIP
        // element MAY respond to a non-INVITE request with a Status-Code of 100 over a reliable transport at any time."
        case "trying":
          return reliable ? TRIED : UNMOVED.trying;
        // RFC 4320 4.1: "Without regard to transport, an SIP element MUST respond to a non-INVITE request with a Status-Code
        // of 100 if it has not otherwise responded after the amount of time it takes [...] Timer E to be reset to T2."
        case "timer100":
          return LATE;
        // 17.2.2: the final response is passed to the transport; "When the server transaction enters the "Completed" state,
        // it MUST set Timer J to fire in 64*T1 seconds for unreliable transports, and zero seconds for reliable transports."
        case "final":
          return reliable ? ANSWERED_RELIABLE : ANSWERED_UNRELIABLE;
        // RFC 4320 4.2: "A transaction-stateful SIP element MUST NOT send a response with Status-Code of 408 to a non-INVITE
        // request. As a consequence, an element that cannot respond before the transaction expires will not send a final
        // response at all." What is left is to absorb late retransmissions and late finals.
        case "timeout":
        case "timerExpire":
          return UNANSWERED;
        // 17.2.2: "Once in the "Trying" state, any further request retransmissions are discarded."
        case "request":
        // RFC 4320 4.1: "An SIP element MUST NOT send any provisional response with a Status-Code other than 100 to a
        // non-INVITE request."
        case "provisional":
          return UNMOVED.trying;
      }
      break;
    case "proceeding":
      switch (event) {
        // 17.2.2: "If a retransmission of the request is received while in the "Proceeding" state, the most recently sent
        // provisional response MUST be passed to the transport layer for retransmission."
        case "request":
          return PROCEEDING_AGAIN;
        // "Any further provisional responses that are received from the TU while in the "Proceeding" state MUST be passed to
        // the transport layer for transmission", but by RFC 4320 4.1 only a 100.
        case "trying":
          return TRIED;
        case "timer100":
          return PROCEEDING_ON;
        // "If the TU passes a final response (status codes 200-699) to the server while in the "Proceeding" state, the
        // transaction MUST enter the "Completed" state".
        case "final":
          return reliable ? ANSWERED_RELIABLE : ANSWERED_UNRELIABLE;
        case "timeout":
        case "timerExpire":
          return UNANSWERED;
      }
      break;
    case "completed":
      switch (event) {
        // 17.2.2: "While in the "Completed" state, the server transaction MUST pass the final response to the transport layer
        // for retransmission whenever a retransmission of the request is received."
        case "request":
          return ANSWERED_AGAIN;
        // "The server transaction remains in this state until Timer J fires, at which point it MUST transition to the
        // "Terminated" state."
        case "timerJ":
          return ENDED;
        // "Any other final responses passed by the TU to the server transaction MUST be discarded while in the "Completed"
        // state."
        case "final":
          return UNMOVED.completed;
      }
      break;
  }
  return UNMOVED[state];
}
