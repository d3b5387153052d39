import { readFileSync, writeFileSync } from "node:fs";
import type { loadConfig } from "../src/config/load.ts";
import type { createRealRuntime } from "../src/runtime/real.ts";
import type { startServer } from "../src/server.ts";
import type { Telemetry } from "../src/telemetry/events.ts";

// The built program in a process of its own, which notes when each claim's answer came: `stamped-proxy.ts CONFIG STAMPS`.
// Prints `started` when it routes; SIGTERM writes a line `aor seconds` for each, of CLOCK_MONOTONIC, and ends it.

const built = (path: string): Promise<unknown> => import(new URL(`../dist/${path}`, import.meta.url).href);

const [file = "", stamps = ""] = process.argv.slice(2);
const config = (await built("config/load.js")) as { loadConfig: typeof loadConfig };
const real = (await built("runtime/real.js")) as { createRealRuntime: typeof createRealRuntime };
const server = (await built("server.js")) as { startServer: typeof startServer };
const events = (await built("telemetry/events.js")) as { Telemetry: new () => Telemetry };

const loaded = config.loadConfig(readFileSync(file, "utf8"), { env: process.env, file });
if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
const runtime = real.createRealRuntime();
const telemetry = new events.Telemetry();
const bound: string[] = [];
telemetry.on("warning", ({ what, detail }) => console.error(`warning: ${what}: ${detail}`));
telemetry.on("bound", ({ aor }) => bound.push(`${aor} ${(Number(process.hrtime.bigint()) / 1e9).toFixed(6)}`));
const running = await server.startServer(loaded.config, { runtime, telemetry, version: "bench" });
console.log("started");
process.once("SIGTERM", async () => {
  writeFileSync(stamps, bound.join("\n"));
  await running.stop();
  process.exit(0);
});
