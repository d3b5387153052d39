import { readFileSync } from "node:fs";
import { loadConfig } from "../../src/config/load.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { startServer } from "../../src/server.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { lossy } from "./lossy.ts";

/** A proxy in a process of its own, to be killed: `lossy-proxy.ts CONFIG LOSS SEED`. Prints `started` when it routes. */

const [file, loss, seed] = process.argv.slice(2);
if (file === undefined || loss === undefined || seed === undefined) throw new Error("CONFIG LOSS SEED");
const loaded = loadConfig(readFileSync(file, "utf8"), { env: process.env, file });
if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
const telemetry = new Telemetry();
telemetry.on("warning", ({ what, detail }) => console.error(`warning: ${what}: ${detail}`));
const running = await startServer(loaded.config, {
  runtime: lossy(createRealRuntime(), Number(loss), Number(seed)),
  telemetry,
  version: "test",
});
console.log("started");
process.once("SIGTERM", () => void running.stop().then(() => process.exit(0)));
