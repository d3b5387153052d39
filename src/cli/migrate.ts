import type { Command } from "commander";
import type { BatchJson } from "../admin/move-shapes.ts";
import { CodomainError, UsageError } from "../base/errors.ts";
import { type AdminClient, adminClient } from "./admin-client.ts";
import { example } from "./help.ts";
import { follow, type Interrupts, report } from "./migrate-follow.ts";
import { checkList, fillBatch, type RefusedLine } from "./migrate-list.ts";
import { type Io, printJson, table } from "./output.ts";
import { oneLine, ProgressLine, type Screen, users } from "./screen.ts";

/** What of the process this command uses. */
export interface Surroundings {
  readonly screen: Screen;
  readonly interrupts: Interrupts;
}

interface Options {
  readonly from?: string;
  readonly to?: string;
  readonly rate?: string;
  readonly dryRun?: boolean;
  readonly makeBeforeBreak?: boolean;
  readonly resume?: string;
  readonly undo?: string;
  readonly pause?: string;
  readonly cancel?: string;
  readonly list?: boolean;
  readonly report?: string;
  readonly json?: boolean;
}

const HELP = [
  "",
  "The file has a header: aor, server, and from, which may be missing or empty: a user is moved only",
  "while he is there. Every move is a test-and-set: who went elsewhere meanwhile is reported, not",
  "overwritten. The batch runs in the proxies, not in this command: Ctrl-C leaves it running.",
  "",
  "A file:",
  "  aor,server,from",
  "  alice@example.com,west,east",
  "  bob@example.com,west,",
].join("\n");

/** `migrate`: moves many users, with progress, report and undo. */
export function registerMigrate(program: Command, io: Io, given?: Surroundings): void {
  program
    .command("migrate")
    .description("move many users: those of a file, or all of a server")
    .argument("[file]", "CSV with a header: aor, server, from")
    .option("--from <server>", "with --to: everybody who is bound there")
    .option("--to <server>", "where to")
    .option("--rate <N/s>", "users a second, at most (default 50/s)")
    .option("--dry-run", "count, and say who would be refused; write nothing")
    .option("--make-before-break", "second legs go up to the new server before each user is moved")
    .option("--resume <id>", "follow a batch again; go on with a paused one")
    .option("--undo <id>", "move a batch's users back, each only while he is where it put him")
    .option("--pause <id>", "begin no more users of a batch")
    .option("--cancel <id>", "end a batch; who was not moved yet stays where he is")
    .option("--list", "batches, the newest first")
    .option("--report <file>", "write what became of every user, as CSV")
    .addHelpText("after", () =>
      [
        HELP,
        example(
          "codomain migrate users.csv --dry-run",
          "codomain migrate --from east --to west --rate 20/s --make-before-break",
          "codomain migrate --undo 4gk0q2m7xe",
        ),
      ].join("\n"),
    )
    .action(async (file: string | undefined, _options: unknown, command: Command) => {
      const surroundings = given ?? { screen: process.stderr, interrupts: process };
      const options = command.optsWithGlobals<Options>();
      await new Migration(adminClient(command, io), io, options, surroundings).run(file);
    });
}

class Migration {
  readonly #client: AdminClient;
  readonly #io: Io;
  readonly #options: Options;
  readonly #json: boolean;
  readonly #progress: ProgressLine;
  readonly #interrupts: Interrupts;
  #refusedLines = 0;

  constructor(client: AdminClient, io: Io, options: Options, { screen, interrupts }: Surroundings) {
    this.#client = client;
    this.#io = io;
    this.#options = options;
    this.#json = options.json === true;
    this.#progress = new ProgressLine(screen, this.#json);
    this.#interrupts = interrupts;
  }

  async run(file: string | undefined): Promise<void> {
    const { from, to, resume, undo, pause, cancel, list, dryRun } = this.#options;
    const asked = [file, from ?? to, resume, undo, pause, cancel, list].filter((each) => each !== undefined);
    if (asked.length !== 1) {
      throw new UsageError("Name a file, or --from and --to, or one of --resume, --undo, --pause, --cancel, --list.");
    }
    if (dryRun && file === undefined && from === undefined)
      throw new UsageError("--dry-run goes with a file or two servers.");
    if ((from === undefined) !== (to === undefined)) throw new UsageError("--from and --to go together.");
    const settings = this.#settings();
    if (list) await this.#list();
    else if (pause !== undefined) await this.#steer(pause, "pause");
    else if (cancel !== undefined) await this.#steer(cancel, "cancel");
    else if (resume !== undefined) await this.#resume(resume);
    else if (undo !== undefined) await this.#follow(await this.#post(undo, "undo", settings));
    else if (dryRun) await this.#dryRun(file);
    else if (file !== undefined) await this.#file(file, settings);
    else await this.#follow(await this.#client.post<BatchJson>("/api/v1/moves", { from, to, ...settings }));
  }

