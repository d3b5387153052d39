import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Compiles once before the files that start the product as a process of its own; CODOMAIN_BUILT=1 says that was done. */
export function setup(): void {
  if (process.env["CODOMAIN_BUILT"] === "1") return;
  execFileSync("npm", ["run", "-s", "build"], {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    stdio: "inherit",
  });
}
