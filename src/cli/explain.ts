import type { Command } from "commander";
import type { ExplanationAnswer } from "../admin/explain.ts";
import { adminClient } from "./admin-client.ts";
import { example } from "./help.ts";
import { type Io, printJson } from "./output.ts";

interface ExplainOptions {
  readonly from?: string;
  readonly watcher?: string;
  readonly event?: string;
  readonly direction?: string;
  readonly json?: boolean;
}

/** `explain METHOD AOR`: the plan and the reasoning; sends nothing. */
export function registerExplain(program: Command, io: Io): void {
  program
    .command("explain")
    .description("print the plan for a request and the reasoning; sends nothing")
    .argument("<method>", "SIP method: MESSAGE, SUBSCRIBE, INVITE, …")
    .argument("<aor>", "whom it is for, user@host")
    .option("--from <server>", "the server that sends it; left out: a client")
    .option("--watcher <aor>", "who watches or sends")
    .option("--event <package>", "event package; presence where left out")
    .option("--direction <up|down>", "of the listener it comes to; down: a server of a tree sends it to its children")
    .addHelpText(
      "after",
      example(
        "codomain explain MESSAGE alice@example.com",
        "codomain explain SUBSCRIBE alice@example.com --from east --watcher bob@example.com",
      ),
    )
    .action(async (method: string, aor: string, _options: unknown, command: Command) => {
      const { from, watcher, event, direction, json } = command.optsWithGlobals<ExplainOptions>();
      const { text, explanation, present, unioned } = await adminClient(command, io).get<ExplanationAnswer>(
        "/api/v1/explain",
        {
          method: method.toUpperCase(),
          aor,
          from,
          watcher,
          event,
          direction,
        },
      );
      if (json) printJson(io, { ...explanation, present, unioned });
      else io.print(text.join("\n"));
    });
}
