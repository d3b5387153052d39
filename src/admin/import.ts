import { z } from "zod";
import type { ImportReport, ImportRow } from "../directory/directory.ts";
import { IMPORT_BATCH } from "../directory/rows.ts";
import type { App, Desk } from "./app.ts";
import { invalid, Problem } from "./problem.ts";
import { aor, recordFields, serverName } from "./schemas.ts";
import { checkSettings } from "./users.ts";

const BODY_LIMIT = 4 * 1024 * 1024;

const rowSchema = z.strictObject({
  aor,
  ...recordFields,
  server: serverName.nullable().default(null).describe("provisioned there; null: the record only"),
});

/** Many users at once. A row that cannot be taken is reported and stops nobody; the same import again does no harm. */
export function importRoutes(app: App, { options, names }: Desk): void {
  /** As the directory wants it. Throws a Problem that says why not. */
  function check(input: unknown): ImportRow {
    const parsed = rowSchema.safeParse(input);
    if (!parsed.success) throw invalid(parsed.error, "The row");
    const row = parsed.data;
    const user = names.user(row.aor);
    if (row.server !== null) names.server(row.server);
    names.servers(Object.keys(row.identities), "identities");
    checkSettings(row.model, row.settings);
    names.union(row.settings);
    return { ...row, aor: user };
  }

  app.post("/api/v1/users/import", {
    bodyLimit: BODY_LIMIT,
    schema: {
      tags: ["users"],
      summary: `Write up to ${IMPORT_BATCH} records, with a provisioned binding where a server is named`,
      body: z.strictObject({
        rows: z
          .array(z.unknown())
          .max(IMPORT_BATCH)
          .describe("each { aor, model?, settings?, identities?, server? }, as a user's record; checked one by one"),
      }),
      response: {
        200: z.object({
          imported: z.int(),
          refused: z.array(
            z.object({ index: z.int().describe("of the row, from 0"), aor: z.string(), reason: z.string() }),
          ),
        }),
      },
    },
    handler: async (request) => {
      const taken: { readonly index: number; readonly row: ImportRow }[] = [];
      const refused: ImportReport["refused"][number][] = [];
      for (const [index, input] of request.body.rows.entries()) {
        try {
          taken.push({ index, row: check(input) });
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          refused.push({ index, aor: aorOf(input), reason: error.message });
        }
      }
      const report = await options.directory.importUsers(
        taken.map((each) => each.row),
        request.actor,
      );
      for (const each of report.refused) refused.push({ ...each, index: taken[each.index]!.index });
      return { imported: report.imported, refused: refused.sort((a, b) => a.index - b.index) };
    },
  });
}

function aorOf(input: unknown): string {
  const value = typeof input === "object" && input !== null ? (input as { aor?: unknown }).aor : undefined;
  return typeof value === "string" ? value.slice(0, 600) : "";
}
