import { expect, test } from "vitest";
import { playDemo } from "../../src/demo/demo.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { expectNoLeaks } from "../support/leak.ts";

test("every scene does what it says, on real sockets; the ladder shows the fork and that there is no second one", async () => {
  const runtime = createRealRuntime();
  const directory = createMemoryDatabase(runtime).directory("demo");
  const lines: string[] = [];
  const failed = await playDemo({ runtime, version: "0", data: "unused", directory }, (text) => lines.push(text));
  expect(lines.filter((line) => line.includes("FAILED"))).toEqual([]);
  expect(failed).toBe(0);
  const [first = "", second = ""] = lines.filter((line) => line.includes("│"));
  expect(first.match(/MESSAGE alice/g)).toHaveLength(3);
  expect(second.match(/MESSAGE alice/g)).toHaveLength(2);
  // What bob saw of her who moved, NOTIFY by NOTIFY.
  const seen = lines.findLast((line) => line.includes("what bob has seen"));
  expect(seen).toMatch(/: pending, online at east, online at west, offline, online at east$/);
  // The draft's loop, found: what a peer sends on is told so.
  expect(lines.filter((line) => line.includes("482 SUBSCRIBE")).length).toBeGreaterThan(0);
  expect(lines.some((line) => line.includes("bob sees what all of them have"))).toBe(true);
  await expectNoLeaks(runtime);
});
