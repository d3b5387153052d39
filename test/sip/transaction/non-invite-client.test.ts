import { describe, expect, it } from "vitest";
import {
  beginNonInviteClient,
  type NonInviteClientEvent,
  NonInviteClientState,
  stepNonInviteClient,
} from "../../../src/sip/transaction/non-invite-client.ts";

type State = NonInviteClientState;
const EVENTS: NonInviteClientEvent[] = ["provisional", "final", "timerE", "timerF", "timerK", "transportError"];

describe("non-INVITE client transaction (RFC 3261 17.1.2.2, figure 6)", () => {
  it("MUST send the request, set timer E, and sets timer F", () => {
    expect(beginNonInviteClient(false)).toEqual({ state: "trying", actions: ["sendRequest", "startE", "startF"] });
  });

  it("sets no timer E over reliable transports", () => {
    expect(beginNonInviteClient(true)).toEqual({ state: "trying", actions: ["sendRequest", "startF"] });
  });

  const arrows: Array<[State, NonInviteClientEvent, boolean, State, string[], string]> = [
    ["trying", "timerE", false, "trying", ["doubleE", "sendRequest"], "resets E to MIN(2*E, T2) and sends again"],
    ["trying", "timerF", false, "terminated", ["informTimeout"], "SHOULD inform the TU about the timeout"],
    ["trying", "transportError", false, "terminated", ["informError"], "SHOULD inform the TU (17.1.4)"],
    ["trying", "provisional", false, "proceeding", ["informResponse"], "MUST pass the 1xx to the TU"],
    ["trying", "final", false, "completed", ["startK", "informResponse"], "MUST pass the final and complete"],
    ["trying", "final", true, "terminated", ["informResponse"], "timer K is zero over reliable transports"],
    ["proceeding", "timerE", false, "proceeding", ["slowE", "sendRequest"], "MUST send again and reset E to T2"],
    ["proceeding", "timerF", false, "terminated", ["informTimeout"], "MUST inform the TU of the timeout"],
    ["proceeding", "transportError", false, "terminated", ["informError"], "informs the TU"],
    ["proceeding", "provisional", false, "proceeding", ["informResponse"], "passes further 1xx"],
    ["proceeding", "final", false, "completed", ["startK", "informResponse"], "MUST pass the final and complete"],
    ["proceeding", "final", true, "terminated", ["informResponse"], "timer K is zero over reliable transports"],
    ["completed", "timerK", false, "terminated", [], "MUST terminate when K fires"],
  ];

  it.each(arrows)("%s, %s (reliable: %s) -> %s %j: %s", (state, event, reliable, next, actions) => {
    expect(stepNonInviteClient(state, event, reliable)).toEqual({ state: next, actions });
  });

  it("passes only one final response up", () => {
    expect(stepNonInviteClient("completed", "final", false)).toEqual({ state: "completed", actions: [] });
  });

  it("does nothing at all where the figure has no arrow", () => {
    const drawn = new Set(arrows.map(([state, event]) => `${state} ${event}`));
    for (const state of Object.values(NonInviteClientState)) {
      for (const event of EVENTS) {
        for (const reliable of [true, false]) {
          if (drawn.has(`${state} ${event}`)) continue;
          expect(stepNonInviteClient(state, event, reliable)).toEqual({ state, actions: [] });
        }
      }
    }
  });
});
