import type { Command } from "commander";
import { CodomainError, UsageError } from "../base/errors.ts";
import { IMPORT_BATCH } from "../directory/rows.ts";
import { type AdminClient, adminClient } from "./admin-client.ts";
import type { CsvRecord } from "./csv.ts";
import { openCsv } from "./csv-file.ts";
import { example } from "./help.ts";
import { type Io, printJson } from "./output.ts";
import { oneLine, ProgressLine, type Screen, users } from "./screen.ts";

type Row = Record<string, unknown>;

interface Report {
  readonly imported: number;
  readonly refused: readonly { readonly index: number; readonly aor: string; readonly reason: string }[];
}

const COLUMNS = "aor, model, server, identities, identities.SERVER, settings.NAME";

/** `users import FILE.csv`: in batches, with progress and every refused line told. */
export function registerImport(users: Command, io: Io, screen: Screen = process.stderr): void {
  users
    .command("import")
    .description("write many users: records, and provisioned bindings where a server is named")
    .argument("<file>", `CSV with a header: ${COLUMNS}`)
    .addHelpText(
      "after",
      [
        "",
        "The first line names the columns; only aor must be there. identities holds pairs such as",
        "east=joe.smith;west=joe, identities.east one name. An empty cell: left out. A line that is",
        "refused is told with its number and stops no other; importing a file again does no harm.",
        "",
        "A file:",
        "  aor,model,server,identities.east",
        "  alice@example.com,,east,",
        "  bob@example.com,exclusive,west,bob.smith",
        example("codomain users import users.csv"),
      ].join("\n"),
    )
    .action(async (file: string, _options: unknown, command: Command) => {
      const json = command.optsWithGlobals<{ json?: boolean }>().json === true;
      await new Import(file, io, adminClient(command, io), json, screen).run();
    });
}

class Import {
  readonly #file: string;
  readonly #io: Io;
  readonly #client: AdminClient;
  readonly #json: boolean;
  readonly #progress: ProgressLine;
  #columns: readonly Column[] | undefined;
  #batch: { readonly line: number; readonly found: Row | string }[] = [];
  #imported = 0;
  #refused = 0;
  /** How much of the file is read. */
  #part = 0;

  constructor(file: string, io: Io, client: AdminClient, json: boolean, screen: Screen) {
    this.#file = file;
    this.#io = io;
    this.#client = client;
    this.#json = json;
    this.#progress = new ProgressLine(screen, json);
  }

