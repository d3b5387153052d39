import { z } from "zod";
import { DirectoryUnavailable, UsageError } from "../base/errors.ts";
import type { App, Desk } from "./app.ts";
import { Problem } from "./problem.ts";

/** Takes over the configuration file as it is now, without dropping a request. */
export function reloadRoutes(app: App, { options }: Desk): void {
  app.post("/api/v1/reload", {
    schema: {
      tags: ["configuration"],
      summary: "Reload the configuration file; 422 with every fault where it is not valid, and the old one stays",
      response: {
        200: z.object({ changes: z.array(z.string()).describe("keys that changed, and what needs a restart") }),
      },
    },
    handler: async (request) => {
      const { reload, directory } = options;
      if (reload === null) {
        throw new Problem(404, "no-file", "This proxy runs without a configuration file: start it with --config FILE.");
      }
      if (!directory.available) throw new DirectoryUnavailable("The change could not be recorded.");
      let changes: readonly string[];
      try {
        changes = reload();
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
        throw new Problem(422, "faulty-configuration", error.message);
      }
      await directory.recordAudit({
        actor: request.actor,
        action: "reload",
        aor: null,
        before: null,
        after: { changes },
      });
      return { changes: [...changes] };
    },
  });
}
