import { z } from "zod";
import type { App, Desk } from "./app.ts";

/** Subscriptions this proxy takes part in. Proxied ones belong to the servers at their ends and are not kept here. */
export function subscriptionRoutes(app: App, { options }: Desk): void {
  app.get("/api/v1/subscriptions", {
    schema: {
      tags: ["subscriptions"],
      summary: "Subscriptions that end at this proxy, and forked ones that wait for their NOTIFY",
      querystring: z.strictObject({ held: z.enum(["true", "false"]).optional().describe("true: held ones only") }),
      response: {
        200: z.object({
          subscriptions: z
            .array(z.looseObject({ watcher: z.string(), presentity: z.string(), event: z.string(), state: z.string() }))
            .describe("back-to-back ones: none yet, partitioned users' subscriptions are proxied"),
          forked: z.int().describe("forked SUBSCRIBEs whose NOTIFYs may still come"),
        }),
      },
    },
    handler: async () => ({ subscriptions: [], forked: options.proxy.subscriptionForks.size }),
  });
}
