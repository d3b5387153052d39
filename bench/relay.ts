import { execFile } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { startChild } from "../test/support/child.ts";
import { startFloor } from "./floor.ts";
import {
  installed,
  pinned,
  processorSeconds,
  resident,
  startProduct,
  table,
  untilUp,
  version,
  workDirectory,
} from "./systems.ts";

const execute = promisify(execFile);

/** Ports of sipblast: where it sends to, where it sends from, where it answers. */
const SYSTEM = 5160;
const CALLER = 5180;
const CALLEE = 5190;
const USERS = 10_000;

interface Subject {
  readonly pid: number | undefined;
  /** What the system itself tells at the end of the run. */
  finish(): Promise<{ readonly live?: number; readonly pauseMs?: number; readonly processorSeconds?: number }>;
  stop(): Promise<void>;
}

interface Row {
  readonly system: string;
  readonly rate: number;
  readonly p50: string;
  readonly p99: string;
  readonly p999: string;
  readonly lost: number;
  readonly other: number;
  readonly live: number | undefined;
  readonly residentBytes: number;
  readonly pauseMs: number | undefined;
  /** Microseconds of processor time a request, all processes of the system together. */
  readonly processorUs: number | undefined;
}

/**
 * Stateful relay of MESSAGE to mapped users: a bare Node forwarder, this proxy, and the peers that are installed, one after the
 * other, each alone on processor 0 with the generator on processor 1.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: "string", default: "90" },
      window: { type: "string", default: "64" },
      only: { type: "string" },
      "equal-timers": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const seconds = Number(values.seconds);
  const only = values.only?.split(",");
  const say = (line: string): void => {
    if (!values.json) console.log(line);
  };
  const directory = workDirectory("relay");
  try {
    const generator = await compileGenerator(directory);
    const cpu = availableParallelism() > 1 ? 0 : undefined;
    if (cpu === undefined) say("This machine has one processor: nothing is pinned, and the figures are no comparison.");
    const waitMs = values["equal-timers"] ? 32_000 : 5_000;
    const subjects: Array<[string, (() => Promise<Subject>) | string]> = [
      ["node floor", () => floor(cpu)],
      ["codomain", () => product(cpu)],
      ["kamailio", (await installed("kamailio")) ? () => kamailio(directory, waitMs, cpu) : "not installed"],
      ["opensips", (await installed("opensips")) ? "installed, but not configured here" : "not installed"],
      ["drachtio", (await installed("drachtio")) ? "installed, but not configured here" : "not installed"],
    ];
    const rows: Row[] = [];
    for (const [name, start] of subjects) {
      if (only !== undefined && !only.includes(name)) continue;
      if (typeof start === "string") {
        say(`${name}: ${start}`);
        continue;
      }
      say(`${name}: ${seconds} s with ${values.window} outstanding ...`);
      rows.push(await measure(name, await start(), generator, seconds, values.window, cpu));
    }
    if (values.json)
      console.log(JSON.stringify({ seconds, window: Number(values.window), kamailioWaitMs: waitMs, rows }));
    else report(rows, waitMs, await version("kamailio"));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function compileGenerator(directory: string): Promise<string> {
  const shared = process.env["CODOMAIN_SHARED"] ?? fileURLToPath(new URL("../../shared", import.meta.url));
  const source = join(shared, "tools/sipblast.c");
  if (!existsSync(source)) {
    throw new Error(
      "The load generator sipblast.c is not in ../shared/tools; set CODOMAIN_SHARED to the folder that holds tools/.",
    );
  }
  const program = join(directory, "sipblast");
  await execute("gcc", ["-O2", "-w", "-o", program, source]);
  return program;
}

async function floor(cpu: number | undefined): Promise<Subject> {
  const forwarder = await startFloor({ listen: SYSTEM, to: CALLEE, back: CALLER }, "node", cpu);
  let used = 0;
  let stopped = false;
  const stop = async (): Promise<void> => {
    if (stopped) return;
    stopped = true;
    used = (await forwarder.stop()) / 1e6;
  };
  return {
    pid: undefined,
    finish: async () => {
      await stop();
      return { processorSeconds: used };
    },
    stop,
  };
}

async function product(cpu: number | undefined): Promise<Subject> {
  // Two servers on one address are told apart by their ports. The generator answers no OPTIONS between runs: health checks
  // would take it out before the first request.
  const configuration = `
domain: example.com
listen: [ "udp://127.0.0.1:${SYSTEM}" ]
servers:
  callers: { uri: "sip:127.0.0.1:${CALLER}", proves: [] }
  callees: { uri: "sip:127.0.0.1:${CALLEE}", proves: [] }
health: { interval: 1h }
logging: { level: off }
`;
  const rows = Array.from({ length: USERS }, (_, i) => `user${i}@example.com,partitioned,callees`);
  const running = await startProduct(configuration, rows, cpu);
  return {
    pid: running.pid,
    finish: async () => {
      const metrics = await running.metrics();
      return { ...gauge("live", metrics, LIVE), ...gauge("pauseMs", metrics, PAUSE, 1000) };
    },
    stop: running.stop,
  };
}

/** Live ones and completed ones that answer retransmissions. */
const LIVE = ["codomain_transactions", "codomain_completed_transactions"];
const PAUSE = ["codomain_longest_pause_ever_seconds"];

