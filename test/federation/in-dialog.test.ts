import { describe, expect, it } from "vitest";
import { joinedSince, movedSince } from "../../src/federation/in-dialog.ts";
import { bound, NO_BINDING, NO_RECORD, NOW } from "./make.ts";

describe("a proxied dialog whose user moves", () => {
  it("has moved where he is bound to another server now", () => {
    expect(movedSince("east", bound("west"), NOW)).toBe(true);
    expect(movedSince("east", bound("west", "provisioned", { expiresAt: null }), NOW)).toBe(true);
  });

  it("has not moved where he is on the same server, whatever the epoch", () => {
    expect(movedSince("west", bound("west", "registered", { epoch: 99 }), NOW)).toBe(false);
  });

  it("has not moved where he is bound nowhere or nothing is known", () => {
    expect(movedSince("east", bound("west", "learned", { expiresAt: NOW }), NOW)).toBe(false);
    for (const lookup of [NO_BINDING, NO_RECORD, { state: "unavailable" } as const]) {
      expect(movedSince("east", lookup, NOW)).toBe(false);
    }
  });
});

describe("a proxied dialog whose user joins several servers", () => {
  it("is to be set up anew where he is watched through us now", () => {
    expect(joinedSince({ model: "unioned", style: "peer", servers: ["east"] }, "presence")).toBe(true);
    expect(joinedSince({ model: "unioned", style: "peer", servers: ["east"] }, "dialog")).toBe(false);
    expect(joinedSince({ model: "partitioned" }, "presence")).toBe(false);
    expect(joinedSince({ model: "exclusive", conflict: "takeover", refuseWith: 403 }, "presence")).toBe(false);
  });
});
