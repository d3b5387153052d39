import type { Command } from "commander";
import type { ClaimJson, UserJson } from "../admin/schemas.ts";
import type { UserDetail } from "../admin/users.ts";
import { UsageError } from "../base/errors.ts";
import { adminClient, userPath } from "./admin-client.ts";
import { example } from "./help.ts";
import { registerImport } from "./import.ts";
import { type Io, printJson, table } from "./output.ts";
import { wholeNumber } from "./paging.ts";
import { type PasswordInput, readPassword } from "./password.ts";
import type { Screen } from "./screen.ts";
import { registerUserCheck } from "./user-check.ts";

/** What of the terminal these commands use. */
export interface Terminal {
  readonly input: PasswordInput;
  readonly screen: Screen;
}

const PAGE = 1000;

/** `users list|show|add|bind|unbind|move|import|check|remove|password`. */
export function registerUsers(program: Command, io: Io, terminal?: Terminal): void {
  const users = program
    .command("users")
    .helpCommand(false)
    .description("the directory: who is where")
    .addHelpText("after", example("codomain users list --server east", "codomain users move alice@example.com west"));
  registerList(users, io);
  registerShow(users, io);
  registerAdd(users, io, terminal?.input ?? process.stdin);
  registerBind(users, io);
  registerUnbind(users, io);
  registerMove(users, io);
  registerImport(users, io, terminal?.screen ?? process.stderr);
  registerUserCheck(users, io);
  registerRemove(users, io);
  registerPassword(users, io, terminal?.input ?? process.stdin);
}

interface Globals {
  readonly json?: boolean;
}

function registerList(users: Command, io: Io): void {
  users
    .command("list")
    .description("users who have a record or are bound, in order of their address")
    .option("--prefix <text>", "addresses that begin so")
    .option("--server <name>", "users bound there")
    .option("--after <aor>", "go on behind this one")
    .option("--limit <n>", "how many at most", "100")
    .option("--all", "all of them, page by page")
    .addHelpText("after", example("codomain users list --prefix al", "codomain users list --server east --all --json"))
    .action(async (_options: unknown, command: Command) => {
      const { prefix, server, after, limit, all, json } = command.optsWithGlobals<
        Globals & { prefix?: string; server?: string; after?: string; limit: string; all?: boolean }
      >();
      const wanted = all ? Number.POSITIVE_INFINITY : wholeNumber(limit, "--limit");
      const client = adminClient(command, io);
      const rows: UserJson[] = [];
      let next: string | null = after ?? null;
      let count = 0;
      do {
        const page: { users: UserJson[]; next: string | null } = await client.get("/api/v1/users", {
          prefix,
          server,
          after: next ?? undefined,
          limit: String(Math.min(PAGE, wanted - count)),
        });
        next = page.next;
        count += page.users.length;
        if (json) printJson(io, page);
        else rows.push(...page.users);
      } while (next !== null && count < wanted);
      if (json) return;
      io.print(userTable(rows));
      if (next !== null) io.printError(`There may be more: add --all, or --after ${next}.`);
    });
}

function userTable(rows: readonly UserJson[]): string {
  return table(
    ["user", "model", "server", "origin", "epoch", "expires"],
    rows.map(({ aor, record, binding, epoch }) => [
      aor,
      record?.model ?? "-",
      binding?.server ?? "-",
      binding?.origin ?? "-",
      epoch,
      binding === null ? "-" : (binding.expiresAt ?? "never"),
    ]),
    "No users.",
  );
}

function registerShow(users: Command, io: Io): void {
  users
    .command("show")
    .description("one user: record, binding, password or none")
    .argument("<aor>", "user@host")
    .addHelpText("after", example("codomain users show alice@example.com"))
    .action(async (aor: string, _options: unknown, command: Command) => {
      const user = await adminClient(command, io).get<UserDetail>(userPath(aor));
      if (command.optsWithGlobals<Globals>().json) printJson(io, user);
      else io.print(userText(user));
    });
}

