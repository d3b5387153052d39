import { z } from "zod";
import { FINDING_KINDS, type Finding } from "../directory/reconciliation.ts";
import type { Check } from "../moving/checker.ts";
import type { App, Desk } from "./app.ts";
import { aor, bindingJson, bindingSchema, component, iso } from "./schemas.ts";

const checkSchema = component(
  "UserCheck",
  z.object({
    aor: z.string(),
    binding: bindingSchema.nullable(),
    answers: z.array(
      z.object({
        server: z.string(),
        says: z.enum(["here", "not-here", "unknown"]),
        detail: z.string().describe("the status, or why there is none"),
      }),
    ),
    verdict: z
      .enum([
        ...(["here", "repaired", "gone", "pinned", "conflict", "moved"] as const),
        ...(["unknown", "unbelieved", "unasked", "unbound", "not-exclusive"] as const),
      ])
      .describe("here: directory and server agree; gone: repair would unbind him"),
    detail: z.string().describe("one sentence"),
  }),
);

const findingSchema = component(
  "Finding",
  z.object({
    id: z.string(),
    aor: z.string(),
    kind: z
      .enum(FINDING_KINDS)
      .describe("his server does not have him, and: he was unbound; an admin put him there; another server has him"),
    server: z.string(),
    epoch: z.int(),
    detail: z.string(),
    at: z.string(),
  }),
);

export type CheckJson = z.output<typeof checkSchema>;

/** Pauses between two looks at one user are the request's own; nobody ends them early. */
const LONGEST_NAP_MS = 10_000;

/** Directory against reality: what the sweep found, and the same for one user. */
export function reconcilerRoutes(app: App, { runtime, options, names }: Desk): void {
  const { directory, checker } = options;

  app.get("/api/v1/reconciler", {
    schema: {
      tags: ["reconciler"],
      summary: "How far the sweep is that asks servers whether they have their users, and what it found",
      querystring: z.strictObject({
        before: z
          .string()
          .regex(/^\d{1,18}$/, "an id")
          .optional()
          .describe("`next` of the page before"),
        limit: z.coerce.number().int().min(1).max(1000).default(100),
      }),
      response: {
        200: z.object({
          proxy: z.string().nullable().describe("the process whose turn it is; null: none"),
          asks: z.array(z.string()).describe("servers that this proxy could ask now"),
          cursor: z.string().describe("the last user asked for in this round"),
          checked: z.int().describe("in this round"),
          rounds: z.int(),
          roundBeganAt: z.string().nullable(),
          roundEndedAt: z.string().nullable(),
          findings: z.array(findingSchema).describe("the newest first; of each kind the latest of a user"),
          next: z.string().nullable(),
        }),
      },
    },
    handler: async (request) => {
      const { before, limit } = request.query;
      const [state, findings] = await Promise.all([
        directory.reconciliation.state(),
        directory.reconciliation.findings({ limit, ...(before === undefined ? {} : { before }) }),
      ]);
      const { owner, cursor, checked, rounds, roundBeganAt, roundEndedAt } = state;
      return {
        proxy: owner,
        asks: [...checker.askable],
        cursor,
        checked,
        rounds,
        roundBeganAt: roundBeganAt === null ? null : iso(roundBeganAt),
        roundEndedAt: roundEndedAt === null ? null : iso(roundEndedAt),
        findings: findings.map(findingJson),
        next: findings.length < limit ? null : findings.at(-1)!.id,
      };
    },
  });

  app.post("/api/v1/users/:aor/check", {
    schema: {
      tags: ["reconciler"],
      summary: "Ask every server that proves OPTIONS whether it has a user; with `repair` do what the sweep would do",
      params: z.object({ aor }),
      body: z
        .strictObject({ repair: z.boolean().default(false).describe("asks twice, some seconds apart") })
        .nullish()
        .transform((body) => body ?? { repair: false }),
      response: { 200: checkSchema },
    },
    handler: async (request) => {
      const user = names.user(request.params.aor);
      if (!request.body.repair) return checkJson(await checker.look(user, true));
      await directory.recordAudit({
        actor: request.actor,
        action: "check-user",
        aor: user,
        before: null,
        after: { repair: true },
      });
      return checkJson(await checker.repair(user, nap, true));
    },
  });

  function nap(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      runtime.timers.after(Math.min(ms, LONGEST_NAP_MS), () => resolve(true));
    });
  }
}

function checkJson({ aor, binding, answers, verdict, detail }: Check): z.input<typeof checkSchema> {
  return {
    aor,
    binding: binding && bindingJson(binding),
    answers: answers.map((each) => ({ ...each })),
    verdict,
    detail,
  };
}

function findingJson({ id, aor, kind, server, epoch, detail, at }: Finding): z.input<typeof findingSchema> {
  return { id, aor, kind, server, epoch, detail, at: iso(at) };
}
