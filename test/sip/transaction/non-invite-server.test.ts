import { describe, expect, it } from "vitest";
import {
  beginNonInviteServer,
  type NonInviteServerEvent,
  NonInviteServerState,
  stepNonInviteServer,
} from "../../../src/sip/transaction/non-invite-server.ts";

type State = NonInviteServerState;
const EVENTS: NonInviteServerEvent[] = [
  "request",
  "trying",
  "provisional",
  "final",
  "timeout",
  "timer100",
  "timerExpire",
  "timerJ",
  "transportError",
];

describe("non-INVITE server transaction (RFC 3261 17.2.2, figure 8; RFC 4320; RFC 6026 8.8)", () => {
  it("starts in trying and passes the request to the TU", () => {
    expect(beginNonInviteServer()).toEqual({ state: "trying", actions: ["start100", "informRequest"] });
  });

  const arrows: Array<[State, NonInviteServerEvent, boolean, State, string[], string]> = [
    ["trying", "trying", true, "proceeding", ["sendResponse"], "MAY send 100 over reliable transports at any time"],
    [
      "trying",
      "timer100",
      false,
      "proceeding",
      ["startExpire", "send100"],
      "MUST send 100 when Timer E is reset to T2",
    ],
    ["trying", "timer100", true, "proceeding", ["startExpire", "send100"], "... without regard to transport"],
    ["trying", "final", false, "completed", ["startJ", "sendResponse"], "MUST send the final and set J"],
    ["trying", "final", true, "terminated", ["sendResponse"], "timer J is zero over reliable transports"],
    ["trying", "timeout", false, "completed", ["startAbsorb"], "MUST NOT send a 408"],
    ["trying", "timerExpire", false, "completed", ["startAbsorb"], "sends no final once the client has given up"],
    ["proceeding", "request", false, "proceeding", ["sendLast"], "MUST send the last provisional again"],
    ["proceeding", "trying", false, "proceeding", ["sendResponse"], "MUST send a further 100"],
    ["proceeding", "timer100", true, "proceeding", ["startExpire"], "keeps the clock of the transaction going"],
    ["proceeding", "final", false, "completed", ["startJ", "sendResponse"], "MUST complete and send the final"],
    ["proceeding", "final", true, "terminated", ["sendResponse"], "timer J is zero over reliable transports"],
    ["proceeding", "timeout", false, "completed", ["startAbsorb"], "MUST NOT send a 408"],
    ["proceeding", "timerExpire", false, "completed", ["startAbsorb"], "sends no final once the client has given up"],
    ["proceeding", "transportError", false, "proceeding", ["informError"], "MUST remain in its state (RFC 6026 8.8)"],
    ["completed", "request", false, "completed", ["sendLast"], "MUST send the final response again"],
    ["completed", "timerJ", false, "terminated", [], "MUST terminate when J fires"],
    ["completed", "transportError", false, "completed", ["informError"], "MUST remain in its state (RFC 6026 8.8)"],
  ];

  it.each(arrows)("%s, %s (reliable: %s) -> %s %j: %s", (state, event, reliable, next, actions) => {
    expect(stepNonInviteServer(state, event, reliable)).toEqual({ state: next, actions });
  });

  it("MUST NOT send 100 over an unreliable transport before Timer E is reset to T2", () => {
    expect(stepNonInviteServer("trying", "trying", false)).toEqual({ state: "trying", actions: [] });
  });

  it("MUST NOT send any other provisional response, over no transport and at no time", () => {
    for (const state of ["trying", "proceeding"] as const) {
      for (const reliable of [true, false]) {
        expect(stepNonInviteServer(state, "provisional", reliable)).toEqual({ state, actions: [] });
      }
    }
  });

  it("discards a request retransmitted in trying, and any other final in completed", () => {
    expect(stepNonInviteServer("trying", "request", false)).toEqual({ state: "trying", actions: [] });
    expect(stepNonInviteServer("completed", "final", false)).toEqual({ state: "completed", actions: [] });
  });

  it("does nothing at all where the figure has no arrow", () => {
    const drawn = new Set([...arrows.map(([state, event]) => `${state} ${event}`)]);
    for (const state of Object.values(NonInviteServerState)) {
      for (const event of EVENTS) {
        for (const reliable of [true, false]) {
          if (drawn.has(`${state} ${event}`)) continue;
          expect(stepNonInviteServer(state, event, reliable)).toEqual({ state, actions: [] });
        }
      }
    }
  });
});
