import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** `npm run bench NAME [arguments]`: runs bench/NAME.ts. Every file here but these is a benchmark: it exports `run`, or runs when it is loaded. */
const SHARED = ["run.ts", "systems.ts", "proxies.ts", "presence-load.ts", "stamped-proxy.ts"];

const names = readdirSync(fileURLToPath(new URL(".", import.meta.url)))
  .filter((file) => file.endsWith(".ts") && !SHARED.includes(file))
  .map((file) => file.slice(0, -3));
const [name = "", ...args] = process.argv.slice(2);
if (names.includes(name)) {
  const bench: { run?(args: string[]): Promise<void> | void } = await import(
    new URL(`${name}.ts`, import.meta.url).href
  );
  await bench.run?.(args);
} else {
  console.error(`Say which benchmark to run: npm run bench -- ${names.join(" | ")}`);
  process.exitCode = 2;
}
