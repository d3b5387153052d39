import { type ChildProcess, spawn } from "node:child_process";
import pg from "pg";
import { CodomainError } from "../../base/errors.ts";
import type { Runtime, Timer } from "../../runtime/runtime.ts";
import type { Telemetry } from "../../telemetry/events.ts";
import { binariesIn, brokenInstall, environment, findBinaries, lastLine, versionOf } from "./binaries.ts";
import {
  identity,
  initialise,
  type Kept,
  keep,
  lockPlace,
  type Place,
  preparePlace,
  refuseIfOwned,
} from "./embedded-place.ts";
import { identityOf, isAlive, readPostmaster, removeStale, runs } from "./postmaster.ts";

export interface EmbeddedOptions {
  /** Holds the data and what belongs to it; made if missing. Kept when the server stops. */
  readonly directory: string;
  /** Further settings, as `name=value`. */
  readonly settings?: readonly string[];
  /** Another installation's programs: the directory that holds `bin/initdb` and `bin/postgres`. */
  readonly programs?: string;
  /** Do not wait for the disk: for tests. */
  readonly withoutSync?: boolean;
}

const USER = "codomain";
const START_MS = 60_000;
const FAST_STOP_MS = 15_000;
const HARD_STOP_MS = 5000;
const POLL_MS = 25;
const ADOPTED_LOOK_MS = 1000;
const RESTART_MS = [100, 1000, 5000, 30_000] as const;

/**
 * A real PostgreSQL as a child process, on 127.0.0.1 and a port of its own. States: *starting*; *running*; *restarting*,
 * when the server died by itself, with back-off; *stopped*. The child is in a session of its own, so that a Ctrl-C
 * reaches us alone and we end it when we are done. One that a killed codomain left behind is taken over.
 */
export class EmbeddedPostgres {
  readonly directory: string;
  /** True: it was running already, left behind by a codomain that died. */
  readonly adopted: boolean;
  readonly #runtime: Runtime;
  readonly #telemetry: Telemetry;
  readonly #launch: Launch;
  #pid: number;
  #stopping = false;
  #timer: Timer | null = null;
  #starting: Promise<void> | null = null;

  private constructor(runtime: Runtime, telemetry: Telemetry, launch: Launch, pid: number, adopted: boolean) {
    this.#runtime = runtime;
    this.#telemetry = telemetry;
    this.#launch = launch;
    this.#pid = pid;
    this.directory = launch.place.directory;
    this.adopted = adopted;
  }

  /** @throws CodomainError with a sentence that says what to do. */
  static async start(runtime: Runtime, telemetry: Telemetry, options: EmbeddedOptions): Promise<EmbeddedPostgres> {
    const found = options.programs === undefined ? findBinaries() : binariesIn(options.programs);
    const place = await preparePlace(telemetry, found, await versionOf(found), options.directory);
    const unlock = await lockPlace(runtime, place);
    try {
      const kept = await initialise(runtime, place, options.withoutSync === true);
      const launch: Launch = {
        runtime,
        place,
        kept,
        settings: options.settings ?? [],
        sync: options.withoutSync !== true,
      };
      const adopted = await adopt(launch);
      if (adopted !== null) {
        const detail = `took over the server that a killed codomain left running on ${place.directory}`;
        telemetry.emit("warning", { what: "embedded PostgreSQL", detail });
        const server = new EmbeddedPostgres(runtime, telemetry, launch, adopted, true);
        server.#watchAdopted();
        return server;
      }
      const child = await start(launch, true);
      const server = new EmbeddedPostgres(runtime, telemetry, launch, child.pid as number, false);
      server.#watch(child);
      return server;
    } finally {
      await unlock();
    }
  }

  get url(): string {
    return urlOf(this.#launch.kept, this.#launch.kept.port);
  }

  get pid(): number {
    return this.#pid;
  }

  /** Ends sessions and server, with a checkpoint; harder after 15 s. Resolves when the process is gone. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#timer?.cancel();
    this.#timer = null;
    await this.#starting;
    await end(this.#runtime, this.#pid);
  }

  #watch(child: ChildProcess): void {
    child.once("exit", (code, signal) => {
      if (this.#stopping) return;
      this.#telemetry.emit("database", {
        up: false,
        reason: `the embedded PostgreSQL ended by itself (${signal ?? code})`,
      });
      this.#restart(0);
    });
  }

  /** Another's child tells us nothing when it ends. */
  #watchAdopted(): void {
    this.#timer = this.#runtime.timers.after(ADOPTED_LOOK_MS, () => {
      if (isAlive(this.#pid)) this.#watchAdopted();
      else this.#restart(0);
    });
  }

  #restart(failures: number): void {
    const wait = RESTART_MS[Math.min(failures, RESTART_MS.length - 1)] as number;
    this.#timer = this.#runtime.timers.after(wait, () => {
      this.#timer = null;
      this.#starting = start(this.#launch, false).then(
        (child) => {
          this.#pid = child.pid as number;
          this.#watch(child);
        },
        (error: unknown) => {
          if (this.#stopping) return;
          this.#telemetry.emit("database", {
            up: false,
            reason: error instanceof Error ? error.message : String(error),
          });
          this.#restart(failures + 1);
        },
      );
    });
  }
}

