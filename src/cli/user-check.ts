import type { Command } from "commander";
import type { CheckJson } from "../admin/reconciler.ts";
import { adminClient, userPath } from "./admin-client.ts";
import { example } from "./help.ts";
import { type Io, printJson } from "./output.ts";

/** Verdicts under which nothing is to be done. */
const FINE: readonly string[] = ["here", "repaired", "unbound", "not-exclusive"];

/** `users check AOR`: the directory against what the servers say. */
export function registerUserCheck(users: Command, io: Io): void {
  users
    .command("check")
    .description("ask the servers that prove OPTIONS whether they have a user; exit 1 where they do not agree")
    .argument("<aor>", "user@host")
    .option("--repair", "unbind him where his server says twice that it does not have him, and that is safe")
    .addHelpText(
      "after",
      example("codomain users check alice@example.com", "codomain users check alice@example.com --repair"),
    )
    .action(async (aor: string, _options: unknown, command: Command) => {
      const { repair, json } = command.optsWithGlobals<{ repair?: boolean; json?: boolean }>();
      const check = await adminClient(command, io).post<CheckJson>(userPath(aor, "check"), { repair: repair === true });
      if (!FINE.includes(check.verdict)) io.fail(1);
      if (json) printJson(io, check);
      else io.print(checkText(check));
    });
}

const SAYS = { here: "here", "not-here": "not here", unknown: "cannot tell" } as const;

function checkText({ aor, binding, answers, verdict, detail }: CheckJson): string {
  const place = binding === null ? "bound nowhere" : `on ${binding.server}, ${binding.origin}, epoch ${binding.epoch}`;
  const width = Math.max(0, ...answers.map((each) => each.server.length));
  const lines = answers.map((each) => `  ${each.server.padEnd(width)}  ${SAYS[each.says]} (${each.detail})`);
  return [`${aor}: ${place}`, ...lines, `${verdict}: ${detail}.`].join("\n");
}
