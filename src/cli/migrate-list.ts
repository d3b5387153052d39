import type { BatchJson } from "../admin/move-shapes.ts";
import { UsageError } from "../base/errors.ts";
import { MOST_STEPS } from "../directory/moves.ts";
import type { AdminClient } from "./admin-client.ts";
import type { CsvRecord } from "./csv.ts";
import { openCsv } from "./csv-file.ts";

/** The users of a CSV file, as the API takes them: read in pages, each row with its line. */

export interface ListRow {
  readonly aor: string;
  readonly server: string;
  readonly from?: string;
}

export interface RefusedLine {
  readonly line: number;
  readonly aor: string;
  readonly reason: string;
}

interface Page {
  readonly rows: readonly { readonly line: number; readonly row: ListRow }[];
  readonly refused: readonly RefusedLine[];
  /** Of the file, from 0 to 1. */
  readonly part: number;
}

interface Answer {
  readonly refused: readonly { readonly index: number; readonly aor: string; readonly reason: string }[];
}

const COLUMNS = ["aor", "server", "from"] as const;
type Column = (typeof COLUMNS)[number];

/** Fills a batch with the file's users. @param told hears of every page: rows sent so far, and lines refused. */
export async function fillBatch(
  client: AdminClient,
  batch: BatchJson,
  file: string,
  told: (part: number, refused: readonly RefusedLine[]) => void,
): Promise<void> {
  let first = 1;
  for await (const page of pages(file)) {
    const path = `/api/v1/moves/${batch.id}/users`;
    const rows = page.rows.map((each) => each.row);
    const answer = rows.length === 0 ? { refused: [] } : await client.post<Answer>(path, { first, rows });
    first += rows.length;
    told(page.part, refusals(page, answer));
  }
}

/** A dry run of the file. @returns how many could be moved now. */
export async function checkList(
  client: AdminClient,
  file: string,
  told: (part: number, refused: readonly RefusedLine[]) => void,
): Promise<number> {
  let movable = 0;
  for await (const page of pages(file)) {
    const rows = page.rows.map((each) => each.row);
    const answer =
      rows.length === 0
        ? { refused: [], movable: 0 }
        : await client.post<Answer & { movable: number }>("/api/v1/moves/check", { rows });
    movable += answer.movable;
    told(page.part, refusals(page, answer));
  }
  return movable;
}

function refusals(page: Page, answer: Answer): RefusedLine[] {
  const told = answer.refused.map(({ index, aor, reason }) => ({ line: page.rows[index]!.line, aor, reason }));
  return [...page.refused, ...told].sort((a, b) => a.line - b.line);
}

async function* pages(file: string): AsyncGenerator<Page> {
  const csv = openCsv(file);
  let columns: readonly Column[] | undefined;
  let rows: Array<Page["rows"][number]> = [];
  let refused: RefusedLine[] = [];
  const seen = new Map<string, number>();
  const part = (): number => (csv.size === 0 ? 1 : csv.read / csv.size);
  for await (const record of csv.records()) {
    if (columns === undefined) {
      columns = readHeader(record, file);
      continue;
    }
    const found = record.fault ?? rowOf(columns, record.cells);
    if (typeof found === "string") refused.push({ line: record.line, aor: "", reason: found });
    else {
      const before = seen.get(found.aor);
      if (before !== undefined) {
        refused.push({ line: record.line, aor: found.aor, reason: `he stands in line ${before} already` });
      } else {
        seen.set(found.aor, record.line);
        rows.push({ line: record.line, row: found });
      }
    }
    if (rows.length + refused.length < MOST_STEPS) continue;
    yield { rows, refused, part: part() };
    rows = [];
    refused = [];
  }
  if (columns === undefined) throw new UsageError(`${file} is empty: its first line names the columns aor, server.`);
  yield { rows, refused, part: 1 };
}

function readHeader(record: CsvRecord, file: string): readonly Column[] {
  const where = `${file}:${record.line}`;
  if (record.fault !== undefined) throw new UsageError(`${where}: ${record.fault}.`);
  const columns = record.cells.map((cell): Column => {
    const name = cell.trim().toLowerCase();
    const column = COLUMNS.find((each) => each === name);
    if (column !== undefined) return column;
    throw new UsageError(`${where}: "${cell.trim()}" is no column: use ${COLUMNS.join(", ")}.`);
  });
  const twice = columns.find((column, i) => columns.indexOf(column) !== i);
  if (twice !== undefined) throw new UsageError(`${where}: the column "${twice}" stands there twice.`);
  for (const column of ["aor", "server"] as const)
    if (!columns.includes(column)) throw new UsageError(`${where}: the column "${column}" is missing.`);
  return columns;
}

/** A text: why it is no row. */
function rowOf(columns: readonly Column[], cells: readonly string[]): ListRow | string {
  if (cells.length > columns.length) return `there are ${cells.length} cells for ${columns.length} columns`;
  const cell = (column: Column): string => cells[columns.indexOf(column)] ?? "";
  if (cell("aor") === "") return "the user is missing";
  if (cell("server") === "") return `${cell("aor")}: the server is missing`;
  const from = columns.includes("from") ? cell("from") : "";
  return { aor: cell("aor"), server: cell("server"), ...(from === "" ? {} : { from }) };
}
