import { describe, expect, it } from "vitest";
import {
  beginInviteServer,
  type InviteServerEvent,
  InviteServerState,
  stepInviteServer,
} from "../../../src/sip/transaction/invite-server.ts";

type State = InviteServerState;
const EVENTS: InviteServerEvent[] = [
  "invite",
  "ack",
  "provisional",
  "success",
  "failure",
  "timer100",
  "timerG",
  "timerH",
  "timerI",
  "timerL",
  "transportError",
];

describe("INVITE server transaction (RFC 3261 17.2.1, RFC 6026 figure 7)", () => {
  it("MUST pass the request to the TU, and will send 100 if the TU does not answer in 200 ms", () => {
    expect(beginInviteServer()).toEqual({ state: "proceeding", actions: ["start100", "informRequest"] });
  });

  const arrows: Array<[State, InviteServerEvent, boolean, State, string[], string]> = [
    ["proceeding", "timer100", false, "proceeding", ["send100"], "MUST generate a 100"],
    ["proceeding", "invite", false, "proceeding", ["sendLast"], "MUST send the last provisional again"],
    ["proceeding", "provisional", false, "proceeding", ["stop100", "sendResponse"], "MUST send each provisional"],
    [
      "proceeding",
      "success",
      false,
      "accepted",
      ["stop100", "startL", "sendResponse"],
      "MUST move to accepted, start L",
    ],
    ["proceeding", "success", true, "accepted", ["stop100", "startL", "sendResponse"], "starts L for all transports"],
    ["proceeding", "failure", false, "completed", ["startG", "startH", "sendResponse"], "MUST complete; sets G and H"],
    ["proceeding", "failure", true, "completed", ["stop100", "startH", "sendResponse"], "sets no G over reliable"],
    ["proceeding", "transportError", false, "proceeding", ["informError"], "MUST remain in its state (RFC 6026 8.8)"],
    ["completed", "invite", false, "completed", ["sendLast"], "SHOULD send the response again"],
    ["completed", "timerG", false, "completed", ["doubleG", "sendLast"], "sends again, G doubles up to T2"],
    ["completed", "ack", false, "confirmed", ["stopG", "startI"], "MUST move to confirmed"],
    ["completed", "ack", true, "terminated", [], "timer I is zero over reliable transports"],
    ["completed", "timerH", false, "terminated", ["informFailure"], "MUST indicate the failure to the TU"],
    ["completed", "transportError", false, "completed", ["informError"], "MUST remain in its state (RFC 6026 8.8)"],
    ["confirmed", "timerI", false, "terminated", [], "MUST terminate when I fires"],
    ["accepted", "success", false, "accepted", ["sendResponse"], "MUST send every 2xx of the TU"],
    ["accepted", "ack", false, "accepted", ["informAck"], "MUST pass an ACK to the TU"],
    ["accepted", "timerL", false, "terminated", [], "MUST terminate when L fires"],
    ["accepted", "transportError", false, "accepted", ["informError"], "MUST remain in its state (RFC 6026 7.1)"],
  ];

  it.each(arrows)("%s, %s (reliable: %s) -> %s %j: %s", (state, event, reliable, next, actions) => {
    expect(stepInviteServer(state, event, reliable)).toEqual({ state: next, actions });
  });

  it("absorbs an INVITE retransmitted after a 2xx, and never sends the 2xx again by itself", () => {
    expect(stepInviteServer("accepted", "invite", false)).toEqual({ state: "accepted", actions: [] });
    expect(stepInviteServer("accepted", "timerG", false)).toEqual({ state: "accepted", actions: [] });
  });

  it("absorbs further ACKs in confirmed", () => {
    expect(stepInviteServer("confirmed", "ack", false)).toEqual({ state: "confirmed", actions: [] });
  });

  it("does nothing at all where the figure has no arrow", () => {
    const drawn = new Set(arrows.map(([state, event]) => `${state} ${event}`));
    for (const state of Object.values(InviteServerState)) {
      for (const event of EVENTS) {
        for (const reliable of [true, false]) {
          if (drawn.has(`${state} ${event}`)) continue;
          expect(stepInviteServer(state, event, reliable)).toEqual({ state, actions: [] });
        }
      }
    }
  });
});
