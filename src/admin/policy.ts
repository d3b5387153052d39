import { z } from "zod";
import type { App, Desk } from "./app.ts";
import { Problem } from "./problem.ts";
import { aor } from "./schemas.ts";

/** Where a decision point elsewhere says that it decides otherwise now: what is remembered of it is dropped. */
export function policyRoutes(app: App, { options, names }: Desk): void {
  app.post("/api/v1/policy/changed", {
    schema: {
      tags: ["rules"],
      summary: "Decisions about a user, or about anybody, are to be asked for anew",
      body: z.strictObject({ aor: aor.optional().describe("left out: about anybody") }),
      response: { 202: z.object({ aor: z.string().nullable() }) },
    },
    handler: async (request, reply) => {
      if (options.policy === undefined) {
        throw new Problem(404, "no-policy", "This proxy decides nothing by itself: every server keeps its own rules.");
      }
      const user = request.body.aor === undefined ? null : names.user(request.body.aor);
      options.policy.changed(user);
      return reply.status(202).send({ aor: user });
    },
  });
}
