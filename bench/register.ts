import { execFile } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import pg from "pg";
import { EmbeddedPostgres } from "../src/directory/postgres/embedded.ts";
import { createRealRuntime } from "../src/runtime/real.ts";
import { Telemetry } from "../src/telemetry/events.ts";
import { startChild } from "../test/support/child.ts";
import { installed, pinned, startProduct, table, untilUp, workDirectory } from "./systems.ts";

const execute = promisify(execFile);
const SYSTEM = 5160;
const CALLER = 5180;
/** Where Debian's package keeps Kamailio's own table definitions. */
const TABLES = "/usr/share/kamailio/postgres";

interface Row {
  readonly system: string;
  readonly line: string;
}

/**
 * REGISTER, durable before it is answered, on one and the same PostgreSQL: this proxy's test-and-set against Kamailio's registrar
 * that writes through. The system under test has processor 0, the generator and PostgreSQL processor 1.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: "string", default: "30" },
      window: { type: "string", default: "64" },
      users: { type: "string", default: "100000" },
      only: { type: "string" },
    },
  });
  const directory = workDirectory("register");
  const cpus = availableParallelism() > 1 ? ([0, 1] as const) : ([undefined, undefined] as const);
  const only = values.only?.split(",");
  const rows: Row[] = [];
  try {
    const generator = join(directory, "register-load");
    const source = fileURLToPath(new URL("register-load.c", import.meta.url));
    await execute("gcc", ["-O2", "-o", generator, source]);
    const load = ["-s", SYSTEM, "-c", CALLER, "-w", values.window, "-U", values.users, "-t", values.seconds].map(
      String,
    );
    const measure = async (system: string): Promise<void> => {
      const limit = (Number(values.seconds) + 60) * 1000;
      const { stdout } = await execute(...pinned(cpus[1], generator, load), { timeout: limit });
      rows.push({ system, line: stdout });
    };
    for (const system of ["codomain", "kamailio"] as const) {
      if (only !== undefined && !only.includes(system)) continue;
      if (system === "kamailio" && !(await installed("kamailio"))) {
        console.log("kamailio: not installed");
        continue;
      }
      console.log(`${system}: ${values.seconds} s, ${values.users} users, ${values.window} outstanding ...`);
      await withPostgres(join(directory, system), cpus[1], async (url) => {
        if (system === "codomain") await codomain(url, cpus[0], () => measure(system));
        else await kamailio(url, directory, cpus[0], () => measure(system));
      });
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  report(rows);
}

/** A PostgreSQL of its own, as the product embeds it, with everything written to disk before a commit returns. */
async function withPostgres(
  directory: string,
  cpu: number | undefined,
  work: (url: string) => Promise<void>,
): Promise<void> {
  const server = await EmbeddedPostgres.start(createRealRuntime(), new Telemetry(), { directory });
  if (cpu !== undefined) await execute("taskset", ["-a", "-c", "-p", String(cpu), String(server.pid)]);
  try {
    await work(server.url);
  } finally {
    await server.stop();
  }
}

async function codomain(url: string, cpu: number | undefined, measure: () => Promise<void>): Promise<void> {
  const configuration = `
domain: example.com
listen: [ "udp://127.0.0.1:${SYSTEM}" ]
database: "${url}"
servers:
  home: { uri: "sip:127.0.0.1:${CALLER}", proves: [] }
models:
  - { match: "*@example.com", model: exclusive, conflict: takeover }
health: { interval: 1h }
logging: { level: off }
`;
  const product = await startProduct(configuration, [], cpu);
  try {
    await measure();
  } finally {
    await product.stop();
  }
}

async function kamailio(
  url: string,
  directory: string,
  cpu: number | undefined,
  measure: () => Promise<void>,
): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  for (const name of ["standard", "usrloc"])
    await client.query(readFileSync(join(TABLES, `${name}-create.sql`), "utf8"));
  await client.end();
  const control = `unix:${directory}/ctl`;
  const cfg = fileURLToPath(new URL("kamailio-register.cfg", import.meta.url));
  const options = ["-f", cfg, "-DD", "-E", "-m", "1000", "-M", "32", "-Y", directory, "-l", `udp:127.0.0.1:${SYSTEM}`];
  const child = startChild(...pinned(cpu, "kamailio", [...options, "-A", `DB="${url}"`, "-A", `CTL="${control}"`]));
  try {
    await untilUp(() => execute("kamcmd", ["-s", control, "core.uptime"]));
    await measure();
  } finally {
    await child.stop(30_000);
  }
}

function report(rows: readonly Row[]): void {
  const field = (line: string, name: string): string => new RegExp(`(?:^| )${name}=([\\d.]+)`).exec(line)?.[1] ?? "";
  const own = Number(field(rows.find((row) => row.system === "codomain")?.line ?? "", "rate"));
  const head = ["system", "REGISTER/s", "ratio", "p50 ms", "p99 ms", "p99.9 ms", "lost", "not 2xx"];
  const cells = rows.map(({ system, line }) => {
    const rate = Number(field(line, "rate"));
    const ratio = own > 0 && rate > 0 ? (own / rate).toFixed(2) : "";
    return [
      system,
      field(line, "rate"),
      ratio,
      ...["p50", "p99", "p99.9", "lost", "other"].map((name) => field(line, name)),
    ];
  });
  console.log(`\n${table([head, ...cells])}`);
  console.log(
    "\nratio: codomain's REGISTER/s to this system's. Every answer came after the commit, synchronous_commit on.",
  );
}
