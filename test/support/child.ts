import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

/** A program started by a test: its output kept, ended by its own process id. */
export interface Child {
  readonly pid: number;
  /** stdout and stderr as they came, the last megabyte of them. */
  output(): string;
  readonly exited: Promise<number | null>;
  signal(name: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after `graceMs`, `detached` to its whole group. Gives the exit code; null: a signal ended it. */
  stop(graceMs?: number): Promise<number | null>;
}

const KEEP = 1 << 20;

export function startChild(command: string, args: readonly string[], options: SpawnOptions = {}): Child {
  const child: ChildProcess = spawn(command, [...args], { ...options, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  const keep = (chunk: Buffer): void => {
    text = (text + chunk.toString("latin1")).slice(-KEEP);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  let ended = false;
  const exited = new Promise<number | null>((resolve) => {
    child.once("error", (error) => {
      ended = true;
      text += `\n${String(error)}`;
      resolve(127);
    });
    child.once("close", (code) => {
      ended = true;
      resolve(code);
    });
  });
  return {
    pid: child.pid ?? -1,
    output: () => text,
    exited,
    signal: (name) => {
      if (!ended) child.kill(name);
    },
    stop: async (graceMs = 10_000) => {
      if (!ended) child.kill("SIGTERM");
      const late = sleep(graceMs, "late" as const, { ref: false });
      if ((await Promise.race([exited, late])) === "late" && !ended) {
        if (options.detached === true && child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
        else child.kill("SIGKILL");
      }
      return exited;
    },
  };
}

/** Asks `probe` every 50 ms until it gives something; fails with `what` after `ms`. For what another process does in its own time. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  ms = 60_000,
): Promise<T> {
  const deadline = performance.now() + ms;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
    await sleep(50);
  }
  throw new Error(`waited ${ms} ms for ${what}${last === undefined ? "" : `: ${String(last)}`}`);
}
