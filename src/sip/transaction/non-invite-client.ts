import { type Transition, to } from "./machine.ts";

/** The non-INVITE client transaction: RFC 3261 17.1.2.2, figure 6. */

export const NonInviteClientState = {
  trying: "trying",
  proceeding: "proceeding",
  completed: "completed",
  terminated: "terminated",
} as const;
export type NonInviteClientState = (typeof NonInviteClientState)[keyof typeof NonInviteClientState];

export type NonInviteClientEvent = "provisional" | "final" | "timerE" | "timerF" | "timerK" | "transportError";

export type NonInviteClientAction =
  | "sendRequest"
  | "startE"
  | "doubleE"
  | "slowE"
  | "startF"
  | "startK"
  | "informResponse"
  | "informTimeout"
  | "informError";

type Step = Transition<NonInviteClientState, NonInviteClientAction>;

const { trying, proceeding, completed, terminated } = NonInviteClientState;

const BEGUN_UNRELIABLE: Step = to(trying, "sendRequest", "startE", "startF");
const BEGUN_RELIABLE: Step = to(trying, "sendRequest", "startF");
const RETRANSMITTED: Step = to(trying, "doubleE", "sendRequest");
const RETRANSMITTED_SLOWLY: Step = to(proceeding, "slowE", "sendRequest");
const PROVISIONAL: Step = to(proceeding, "informResponse");
const ANSWERED_UNRELIABLE: Step = to(completed, "startK", "informResponse");
const ANSWERED_RELIABLE: Step = to(terminated, "informResponse");
const TIMED_OUT: Step = to(terminated, "informTimeout");
const FAILED: Step = to(terminated, "informError");
const ENDED: Step = to(terminated);

const UNMOVED: Readonly<Record<NonInviteClientState, Step>> = {
  trying: to(trying),
  proceeding: to(proceeding),
  completed: to(completed),
  terminated: ENDED,
};

export function beginNonInviteClient(reliable: boolean): Step {
  // 17.1.2.2: "The "Trying" state is entered when the TU initiates a new client transaction with a request. When entering
  // this state, the client transaction SHOULD set timer F to fire in 64*T1 seconds. The request MUST be passed to the
  // transport layer for transmission. If an unreliable transport is in use, the client transaction MUST set timer E to fire
  // in T1 seconds."
  return reliable ? BEGUN_RELIABLE : BEGUN_UNRELIABLE;
}

export function stepNonInviteClient(state: NonInviteClientState, event: NonInviteClientEvent, reliable: boolean): Step {
  switch (state) {
    case "trying":
      switch (event) {
        // 17.1.2.2: "If timer E fires while still in this state, the timer is reset, but this time with a value of
        // MIN(2*T1, T2). When the timer fires again, it is reset to a MIN(4*T1, T2)."
        case "timerE":
          return RETRANSMITTED;
        // "If Timer F fires while the client transaction is still in the "Trying" state, the client transaction SHOULD
        // inform the TU about the timeout, and then it SHOULD enter the "Terminated" state."
        case "timerF":
          return TIMED_OUT;
        // "If a provisional response is received while in the "Trying" state, the response MUST be passed to the TU, and
        // then the client transaction SHOULD move to the "Proceeding" state."
        case "provisional":
          return PROVISIONAL;
        // "If a final response (status codes 200-699) is received while in the "Trying" state, the response MUST be passed
        // to the TU, and the client transaction MUST transition to the "Completed" state", which sets Timer K "to fire in T4
        // seconds for unreliable transports, and zero seconds for reliable transports".
        case "final":
          return reliable ? ANSWERED_RELIABLE : ANSWERED_UNRELIABLE;
        // 17.1.4: "the client transaction SHOULD transition directly to the "Terminated" state."
        case "transportError":
          return FAILED;
      }
      break;
    case "proceeding":
      switch (event) {
        // 17.1.2.2: "If Timer E fires while in the "Proceeding" state, the request MUST be passed to the transport layer for
        // retransmission, and Timer E MUST be reset with a value of T2 seconds."
        case "timerE":
          return RETRANSMITTED_SLOWLY;
        // "If timer F fires while in the "Proceeding" state, the TU MUST be informed of a timeout, and the client
        // transaction MUST transition to the terminated state."
        case "timerF":
          return TIMED_OUT;
        case "provisional":
          return PROVISIONAL;
        // "If a final response (status codes 200-699) is received while in the "Proceeding" state, the response MUST be
        // passed to the TU, and the client transaction MUST transition to the "Completed" state."
        case "final":
          return reliable ? ANSWERED_RELIABLE : ANSWERED_UNRELIABLE;
        case "transportError":
          return FAILED;
      }
      break;
    case "completed":
      // 17.1.2.2: "The "Completed" state exists to buffer any additional response retransmissions that may be received";
      // "If Timer K fires while in this state, the client transaction MUST transition to the "Terminated" state."
      if (event === "timerK") return ENDED;
      break;
  }
  return UNMOVED[state];
}
