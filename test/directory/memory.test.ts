import { directoryContract } from "../contract/directory.contract.ts";
import { LATENCIES, twoInMemory } from "./two-in-memory.ts";

for (const latencyMs of LATENCIES) {
  directoryContract(`in memory, ${latencyMs.join(" to ")} ms away`, () => twoInMemory(latencyMs));
}