  async run(): Promise<void> {
    const csv = openCsv(this.#file);
    for await (const record of csv.records()) {
      this.#part = csv.size === 0 ? 1 : csv.read / csv.size;
      await this.#take(record);
    }
    await this.#send();
    this.#progress.clear();
    if (this.#columns === undefined) throw new UsageError(`${this.#file} is empty: its first line names the columns.`);
    if (this.#json) printJson(this.#io, { imported: this.#imported, refused: this.#refused });
    else this.#io.print(`${users(this.#imported)} imported, ${this.#refused} ${lines(this.#refused)} refused.`);
    if (this.#refused > 0) this.#io.fail(1);
  }

  async #take(record: CsvRecord): Promise<void> {
    if (this.#columns === undefined) {
      this.#columns = readHeader(record, this.#file);
      return;
    }
    this.#batch.push({ line: record.line, found: record.fault ?? rowOf(this.#columns, record.cells) });
    if (this.#batch.length >= IMPORT_BATCH) await this.#send();
  }

  async #send(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    if (batch.length === 0) return;
    const rows = batch.filter((each): each is { line: number; found: Row } => typeof each.found !== "string");
    const report = await this.#post(rows);
    this.#imported += report.imported;
    const reasons = new Map(report.refused.map((each) => [rows[each.index]!.line, each]));
    for (const { line, found } of batch) {
      const refused = typeof found === "string" ? { aor: "", reason: found } : reasons.get(line);
      if (refused !== undefined) this.#refuse(line, refused.aor, refused.reason);
    }
    this.#progress.draw(this.#part, `${users(this.#imported)}, ${this.#refused} refused`);
  }

  async #post(rows: readonly { readonly line: number; readonly found: Row }[]): Promise<Report> {
    if (rows.length === 0) return { imported: 0, refused: [] };
    try {
      return await this.#client.post<Report>("/api/v1/users/import", { rows: rows.map((each) => each.found) });
    } catch (error) {
      this.#progress.clear();
      if (!(error instanceof CodomainError)) throw error;
      const where = `Stopped before line ${rows[0]!.line}, ${users(this.#imported)} imported`;
      const message = `${where}; the same import can be run again. ${error.message}`;
      throw new CodomainError(error.code, message, { cause: error });
    }
  }

  #refuse(line: number, aor: string, reason: string): void {
    this.#refused++;
    this.#progress.clear();
    if (this.#json) printJson(this.#io, { line, aor, reason });
    else this.#io.printError(`${this.#file}:${line}: ${oneLine(aor === "" ? reason : `${aor}: ${reason}`)}`);
  }
}

interface Column {
  readonly kind: "plain" | "pairs" | "identity" | "setting";
  readonly name: string;
}

function readHeader(record: CsvRecord, file: string): readonly Column[] {
  if (record.fault !== undefined) throw new UsageError(`${file}:${record.line}: ${record.fault}.`);
  const columns = record.cells.map((cell): Column => {
    const name = cell.trim();
    if (["aor", "model", "server"].includes(name.toLowerCase())) return { kind: "plain", name: name.toLowerCase() };
    if (name.toLowerCase() === "identities") return { kind: "pairs", name: "identities" };
    const [, group, rest] = /^(identities|settings)\.(\S+)$/i.exec(name) ?? [];
    if (rest !== undefined) return { kind: group!.toLowerCase() === "settings" ? "setting" : "identity", name: rest };
    throw new UsageError(`${file}:${record.line}: "${name}" is no column: use ${COLUMNS}.`);
  });
  const names = columns.map((column) => `${column.kind} ${column.name}`);
  const twice = columns.find((_column, i) => names.indexOf(names[i]!) !== i);
  if (twice !== undefined)
    throw new UsageError(`${file}:${record.line}: the column "${twice.name}" stands there twice.`);
  if (!names.includes("plain aor")) throw new UsageError(`${file}:${record.line}: the column "aor" is missing.`);
  return columns;
}

/** One row for the API; a text: why it is none. */
function rowOf(columns: readonly Column[], cells: readonly string[]): Row | string {
  if (cells.length > columns.length) return `there are ${cells.length} cells for ${columns.length} columns`;
  const row: Row = {};
  const identities: Record<string, string> = {};
  const settings: Record<string, unknown> = {};
  for (const [i, { kind, name }] of columns.entries()) {
    const cell = cells[i] ?? "";
    if (cell === "") continue;
    if (kind === "plain") row[name] = cell;
    else if (kind === "identity") identities[name] = cell;
    else if (kind === "setting") settings[name] = setting(name, cell);
    else {
      for (const pair of cell.split(/[;\s]+/).filter((each) => each !== "")) {
        const equals = pair.indexOf("=");
        if (equals < 1 || equals === pair.length - 1) return `"${pair}" in identities is no SERVER=NAME`;
        identities[pair.slice(0, equals)] = pair.slice(equals + 1);
      }
    }
  }
  if (Object.keys(identities).length > 0) row["identities"] = identities;
  if (Object.keys(settings).length > 0) row["settings"] = settings;
  return row;
}

function setting(name: string, cell: string): unknown {
  if (name === "servers") return cell.split(/[;\s]+/).filter((each) => each !== "");
  return name === "refuse-with" ? Number(cell) : cell;
}

function lines(count: number): string {
  return count === 1 ? "line" : "lines";
}
