import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Child, eventually, startChild } from "../test/support/child.ts";
import { freePort } from "../test/support/ports.ts";

const run = promisify(execFile);
const TOP = fileURLToPath(new URL("../", import.meta.url));

/** Octets resident in a process and its children. */
export function resident(pid: number): number {
  const pages = tree(pid).map((each) => Number(readText(`/proc/${each}/statm`).split(" ")[1] ?? 0));
  return pages.reduce((sum, each) => sum + each, 0) * 4096;
}

/** Seconds of processor time a process and its children have had. */
export function processorSeconds(pid: number): number {
  const ticks = tree(pid).map((each) => {
    const fields = readText(`/proc/${each}/stat`).split(") ")[1]?.split(" ") ?? [];
    return Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  });
  return ticks.reduce((sum, each) => sum + each, 0) / 100;
}

function tree(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    parents.set(Number(name), Number(readText(`/proc/${name}/stat`).split(") ")[1]?.split(" ")[1] ?? 0));
  }
  const found = [pid];
  for (let i = 0; i < found.length; i++)
    for (const [child, parent] of parents) if (parent === found[i]) found.push(child);
  return found;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

/** True where the machine has the program. */
export async function installed(program: string): Promise<boolean> {
  return (await version(program)) !== undefined;
}

export async function version(program: string, ...args: string[]): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await run(program, args.length > 0 ? args : ["-v"]);
    return (stdout || stderr).split("\n")[0];
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? undefined : "";
  }
}

/** A directory of its own, which the embedded Postgres' user can reach too. */
export function workDirectory(name: string): string {
  const directory = mkdtempSync(join(tmpdir(), `bench-${name}-`));
  chmodSync(directory, 0o755);
  return directory;
}

/** Command line that pins a program to one processor, where there are two. */
export function pinned(cpu: number | undefined, command: string, args: readonly string[]): [string, string[]] {
  return cpu === undefined ? [command, [...args]] : ["taskset", ["-c", String(cpu), command, ...args]];
}

export interface Product {
  readonly pid: number;
  readonly directory: string;
  metrics(): Promise<ReadonlyMap<string, number>>;
  stop(): Promise<void>;
}

/**
 * The product as its user runs it: the built program with a configuration file, users imported by the command line.
 * @param users rows of the import: `aor,model,server`.
 */
export async function startProduct(
  configuration: string,
  users: readonly string[],
  cpu: number | undefined,
): Promise<Product> {
  const directory = workDirectory("codomain");
  const admin = `http://127.0.0.1:${await freePort()}`;
  const file = join(directory, "codomain.yaml");
  const text = configuration.includes("database:")
    ? configuration
    : `${configuration}\ndatabase: "embedded:${directory}/data"\n`;
  writeFileSync(file, `${text}\nadmin: { url: "${admin}" }\n`);
  const bin = join(TOP, "bin/codomain.js");
  const child: Child = startChild(...pinned(cpu, process.execPath, [bin, "start", "--config", file]));
  const stop = async (): Promise<void> => {
    await child.stop(30_000);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await eventually("codomain to be ready", async () => (await fetch(`${admin}/readyz`)).ok, 60_000);
    if (users.length > 0) {
      const csv = join(directory, "users.csv");
      writeFileSync(csv, ["aor,model,server", ...users, ""].join("\n"));
      await run(process.execPath, [bin, "users", "import", csv, "--admin", admin], {
        timeout: 120_000,
        maxBuffer: 1 << 26,
      });
    }
  } catch (error) {
    await stop();
    throw new Error(`codomain did not start: ${String(error)}\n${child.output().slice(-2000)}`);
  }
  return {
    pid: child.pid,
    directory,
    metrics: async () => readMetrics(await (await fetch(`${admin}/metrics`)).text()),
    stop,
  };
}

function readMetrics(text: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line.startsWith("#") || line === "") continue;
    const at = line.lastIndexOf(" ");
    found.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return found;
}

/** A table for people: columns as wide as their widest cell, the first to the left. */
export function table(rows: ReadonlyArray<readonly string[]>): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  "),
    )
    .join("\n");
}

/** Repeats a probe every 100 ms until it does not fail, for ten seconds. */
export async function untilUp(probe: () => Promise<unknown>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await probe();
      return;
    } catch (error) {
      if (attempt >= 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
