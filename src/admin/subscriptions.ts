import { z } from "zod";
import { isHeld, type ListedSubscription, MOST_LISTED } from "../directory/subscriptions.ts";
import { standingsIn } from "../subscription/composed-row.ts";
import type { App, Desk } from "./app.ts";
import { component, iso } from "./schemas.ts";

const tags = ["subscriptions"];

const subscriptionSchema = component(
  "Subscription",
  z.object({
    id: z.string(),
    presentity: z.string().describe("user@host; of a subscription to all registrations of a server: server:NAME"),
    watcher: z.string(),
    event: z.string(),
    state: z
      .enum(["held", "live", "composed", "reg", "winfo"])
      .describe(
        "held: waits until the user is on a server; live: extended to one; composed: of several servers; " +
          "reg, winfo: answered from what is kept here",
      ),
    server: z.string().nullable().describe("where it is extended to; of a composed one all of them, with commas"),
    servers: z
      .array(
        z.object({
          server: z.string(),
          standing: z
            .enum(["asked", "confirmed", "pending", "out", "visited"])
            .describe(
              "asked: has not said whether the watcher may see; confirmed; pending: has not decided; out: does not have " +
                "the user; visited: its part comes by another server",
            ),
        }),
      )
      .describe("of a composed one: how each server stands; empty of others"),
    epoch: z.int().describe("of the binding that was acted upon last"),
    origin: z.string().nullable().describe("server the watcher's request came from; null: a client"),
    expiresAt: z.string(),
    proxy: z.string().describe("the process that owns it"),
  }),
);

export type SubscriptionJson = z.output<typeof subscriptionSchema>;

const address = z.string().min(3).max(600);

/** Subscriptions of which this domain's proxies are the notifier, of all proxies. Proxied ones belong to the servers at their ends. */
export function subscriptionRoutes(app: App, { options, names }: Desk): void {
  const { directory, proxy } = options;

  app.get("/api/v1/subscriptions", {
    schema: {
      tags,
      summary:
        "Subscriptions kept here, held, live and composed, of all proxies; and how many forked ones wait on this one",
      querystring: z.strictObject({
        kind: z.enum(["presence", "composed", "reg", "winfo"]).optional().describe("presence: held and live ones"),
        held: z.enum(["true", "false"]).optional().describe("true: held ones only; false: live ones only"),
        aor: address.optional().describe("of this presentity only"),
        watcher: address.optional().describe("of this watcher only"),
        after: z.string().max(200).optional().describe("`next` of the page before"),
        limit: z.coerce.number().int().min(1).max(MOST_LISTED).default(100),
      }),
      response: {
        200: z.object({
          subscriptions: z.array(subscriptionSchema),
          next: z.string().nullable(),
          forked: z.int().describe("forked SUBSCRIBEs of this proxy whose NOTIFYs may still come"),
        }),
      },
    },
    handler: async (request) => {
      const { kind, held, aor, watcher, after, limit } = request.query;
      const found = await directory.subscriptions.list({
        ...(kind === undefined ? {} : { kind }),
        ...(held === undefined ? {} : { held: held === "true" }),
        ...(aor === undefined ? {} : { aor: names.user(aor) }),
        ...(watcher === undefined ? {} : { watcher: names.address(watcher, "watcher") }),
        ...(after === undefined ? {} : { after }),
        limit,
      });
      return {
        subscriptions: found.map(subscriptionJson),
        next: found.length < limit ? null : found.at(-1)!.id,
        forked: proxy.subscriptionForks.size,
      };
    },
  });

  app.get("/api/v1/subscriptions/count", {
    schema: {
      tags,
      summary: "How many subscriptions are kept; reads them all, so not for every second",
      response: {
        200: z.object({ held: z.int(), live: z.int(), composed: z.int(), reg: z.int(), winfo: z.int() }),
      },
    },
    handler: () => directory.subscriptions.count(),
  });
}

function subscriptionJson(each: ListedSubscription): z.input<typeof subscriptionSchema> {
  return {
    id: each.id,
    presentity: each.aor,
    watcher: each.watcher,
    event: each.event,
    state: each.kind !== "presence" ? each.kind : isHeld(each) ? "held" : "live",
    server: each.legServer,
    servers: each.kind === "composed" ? [...standingsIn(each.leg)] : [],
    epoch: each.extendedEpoch,
    origin: each.origin,
    expiresAt: iso(each.expiresAt),
    proxy: each.owner,
  };
}
