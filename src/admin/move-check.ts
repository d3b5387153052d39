import { z } from "zod";
import { MOST_STEPS } from "../directory/moves.ts";
import { modelOf } from "../federation/model.ts";
import { judgeStep } from "../moving/step.ts";
import type { App, Desk } from "./app.ts";
import { refusedRows } from "./move-shapes.ts";
import type { Names } from "./names.ts";
import { invalid, Problem } from "./problem.ts";
import { aor, serverName } from "./schemas.ts";

export const ROWS_LIMIT = 4 * 1024 * 1024;

const rowSchema = z.strictObject({
  aor,
  server: serverName.describe("where to"),
  from: serverName.optional().describe("acts only while he is there"),
});
export type Row = z.output<typeof rowSchema>;

export const rowsField = z
  .array(z.unknown())
  .max(MOST_STEPS)
  .describe("each { aor, server, from? }; checked one by one, a refused one stops no other");

/** Dry runs: the judgement that a batch makes of each user before it moves him. */
export function moveCheckRoutes(app: App, { options, names }: Desk): void {
  const { directory, proxy } = options;

  /** What would become of them now. */
  async function judge(rows: readonly { readonly aor: string; readonly from: string | null; readonly to: string }[]) {
    const lookups = await Promise.all(rows.map((row) => directory.lookup(row.aor)));
    return rows.map((row, i) => {
      const lookup = lookups[i]!;
      const record = "user" in lookup ? lookup.user : null;
      const { model } = modelOf(proxy.models, row.aor, record);
      return judgeStep({ ...row, onlyEpoch: null, epochBefore: null }, lookup, model);
    });
  }

  app.post("/api/v1/moves/check", {
    bodyLimit: ROWS_LIMIT,
    schema: {
      tags: ["moves"],
      summary: "Dry run: what would become of these users now. Writes nothing",
      body: z.strictObject({
        rows: rowsField.optional(),
        from: serverName.optional().describe("with `to`, in place of rows: a page of those who are bound there"),
        to: serverName.optional(),
        after: z.string().max(600).optional().describe("`next` of the page before"),
      }),
      response: {
        200: z.object({
          checked: z.int(),
          movable: z.int(),
          refused: refusedRows,
          next: z.string().nullable().describe("null: this was the last page"),
        }),
      },
    },
    handler: async (request) => {
      const { rows, from, to, after } = request.body;
      if (rows !== undefined) {
        const { taken, refused } = sortRows(rows, names);
        const judged = await judge(taken.map(({ row }) => ({ aor: row.aor, from: row.from ?? null, to: row.server })));
        for (const [i, each] of judged.entries()) {
          const { index, row } = taken[i]!;
          if (each.verdict === "refused") refused.push({ index, aor: row.aor, reason: each.reason });
        }
        refused.sort((a, b) => a.index - b.index);
        return { checked: rows.length, movable: rows.length - refused.length, refused, next: null };
      }
      if (from === undefined || to === undefined) throw new Problem(400, "invalid", "Give rows, or from and to.");
      names.server(from, "from");
      names.server(to, "to");
      if (from === to) throw new Problem(400, "same-server", `${to} is where the move starts.`, { field: "to" });
      const page = await directory.users({
        server: from,
        limit: MOST_STEPS,
        ...(after === undefined ? {} : { after }),
      });
      const judged = await judge(page.map((user) => ({ aor: user.aor, from, to })));
      const refused: Refusal[] = [];
      for (const [index, each] of judged.entries())
        if (each.verdict === "refused") refused.push({ index, aor: page[index]!.aor, reason: each.reason });
      const next = page.length < MOST_STEPS ? null : page.at(-1)!.aor;
      return { checked: page.length, movable: page.length - refused.length, refused, next };
    },
  });
}

export interface SortedRows {
  readonly taken: { readonly index: number; readonly row: Row }[];
  readonly refused: Refusal[];
}

export interface Refusal {
  readonly index: number;
  readonly aor: string;
  readonly reason: string;
}

/** Rows that can be steps, and why the others cannot. */
export function sortRows(rows: readonly unknown[], names: Names): SortedRows {
  const taken: { index: number; row: Row }[] = [];
  const refused: Refusal[] = [];
  for (const [index, input] of rows.entries()) {
    try {
      taken.push({ index, row: check(input, names) });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      refused.push({ index, aor: aorOf(input), reason: error.message });
    }
  }
  return { taken, refused };
}

function check(input: unknown, names: Names): Row {
  const parsed = rowSchema.safeParse(input);
  if (!parsed.success) throw invalid(parsed.error, "The row");
  const { server, from } = parsed.data;
  const user = names.user(parsed.data.aor);
  names.server(server);
  if (from !== undefined) names.server(from, "from");
  if (from === server)
    throw new Problem(400, "same-server", `${server} is where the move starts.`, { field: "server" });
  return { ...parsed.data, aor: user };
}

function aorOf(input: unknown): string {
  const value = typeof input === "object" && input !== null ? (input as { aor?: unknown }).aor : undefined;
  return typeof value === "string" ? value.slice(0, 600) : "";
}
