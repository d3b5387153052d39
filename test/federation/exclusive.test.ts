import { describe, expect, it } from "vitest";
import { decide } from "../../src/federation/decide.ts";
import type { Facts } from "../../src/federation/facts.ts";
import { bound, facts, fromServer, NO_BINDING, NO_RECORD, NOW, server } from "./make.ts";

const EXCLUSIVE: Facts["model"] = { model: "exclusive", conflict: "takeover", refuseWith: 403 };

function decideExclusive(change: Partial<Facts>) {
  return decide(facts({ model: EXCLUSIVE, modelFrom: "models[0] *@example.com", ...change }));
}

describe("exclusive, bound", () => {
  for (const method of ["SUBSCRIBE", "MESSAGE", "INVITE", "OPTIONS", "PUBLISH"]) {
    it(`relays ${method} to the holder`, () => {
      expect(decideExclusive({ method, lookup: bound("west", "registered") })).toMatchObject({
        kind: "relay",
        server: "west",
        binding: { origin: "registered", epoch: 7, retry: false },
      });
    });
  }

  it("asked by the very holder: 480, binding kept", () => {
    const plan = decideExclusive({ origin: fromServer("west"), lookup: bound("west", "registered") });
    expect(plan).toMatchObject({ kind: "reject", status: 480, unlearn: null });
  });

  it("the holder cannot be asked: 480 with Retry-After, binding kept", () => {
    const servers = [server("east"), server("west", { up: false })];
    expect(decideExclusive({ servers, lookup: bound("west", "registered") })).toMatchObject({
      status: 480,
      retryAfter: 10,
      unlearn: null,
    });
    expect(decideExclusive({ lookup: bound("gone", "registered") })).toMatchObject({ status: 480, retryAfter: 10 });
  });
});

describe("exclusive, unbound", () => {
  for (const lookup of [NO_BINDING, NO_RECORD, bound("west", "registered", { expiresAt: NOW })]) {
    it(`MESSAGE and INVITE get 480 (${lookup.state})`, () => {
      expect(decideExclusive({ method: "MESSAGE", lookup })).toMatchObject({ kind: "reject", status: 480 });
      expect(decideExclusive({ method: "INVITE", lookup })).toMatchObject({ kind: "reject", status: 480 });
    });
  }

  it("SUBSCRIBE of a user with a record gets 480 and says why it is not held", () => {
    const plan = decideExclusive({ method: "SUBSCRIBE", lookup: NO_BINDING });
    expect(plan).toMatchObject({ kind: "reject", status: 480 });
    expect(plan.reasons.join(" ")).toContain("holding");
  });

  it("SUBSCRIBE of a user nobody knows gets 404", () => {
    expect(decideExclusive({ method: "SUBSCRIBE", lookup: NO_RECORD })).toMatchObject({ status: 404 });
  });

  it("PUBLISH does not go to the home server", () => {
    const settings = { ...facts().settings, home: "east" };
    expect(decideExclusive({ method: "PUBLISH", settings })).toMatchObject({ kind: "reject", status: 480 });
    expect(decideExclusive({ method: "PUBLISH", settings, lookup: NO_RECORD })).toMatchObject({ status: 404 });
  });

  it("the directory away: 500 with Retry-After", () => {
    const plan = decideExclusive({ lookup: { state: "unavailable" }, directoryAvailable: false });
    expect(plan).toMatchObject({ kind: "reject", status: 500, retryAfter: 10 });
  });
});

describe("unioned", () => {
  for (const style of ["hierarchical", "peer"] as const) {
    it(`${style}: refused with a reason, never sent to one of his servers`, () => {
      for (const method of ["SUBSCRIBE", "MESSAGE", "INVITE"]) {
        const plan = decide(facts({ method, model: { model: "unioned", style }, lookup: bound("west", "registered") }));
        expect(plan).toMatchObject({ kind: "reject", status: 480 });
        expect(plan.reasons.join(" ")).toContain("unioned");
      }
    });
  }
});
