import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import type { Io } from "./output.ts";

/** The frame all commands stand in: name, global options, where output goes. */
export function createProgram(io: Io): Command {
  return new Command("codomain")
    .description("Routes SIP between the presence and IM servers of one domain.")
    .version(version(), "--version", "print the version")
    .helpOption("--help", "print this, or the help of one command")
    .helpCommand(false)
    .option("--json", "print machine output: one JSON document a line")
    .option("--admin <url>", "admin API of a running proxy (env CODOMAIN_ADMIN; default http://127.0.0.1:8060)")
    .option(
      "--token <token>",
      "bearer token of the admin API (better by env CODOMAIN_TOKEN: others see a command line)",
    )
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .showSuggestionAfterError(true)
    .configureOutput({
      writeOut: (text) => io.print(text.trimEnd()),
      writeErr: (text) => io.printError(text.trimEnd()),
      outputError: (text, write) => write(plainSentence(text)),
    })
    .addHelpText("after", example("codomain start", "codomain explain MESSAGE alice@example.com"));
}

export function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/** For `addHelpText("after", …)`: every command shows how it is used. */
export function example(...lines: readonly string[]): string {
  return `\n${lines.length === 1 ? "Example" : "Examples"}:\n${lines.map((line) => `  $ npx ${line}`).join("\n")}`;
}

/** commander's `error: unknown option '--x'\n(Did you mean --y?)` as a sentence that says what to do. */
function plainSentence(text: string): string {
  const words = text
    .replace(/^error: /, "")
    .replaceAll(/\s*\n\s*/g, " ")
    .trim();
  const sentence = words.charAt(0).toUpperCase() + words.slice(1).replace(/\.$/, "");
  return `${sentence}. Add --help for the right way.`;
}

/** The exit code of what commander throws in place of exiting: 0 after help and version, 2 for wrong usage. */
export function usageCode(error: unknown): 0 | 2 | undefined {
  if (!(error instanceof CommanderError)) return undefined;
  return error.code === "commander.helpDisplayed" || error.code === "commander.version" ? 0 : 2;
}
