import { createMemoryDatabase } from "../../src/directory/memory.ts";
import type { Harness } from "../contract/harness.ts";
import { virtualRuntime } from "./virtual-runtime.ts";

/** Milliseconds to the database, least and most, at which every contract is played. */
export const LATENCIES = [
  [0, 0],
  [0.1, 20],
] as const;

/** Two proxies on one simulated database; `close` fails where it left a timer or a transaction open. */
export async function twoInMemory(latencyMs: readonly [number, number]): Promise<Harness> {
  const runtime = virtualRuntime(7);
  const database = createMemoryDatabase(runtime, { latencyMs });
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
      if (runtime.pending > 0) throw new Error(`${runtime.pending} timers are left.`);
      if (database.openTransactions > 0) throw new Error("A transaction is left open.");
    },
  };
}
