import { expect, it } from "vitest";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { unionsContract } from "../contract/unions.contract.ts";
import { LATENCIES, twoInMemory } from "./two-in-memory.ts";
import { virtualRuntime } from "./virtual-runtime.ts";

for (const latencyMs of LATENCIES) {
  unionsContract(`in memory, ${latencyMs.join(" to ")} ms away`, () => twoInMemory(latencyMs));
}

it("credits that have lapsed are cleared away", async () => {
  const runtime = virtualRuntime(3);
  const database = createMemoryDatabase(runtime);
  const east = database.directory("east");
  await east.start();
  const credit = { watcher: "ann@example.com", aor: "joe@example.com", event: "presence", digest: "", server: "b" };
  await runtime.until(east.unions.grant("g", [{ ...credit, count: 3 }], runtime.clock.wall() + 5000));
  expect(database.rows("credits")).toHaveLength(3);
  await runtime.advance(10_000);
  expect(database.rows("credits")).toEqual([]);
  await east.stop();
});
