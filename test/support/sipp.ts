import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Child, startChild } from "./child.ts";

const SCENARIOS = fileURLToPath(new URL("../interop/sipp/", import.meta.url));

export interface SippOptions {
  /** A file of test/interop/sipp without its ending: `invite-uac`. */
  readonly scenario: string;
  readonly local: { readonly host: string; readonly port: number };
  /** Absent: it answers calls. */
  readonly remote?: { readonly host: string; readonly port: number };
  /** Calls to make or to take; it ends after them. */
  readonly calls: number;
  /** New calls a second. */
  readonly rate?: number;
  readonly transport?: "udp" | "tcp";
  /** Rows of [field0], [field1], …, used in turn. */
  readonly rows?: ReadonlyArray<readonly string[]>;
  readonly domain?: string;
  /** It is over by then, whatever happened. */
  readonly seconds?: number;
}

export interface SippResult {
  /** 0: every call went as the scenario says. */
  readonly code: number | null;
  readonly succeeded: number;
  readonly failed: number;
  readonly retransmissions: number;
  /** What SIPp says about calls that went otherwise. */
  readonly errors: string;
}

export interface SippRun {
  readonly child: Child;
  readonly result: Promise<SippResult>;
  /** Ends it early; the result tells what was done by then. */
  stop(): Promise<SippResult>;
}

export function startSipp(options: SippOptions): SippRun {
  const directory = mkdtempSync(join(tmpdir(), "sipp-"));
  const statistics = join(directory, "statistics.csv");
  const errors = join(directory, "errors.log");
  const seconds = options.seconds ?? 30;
  const args = [
    "-sf",
    `${SCENARIOS}${options.scenario}.xml`,
    "-i",
    options.local.host,
    "-p",
    String(options.local.port),
  ];
  args.push(
    "-m",
    String(options.calls),
    "-r",
    String(options.rate ?? 10),
    "-t",
    options.transport === "tcp" ? "t1" : "u1",
  );
  args.push("-key", "domain", options.domain ?? "example.com", "-nostdin", "-recv_timeout", "10000");
  // A machine that is busy sends copies: they end no call, what was wanted and does not come does.
  args.push("-default_behaviors", "all,-abortunexp");
  args.push("-timeout", String(seconds), "-timeout_error", "-trace_err", "-error_file", errors);
  args.push("-trace_stat", "-stf", statistics, "-fd", "1");
  if (options.rows !== undefined) {
    const csv = join(directory, "rows.csv");
    writeFileSync(csv, ["SEQUENTIAL", ...options.rows.map((row) => row.join(";")), ""].join("\n"));
    args.push("-inf", csv);
  }
  if (options.remote !== undefined) args.push(`${options.remote.host}:${options.remote.port}`);
  const child = startChild("timeout", ["-k", "5", String(seconds + 5), "sipp", ...args], {
    cwd: directory,
    env: { ...process.env, TERM: "dumb" },
  });
  const result = child.exited.then((code): SippResult => {
    const counted = read(statistics);
    const faults = faultsOf(readText(errors));
    rmSync(directory, { recursive: true, force: true });
    return {
      code,
      succeeded: counted.get("SuccessfulCall(C)") ?? 0,
      failed: counted.get("FailedCall(C)") ?? 0,
      retransmissions: counted.get("Retransmissions(C)") ?? 0,
      errors: faults.slice(0, 4000) || (code === 0 ? "" : child.output().slice(-1500)),
    };
  });
  return {
    child,
    result,
    stop: async () => {
      child.signal("SIGTERM");
      return result;
    },
  };
}

/** Runs to its end. */
export function sipp(options: SippOptions): Promise<SippResult> {
  return startSipp(options).result;
}

function read(file: string): ReadonlyMap<string, number> {
  const lines = readText(file).trim().split("\n");
  const names = (lines[0] ?? "").split(";");
  const values = (lines.at(-1) ?? "").split(";");
  return new Map(names.map((name, i) => [name, Number(values[i])]));
}

/** SIPp's log without its head line, and without what is no fault: a wait that a scenario says may end in vain, and copies. */
function faultsOf(text: string): string {
  return text
    .split(/(?=\d{4}-\d\d-\d\d\t)/)
    .filter((event) => !event.startsWith("The following events"))
    .filter((event) => !/jumping to label|Continuing call on unexpected message|Dead call/.test(event))
    .join("")
    .trim();
}

function readText(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return "";
  }
}
