import type { Command } from "commander";
import { CodomainError, DirectoryUnavailable } from "../base/errors.ts";
import type { Config } from "../config/config.ts";
import { defaultConfig } from "../config/defaults.ts";
import type { RunningServer, ServerParts } from "../server.ts";
import { Telemetry } from "../telemetry/events.ts";
import { FaultyConfig, loadConfigFile, printFaults } from "./config-file.ts";
import { example, version } from "./help.ts";
import { type Io, printJson } from "./output.ts";
import { Session, type Stoppable } from "./session.ts";

type Running = Stoppable & Pick<RunningServer, "points" | "admin" | "database">;

export type StartServer = (config: Config, parts: ServerParts) => Promise<Running>;

/** Where signals come from: the process, or a test. */
export interface Signals {
  on(signal: "SIGTERM" | "SIGINT" | "SIGHUP", listener: () => void): unknown;
  off(signal: "SIGTERM" | "SIGINT" | "SIGHUP", listener: () => void): unknown;
}

/** Loaded when it is needed: other commands start faster without it. Without a configuration the example's servers run too. */
const realServer: StartServer = async (config, parts) =>
  parts.reread === undefined
    ? (await import("../demo/example-servers.ts")).startExample(config, parts)
    : (await import("../server.ts")).startServer(config, parts);

/** `start [--config FILE]`: runs until SIGTERM or SIGINT (drain, stop; a second one: stop at once). SIGHUP reloads. */
export function registerStart(
  program: Command,
  io: Io,
  start: StartServer = realServer,
  signals: Signals = process,
): void {
  program
    .command("start")
    .description("run the proxy; without a configuration an example domain on loopback")
    .option("--config <file>", "the configuration to run")
    .addHelpText("after", example("codomain start", "codomain start --config codomain.yaml"))
    .action(async (_options: unknown, command: Command) => {
      const { config: file, json } = command.optsWithGlobals<{ config?: string; json?: boolean }>();
      const read = (): Config => readConfig(file, io);
      let config: Config;
      try {
        config = read();
      } catch (error) {
        if (!(error instanceof FaultyConfig)) throw error;
        printFaults(error.faults, error.file, io);
        io.fail(2);
        return;
      }
      await run(config, { file, json: json === true, read, io, start, signals });
    });
}

function readConfig(file: string | undefined, io: Io): Config {
  if (file === undefined) return defaultConfig({ env: io.env });
  const loaded = loadConfigFile(file, io);
  if (loaded.config === undefined) throw new FaultyConfig(file, loaded.faults);
  printFaults(loaded.warnings, file, io);
  return loaded.config;
}

interface Run {
  readonly file: string | undefined;
  readonly json: boolean;
  readonly read: () => Config;
  readonly io: Io;
  readonly start: StartServer;
  readonly signals: Signals;
}

async function run(config: Config, { file, json, read, io, start, signals }: Run): Promise<void> {
  const session = new Session(io, file === undefined ? undefined : read);
  const stop = (): void => session.stop();
  const reload = (): void => session.reload();
  signals.on("SIGTERM", stop);
  signals.on("SIGINT", stop);
  signals.on("SIGHUP", reload);
  try {
    const { createRealRuntime } = await import("../runtime/real.ts");
    const parts = { runtime: createRealRuntime(), telemetry: new Telemetry(), version: version() };
    const running = await start(config, file === undefined ? parts : { ...parts, reread: read }).catch(
      (error: unknown) => {
        throw explained(error);
      },
    );
    if (json) printJson(io, summary(config, running, file));
    else io.print(banner(config, running, file));
    await session.run(running);
  } finally {
    signals.off("SIGTERM", stop);
    signals.off("SIGINT", stop);
    signals.off("SIGHUP", reload);
  }
}

function urls(running: Running): readonly string[] {
  return running.points.map(
    ({ transport, host, port }) => `${transport}://${host.includes(":") ? `[${host}]` : host}:${port}`,
  );
}

function summary(config: Config, running: Running, file: string | undefined): Record<string, unknown> {
  return {
    started: true,
    pid: process.pid,
    domains: config.domains,
    servers: config.servers.map((each) => each.name),
    sip: urls(running),
    admin: running.admin,
    database: running.database,
    config: file ?? null,
  };
}

function banner(config: Config, running: Running, file: string | undefined): string {
  const elsewhere =
    running.admin === null || running.admin === "http://127.0.0.1:8060" ? "" : ` --admin ${running.admin}`;
  return [
    `codomain routes ${config.domains.join(", ")} between ${config.servers.map((each) => each.name).join(", ")}.`,
    `  SIP       ${urls(running).join("  ")}`,
    `  Admin     ${running.admin ?? "none"}`,
    `  Database  ${running.database}`,
    `  Config    ${file ?? "the built-in example; codomain.example.yaml shows every key"}`,
    `Try next:   npx codomain explain MESSAGE alice@${config.domains[0]}${elsewhere}`,
  ].join("\n");
}

const REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: "Another program uses it: end that, or listen elsewhere with --config FILE.",
  EADDRNOTAVAIL: 'It is no address of this machine: correct "listen" or "admin" in the configuration.',
  EACCES: "This user may not listen there: choose a port above 1023.",
};

/** An error about the database or a socket, with what to do about it. */
function explained(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (error instanceof DirectoryUnavailable) {
    const remedy = 'Start it, or correct "database" in the configuration.';
    return new CodomainError("database", `${error.message} ${remedy}`, { cause: error });
  }
  const code = /EADDRINUSE|EADDRNOTAVAIL|EACCES/.exec(`${(error as NodeJS.ErrnoException).code} ${error.message}`)?.[0];
  if (code === undefined) return error;
  const said = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  return new CodomainError("listen", `${said}. ${REMEDIES[code]}`, { cause: error });
}
