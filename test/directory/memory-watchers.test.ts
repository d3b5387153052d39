import { expect, it } from "vitest";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { watchersContract } from "../contract/watchers.contract.ts";
import { LATENCIES, twoInMemory } from "./two-in-memory.ts";
import { virtualRuntime } from "./virtual-runtime.ts";

for (const latencyMs of LATENCIES) {
  watchersContract(`in memory, ${latencyMs.join(" to ")} ms away`, () => twoInMemory(latencyMs));
}

it("who has waited long enough is cleared away", async () => {
  const runtime = virtualRuntime(3);
  const database = createMemoryDatabase(runtime);
  const east = database.directory("east");
  await east.start();
  const watcher = { watcher: "ann@example.com", aor: "joe@example.com", event: "presence", trusted: true };
  await runtime.until(east.watchers.putOff(watcher, 5000));
  expect(database.rows("put-off-watchers")).toHaveLength(1);
  await runtime.advance(10_000);
  expect(database.rows("put-off-watchers")).toEqual([]);
  await east.stop();
});
