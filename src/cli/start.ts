import type { Command } from "commander";
import { CodomainError } from "../base/errors.ts";
import type { Config } from "../config/config.ts";
import { defaultConfig } from "../config/defaults.ts";
import { type ConfigChange, diffConfig } from "../config/diff.ts";
import type { Fault } from "../config/faults.ts";
import { createRealRuntime } from "../runtime/real.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { Telemetry } from "../telemetry/events.ts";
import { startLogger } from "../telemetry/logger.ts";
import { loadConfigFile, printFaults } from "./config-file.ts";
import { example } from "./help.ts";
import { type Io, printJson } from "./output.ts";

/** What a reload did: the new configuration is in force, or the old one still is. */
export type ReloadOutcome =
  | { readonly outcome: "reloaded"; readonly changes: readonly ConfigChange[] }
  | { readonly outcome: "refused"; readonly faults: readonly Fault[] };

export interface StartOptions {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  /** Reads the configuration again; for the admin API. Absent where there is no file. */
  readonly reload?: () => Promise<ReloadOutcome>;
}

/** The running proxy, as this command needs it. */
export interface Running {
  /** Where it really listens, as URLs. */
  readonly addresses: { readonly sip: readonly string[]; readonly admin: string };
  reload(config: Config): Promise<unknown>;
  drain(): Promise<unknown>;
  stop(): Promise<unknown>;
}

export type StartServer = (config: Config, options: StartOptions) => Promise<Running>;

/** Where signals come from: the process, or a test. */
export interface Signals {
  on(signal: "SIGTERM" | "SIGINT" | "SIGHUP", listener: () => void): unknown;
  off(signal: "SIGTERM" | "SIGINT" | "SIGHUP", listener: () => void): unknown;
}

const realServer: StartServer = async (config, options) => (await import("../server.ts")).startServer(config, options);

/** `start [--config FILE]`: runs until SIGTERM or SIGINT (drain, stop; a second one: stop at once). SIGHUP reloads. */
export function registerStart(program: Command, io: Io, start: StartServer = realServer, signals: Signals = process): void {
  program
    .command("start")
    .description("run the proxy; without a configuration an example domain on loopback")
    .option("--config <file>", "the configuration to run")
    .addHelpText("after", example("codomain start", "codomain start --config codomain.yaml"))
    .action(async (_options: unknown, command: Command) => {
      const { config: file, json } = command.optsWithGlobals<{ config?: string; json?: boolean }>();
      const loaded = file === undefined ? { config: defaultConfig({ env: io.env }), warnings: [] } : loadConfigFile(file, io);
      if (loaded.config === undefined) {
        printFaults(loaded.faults, file!, io);
        io.fail(2);
        return;
      }
      if (file !== undefined) printFaults(loaded.warnings, file, io);
      await run(loaded.config, file, json === true, io, start, signals);
    });
}

async function run(config: Config, file: string | undefined, json: boolean, io: Io, start: StartServer, signals: Signals): Promise<void> {
  const runtime = createRealRuntime();
  const telemetry = new Telemetry();
  const logger = startLogger(telemetry, { level: config.logging.level, clock: runtime.clock });
  const session = new Session(config, file, io);
  session.setLevel = (level) => logger.setLevel(level);
  const ended = new Promise<void>((resolve) => {
    session.end = resolve;
  });
  const stop = (): void => session.signalled();
  const hangUp = (): void => session.hangUp();
  signals.on("SIGTERM", stop);
  signals.on("SIGINT", stop);
  signals.on("SIGHUP", hangUp);
  try {
    const reload = file === undefined ? {} : { reload: () => session.reload() };
    const running = await start(config, { runtime, telemetry, ...reload }).catch((error: unknown) => {
      throw startError(error);
    });
    if (json) printJson(io, { started: true, ...summary(config, running, file) });
    else io.print(banner(config, running, file));
    session.started(running);
    await ended;
  } finally {
    signals.off("SIGTERM", stop);
    signals.off("SIGINT", stop);
    signals.off("SIGHUP", hangUp);
    logger.stop();
  }
}

/** One run, from start to end: what signals do to it. */
class Session {
  #config: Config;
  readonly #file: string | undefined;
  readonly #io: Io;
  #running: Running | undefined;
  #signals = 0;
  #reloading: Promise<unknown> = Promise.resolve();
  end: () => void = () => {};
  setLevel: (level: Config["logging"]["level"]) => void = () => {};

