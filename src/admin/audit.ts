import { z } from "zod";
import type { App, Desk } from "./app.ts";
import { aor, auditJson, auditSchema } from "./schemas.ts";

const querySchema = z.strictObject({
  aor: aor.optional().describe("of this user only"),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  before: z
    .string()
    .regex(/^\d{1,18}$/, "an id")
    .optional()
    .describe("`next` of the page before"),
});

/** The audit trail: who changed what and when, the newest first. */
export function auditRoutes(app: App, { options, names }: Desk): void {
  app.get("/api/v1/audit", {
    schema: {
      tags: ["audit"],
      summary: "Changes, the newest first",
      querystring: querySchema,
      response: { 200: z.object({ entries: z.array(auditSchema), next: z.string().nullable() }) },
    },
    handler: async (request) => {
      const { aor, limit, before } = request.query;
      const entries = await options.directory.audit({
        ...(aor === undefined ? {} : { aor: names.user(aor) }),
        ...(before === undefined ? {} : { before }),
        limit,
      });
      return { entries: entries.map(auditJson), next: entries.length < limit ? null : entries.at(-1)!.id };
    },
  });
}
