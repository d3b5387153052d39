import { describe, expect, it } from "vitest";
import { RecentMap } from "../../src/subscription/recent-map.ts";

function made(most = 1_000) {
  const clock = { time: 0, now: () => clock.time, wall: () => clock.time };
  return { clock, map: new RecentMap<string, number>(clock, most) };
}

describe("what was used lately", () => {
  it("stays for as long as it is asked for, and goes within a minute once it is not", () => {
    const { clock, map } = made();
    map.set("used", 1, 1);
    map.set("left", 2, 1);
    for (clock.time = 0; clock.time < 200_000; clock.time += 10_000) expect(map.get("used", 1)).toBe(1);
    expect(map.get("left", 1)).toBeUndefined();
    expect(map.size).toBe(1);
    clock.time += 60_000;
    expect(map.get("used", 1)).toBeUndefined();
    expect(map.size).toBe(0);
  });

  it("is bounded by its weight, whatever is set or used: what was not used longest goes first", () => {
    const { map } = made(100);
    map.set("first", 1, 1);
    for (let i = 0; i < 10_000; i++) {
      map.set(`k${i}`, i, 10);
      if (i % 5 === 0) expect(map.get("first", 1)).toBe(1);
      expect(map.size).toBeLessThanOrEqual(23);
    }
    expect(map.get("k9999", 10)).toBe(9999);
    expect(map.get("k1", 10)).toBeUndefined();
  });

  it("has the value that was set last, whichever half had another", () => {
    const { clock, map } = made();
    map.set("a", 1, 1);
    clock.time = 31_000;
    map.set("a", 2, 1);
    clock.time = 61_000;
    expect(map.get("a", 1)).toBe(2);
  });
});
