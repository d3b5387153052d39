import { subscriptionsContract } from "../contract/subscriptions.contract.ts";
import { LATENCIES, twoInMemory } from "./two-in-memory.ts";

for (const latencyMs of LATENCIES) {
  subscriptionsContract(`in memory, ${latencyMs.join(" to ")} ms away`, () => twoInMemory(latencyMs));
}
