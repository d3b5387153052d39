import { describe, expect, it } from "vitest";
import { RecentRequests } from "../../src/subscription/recent.ts";

describe("requests that may be merged (RFC 3261 8.2.2.2)", () => {
  it("are known however many others come meanwhile, up to a limit; then the oldest are forgotten", () => {
    let now = 0;
    const recent = new RecentRequests({ now: () => now, wall: () => now });
    let merged = 0;
    for (let i = 0; i < 90_000; i++) {
      now += 0.3;
      if (recent.isMerged("t", `c${i}`, 1)) merged++;
    }
    expect(merged).toBe(0);
    expect(recent.isMerged("t", "c0", 1)).toBe(true);
    for (let i = 0; i < 200_000; i++) recent.isMerged("u", `c${i}`, 1);
    expect(recent.isMerged("t", "c1", 1)).toBe(false);
  });

  it("an old one is forgotten though nothing came since, a young one of the time before is not", () => {
    let now = 0;
    const recent = new RecentRequests({ now: () => now, wall: () => now });
    now = 20_000;
    recent.isMerged("t", "c", 1);
    now = 40_000;
    expect(recent.isMerged("t", "d", 1)).toBe(false);
    expect(recent.isMerged("t", "c", 1)).toBe(true);
    now = 52_001;
    expect(recent.isMerged("t", "c", 1)).toBe(false);
  });

  it("one that names itself at great length is taken as new, and not kept", () => {
    const recent = new RecentRequests({ now: () => 0, wall: () => 0 });
    const long = "x".repeat(1_000);
    expect([recent.isMerged("t", long, 1), recent.isMerged("t", long, 1)]).toEqual([false, false]);
  });
});
