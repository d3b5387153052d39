import { readFile, readlink, rm } from "node:fs/promises";
import { join } from "node:path";
import { runProgram } from "./binaries.ts";

/** What `postmaster.pid` says of the server that runs, or ran, on a data directory. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
}

export async function readPostmaster(data: string): Promise<Postmaster | null> {
  const lines = (await readFile(join(data, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
  const pid = Number(lines[0]);
  return Number.isInteger(pid) && pid > 1 ? { pid, port: Number(lines[3]) || 0 } : null;
}

/** Whether that server still runs. A process id is used again, most of all in containers: so its directory is looked at. */
export async function runs(data: string, postmaster: Postmaster): Promise<boolean> {
  if (!isAlive(postmaster.pid)) return false;
  if (process.platform === "linux") {
    const where = await readlink(`/proc/${postmaster.pid}/cwd`).catch(() => null);
    if (where !== null) return where === data;
  }
  const { code, output } = await runProgram("ps", ["-p", String(postmaster.pid), "-o", "comm="], {});
  return code !== 0 || output.includes("postgres");
}

/** Left behind by a server that was killed, its process id another's by now: PostgreSQL would refuse to start. */
export async function removeStale(data: string): Promise<void> {
  await rm(join(data, "postmaster.pid"), { force: true });
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** A process by more than its number, which is used again: with the moment it started, where the system tells it. */
export async function identityOf(pid: number): Promise<string> {
  const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  const started = line.slice(line.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  return `${pid} ${started} ${boot.trim()}`;
}

/** Whether the process that wrote this identity is still there. */
export async function isSame(identity: string): Promise<boolean> {
  const pid = Number(identity.split(" ")[0]);
  return Number.isInteger(pid) && pid > 0 && isAlive(pid) && (await identityOf(pid)) === identity;
}
