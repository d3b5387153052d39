import { movesContract } from "../contract/moves.contract.ts";
import { LATENCIES, twoInMemory } from "./two-in-memory.ts";

for (const latencyMs of LATENCIES) {
  movesContract(`in memory, ${latencyMs.join(" to ")} ms away`, () => twoInMemory(latencyMs));
}
