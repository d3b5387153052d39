import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Compiles once before the files that start the product as a process of its own. */
export function setup(): void {
  execFileSync("npm", ["run", "-s", "build"], {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    stdio: "inherit",
  });
}
