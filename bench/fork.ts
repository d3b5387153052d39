import { type ChildProcess, execFile, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { pinned, processorSeconds, startProduct, table, workDirectory } from "./systems.ts";

const SYSTEM = 5160;
const CALLER = 5180;
const FIRST_SERVER = 5200;

/** One round: a MESSAGE to each user. Times in milliseconds, but `seconds`. */
interface Round {
  readonly sent: number;
  readonly ok: number;
  readonly other: number;
  readonly lost: number;
  /** MESSAGEs that the servers got. */
  readonly asked: number;
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
}

/**
 * The first MESSAGE to users of whom nobody knows where they are, which asks every server, and the second one, which is a
 * relay: with 2 to 32 servers. The system has processor 0, its PostgreSQL included; sender and servers have processor 1.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      servers: { type: "string", default: "2,4,8,16,32" },
      users: { type: "string", default: "4000" },
      window: { type: "string", default: "32" },
    },
  });
  const directory = workDirectory("fork");
  const rows: string[][] = [];
  try {
    const generator = join(directory, "fork-load");
    const source = fileURLToPath(new URL("fork-load.c", import.meta.url));
    await promisify(execFile)("gcc", ["-O2", "-o", generator, source]);
    for (const servers of values.servers.split(",").map(Number)) {
      console.log(`${servers} servers, ${values.users} users, ${values.window} unanswered ...`);
      rows.push(...(await measure(generator, servers, values.users, values.window)));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const head = [
    "servers",
    "request",
    "requests/s",
    "asked each",
    "p50 ms",
    "p99 ms",
    "lost",
    "not 2xx",
    "cpu us each",
    "cpu us a branch",
  ];
  console.log(`\n${table([head, ...rows])}`);
  console.log(
    "\ncpu: of all processes of codomain, its PostgreSQL included. The first request also writes its fork and what is learned.",
  );
}

async function measure(generator: string, servers: number, users: string, window: string): Promise<string[][]> {
  const cpus = availableParallelism() > 1 ? ([0, 1] as const) : ([undefined, undefined] as const);
  const names = Array.from({ length: servers }, (_, i) => i);
  const configuration = `
domain: example.com
listen: [ "udp://127.0.0.1:${SYSTEM}" ]
servers:
${names.map((i) => `  s${i}: { uri: "sip:127.0.0.1:${FIRST_SERVER + i}", proves: [MESSAGE] }`).join("\n")}
health: { interval: 1h }
logging: { level: off }
`;
  const options = ["-s", SYSTEM, "-c", CALLER, "-b", FIRST_SERVER, "-N", servers, "-U", users, "-w", window].map(
    String,
  );
  const child: ChildProcess = spawn(...pinned(cpus[1], generator, options), { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  await lines.next();
  // The servers answer before the proxy asks them whether they live.
  const product = await startProduct(configuration, [], cpus[0]);
  try {
    const rows: string[][] = [];
    for (const request of ["first", "second"]) {
      const before = processorSeconds(product.pid);
      child.stdin?.write("round\n");
      const round: Round = JSON.parse((await lines.next()).value);
      const cpu = ((processorSeconds(product.pid) - before) / round.sent) * 1e6;
      const branches = round.asked / round.sent;
      rows.push([
        String(servers),
        request,
        (round.sent / round.seconds).toFixed(0),
        branches.toFixed(2),
        round.p50.toFixed(2),
        round.p99.toFixed(2),
        String(round.lost),
        String(round.other),
        cpu.toFixed(0),
        (cpu / branches).toFixed(0),
      ]);
    }
    return rows;
  } finally {
    await product.stop();
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.stdin?.end();
    if (child.exitCode === null) await ended;
  }
}
