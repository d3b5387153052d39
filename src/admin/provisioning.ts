import { z } from "zod";
import { MOST_PUSHES, PUSH_STATES, type PushRow } from "../directory/pushes.ts";
import type { App, Desk } from "./app.ts";
import { Problem } from "./problem.ts";
import { aor, component, iso, serverName } from "./schemas.ts";

const tags = ["rules"];

const querySchema = z.strictObject({
  aor: aor.optional().describe("of this user only"),
  server: serverName.optional(),
  state: z.enum(PUSH_STATES).optional(),
  reduced: z.enum(["true", "false"]).optional().describe("true: only those that the server cannot express whole"),
  limit: z.coerce.number().int().min(1).max(MOST_PUSHES).default(100),
  after: z
    .string()
    .max(700)
    .regex(/^\S+ \S+$/, "`next` of the page before")
    .optional(),
});

const pushSchema = component(
  "Push",
  z.object({
    aor: z.string(),
    server: z.string(),
    state: z.enum(PUSH_STATES).describe("failed: it is tried again"),
    present: z.boolean().describe("the server has had rules of his from us"),
    reductions: z.array(z.string()).describe("what of the rules the server cannot express"),
    error: z.string().nullable(),
    tries: z.int(),
    dueAt: z.string().nullable().describe("ISO 8601, UTC; null: nothing is to be done"),
    changedAt: z.string(),
  }),
);

const stateSchema = z.object({
  servers: z.array(
    z.object({
      server: z.string(),
      waiting: z.int(),
      pushed: z.int(),
      failed: z.int(),
      reduced: z.int().describe("users whose rules it cannot express whole"),
    }),
  ),
});

export type PushJson = z.output<typeof pushSchema>;
export type ProvisioningJson = z.output<typeof stateSchema>;

/** Users' rules on their way to the servers that keep their own: how far they are, and what was lost. */
export function provisioningRoutes(app: App, { options, names }: Desk): void {
  const { pushes } = options.directory;

  app.get("/api/v1/provisioning", {
    schema: { tags, summary: "Rules pushed to servers, counted", response: { 200: stateSchema } },
    handler: async () => {
      const servers = new Map<string, z.input<typeof stateSchema>["servers"][number]>();
      for (const { server, state, count, reduced } of await pushes.counts()) {
        const known = servers.get(server) ?? { server, waiting: 0, pushed: 0, failed: 0, reduced: 0 };
        servers.set(server, { ...known, [state]: count, reduced: known.reduced + reduced });
      }
      return { servers: [...servers.values()] };
    },
  });

  app.get("/api/v1/provisioning/pushes", {
    schema: {
      tags,
      summary: "Rules pushed to servers, by user and server",
      querystring: querySchema,
      response: { 200: z.object({ pushes: z.array(pushSchema), next: z.string().nullable() }) },
    },
    handler: async (request) => {
      const { aor, server, state, reduced, limit, after } = request.query;
      const space = after?.indexOf(" ") ?? -1;
      const rows = await pushes.list({
        ...(aor === undefined ? {} : { aor: names.user(aor) }),
        ...(server === undefined ? {} : { server }),
        ...(state === undefined ? {} : { state }),
        ...(reduced === "true" ? { reduced: true } : {}),
        ...(after === undefined ? {} : { after: { aor: after.slice(0, space), server: after.slice(space + 1) } }),
        limit,
      });
      const last = rows.at(-1);
      return {
        pushes: rows.map(pushJson),
        next: last === undefined || rows.length < limit ? null : `${last.aor} ${last.server}`,
      };
    },
  });

  app.post("/api/v1/provisioning/compare", {
    schema: {
      tags,
      summary: "Compare everybody's rules with what was pushed; it is done in the background",
      response: { 202: z.object({}) },
    },
    handler: async (_request, reply) => {
      if (options.pusher == null) throw new Problem(404, "not-provisioning", "This proxy pushes rules to nobody.");
      options.pusher.sweep();
      return reply.status(202).send({});
    },
  });
}

function pushJson({ dueAt, changedAt, pushed, wanted: _wanted, ...row }: PushRow): z.input<typeof pushSchema> {
  return {
    ...row,
    reductions: [...row.reductions],
    present: pushed !== null,
    dueAt: dueAt === null ? null : iso(dueAt),
    changedAt: iso(changedAt),
  };
}
