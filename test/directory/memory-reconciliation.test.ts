import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { reconciliationContract } from "../contract/reconciliation.contract.ts";
import { virtualRuntime } from "./virtual-runtime.ts";

reconciliationContract("in memory", async () => {
  const runtime = virtualRuntime(13);
  const database = createMemoryDatabase(runtime, { latencyMs: [0.1, 5] });
  const east = database.directory("east");
  const west = database.directory("west");
  await east.start();
  await west.start();
  return {
    east,
    west,
    advance: (ms) => runtime.advance(ms),
    run: (promise) => runtime.until(promise),
    async close() {
      await east.stop();
      await west.stop();
      await runtime.advance(100);
      if (database.openTransactions > 0) throw new Error("A transaction is left open.");
    },
  };
});