  #settings(): { rate?: number; makeBeforeBreak?: boolean } {
    const { rate, makeBeforeBreak } = this.#options;
    return {
      ...(rate === undefined ? {} : { rate: rateOf(rate) }),
      ...(makeBeforeBreak === undefined ? {} : { makeBeforeBreak }),
    };
  }

  #post(id: string, verb: string, body: object = {}): Promise<BatchJson> {
    return this.#client.post<BatchJson>(`/api/v1/moves/${encodeURIComponent(id)}/${verb}`, body);
  }

  async #file(file: string, settings: object): Promise<void> {
    const made = await this.#client.post<BatchJson>("/api/v1/moves", settings);
    let started = false;
    try {
      await fillBatch(this.#client, made, file, (part, refused) => this.#told(file, part, refused));
      const { total } = await this.#client.get<BatchJson>(`/api/v1/moves/${made.id}`);
      if (total === 0) throw new CodomainError("nothing-to-move", `No line of ${file} can be taken: nobody is moved.`);
      await this.#post(made.id, "start");
      started = true;
    } finally {
      this.#progress.clear();
      // Nobody is moved by half a file.
      if (!started) await this.#post(made.id, "cancel").catch(() => undefined);
    }
    await this.#follow(made);
    if (this.#refusedLines > 0) this.#io.fail(1);
  }

  #told(file: string, part: number, refused: readonly RefusedLine[]): void {
    for (const { line, aor, reason } of refused) {
      this.#refusedLines++;
      this.#progress.clear();
      if (this.#json) printJson(this.#io, { line, aor, reason });
      else this.#io.printError(`${file}:${line}: ${oneLine(aor === "" ? reason : `${aor}: ${reason}`)}`);
    }
    this.#progress.draw(part, `of ${file} read, ${this.#refusedLines} lines refused`);
  }

  async #dryRun(file: string | undefined): Promise<void> {
    const movable = file === undefined ? await this.#checkServer() : await this.#checkFile(file);
    this.#progress.clear();
    const refused = this.#refusedLines;
    if (this.#json) printJson(this.#io, { dryRun: true, movable, refused });
    else this.#io.print(`${users(movable)} would be moved, ${refused} refused. Nothing was written.`);
    if (refused > 0) this.#io.fail(1);
  }

  #checkFile(file: string): Promise<number> {
    return checkList(this.#client, file, (part, refused) => this.#told(file, part, refused));
  }

  async #checkServer(): Promise<number> {
    const { from, to } = this.#options;
    let movable = 0;
    let after: string | null = null;
    do {
      const page: { movable: number; refused: { aor: string; reason: string }[]; next: string | null } =
        await this.#client.post("/api/v1/moves/check", { from, to, ...(after === null ? {} : { after }) });
      movable += page.movable;
      for (const { aor, reason } of page.refused) {
        this.#refusedLines++;
        if (this.#json) printJson(this.#io, { aor, reason });
        else this.#io.printError(`${oneLine(aor)}: ${oneLine(reason)}.`);
      }
      after = page.next;
    } while (after !== null);
    return movable;
  }

  async #resume(id: string): Promise<void> {
    const batch = await this.#client.get<BatchJson>(`/api/v1/moves/${encodeURIComponent(id)}`);
    if (batch.state === "filling") {
      throw new CodomainError("not-started", `Batch ${id} was never started: run its file again.`);
    }
    await this.#follow(batch.state === "paused" ? await this.#post(id, "resume") : batch);
  }

  async #steer(id: string, verb: "pause" | "cancel"): Promise<void> {
    const batch = await this.#post(id, verb);
    if (this.#json) printJson(this.#io, batch);
    else this.#io.print(`Batch ${batch.id} is ${batch.state}: ${batch.moved} of ${users(batch.total)} moved.`);
  }

  async #list(): Promise<void> {
    const { batches } = await this.#client.get<{ batches: BatchJson[] }>("/api/v1/moves");
    if (this.#json) {
      printJson(this.#io, { batches });
      return;
    }
    const rows = batches.map((batch) => [
      batch.id,
      batch.kind === "server"
        ? `${batch.from} to ${batch.to}`
        : batch.kind === "undo"
          ? `undo ${batch.undoOf}`
          : "list",
      batch.state,
      batch.total,
      batch.moved,
      batch.refused,
      batch.undone,
      batch.createdAt,
    ]);
    const head = ["batch", "what", "state", "users", "moved", "refused", "undone", "made"];
    this.#io.print(table(head, rows, "No batches."));
  }

  async #follow(batch: BatchJson): Promise<void> {
    const { id } = batch;
    const ended = await follow(this.#client, id, this.#progress, this.#interrupts);
    if (ended === "interrupted") {
      this.#io.fail(1);
      this.#io.printError(
        `Batch ${id} goes on without this command. Look again: npx codomain migrate --resume ${id}; stop it: --pause ${id} or --cancel ${id}.`,
      );
      return;
    }
    await report(this.#client, ended, this.#io, { json: this.#json, file: this.#options.report });
  }
}

function rateOf(text: string): number {
  const match = /^(\d{1,5})(?:\/s)?$/.exec(text.trim());
  const rate = match === null ? 0 : Number(match[1]);
  if (rate < 1 || rate > 10_000) throw new UsageError(`--rate wants users a second, as 20/s, not "${text}".`);
  return rate;
}