interface Launch {
  readonly runtime: Runtime;
  readonly place: Place;
  readonly kept: Kept;
  readonly settings: readonly string[];
  readonly sync: boolean;
}

function urlOf(kept: Kept, port: number): string {
  return `postgres://${USER}:${kept.password}@127.0.0.1:${port}/postgres`;
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000, query_timeout: 2000 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query("select 1");
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Takes over a server that still runs on the data, if it answers; one that does not is ended. Returns its process id. */
async function adopt({ runtime, place, kept }: Launch): Promise<number | null> {
  const before = await readPostmaster(place.data);
  if (before === null || !(await runs(place.data, before))) return null;
  await refuseIfOwned(place, kept);
  if (!(await answers(urlOf(kept, before.port)))) {
    await end(runtime, before.pid);
    return null;
  }
  kept.port = before.port;
  kept.owner = await identityOf(process.pid);
  await keep(place, kept);
  return before.pid;
}

/** Starts the server and waits until it answers. The port of last time; if another has it, a new one where `mayMove`. */
async function start(launch: Launch, mayMove: boolean): Promise<ChildProcess> {
  const { kept, place, runtime } = launch;
  const stale = await readPostmaster(place.data);
  if (stale !== null && !(await runs(place.data, stale))) await removeStale(place.data);
  for (let tries = 0; ; tries++) {
    if (kept.port === 0 || tries > 0) kept.port = await freePort(runtime);
    kept.owner = await identityOf(process.pid);
    await keep(place, kept);
    const attempt = spawnServer(launch);
    const deadline = runtime.clock.now() + START_MS;
    while (attempt.over === null && runtime.clock.now() < deadline) {
      if (await answers(urlOf(kept, kept.port))) return attempt.child;
      await pause(runtime, POLL_MS);
    }
    const output = attempt.output();
    if (attempt.over === null) await end(runtime, attempt.child.pid as number);
    const broken = brokenInstall(output);
    if (broken !== null) throw broken;
    if (mayMove && tries < 3 && /could not (bind|create any TCP)/.test(output)) continue;
    const reason =
      attempt.over === null ? `it did not answer within ${START_MS / 1000} s` : lastLine(output) || attempt.over;
    throw new CodomainError(
      "embedded-postgres",
      `The embedded PostgreSQL on ${place.directory} did not start: ${reason}.`,
    );
  }
}

interface Attempt {
  readonly child: ChildProcess;
  readonly output: () => string;
  over: string | null;
}

const MOST_OUTPUT = 16_384;

function spawnServer({ place, kept, settings, sync }: Launch): Attempt {
  const wanted = [
    "listen_addresses=127.0.0.1",
    `port=${kept.port}`,
    "unix_socket_directories=",
    "max_connections=200",
    "jit=off",
    "log_min_messages=warning",
    "log_min_error_statement=panic",
    "log_checkpoints=off",
    ...(sync ? [] : ["fsync=off", "full_page_writes=off"]),
    ...settings,
  ];
  const args = ["-D", place.data, ...wanted.flatMap((setting) => ["-c", setting])];
  const options = {
    ...identity(place),
    detached: true,
    env: environment(),
    stdio: ["ignore", "ignore", "pipe"] as ["ignore", "ignore", "pipe"],
  };
  const child = spawn(place.binaries.postgres, args, options);
  let text = "";
  const attempt: Attempt = { child, output: () => text, over: null };
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (piece: string) => {
    text = (text + piece).slice(-MOST_OUTPUT);
  });
  child.once("error", (error) => {
    attempt.over = error.message;
  });
  child.once("exit", (code, signal) => {
    attempt.over ??= `it ended with ${signal ?? code}`;
  });
  // The server does not keep us alive; whoever waits for it does.
  child.unref();
  (child.stderr as unknown as { unref?: () => void }).unref?.();
  return attempt;
}

async function freePort(runtime: Runtime): Promise<number> {
  const options = { kind: "tcp", address: { host: "127.0.0.1", port: 0 }, maxConnections: 1 } as const;
  const listener = await runtime.network.listen(options, (connection) => {
    connection.handler = { data: () => undefined, closed: () => undefined };
    connection.destroy();
  });
  await listener.close();
  return listener.local.port;
}

/** SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one; what is left after that is killed. */
async function end(runtime: Runtime, pid: number): Promise<void> {
  for (const [signal, limit] of [
    ["SIGINT", FAST_STOP_MS],
    ["SIGQUIT", HARD_STOP_MS],
    ["SIGKILL", HARD_STOP_MS],
  ] as const) {
    try {
      process.kill(pid, signal);
    } catch {
      return;
    }
    const deadline = runtime.clock.now() + limit;
    while (runtime.clock.now() < deadline) {
      if (!isAlive(pid)) return;
      await pause(runtime, POLL_MS);
    }
  }
}

function pause(runtime: Runtime, ms: number): Promise<void> {
  return new Promise((resolve) => {
    runtime.timers.after(ms, resolve);
  });
}
