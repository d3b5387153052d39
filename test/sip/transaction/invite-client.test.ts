import { describe, expect, it } from "vitest";
import {
  beginInviteClient,
  type InviteClientEvent,
  InviteClientState,
  stepInviteClient,
} from "../../../src/sip/transaction/invite-client.ts";

type State = InviteClientState;
const step = (state: State, event: InviteClientEvent, reliable = false) => stepInviteClient(state, event, reliable);

const EVENTS: InviteClientEvent[] = [
  "provisional",
  "success",
  "failure",
  "cancel",
  "timerA",
  "timerB",
  "timerD",
  "timerM",
  "timerCancel",
  "transportError",
];

describe("INVITE client transaction (RFC 3261 17.1.1.2, RFC 6026 figure 5)", () => {
  it("MUST enter calling, send the INVITE and start timers A and B", () => {
    expect(beginInviteClient(false)).toEqual({ state: "calling", actions: ["sendRequest", "startA", "startB"] });
  });

  it("SHOULD NOT start timer A over reliable transports, but MUST start B over any", () => {
    expect(beginInviteClient(true)).toEqual({ state: "calling", actions: ["sendRequest", "startB"] });
  });

  // [state, event, reliable, next state, actions, rule]
  const arrows: Array<[State, InviteClientEvent, boolean, State, string[], string]> = [
    ["calling", "timerA", false, "calling", ["doubleA", "sendRequest"], "MUST retransmit and double timer A"],
    ["calling", "timerB", false, "terminated", ["informTimeout"], "SHOULD inform the TU of the timeout, no ACK"],
    ["calling", "transportError", false, "terminated", ["informError"], "SHOULD inform the TU and terminate (17.1.4)"],
    [
      "calling",
      "provisional",
      false,
      "proceeding",
      ["stopA", "stopB", "informResponse"],
      "MUST pass the 1xx, stop sending",
    ],
    [
      "calling",
      "success",
      false,
      "accepted",
      ["startM", "informResponse"],
      "MUST move to accepted, start M, send no ACK",
    ],
    ["calling", "success", true, "accepted", ["startM", "informResponse"], "MUST start M over any transport"],
    [
      "calling",
      "failure",
      false,
      "completed",
      ["startD", "sendAck", "informResponse"],
      "MUST ACK, pass it on, start D",
    ],
    ["calling", "failure", true, "terminated", ["sendAck", "informResponse"], "MUST ACK over reliable too; D is zero"],
    ["proceeding", "provisional", false, "proceeding", ["informResponse"], "MUST pass further 1xx"],
    ["proceeding", "success", false, "accepted", ["startM", "informResponse"], "MUST move to accepted"],
    ["proceeding", "failure", false, "completed", ["startD", "sendAck", "informResponse"], "MUST ACK and complete"],
    ["proceeding", "failure", true, "terminated", ["sendAck", "informResponse"], "MUST ACK over reliable too"],
    [
      "proceeding",
      "cancel",
      false,
      "proceeding",
      ["startCancel", "sendCancel"],
      "may send CANCEL after a provisional (9.1)",
    ],
    ["proceeding", "timerCancel", false, "terminated", ["informTimeout"], "SHOULD give up 64*T1 after CANCEL (9.1)"],
    ["proceeding", "transportError", true, "terminated", ["informError"], "informs the TU when the connection dies"],
    ["completed", "failure", false, "completed", ["sendAck"], "MUST ACK a retransmission and MUST NOT pass it up"],
    ["completed", "timerD", false, "terminated", [], "MUST terminate when D fires"],
    ["completed", "transportError", false, "terminated", ["informError"], "informs the TU when the ACK cannot leave"],
    ["accepted", "success", false, "accepted", ["informResponse"], "MUST pass every 2xx up"],
    ["accepted", "timerM", false, "terminated", [], "MUST terminate when M fires"],
  ];

  it.each(arrows)("%s, %s (reliable: %s) -> %s %j: %s", (state, event, reliable, next, actions) => {
    expect(step(state, event, reliable)).toEqual({ state: next, actions });
  });

  it("MUST NOT send CANCEL before a provisional response (9.1)", () => {
    expect(step("calling", "cancel")).toEqual({ state: "calling", actions: [] });
  });

  it("does nothing at all where no figure has an arrow", () => {
    const drawn = new Set(arrows.map(([state, event]) => `${state} ${event}`));
    for (const state of Object.values(InviteClientState)) {
      for (const event of EVENTS) {
        for (const reliable of [true, false]) {
          if (!drawn.has(`${state} ${event}`)) expect(step(state, event, reliable)).toEqual({ state, actions: [] });
        }
      }
    }
  });

  it("hands out frozen constants: a step allocates nothing", () => {
    expect(step("calling", "timerA")).toBe(step("calling", "timerA"));
    expect(Object.isFrozen(step("calling", "timerA").actions)).toBe(true);
    expect(step("accepted", "failure")).toBe(step("accepted", "provisional"));
  });
});
