import type { Command } from "commander";
import type { SubscriptionJson } from "../admin/subscriptions.ts";
import { adminClient } from "./admin-client.ts";
import { example } from "./help.ts";
import { type Io, printJson, table } from "./output.ts";
import { listing, type Paging, pagingOptions } from "./paging.ts";

interface Page {
  readonly subscriptions: readonly SubscriptionJson[];
  readonly next: string | null;
  readonly forked: number;
}

interface Options extends Paging {
  readonly held?: boolean;
  readonly kind?: string;
  readonly aor?: string;
  readonly watcher?: string;
  readonly json?: boolean;
}

/** Of a composed one the servers that have not confirmed with what they said: `east, west (pending)`. */
function serversOf({ server, servers }: SubscriptionJson): string {
  if (servers.length === 0) return server ?? "-";
  return servers
    .map((each) => (each.standing === "confirmed" ? each.server : `${each.server} (${each.standing})`))
    .join(", ");
}

/** `subscriptions list [--held]`. */
export function registerSubscriptions(program: Command, io: Io): void {
  const list = program
    .command("subscriptions")
    .helpCommand(false)
    .description("live, held and composed subscriptions")
    .addHelpText("after", example("codomain subscriptions list --held"))
    .command("list")
    .description("subscriptions kept by the proxies, and how many forked ones wait for their NOTIFY")
    .option("--held", "only those held until their user is on a server")
    .option("--kind <kind>", "presence, composed (of several servers), reg or winfo")
    .option("--aor <aor>", "of this user only")
    .option("--watcher <aor>", "of this watcher only");
  pagingOptions(list)
    .addHelpText(
      "after",
      example("codomain subscriptions list --held", "codomain subscriptions list --aor alice@example.com"),
    )
    .action(async (_options: unknown, command: Command) => {
      const options = command.optsWithGlobals<Options>();
      const { held, kind, aor, watcher, json } = options;
      const client = adminClient(command, io);
      const rows: SubscriptionJson[] = [];
      let forked = 0;
      const next = await listing(options, async (page) => {
        const answer = await client.get<Page>("/api/v1/subscriptions", {
          held: held ? "true" : undefined,
          kind,
          aor,
          watcher,
          ...page,
        });
        if (json) printJson(io, answer);
        else rows.push(...answer.subscriptions);
        forked = answer.forked;
        return { count: answer.subscriptions.length, next: answer.next };
      });
      if (json) return;
      io.print(
        table(
          ["watcher", "presentity", "event", "state", "server", "epoch", "expires"],
          rows.map((each) => [
            each.watcher,
            each.presentity,
            each.event,
            each.state,
            serversOf(each),
            each.epoch,
            each.expiresAt,
          ]),
          `No ${held ? "held " : ""}subscription is kept here.`,
        ),
      );
      if (!held && forked > 0)
        io.print(`${forked} forked ${forked === 1 ? "one waits" : "ones wait"} for their NOTIFY.`);
      if (next !== null) io.printError(`There may be more: add --all, or --after ${next}.`);
    });
}