function userText({ aor, record, binding, epoch, credentials }: UserDetail): string {
  const list = (pairs: Readonly<Record<string, unknown>>): string =>
    Object.entries(pairs)
      .map(([key, value]) => `${key}=${Array.isArray(value) ? value.join(",") : value}`)
      .join("  ") || "none";
  const place =
    binding === null
      ? "none"
      : `${binding.server}, ${binding.origin}, ${binding.expiresAt === null ? "does not expire" : `until ${binding.expiresAt}`}`;
  const rows: [string, string][] = [
    ["user", aor],
    ["binding", place],
    ["epoch", String(epoch)],
    [
      "model",
      record === null ? "no record: the configuration's rules decide" : (record.model ?? "by the configuration"),
    ],
  ];
  if (record !== null) rows.push(["settings", list(record.settings)], ["identities", list(record.identities)]);
  rows.push([
    "password",
    credentials === null ? "none" : `${credentials.algorithms.join(", ")} in realm ${credentials.realm}`,
  ]);
  return rows.map(([name, value]) => `${name.padEnd(10)}  ${value}`).join("\n");
}

function registerAdd(users: Command, io: Io, input: PasswordInput): void {
  users
    .command("add")
    .description("write a user's record, whole; his binding is left alone")
    .argument("<aor>", "user@host")
    .option("--model <name>", "partitioned, exclusive or unioned; left out: the configuration's rules decide")
    .option("--set <name=value>", "a setting of the model, as in the configuration; may be repeated", collect, [])
    .option("--identity <server=name>", "how a server calls him; may be repeated", collect, [])
    .option("--password", "ask for a password, or read it from standard input")
    .addHelpText(
      "after",
      example(
        "codomain users add alice@example.com",
        "codomain users add bob@example.com --model exclusive --set conflict=refuse --identity east=bob.smith",
      ),
    )
    .action(async (aor: string, _options: unknown, command: Command) => {
      const options = command.optsWithGlobals<
        Globals & { model?: string; set: string[]; identity: string[]; password?: boolean }
      >();
      const body = {
        model: options.model ?? null,
        settings: settingsOf(options.set),
        identities: Object.fromEntries(options.identity.map((text) => pair(text, "--identity SERVER=NAME"))),
        ...(options.password ? { password: await readPassword(input, io) } : {}),
      };
      const user = await adminClient(command, io).put<UserDetail>(userPath(aor), body);
      if (options.json) printJson(io, user);
      else io.print(userText(user));
    });
}

function settingsOf(texts: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    texts
      .map((text) => pair(text, "--set NAME=VALUE"))
      .map(([name, value]) => {
        if (name === "refuse-with") return [name, Number(value)];
        return [name, name === "servers" ? value.split(",") : value];
      }),
  );
}

function registerBind(users: Command, io: Io): void {
  users
    .command("bind")
    .description("bind a user to a server; fails where another holds him")
    .argument("<aor>", "user@host")
    .argument("<server>", "its name in the configuration")
    .option("--pin", "provision him there: no lower claim moves him")
    .option("--takeover", "also where another server holds him by an equal claim")
    .option("--until <time>", "when it ends, as 2030-01-31T12:00:00Z; left out: it does not expire")
    .addHelpText("after", example("codomain users bind alice@example.com east"))
    .action(async (aor: string, server: string, _options: unknown, command: Command) => {
      const { pin, takeover, until, json } = command.optsWithGlobals<
        Globals & { pin?: boolean; takeover?: boolean; until?: string }
      >();
      const claim = await adminClient(command, io).post<ClaimJson>(userPath(aor, "bind"), {
        server,
        origin: pin ? "provisioned" : "admin",
        ...(takeover ? { conflict: "takeover" } : {}),
        ...(until === undefined ? {} : { expiresAt: until }),
      });
      if (json) printJson(io, claim);
      else io.print(claimText(aor, claim));
    });
}

