import { reconciliationContract } from "../contract/reconciliation.contract.ts";
import { LATENCIES, twoInMemory } from "./two-in-memory.ts";

for (const latencyMs of LATENCIES) {
  reconciliationContract(`in memory, ${latencyMs.join(" to ")} ms away`, () => twoInMemory(latencyMs));
}
