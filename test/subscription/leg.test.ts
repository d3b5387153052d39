import { describe, expect, it } from "vitest";
import { packDialog } from "../../src/sip/dialog/dialog.ts";
import {
  beginSubscriber,
  type SubscriberEvent,
  type SubscriberState,
  stepSubscriber,
} from "../../src/sip/dialog/subscriber.ts";
import { Leg } from "../../src/subscription/leg.ts";

const RULES = { maxExpires: 86_400, timerNMs: 32_000, backOff: { firstMs: 1_000, mostMs: 60_000 }, reserve: 16 };
const DIALOG = {
  callId: "c@d",
  localTag: "l",
  remoteTag: "r",
  local: "<sip:w@example.com>",
  remote: "<sip:u@example.com>",
  remoteTarget: "sip:east.example.com",
  routeSet: ["<sip:p.example.com;lr>"],
  secure: false,
};

const NAMES = { id: "cdm-1", aor: "u@example.com", watcher: "w@example.com" };

describe("a leg", () => {
  it("has the machine it was given, at rest and while something is under way", () => {
    const events: SubscriberEvent[] = [
      { kind: "answered", now: 20, answer: 200, expires: 3600 },
      { kind: "notified", now: 30, cseq: 4, state: "active", expires: 3600 },
      { kind: "notified", now: 40, cseq: 5, state: "active", expires: 1800 },
      { kind: "refresh", now: 50 },
      { kind: "notified", now: 60, cseq: 6, state: "active", expires: 1000 },
      { kind: "answered", now: 70, answer: 200, expires: 3600 },
      { kind: "notified", now: 80, cseq: 7, state: "pending" },
      { kind: "notified", now: 90, cseq: 8, state: "active" },
      { kind: "leave", now: 100 },
    ];
    let state: SubscriberState = beginSubscriber(0, 3600, 16, RULES).state;
    const leg = new Leg(NAMES, 1, "east", 0, "c", state);
    for (const event of events) {
      state = stepSubscriber(state, event, RULES).state;
      leg.machine = stepSubscriber(leg.machine, event, RULES).state;
      expect(leg.machine, event.kind).toEqual(state);
    }
  });

  it("has the Call-ID it was begun with, before and after there is a dialog", () => {
    const leg = new Leg(NAMES, 1, "east", 0, "c@d", beginSubscriber(0, 3600, 16, RULES).state);
    expect([leg.callId, leg.dialog]).toEqual(["c@d", null]);
    for (const secure of [false, true]) {
      leg.dialog = packDialog({ ...DIALOG, secure });
      expect([leg.callId, leg.dialog]).toEqual(["c@d", packDialog({ ...DIALOG, secure })]);
    }
  });
});
