import { describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import { Lanes } from "../../src/directory/lanes.ts";

describe("lanes", () => {
  it("so many at a time, in order, whether they succeed or fail; beyond the line nobody is let in", async () => {
    const lanes = new Lanes(2, 3);
    const begun: number[] = [];
    const ends: Array<() => void> = [];
    const all = [0, 1, 2, 3, 4].map((i) =>
      lanes
        .run(async () => {
          begun.push(i);
          await new Promise<void>((resolve) => ends.push(resolve));
          if (i === 1) throw new Error("failed");
          return i;
        })
        .catch((error: Error) => error.message),
    );
    await Promise.resolve();
    expect(begun).toEqual([0, 1]);
    await expect(lanes.run(async () => 5)).rejects.toBeInstanceOf(DirectoryUnavailable);
    for (let done = 0; done < 5; done++) {
      await new Promise((resolve) => setImmediate(resolve));
      ends[done]!();
    }
    expect(await Promise.all(all)).toEqual([0, "failed", 2, 3, 4]);
    expect(begun).toEqual([0, 1, 2, 3, 4]);
    expect(await lanes.run(async () => 6)).toBe(6);
  });
});
