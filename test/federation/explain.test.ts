import { describe, expect, it } from "vitest";
import { decide } from "../../src/federation/decide.ts";
import { originText, planSummary, renderExplanation } from "../../src/federation/explain.ts";
import type { Facts } from "../../src/federation/facts.ts";
import { bound, facts, fromServer, NO_RECORD, NOW, server, settings } from "./make.ts";

function explain(change: Partial<Facts>) {
  const given = facts(change);
  return renderExplanation(given, decide(given));
}

describe("explain", () => {
  it("says what was known, what follows and why", () => {
    const { text } = explain({
      method: "SUBSCRIBE",
      event: "presence",
      origin: fromServer("east"),
      sender: { aor: "bob@example.com", trusted: true },
      lookup: bound("west"),
    });
    expect(text).toEqual([
      "SUBSCRIBE (presence) for alice@example.com from server:east",
      "sender: bob@example.com",
      "model: partitioned, by default",
      "binding: west, learned, epoch 7, until 2023-11-14T22:14:20.000Z",
      "servers: east up, west up, north up",
      "- bound: this server proved to have the user",
      "plan: relay west",
      "  a 404 from it: what was learned is dropped, and the others are asked, once",
    ]);
  });

  it("says of a fork who is asked first, who proves and who is not asked", () => {
    const servers = [server("east"), server("open", { proves: [] }), server("west", { proves: [], up: false })];
    const { text, json } = explain({ servers });
    expect(json.summary).toBe("fork east | open");
    expect(text).toContain("  the second stage only if all of the first say: not here");
    expect(text).toContain("  a success proves of: east");
    expect(text).toContain("  not asked, so that no 404 can come of it: west");
    expect(text).toContain("sender: bob@example.com, not proved");
  });

  it("says what was learned and is dropped", () => {
    const { text } = explain({ origin: fromServer("west"), lookup: bound("west") });
    expect(text).toContain("  first dropped: what was learned of west, epoch 7");
  });

  it("tells the states of the directory apart", () => {
    const line = (lookup: Facts["lookup"]): string =>
      explain({ lookup }).text.find((each) => each.startsWith("binding:"))!;
    expect(line(NO_RECORD)).toContain("no record");
    expect(line({ state: "no-binding", epoch: 4, user: null })).toBe("binding: none, epoch 4");
    expect(line({ state: "unavailable" })).toContain("directory is away");
    expect(line({ state: "all-said-404", epoch: 0, until: NOW + 5 })).toContain("every server said 404");
    expect(line({ state: "all-said-404", epoch: 0, until: NOW })).toContain("(over)");
    expect(line(bound("west", "admin", { expiresAt: null }))).toBe("binding: west, admin, epoch 7");
    expect(line(bound("west", "admin", { expiresAt: NOW }))).toContain("(over)");
  });

  it("shows drained and down servers, and those not asked again", () => {
    const servers = [server("east", { up: false, drained: true }), server("west", { up: false }), server("north")];
    const { text } = explain({ servers, without: ["north"] });
    expect(text).toContain("servers: east drained, west down, north up");
    expect(text).toContain("not asked again: north");
    expect(text).toContain("plan: reject 480 Temporarily Unavailable");
    expect(text).toContain("  Retry-After: 10");
  });

  it("says who wins a claim", () => {
    const exclusive = { model: "exclusive", conflict: "refuse", refuseWith: 302 } as const;
    const claim = { method: "REGISTER", origin: fromServer("east"), claim: "claim" } as const;
    expect(explain({ ...claim, model: exclusive }).text).toContain("  a second claim gets 302");
    expect(explain(claim).text).toContain("  the latest claim wins");
    expect(explain(claim).json.summary).toBe("claim for east");
    expect(explain({ method: "REGISTER", settings: settings({ home: "east" }) }).json.summary).toBe(
      "relay east, bind by its 2xx",
    );
  });

  it("says how the server that loses the user is told, and how often he may be taken", () => {
    const model = { model: "exclusive", conflict: "takeover", refuseWith: 403 } as const;
    const claim = { method: "REGISTER", origin: fromServer("east"), claim: "claim", model } as const;
    const lookup = bound("west", "registered");
    const lines = (change: Parameters<typeof server>[1]): readonly string[] =>
      explain({ ...claim, lookup, servers: [server("east"), server("west", change)] }).text;
    expect(lines({})).toContain(
      "  west loses the user, and is told where it subscribes to reg: contact terminated, rejected",
    );
    expect(lines({ reginfo: "whole" })).toContain(
      "  west loses the user, and is told where it subscribes to reg: registration terminated (reginfo: whole)",
    );
    expect(lines({ evict: "register" })).toContain(
      "  west loses the user, and is told by REGISTER with Contact: *, Expires: 0 (evict: register)",
    );
    expect(lines({ evict: "none" })).toContain("  west loses the user, and is told nothing (evict: none)");
    expect(lines({})).toContain("  refused after 6 such takings at a stretch, forgotten over 60 s");
    expect(explain({ ...claim, lookup: bound("east", "registered") }).text.join()).not.toContain("loses");
    expect(explain({ ...claim, lookup: bound("west", "provisioned") }).text).toContain(
      "  the user is provisioned where he is: it gets 403",
    );
  });

  it("says what rules say of it, and what becomes of it by them", () => {
    const given = facts({ lookup: bound("west") });
    const told = (decision: string) => {
      const policy = {
        way: "root-only",
        decision,
        rule: "rule friends",
        until: null,
        lines: [`policy root-only: ${decision}, by rule friends`, "rule friends matches"],
      };
      return renderExplanation(given, decide(given), policy);
    };
    expect(told("allow").text.slice(-2)).toEqual([
      "policy root-only: allow, by rule friends",
      "  rule friends matches",
    ]);
    expect(told("block").text.at(-1)).toBe("  so it is refused with 403");
    expect(told("confirm").text.at(-1)).toContain("pending");
    expect(told("polite-block").text.at(-1)).toContain("says nothing");
    expect(told("unknown").text.at(-1)).toContain("500");
    expect(told("block").json.policy).toMatchObject({ decision: "block", rule: "rule friends" });
    expect(explain({}).json.policy).toBeNull();
  });

  it("gives the same as plain data", () => {
    const { json } = explain({ lookup: bound("west", "registered", { expiresAt: NOW }) });
    expect(JSON.parse(JSON.stringify(json))).toEqual(json);
    expect(json.binding).toEqual({
      state: "bound",
      server: "west",
      origin: "registered",
      epoch: 7,
      expiresAt: "2023-11-14T22:13:20.000Z",
    });
    expect(explain({ lookup: { state: "unavailable" } }).json.binding.epoch).toBeNull();
  });
});

describe("one-line forms", () => {
  it("of origins", () => {
    expect(originText(fromServer("east"))).toBe("server:east");
    expect(originText({ kind: "client", authenticated: null })).toBe("client");
    expect(originText({ kind: "client", authenticated: "bob@example.com" })).toBe("client:bob@example.com");
    expect(originText({ kind: "peer", domain: "other.org" })).toBe("peer:other.org");
    expect(originText({ kind: "unknown" })).toBe("unknown");
  });

  it("of plans", () => {
    expect(planSummary(decide(facts({ lookup: bound("west") })))).toBe("relay west");
    expect(planSummary(decide(facts({ lookup: bound("west"), settings: settings({ routing: "redirect" }) })))).toBe(
      "redirect west",
    );
    expect(planSummary(decide(facts()))).toBe("fork east,west,north");
  });
});
