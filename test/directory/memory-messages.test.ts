import { messagesContract } from "../contract/messages.contract.ts";
import { LATENCIES, twoInMemory } from "./two-in-memory.ts";

for (const latencyMs of LATENCIES) {
  messagesContract(`in memory, ${latencyMs.join(" to ")} ms away`, () => twoInMemory(latencyMs));
}
