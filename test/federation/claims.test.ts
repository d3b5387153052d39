import { describe, expect, it } from "vitest";
import { decide } from "../../src/federation/decide.ts";
import type { Facts } from "../../src/federation/facts.ts";
import { bound, facts, fromServer, NO_RECORD, NOW, server, settings } from "./make.ts";

const MODELS: readonly Facts["model"][] = [
  { model: "partitioned" },
  { model: "exclusive", conflict: "takeover", refuseWith: 403 },
  { model: "exclusive", conflict: "refuse", refuseWith: 302 },
];

function register(change: Partial<Facts>) {
  return decide(facts({ method: "REGISTER", ...change }));
}

function publish(change: Partial<Facts>) {
  return decide(facts({ method: "PUBLISH", event: "presence", ...change }));
}

describe("REGISTER of a server for its user", () => {
  for (const model of MODELS) {
    const exclusive = model.model === "exclusive" ? model : null;
    it(`claims in the ${model.model} model${exclusive === null ? "" : ` (${exclusive.conflict})`}`, () => {
      for (const lookup of [facts().lookup, bound("west"), bound("east", "provisioned")]) {
        expect(register({ model, lookup, origin: fromServer("west"), claim: "claim" })).toMatchObject({
          kind: "bind",
          origin: "registered",
          action: "claim",
          server: "west",
          relayTo: null,
          conflict: exclusive?.conflict ?? "takeover",
          refuseWith: exclusive?.refuseWith ?? 403,
          equalRank: exclusive !== null,
        });
      }
    });
  }

  it("gives the user up", () => {
    expect(register({ origin: fromServer("west"), claim: "deregister" })).toMatchObject({
      kind: "bind",
      action: "deregister",
      server: "west",
    });
  });

  it("gets 500 with Retry-After while the directory is away (RFC 3261 10.3)", () => {
    for (const lookup of [bound("west"), { state: "unavailable" as const }]) {
      const plan = register({ lookup, origin: fromServer("west"), claim: "claim", directoryAvailable: false });
      expect(plan).toMatchObject({ kind: "reject", status: 500, retryAfter: 10 });
    }
  });

  it("is refused where the server is not configured to claim by it", () => {
    const servers = [server("east"), server("west", { claims: [] })];
    const plan = register({ servers, origin: fromServer("west"), claim: "claim" });
    expect(plan).toMatchObject({ kind: "reject", status: 403 });
    expect(plan).not.toMatchObject({ warning: null });
  });
});

describe("REGISTER of a client", () => {
  it("goes to the user's server, and its 2xx binds", () => {
    expect(register({ lookup: bound("west", "registered") })).toMatchObject({
      kind: "bind",
      action: "claim",
      server: "west",
      relayTo: "west",
      binding: { origin: "registered", epoch: 7, retry: false },
    });
  });

  it("goes to the home server where he is bound nowhere", () => {
    for (const model of MODELS) {
      const plan = register({ model, lookup: NO_RECORD, settings: settings({ home: "north" }) });
      expect(plan).toMatchObject({ kind: "bind", server: "north", relayTo: "north", binding: null });
    }
  });

  it("gets 404 where there is no home server", () => {
    expect(register({})).toMatchObject({ kind: "reject", status: 404 });
    expect(register({ settings: settings({ home: "gone" }) })).toMatchObject({ kind: "reject", status: 404 });
  });

  it("gets 480 with Retry-After where the server cannot be asked", () => {
    const servers = [server("east", { up: false })];
    expect(register({ servers, lookup: bound("east", "registered") })).toMatchObject({ status: 480, retryAfter: 10 });
    expect(register({ servers, settings: settings({ home: "east" }) })).toMatchObject({ status: 480, retryAfter: 10 });
    expect(register({ servers, lookup: bound("gone", "admin") })).toMatchObject({ status: 480, retryAfter: 10 });
  });

  it("gets 500 with Retry-After while the directory is away, before anything is relayed", () => {
    expect(register({ lookup: bound("west", "registered"), directoryAvailable: false })).toMatchObject({
      kind: "reject",
      status: 500,
      retryAfter: 10,
    });
  });

  it("passed on by a server is relayed like any client's", () => {
    const plan = register({ origin: fromServer("east"), lookup: bound("west", "registered") });
    expect(plan).toMatchObject({ kind: "bind", server: "west", relayTo: "west" });
  });

  it("passed on by the very server it would go to: 404, in the exclusive model 480", () => {
    const change = { origin: fromServer("west"), lookup: bound("west", "registered") };
    expect(register(change)).toMatchObject({ kind: "reject", status: 404 });
    expect(register({ ...change, model: MODELS[1]! })).toMatchObject({ kind: "reject", status: 480 });
    const learned = { ...change, lookup: bound("west"), model: MODELS[1]! };
    expect(register(learned)).toMatchObject({ kind: "reject", status: 480, unlearn: null });
    expect(register({ origin: fromServer("east"), settings: settings({ home: "east" }) })).toMatchObject({
      status: 404,
    });
  });

  it("drops what was learned of the very server that asks, and goes home", () => {
    const plan = register({ origin: fromServer("west"), lookup: bound("west"), settings: settings({ home: "north" }) });
    expect(plan).toMatchObject({ kind: "bind", relayTo: "north", unlearn: { server: "west", epoch: 7 } });
  });

  it("goes home after a 404 of the server learned, once", () => {
    const home = settings({ home: "north" });
    expect(register({ lookup: bound("west"), settings: home })).toMatchObject({
      relayTo: "west",
      binding: { retry: true },
    });
    expect(register({ without: ["west"], settings: home })).toMatchObject({ relayTo: "north" });
    expect(register({ without: ["north"], settings: home })).toMatchObject({ kind: "reject", status: 404 });
  });

  it("is relayed even by a redirect server: only a 2xx seen here binds", () => {
    const plan = register({ lookup: bound("west", "registered"), settings: settings({ routing: "redirect" }) });
    expect(plan).toMatchObject({ kind: "bind", relayTo: "west" });
  });

  it("carries subdomain and identity of the server it goes to", () => {
    const plan = register({
      lookup: bound("west", "registered"),
      identities: { west: "al@example.com" },
      settings: settings({ subdomains: { west: "w.example.com" } }),
    });
    expect(plan).toMatchObject({ identity: "al@example.com", subdomain: "w.example.com" });
  });
});