  constructor(config: Config, file: string | undefined, io: Io) {
    this.#config = config;
    this.#file = file;
    this.#io = io;
  }

  started(running: Running): void {
    this.#running = running;
    if (this.#signals > 0) this.#finish(running, this.#signals === 1);
  }

  signalled(): void {
    this.#signals++;
    const running = this.#running;
    if (running === undefined) return;
    if (this.#signals === 1) this.#io.printError("Draining: open work is finished, new work refused. Signal again to stop at once.");
    this.#finish(running, this.#signals === 1);
  }

  #finish(running: Running, drain: boolean): void {
    const done = drain ? running.drain().then(() => running.stop()) : running.stop();
    done.then(this.end, (error: unknown) => {
      this.#io.printError(`Stopping failed: ${error instanceof Error ? error.message : String(error)}`);
      this.#io.fail(1);
      this.end();
    });
  }

  hangUp(): void {
    if (this.#file === undefined) {
      this.#io.printError("Nothing to reload: this proxy was started without --config.");
      return;
    }
    const file = this.#file;
    this.reload().then(
      (outcome) => {
        if (outcome.outcome === "reloaded") return;
        printFaults(outcome.faults, file, this.#io);
        this.#io.printError("The configuration in force is kept.");
      },
      (error: unknown) =>
        this.#io.printError(`The configuration in force is kept: ${error instanceof Error ? error.message : String(error)}`),
    );
  }

  /** One after the other, so that the last file read is the one in force. */
  reload(): Promise<ReloadOutcome> {
    const next = this.#reloading.then(() => this.#reloadNow());
    this.#reloading = next.catch(() => {});
    return next;
  }

  async #reloadNow(): Promise<ReloadOutcome> {
    const running = this.#running;
    if (running === undefined || this.#file === undefined) throw new CodomainError("not-running", "The proxy is not running yet: try again.");
    const loaded = loadConfigFile(this.#file, this.#io);
    if (loaded.config === undefined) return { outcome: "refused", faults: loaded.faults };
    const changes = diffConfig(this.#config, loaded.config);
    await running.reload(loaded.config);
    this.#config = loaded.config;
    this.setLevel(loaded.config.logging.level);
    return { outcome: "reloaded", changes };
  }
}

function summary(config: Config, running: Running, file: string | undefined): Record<string, unknown> {
  return {
    domains: config.domains,
    servers: config.servers.map((each) => each.name),
    sip: running.addresses.sip,
    admin: running.addresses.admin,
    database: describeDatabase(config),
    config: file ?? null,
    pid: process.pid,
  };
}

function banner(config: Config, running: Running, file: string | undefined): string {
  const { sip, admin } = running.addresses;
  const elsewhere = admin === "http://127.0.0.1:8060" ? "" : ` --admin ${admin}`;
  return [
    `codomain routes ${config.domains.join(", ")} between ${config.servers.map((each) => each.name).join(", ")}.`,
    `  SIP       ${sip.join("  ")}`,
    `  Admin     ${admin}`,
    `  Database  ${describeDatabase(config)}`,
    `  Config    ${file ?? "the built-in example; codomain.example.yaml shows every key"}`,
    `Try next:   npx codomain explain MESSAGE alice@${config.domains[0]}${elsewhere}`,
  ].join("\n");
}

/** Which database, without its password. */
export function describeDatabase(config: Config): string {
  if (config.database.kind === "embedded") return `embedded PostgreSQL, data in ${config.database.path}`;
  const url = new URL(config.database.url);
  const user = url.username === "" ? "" : `${url.username}@`;
  return `postgres://${user}${url.host}${url.pathname}`;
}

/** A socket error, said so that one knows what to do. */
function startError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  const where = address === undefined ? "An address to listen on" : `${address}:${port}`;
  const options = { cause: error };
  if (code === "EADDRINUSE") return new CodomainError("in-use", `${where} is in use: end the other program, or listen elsewhere (--config FILE).`, options);
  if (code === "EADDRNOTAVAIL") return new CodomainError("no-address", `${where} is no address of this machine: correct "listen" or "admin".`, options);
  if (code === "EACCES") return new CodomainError("not-allowed", `${where} may not be listened on by this user: choose a port above 1023.`, options);
  return error;
}
