import { readFileSync, statSync } from "node:fs";
import type { Command } from "commander";
import type { DocumentJson, WrittenJson } from "../admin/documents.ts";
import type { ProvisioningJson, PushJson } from "../admin/provisioning.ts";
import type { RuleChangeJson, RuleJson, RulesJson } from "../admin/rules.ts";
import { UsageError } from "../base/errors.ts";
import { adminClient, userPath } from "./admin-client.ts";
import { example } from "./help.ts";
import { type Io, printJson, table } from "./output.ts";
import { listing, type Paging, pagingOptions } from "./paging.ts";
import { oneLine } from "./screen.ts";

const KINDS = ["pres-rules", "im-rules", "im-routing"];
const MOST_OCTETS = 65_536;

/** `rules show|set|remove|status|allow|block|confirm|polite-block`. */
export function registerRules(program: Command, io: Io): void {
  const rules = program
    .command("rules")
    .helpCommand(false)
    .description("who may see and reach a user")
    .addHelpText(
      "after",
      example("codomain rules show alice@example.com", "codomain rules block alice@example.com mallory@example.org"),
    );
  registerShow(rules, io);
  registerSet(rules, io);
  registerStatus(rules, io);
  registerRemove(rules, io);
  for (const [handling, description] of [
    ["allow", "let somebody see all of a user's presence"],
    ["confirm", "let somebody wait until the user decides"],
    ["polite-block", "show somebody a user who is never there"],
    ["block", "refuse somebody who watches a user"],
  ] as const) {
    registerHandling(rules, io, handling, description);
  }
}

interface Globals {
  readonly json?: boolean;
}

function isJson(command: Command): boolean {
  return command.optsWithGlobals<Globals>().json === true;
}

function registerShow(rules: Command, io: Io): void {
  rules
    .command("show")
    .description("a user's rules, in plain words or as they are written")
    .argument("<aor>", "user@host")
    .option("--document <kind>", `the document itself: ${KINDS.join(", ")}`)
    .addHelpText(
      "after",
      example("codomain rules show alice@example.com", "codomain rules show alice@example.com --document pres-rules"),
    )
    .action(async (aor: string, _options: unknown, command: Command) => {
      const { document } = command.optsWithGlobals<Globals & { document?: string }>();
      const client = adminClient(command, io);
      if (document !== undefined) {
        const found = await client.get<DocumentJson>(documentPath(aor, document));
        if (isJson(command)) printJson(io, found);
        else io.print(found.text.trimEnd());
        return;
      }
      const found = await client.get<RulesJson>(userPath(aor, "rules"));
      if (isJson(command)) printJson(io, found);
      else io.print(rulesText(found));
    });
}

function rulesText({ way, presence, messages, defaults }: RulesJson): string {
  const part = (title: string, rows: readonly RuleJson[], otherwise: string, warnings: readonly string[]): string[] => [
    title,
    rows.length === 0 ? `  no rules: ${otherwise}, as the domain says` : indented(ruleTable(rows)),
    ...warnings.map((each) => `  warning: ${each}`),
  ];
  return [
    idleText(way),
    ...part("presence", presence.etag === null ? [] : presence.rules, defaults.presence, presence.warnings),
    ...part("messages and calls", messages.etag === null ? [] : messages.rules, defaults.contact, messages.warnings),
  ]
    .filter((line) => line !== null)
    .join("\n");
}

/** Null: they are carried out. */
function idleText(way: RulesJson["way"]): string | null {
  if (way !== "distributed" && way !== "pdp") return null;
  return `These rules decide nothing: ${DECIDES[way]} (policy: ${way}).`;
}

const DECIDES = { distributed: "each server keeps its own", pdp: "a decision point is asked" };

function ruleTable(rows: readonly RuleJson[]): string {
  return table(
    ["rule", "who", "gets", "shown", "when"],
    rows.map(({ id, who, except, when, handling, shows, methods }) => [
      id,
      `${who.join(", ") || "nobody"}${except.length === 0 ? "" : ` but ${except.join(", ")}`}`,
      `${handling ?? "-"}${methods.length === 1 ? ` ${methods[0]}` : ""}`,
      shows ?? "-",
      when.join("; ") || "always",
    ]),
    "a document without rules: nobody gets anything",
  );
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, "  ");
}

function registerSet(rules: Command, io: Io): void {
  rules
    .command("set")
    .description("write a document of a user whole, from a file")
    .argument("<aor>", "user@host")
    .argument("<file>", "XML")
    .option("--document <kind>", `which: ${KINDS.join(", ")}`, "pres-rules")
    .addHelpText("after", example("codomain rules set alice@example.com rules.xml"))
    .action(async (aor: string, file: string, _options: unknown, command: Command) => {
      const { document } = command.optsWithGlobals<Globals & { document: string }>();
      const written = await adminClient(command, io).put<WrittenJson>(documentPath(aor, document), {
        text: textOf(file),
      });
      for (const each of written.warnings) io.printError(`Warning: ${each}`);
      if (isJson(command)) printJson(io, written);
      else io.print(`${aor}: ${document} ${written.created ? "written" : "replaced"}.`);
    });
}

