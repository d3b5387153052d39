import { describe, expect, it } from "vitest";
import { decide } from "../../src/federation/decide.ts";
import type { Facts } from "../../src/federation/facts.ts";
import { bound, facts, fromServer, NO_BINDING, NO_RECORD, NOW, server } from "./make.ts";

const EXCLUSIVE: Facts["model"] = { model: "exclusive", conflict: "takeover", refuseWith: 403 };

function decideExclusive(change: Partial<Facts>) {
  return decide(facts({ model: EXCLUSIVE, modelFrom: "models[0] *@example.com", ...change }));
}

describe("exclusive, bound", () => {
  for (const method of ["MESSAGE", "INVITE", "OPTIONS", "PUBLISH"]) {
    it(`relays ${method} to the holder`, () => {
      expect(decideExclusive({ method, lookup: bound("west", "registered") })).toMatchObject({
        kind: "relay",
        server: "west",
        binding: { origin: "registered", epoch: 7, retry: false },
      });
    });
  }

  it("extends SUBSCRIBE to the holder, back-to-back, also while it cannot be asked", () => {
    const ask = { method: "SUBSCRIBE", event: "presence", lookup: bound("west", "registered") };
    expect(decideExclusive(ask)).toMatchObject({ kind: "hold", server: "west", epoch: 7 });
    const servers = [server("east"), server("west", { up: false })];
    expect(decideExclusive({ ...ask, servers })).toMatchObject({ kind: "hold", server: "west" });
  });

  it("passes SUBSCRIBE on to a holder whose dialogs cannot be moved", () => {
    const servers = [server("east"), server("west", { repoint: false })];
    const lookup = bound("west", "registered");
    expect(decideExclusive({ method: "SUBSCRIBE", event: "presence", servers, lookup })).toMatchObject({
      kind: "relay",
      server: "west",
    });
  });

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

  it("SUBSCRIBE of a user with a record is held", () => {
    const plan = decideExclusive({ method: "SUBSCRIBE", event: "presence", lookup: NO_BINDING });
    expect(plan).toMatchObject({ kind: "hold", server: null, epoch: 3, known: true });
  });

  it("SUBSCRIBE to an event package that is not held gets 480", () => {
    expect(decideExclusive({ method: "SUBSCRIBE", event: "dialog", lookup: NO_BINDING })).toMatchObject({
      kind: "reject",
      status: 480,
    });
  });

  it("with `hold: any` a user nobody knows is held too", () => {
    const hold = { users: "any", events: ["presence"] } as const;
    const plan = decideExclusive({
      method: "SUBSCRIBE",
      event: "presence",
      lookup: NO_RECORD,
      settings: { ...facts().settings, hold },
    });
    expect(plan).toMatchObject({ kind: "hold", server: null, epoch: 0, known: false });
  });

  it("the directory away: a new back-to-back SUBSCRIBE gets 500 with Retry-After", () => {
    const away = { method: "SUBSCRIBE", event: "presence", directoryAvailable: false };
    for (const lookup of [NO_BINDING, bound("west", "registered")]) {
      expect(decideExclusive({ ...away, lookup })).toMatchObject({ kind: "reject", status: 500, retryAfter: 10 });
    }
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

describe("subscriptions to registrations (RFC 3680)", () => {
  const reg = { method: "SUBSCRIBE", event: "reg", lookup: bound("west", "registered") };

  it("of a server to a user are answered here, whoever holds him", () => {
    for (const name of ["east", "west"]) {
      expect(decideExclusive({ ...reg, origin: fromServer(name) })).toMatchObject({
        kind: "reginfo",
        server: name,
        aor: "alice@example.com",
      });
    }
  });

  it("of a server to all its users are answered here; of another server's users 403", () => {
    const whole = { ...reg, regServer: "west" };
    expect(decideExclusive({ ...whole, origin: fromServer("west") })).toMatchObject({ kind: "reginfo", aor: null });
    expect(decideExclusive({ ...whole, origin: fromServer("east") })).toMatchObject({ kind: "reject", status: 403 });
    expect(decideExclusive(whole)).toMatchObject({ kind: "reject", status: 403 });
  });

  it("of a client go to his server", () => {
    expect(decideExclusive(reg)).toMatchObject({ kind: "hold", server: "west" });
  });
});
