import type { Command } from "commander";
import type { RoutingJson } from "../admin/documents.ts";
import { UsageError } from "../base/errors.ts";
import { adminClient, userPath } from "./admin-client.ts";
import { example } from "./help.ts";
import { type Io, printJson } from "./output.ts";

interface Globals {
  readonly json?: boolean;
}

/** `routing show|set`. */
export function registerRouting(program: Command, io: Io): void {
  const routing = program
    .command("routing")
    .helpCommand(false)
    .description("which of a user's servers get his messages and calls")
    .addHelpText("after", example("codomain routing set alice@example.com mostactive"));
  routing
    .command("show")
    .description("a user's setting")
    .argument("<aor>", "user@host")
    .addHelpText("after", example("codomain routing show alice@example.com"))
    .action(async (aor: string, _options: unknown, command: Command) => {
      const setting = await adminClient(command, io).get<RoutingJson>(userPath(aor, "routing"));
      if (command.optsWithGlobals<Globals>().json) printJson(io, setting);
      else io.print(`${aor}: ${routingText(setting)}${setting.etag === null ? " (he has no setting)" : ""}`);
    });
  routing
    .command("set")
    .description("set it: all, mostactive, roundrobin or weighted")
    .argument("<aor>", "user@host")
    .argument("<algorithm>", "all, mostactive, roundrobin or weighted")
    .option("--weight <server=n>", "of a server, for weighted; may be repeated", collect, [])
    .addHelpText(
      "after",
      example(
        "codomain routing set alice@example.com mostactive",
        "codomain routing set alice@example.com weighted --weight east=3 --weight west=1",
      ),
    )
    .action(async (aor: string, algorithm: string, _options: unknown, command: Command) => {
      const { weight } = command.optsWithGlobals<Globals & { weight: string[] }>();
      const setting = await adminClient(command, io).put<RoutingJson>(userPath(aor, "routing"), {
        algorithm,
        weights: Object.fromEntries(weight.map(weightOf)),
      });
      if (command.optsWithGlobals<Globals>().json) printJson(io, setting);
      else io.print(`${aor}: ${routingText(setting)}`);
    });
}

function routingText({ algorithm, weights }: RoutingJson): string {
  const given = Object.entries(weights).map(([server, weight]) => `${server}=${weight}`);
  return [algorithm, ...given].join(" ");
}

function weightOf(text: string): [string, number] {
  const match = /^([^=]+)=(\d{1,3})$/.exec(text);
  if (match === null) throw new UsageError(`"${text}" is not of the form --weight SERVER=NUMBER.`);
  return [match[1]!, Number(match[2])];
}

function collect(text: string, before: readonly string[]): string[] {
  return [...before, text];
}
