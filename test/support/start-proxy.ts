import { loadConfig } from "../../src/config/load.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { type RunningServer, startServer } from "../../src/server.ts";
import { Telemetry } from "../../src/telemetry/events.ts";

/** The whole program in this process, from the text of its configuration. */
export async function startProxy(runtime: Runtime, yaml: string): Promise<RunningServer> {
  const loaded = loadConfig(yaml, { env: {}, file: "test.yaml" });
  if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
  return startServer(loaded.config, { runtime, telemetry: new Telemetry(), version: "test" });
}
