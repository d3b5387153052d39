import type { Command } from "commander";
import { loadConfigFile, printFaults } from "./config-file.ts";
import { example } from "./help.ts";
import { type Io, printJson } from "./output.ts";

interface CheckOptions {
  readonly config: string;
  readonly json?: boolean;
}

/** `check --config FILE`: every fault at once; exit 2 where there is an error. */
export function registerCheck(program: Command, io: Io): void {
  program
    .command("check")
    .description("validate a configuration: every fault at once, each with line and column")
    .requiredOption("--config <file>", "the configuration to check")
    .addHelpText("after", example("codomain check --config codomain.yaml"))
    .action((_options: unknown, command: Command) => {
      const { config: file, json } = command.optsWithGlobals<CheckOptions>();
      const loaded = loadConfigFile(file, io);
      const valid = loaded.config !== undefined;
      const faults = valid ? loaded.warnings : loaded.faults;
      if (!valid) io.fail(2);
      if (json) {
        printJson(io, { file, valid, faults });
        return;
      }
      printFaults(faults, file, io);
      if (!valid) return;
      const { servers, domains, models } = loaded.config;
      const rules = `${models.length} ${models.length === 1 ? "rule" : "rules"} for models`;
      io.print(`${file} is valid: ${domains.join(", ")} on ${servers.map((each) => each.name).join(", ")}, ${rules}.`);
    });
}
