import type { Command } from "commander";
import type { MessageJson, TraceJson } from "../admin/messages.ts";
import { adminClient } from "./admin-client.ts";
import { example } from "./help.ts";
import { type Io, printJson, table } from "./output.ts";
import { listing, type Paging, pagingOptions } from "./paging.ts";
import { oneLine } from "./screen.ts";

interface Page {
  readonly messages: readonly MessageJson[];
  readonly next: number | null;
}

interface Options extends Paging {
  readonly recipient?: string;
  readonly sender?: string;
  readonly state?: string;
  readonly json?: boolean;
}

/** `messages list|trace`. */
export function registerMessages(program: Command, io: Io): void {
  const messages = program
    .command("messages")
    .helpCommand(false)
    .description("stored messages, and what was done with them; never what they say")
    .addHelpText("after", example("codomain messages list --state stored", "codomain messages trace 0m8qk2"));
  const list = messages
    .command("list")
    .description("stored messages in the order they came")
    .option("--recipient <aor>", "for this user only")
    .option("--sender <aor>", "of this sender only")
    .option("--state <state>", "stored (those that wait), delivered, failed or expired");
  pagingOptions(list)
    .addHelpText(
      "after",
      example("codomain messages list --state stored", "codomain messages list --recipient alice@example.com"),
    )
    .action(async (_options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const { recipient, sender, state, json } = options;
      const client = adminClient(command, io);
      const rows: MessageJson[] = [];
      const next = await listing(options, async (page) => {
        const answer = await client.get<Page>("/api/v1/messages", { recipient, sender, state, ...page });
        if (json) printJson(io, answer);
        else rows.push(...answer.messages);
        return { count: answer.messages.length, next: answer.next === null ? null : String(answer.next) };
      });
      if (json) return;
      io.print(
        table(
          ["message", "recipient", "sender", "state", "tries", "octets", "received", "expires"],
          rows.map((each) => [
            each.id,
            each.recipient,
            each.sender,
            each.state,
            each.tries,
            each.octets,
            each.receivedAt,
            each.expiresAt,
          ]),
          "No messages.",
        ),
      );
      if (next !== null) io.printError(`There may be more: add --all, or --after ${next}.`);
    });
  messages
    .command("trace")
    .description("what was done with one message, in order")
    .argument("<id>", "as `messages list` shows it")
    .addHelpText("after", example("codomain messages trace 0m8qk2"))
    .action(async (id: string, _options: unknown, command: Command) => {
      const answer = await adminClient(command, io).get<{ trace: readonly TraceJson[] }>(
        `/api/v1/messages/${encodeURIComponent(id)}/trace`,
      );
      if (command.optsWithGlobals<{ json?: boolean }>().json) printJson(io, answer);
      else
        io.print(
          answer.trace.map(({ event, at, detail }) => oneLine(`${at}  ${event.padEnd(9)}  ${detail}`)).join("\n"),
        );
    });
}