function gauge<K extends string>(
  key: K,
  metrics: ReadonlyMap<string, number>,
  names: readonly string[],
  scale = 1,
): Partial<Record<K, number>> {
  const found = [...metrics].filter(([each]) => names.includes(each.split("{", 1)[0] ?? ""));
  if (found.length === 0) return {};
  return { [key]: found.reduce((sum, [, value]) => sum + value, 0) * scale } as Record<K, number>;
}

async function kamailio(directory: string, waitMs: number, cpu: number | undefined): Promise<Subject> {
  const control = `unix:${directory}/ctl`;
  const cfg = fileURLToPath(new URL("kamailio-relay.cfg", import.meta.url));
  const options = ["-f", cfg, "-DD", "-E", "-m", "7000", "-M", "16", "-Y", directory, "-l", `udp:127.0.0.1:${SYSTEM}`];
  const child = startChild(
    ...pinned(cpu, "kamailio", [...options, "-A", `WAIT_MS=${waitMs}`, "-A", `CTL="${control}"`]),
  );
  // It fills its table before it listens; its answer on the control socket says that it is up.
  await untilUp(() => execute("kamcmd", ["-s", control, "core.uptime"]));
  return {
    pid: child.pid,
    finish: async () => {
      const { stdout } = await execute("kamcmd", ["-s", control, "tm.stats"]);
      return { live: Number(/current: (\d+)/.exec(stdout)?.[1]) };
    },
    stop: async () => void (await child.stop(30_000)),
  };
}

async function measure(
  system: string,
  subject: Subject,
  generator: string,
  seconds: number,
  window: string,
  cpu: number | undefined,
): Promise<Row> {
  try {
    const load = ["-s", SYSTEM, "-c", CALLER, "-u", CALLEE, "-n", 1, "-w", window, "-U", USERS].map(String);
    const blast = (length: number): Promise<{ stdout: string }> =>
      execute(...pinned(cpu === undefined ? undefined : 1, generator, [...load, "-t", String(length)]), {
        timeout: (length + 60) * 1000,
      });
    // Code is compiled and caches fill in the first seconds; they are not measured.
    await blast(5);
    const before = subject.pid === undefined ? 0 : processorSeconds(subject.pid);
    const { stdout } = await blast(seconds);
    const after = subject.pid === undefined ? 0 : processorSeconds(subject.pid);
    const residentBytes = subject.pid === undefined ? 0 : resident(subject.pid);
    const told = await subject.finish();
    const field = (name: string): string => new RegExp(`${name}=([\\d.]+)`).exec(stdout)?.[1] ?? "";
    return {
      system,
      rate: Number(field("rate")),
      p50: field(" p50"),
      p99: field(" p99"),
      p999: field("p99.9"),
      lost: Number(field("lost")),
      other: Number(field("other")),
      live: told.live,
      residentBytes,
      pauseMs: told.pauseMs,
      processorUs:
        ((subject.pid === undefined ? (told.processorSeconds ?? 0) : after - before) * 1e6) / Number(field("ok")),
    };
  } finally {
    await subject.stop();
  }
}

function report(rows: readonly Row[], waitMs: number, kamailioVersion: string | undefined): void {
  const own = rows.find((row) => row.system === "codomain")?.rate;
  const head = [
    "system",
    "requests/s",
    "ratio",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "lost",
    "not 2xx",
    "live transactions",
    "resident MB",
    "longest pause ms",
    "cpu us/request",
  ];
  const cells = rows.map((row) => [
    row.system,
    row.rate.toFixed(0),
    own === undefined || row.rate === 0 ? "" : (own / row.rate).toFixed(2),
    row.p50,
    row.p99,
    row.p999,
    String(row.lost),
    String(row.other),
    row.live === undefined ? "" : String(row.live),
    row.residentBytes === 0 ? "" : (row.residentBytes / 2 ** 20).toFixed(0),
    row.pauseMs === undefined ? "" : row.pauseMs.toFixed(1),
    row.processorUs === undefined ? "" : row.processorUs.toFixed(1),
  ]);
  console.log(`\n${table([head, ...cells])}`);
  console.log(
    "\nratio: codomain's requests/s to this system's. Resident memory with all processes, codomain's Postgres included.",
  );
  if (kamailioVersion !== undefined)
    console.log(`${kamailioVersion}; it keeps finished transactions ${waitMs / 1000} s, codomain 32 s (Timer J).`);
}