describe("PUBLISH", () => {
  it("of a partitioned user goes to his server, else to the home server, else 404", () => {
    expect(publish({ lookup: bound("west") })).toMatchObject({
      kind: "relay",
      server: "west",
      binding: { retry: true },
    });
    expect(publish({ settings: settings({ home: "north" }) })).toMatchObject({
      kind: "relay",
      server: "north",
      binding: null,
    });
    expect(publish({})).toMatchObject({ kind: "reject", status: 404 });
    const remembered = { state: "all-said-404" as const, epoch: 1, until: NOW + 1 };
    expect(publish({ lookup: remembered })).toMatchObject({ kind: "reject", status: 404 });
    expect(publish({ lookup: remembered, settings: settings({ home: "north" }) })).toMatchObject({ server: "north" });
  });

  it("is redirected by a redirect server", () => {
    const plan = publish({ lookup: bound("west"), settings: settings({ routing: "redirect" }) });
    expect(plan).toMatchObject({ kind: "redirect", server: "west" });
  });

  it("is relayed by a redirect server too where something learned is to be dropped first", () => {
    const plan = publish({
      origin: fromServer("west"),
      lookup: bound("west"),
      settings: settings({ routing: "redirect", home: "north" }),
    });
    expect(plan).toMatchObject({ kind: "relay", server: "north", unlearn: { server: "west", epoch: 7 } });
  });

  it("is routed while the directory is away, where the user is known", () => {
    expect(publish({ lookup: bound("west"), directoryAvailable: false })).toMatchObject({ kind: "relay" });
    expect(publish({ lookup: { state: "unavailable" }, directoryAvailable: false })).toMatchObject({ status: 500 });
  });

  it("from a server marked `claims: publish` claims its user", () => {
    const servers = [server("east"), server("west", { claims: ["publish"] })];
    for (const action of ["claim", "deregister", "none"] as const) {
      const plan = publish({ servers, origin: fromServer("west"), claim: action, lookup: bound("east") });
      expect(plan).toMatchObject({ kind: "bind", origin: "published", action, server: "west", relayTo: null });
    }
  });

  it("from any other server is a client's, passed on", () => {
    const plan = publish({ origin: fromServer("west"), claim: "claim", lookup: bound("east") });
    expect(plan).toMatchObject({ kind: "relay", server: "east" });
  });
});

describe("an authenticated client", () => {
  it("registers and publishes for himself only (RFC 3261 10.3 step 4)", () => {
    const change = { lookup: bound("east", "registered") };
    const eve = { kind: "client", authenticated: "eve@example.com" } as const;
    const alice = { kind: "client", authenticated: "alice@example.com" } as const;
    expect(register({ ...change, origin: eve })).toMatchObject({ kind: "reject", status: 403 });
    expect(publish({ ...change, origin: eve })).toMatchObject({ kind: "reject", status: 403 });
    expect(register({ ...change, origin: alice })).toMatchObject({ kind: "bind" });
    expect(publish({ ...change, origin: alice })).toMatchObject({ kind: "relay" });
  });
});

describe("another domain", () => {
  it("neither registers nor publishes our users", () => {
    const origin = { kind: "peer", domain: "other.org" } as const;
    expect(register({ origin, settings: settings({ home: "east" }) })).toMatchObject({ status: 403 });
    expect(publish({ origin, lookup: bound("east") })).toMatchObject({ status: 403 });
  });
});
