import type { Command } from "commander";
import { adminClient } from "./admin-client.ts";
import { example } from "./help.ts";
import { type Io, printJson, table } from "./output.ts";

interface Subscriptions {
  readonly subscriptions: readonly {
    readonly watcher: string;
    readonly presentity: string;
    readonly event: string;
    readonly state: string;
  }[];
  readonly forked: number;
}

/** `subscriptions list [--held]`. */
export function registerSubscriptions(program: Command, io: Io): void {
  program
    .command("subscriptions")
    .helpCommand(false)
    .description("live and held subscriptions")
    .addHelpText("after", example("codomain subscriptions list --held"))
    .command("list")
    .description("subscriptions that end at this proxy, and how many forked ones wait for their NOTIFY")
    .option("--held", "only those held for an unbound user")
    .addHelpText("after", example("codomain subscriptions list", "codomain subscriptions list --held"))
    .action(async (_options: unknown, command: Command) => {
      const { held, json } = command.optsWithGlobals<{ held?: boolean; json?: boolean }>();
      const answer = await adminClient(command, io).get<Subscriptions>("/api/v1/subscriptions", {
        held: held ? "true" : undefined,
      });
      if (json) {
        printJson(io, answer);
        return;
      }
      const rows = answer.subscriptions.map((each) => [each.watcher, each.presentity, each.event, each.state]);
      io.print(
        table(["watcher", "presentity", "event", "state"], rows, `No ${held ? "held " : ""}subscription ends here.`),
      );
      if (!held && answer.forked > 0)
        io.print(`${answer.forked} forked ${answer.forked === 1 ? "one waits" : "ones wait"} for their NOTIFY.`);
    });
}
