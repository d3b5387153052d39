import { describe, expect, it } from "vitest";
import type { Lookup } from "../../src/directory/directory.ts";
import { decide } from "../../src/federation/decide.ts";
import type { Facts } from "../../src/federation/facts.ts";
import { isKeptAfter } from "../../src/federation/storing.ts";
import { bound, facts, fromServer, NO_BINDING, NO_RECORD, server, settings } from "./make.ts";

const EXCLUSIVE: Facts["model"] = { model: "exclusive", conflict: "takeover", refuseWith: 403 };
const STORE = settings({ absentMessages: "store" });
const WEST_DOWN = [server("east"), server("west", { up: false })];

function plan(change: Partial<Facts>) {
  return decide(facts({ settings: STORE, ...change }));
}

function waiting(lookup: Lookup): Lookup {
  return { ...lookup, stored: true };
}

describe("a MESSAGE nobody can take now, with messages: { absent: store } (models.md, Stored messages)", () => {
  it("exclusive, unbound, known: stored", () => {
    expect(plan({ model: EXCLUSIVE, lookup: NO_BINDING })).toMatchObject({ kind: "store", behindOthers: false });
  });

  it("exclusive, never heard of: 480", () => {
    expect(plan({ model: EXCLUSIVE, lookup: NO_RECORD })).toMatchObject({ kind: "reject", status: 480 });
  });

  for (const model of [EXCLUSIVE, { model: "partitioned" } as const]) {
    it(`${model.model}, bound, and the server cannot be asked: stored; so where it is configured no more`, () => {
      const lookup = bound("west", "registered");
      expect(plan({ model, lookup, servers: WEST_DOWN })).toMatchObject({ kind: "store", behindOthers: false });
      expect(plan({ model, lookup, servers: [server("east")] })).toMatchObject({ kind: "store" });
    });

    it(`${model.model}, the server cannot be asked: without it in the configuration 480, as any other method`, () => {
      const lookup = bound("west", "registered");
      const refuse = settings({ absentMessages: "refuse" });
      expect(plan({ model, lookup, servers: WEST_DOWN, settings: refuse })).toMatchObject({ status: 480 });
      expect(plan({ model, lookup, servers: WEST_DOWN, method: "INVITE" })).toMatchObject({ status: 480 });
    });

    it(`${model.model}, bound, and nothing is stored: relayed, whether or not the directory is away`, () => {
      const lookup = bound("west", "registered");
      expect(plan({ model, lookup })).toMatchObject({ kind: "relay", server: "west" });
      expect(plan({ model, lookup, directoryAvailable: false })).toMatchObject({ kind: "relay" });
    });

    it(`${model.model}, something is stored for him: behind it, where it is of this sender`, () => {
      const lookup = waiting(bound("west", "registered"));
      expect(plan({ model, lookup })).toMatchObject({ kind: "store", behindOthers: true });
      expect(plan({ model, lookup, settings: settings({ absentMessages: "refuse" }) })).toMatchObject({
        kind: "store",
        behindOthers: true,
      });
      expect(plan({ model, lookup, mayQueue: false })).toMatchObject({ kind: "relay", server: "west" });
      expect(plan({ model, lookup, method: "INVITE" })).toMatchObject({ kind: "relay" });
    });

    it(`${model.model}: what comes from the very server that has him is never stored`, () => {
      const lookup = waiting(bound("west", "registered"));
      for (const servers of [undefined, WEST_DOWN]) {
        const given = plan({
          model,
          lookup,
          origin: fromServer("west"),
          ...(servers === undefined ? {} : { servers }),
        });
        expect(given).toMatchObject({ kind: "reject", status: model.model === "exclusive" ? 480 : 404 });
      }
    });

    it(`${model.model}, the directory away: what must be stored gets 500 with Retry-After`, () => {
      const away = { model, directoryAvailable: false };
      const refused = { kind: "reject", status: 500, retryAfter: 10 };
      const lookup = bound("west", "registered");
      expect(plan({ ...away, lookup, servers: WEST_DOWN })).toMatchObject(refused);
      expect(plan({ ...away, lookup: waiting(lookup) })).toMatchObject(refused);
      expect(plan({ ...away, lookup: { state: "unavailable" } })).toMatchObject(refused);
    });
  }

  it("partitioned, unbound: searched; behind what is stored, where something is", () => {
    expect(plan({ lookup: NO_BINDING })).toMatchObject({ kind: "fork" });
    expect(plan({ lookup: waiting(NO_BINDING) })).toMatchObject({ kind: "store", behindOthers: true });
    expect(plan({ lookup: waiting(NO_BINDING), mayQueue: false })).toMatchObject({ kind: "fork" });
  });
});

describe("a try that failed is kept", () => {
  const lookup = bound("west", "registered");
  const rows: Array<[string, number, boolean, boolean]> = [
    ["could-not-ask", 503, true, true],
    ["could-not-ask", 480, true, true],
    ["answered", 429, true, true],
    ["not-here", 404, true, false],
    ["not-here", 604, true, false],
    ["answered", 403, false, false],
    ["answered", 603, false, false],
    ["answered", 513, false, false],
    ["here", 200, false, false],
  ];
  for (const [meaning, status, exclusive, partitioned] of rows) {
    it(`${meaning} (${status}): exclusive ${exclusive}, partitioned ${partitioned}`, () => {
      const ending = meaning as "not-here" | "could-not-ask" | "answered" | "here";
      expect(isKeptAfter(facts({ model: EXCLUSIVE, lookup, settings: STORE }), ending, status)).toBe(exclusive);
      expect(isKeptAfter(facts({ lookup, settings: STORE }), ending, status)).toBe(partitioned);
      expect(isKeptAfter(facts({ model: EXCLUSIVE, lookup }), ending, status)).toBe(false);
    });
  }
});