function registerStatus(rules: Command, io: Io): void {
  const status = rules
    .command("status")
    .description("rules on their way to servers that keep their own, and what those cannot express")
    .argument("[aor]", "of one user")
    .option("--server <name>", "at this server only")
    .option("--state <state>", "waiting, pushed or failed")
    .option("--reduced", "only rules that a server cannot express whole");
  pagingOptions(status)
    .addHelpText(
      "after",
      example("codomain rules status", "codomain rules status alice@example.com", "codomain rules status --reduced"),
    )
    .action(async (aor: string | undefined, _options: unknown, command: Command) => {
      const options = command.optsWithGlobals<
        Globals & Paging & { server?: string; state?: string; reduced?: boolean }
      >();
      const { server, state, reduced, json } = options;
      const client = adminClient(command, io);
      if (aor === undefined && server === undefined && state === undefined && !reduced) {
        const counts = await client.get<ProvisioningJson>("/api/v1/provisioning");
        if (json) printJson(io, counts);
        else io.print(countTable(counts));
        return;
      }
      const rows: PushJson[] = [];
      const next = await listing(options, async (page) => {
        const query = { aor, server, state, ...(reduced ? { reduced: "true" } : {}), ...page };
        const answer = await client.get<{ pushes: PushJson[]; next: string | null }>(
          "/api/v1/provisioning/pushes",
          query,
        );
        if (json) printJson(io, answer);
        else rows.push(...answer.pushes);
        return { count: answer.pushes.length, next: answer.next };
      });
      if (json) return;
      io.print(pushTable(rows));
      if (next !== null) io.printError(`There may be more: add --all, or --after "${next}".`);
    });
}

function countTable({ servers }: ProvisioningJson): string {
  return table(
    ["server", "pushed", "waiting", "failed", "not expressed whole"],
    servers.map(({ server, pushed, waiting, failed, reduced }) => [server, pushed, waiting, failed, reduced]),
    "No rules are pushed to servers.",
  );
}

function pushTable(rows: readonly PushJson[]): string {
  const head = table(
    ["user", "server", "state", "tries", "due"],
    rows.map(({ aor, server, state, tries, dueAt }) => [aor, server, state, tries, dueAt ?? "-"]),
    "No rules are pushed to servers.",
  ).split("\n");
  return head
    .flatMap((line, i) => {
      const row = rows[i - 1];
      if (row === undefined) return [line];
      return [
        line,
        ...[...(row.error === null ? [] : [row.error]), ...row.reductions].map((each) => `  ${oneLine(each)}`),
      ];
    })
    .join("\n");
}

function registerRemove(rules: Command, io: Io): void {
  rules
    .command("remove")
    .description("remove a document of a user: what the domain says holds for him then")
    .argument("<aor>", "user@host")
    .option("--document <kind>", `which: ${KINDS.join(", ")}`, "pres-rules")
    .addHelpText("after", example("codomain rules remove alice@example.com"))
    .action(async (aor: string, _options: unknown, command: Command) => {
      const { document } = command.optsWithGlobals<Globals & { document: string }>();
      await adminClient(command, io).delete(documentPath(aor, document));
      if (isJson(command)) printJson(io, { aor, kind: document, removed: true });
      else io.print(`${aor}: ${document} removed.`);
    });
}

function registerHandling(rules: Command, io: Io, handling: string, description: string): void {
  const command = rules
    .command(handling)
    .description(description)
    .argument("<aor>", "the user whose rules they are")
    .argument("<watcher>", "user@host of any domain");
  if (handling === "allow" || handling === "block") {
    command.option("--messages", "about messages and calls to him, in place of his presence");
  }
  command
    .addHelpText("after", example(`codomain rules ${handling} alice@example.com bob@example.com`))
    .action(async (aor: string, watcher: string, _options: unknown, command: Command) => {
      const { messages } = command.optsWithGlobals<Globals & { messages?: boolean }>();
      const client = adminClient(command, io);
      const changed = await client.post<RuleChangeJson>(userPath(aor, `rules/${handling}`), {
        watcher,
        ...(messages ? { about: "messages" } : {}),
      });
      if (isJson(command)) return printJson(io, changed);
      io.print(`${changed.watcher} ${changed.changed ? "gets" : "got"} ${handling} from ${changed.aor}.`);
      const idle = idleText((await client.get<RulesJson>(userPath(aor, "rules"))).way);
      if (idle !== null) io.printError(idle);
    });
}

function documentPath(aor: string, kind: string): string {
  if (KINDS.includes(kind)) return userPath(aor, `documents/${kind}`);
  throw new UsageError(`"${kind}" is no kind of document: ${KINDS.join(", ")} are.`);
}

function textOf(file: string): string {
  try {
    if (statSync(file).size > MOST_OCTETS) throw new UsageError(`${file} has more than ${MOST_OCTETS} octets.`);
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (error instanceof TypeError) throw new UsageError(`${file} is not in UTF-8.`);
    throw new UsageError(`${file} cannot be read: ${(error as Error).message}.`);
  }
}