function registerMove(users: Command, io: Io): void {
  users
    .command("move")
    .description("move a user to a server, wherever he is")
    .argument("<aor>", "user@host")
    .argument("<server>", "where to")
    .option("--from <server>", "only while he is there")
    .option("--make-before-break", "second legs go up to the new server first; takes two seconds")
    .addHelpText("after", example("codomain users move alice@example.com west"))
    .action(async (aor: string, server: string, _options: unknown, command: Command) => {
      const { from, makeBeforeBreak, json } = command.optsWithGlobals<
        Globals & { from?: string; makeBeforeBreak?: boolean }
      >();
      const claim = await adminClient(command, io).post<ClaimJson>(userPath(aor, "move"), {
        server,
        ...(from === undefined ? {} : { from }),
        ...(makeBeforeBreak === undefined ? {} : { makeBeforeBreak }),
      });
      if (json) printJson(io, claim);
      else io.print(claimText(aor, claim));
    });
}

function claimText(aor: string, { binding, changed, previous }: ClaimJson): string {
  const epoch = `epoch ${binding.epoch}`;
  if (!changed) return `${aor} was on ${binding.server} already (${epoch}).`;
  return previous === null
    ? `${aor} is bound to ${binding.server} (${epoch}).`
    : `${aor} moved from ${previous} to ${binding.server} (${epoch}).`;
}

function registerUnbind(users: Command, io: Io): void {
  users
    .command("unbind")
    .description("end a user's binding, of whatever origin")
    .argument("<aor>", "user@host")
    .option("--server <name>", "only while he is bound there")
    .option("--epoch <n>", "only at this epoch")
    .addHelpText("after", example("codomain users unbind alice@example.com"))
    .action(async (aor: string, _options: unknown, command: Command) => {
      const { server, epoch, json } = command.optsWithGlobals<Globals & { server?: string; epoch?: string }>();
      const answer = await adminClient(command, io).post<{ epoch: number; previous: { server: string } }>(
        userPath(aor, "unbind"),
        {
          ...(server === undefined ? {} : { server }),
          ...(epoch === undefined ? {} : { epoch: wholeNumber(epoch, "--epoch") }),
        },
      );
      if (json) printJson(io, answer);
      else io.print(`${aor} is no longer bound to ${answer.previous.server} (epoch ${answer.epoch}).`);
    });
}

function registerRemove(users: Command, io: Io): void {
  users
    .command("remove")
    .description("remove a user's record, binding and password")
    .argument("<aor>", "user@host")
    .addHelpText("after", example("codomain users remove alice@example.com"))
    .action(async (aor: string, _options: unknown, command: Command) => {
      await adminClient(command, io).delete(userPath(aor));
      if (command.optsWithGlobals<Globals>().json) printJson(io, { aor, removed: true });
      else io.print(`${aor} is removed.`);
    });
}

function registerPassword(users: Command, io: Io, input: PasswordInput): void {
  users
    .command("password")
    .description("set a user's password for digest authentication; asks for it, or reads it from standard input")
    .argument("<aor>", "user@host")
    .option("--remove", "take it away")
    .addHelpText(
      "after",
      example("codomain users password alice@example.com", "codomain users password alice@example.com < secret.txt"),
    )
    .action(async (aor: string, _options: unknown, command: Command) => {
      const { remove, json } = command.optsWithGlobals<Globals & { remove?: boolean }>();
      const password = remove ? null : await readPassword(input, io);
      await adminClient(command, io).put(userPath(aor, "password"), { password });
      if (json) printJson(io, { aor, password: password !== null });
      else io.print(`${aor} has ${password === null ? "no password any more" : "a new password"}.`);
    });
}

function collect(text: string, before: readonly string[]): string[] {
  return [...before, text];
}

function pair(text: string, form: string): [string, string] {
  const equals = text.indexOf("=");
  if (equals < 1) throw new UsageError(`"${text}" is not of the form ${form}.`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}
