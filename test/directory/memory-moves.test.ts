import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { movesContract } from "../contract/moves.contract.ts";
import { virtualRuntime } from "./virtual-runtime.ts";

movesContract("in memory", async () => {
  const runtime = virtualRuntime(11);
  const database = createMemoryDatabase(runtime, { latencyMs: [0.1, 5] });
  const east = database.directory("east");
  const west = database.directory("west");
  await east.start();
  await west.start();
  return {
    east,
    west,
    now: () => runtime.clock.wall(),
    advance: (ms) => runtime.advance(ms),
    run: (promise) => runtime.until(promise),
    async eventually(met) {
      for (let i = 0; i < 100 && !met(); i++) await runtime.advance(50);
      if (!met()) throw new Error("It did not come within 5 s.");
    },
    async close() {
      await east.stop();
      await west.stop();
      await runtime.advance(100);
      if (database.openTransactions > 0) throw new Error("A transaction is left open.");
    },
  };
});
