import { z } from "zod";
import { type AuditEntry, type Binding, ORIGINS, type UserRow } from "../directory/directory.ts";

/** What goes in and out, as zod shapes: they check input, give the types, and become the OpenAPI document. */

/** Names under which shapes stand in `components.schemas`. */
export const components = z.registry<{ id: string }>();

/** A shape that stands under its name in the document, and is referred to everywhere else. */
export function component<T extends z.ZodType>(id: string, shape: T): T {
  components.add(shape, { id });
  z.globalRegistry.add(shape, { id });
  return shape;
}

const time = z.string().describe("ISO 8601, UTC");
export const aor = z.string().min(3).max(600).describe("user@host of a served domain");
export const serverName = z.string().min(1).max(64);

export const bindingSchema = component(
  "Binding",
  z.object({
    server: serverName,
    origin: z
      .enum(ORIGINS)
      .describe("how it came about; provisioned and admin outrank registered, those outrank learned"),
    epoch: z.int().describe("counts the changes of server; never reset"),
    expiresAt: time.nullable().describe("null: it does not expire"),
  }),
);

export const problemSchema = component(
  "Problem",
  z.object({
    error: z.object({
      code: z.string().describe("stable, for programs"),
      message: z.string().describe("one plain sentence"),
      field: z.string().optional().describe("what of the input is wrong"),
    }),
    binding: bindingSchema.nullable().optional().describe("with a conflict: who holds the user"),
  }),
);

const identity = z
  .string()
  .min(1)
  .max(600)
  .regex(/^[^\s]+$/, "a name without spaces");

export const identities = z
  .record(serverName, identity)
  .describe("server -> the user part or full address by which it knows him");

/** Keys as in the configuration's `models`. */
const modelSettings = {
  conflict: z.enum(["takeover", "refuse"]).describe("exclusive: what a second claim does"),
  "refuse-with": z.literal([403, 302]).describe("exclusive: the answer to a refused claim"),
  style: z.enum(["hierarchical", "peer"]).describe("unioned"),
  tree: z.string().min(1).max(64).describe("unioned, hierarchical: name of the tree"),
  servers: z.array(serverName).min(1).max(100).describe("unioned, peer: the user's servers"),
};

export const settingsSchema = component("ModelSettings", z.strictObject(modelSettings).partial());

export const recordFields = {
  model: z
    .enum(["partitioned", "exclusive", "unioned"])
    .nullable()
    .default(null)
    .describe("null: the configuration's rules decide"),
  settings: settingsSchema.default({}),
  identities: identities.default({}),
};

export const recordSchema = component(
  "UserRecord",
  z.object({
    model: z.enum(["partitioned", "exclusive", "unioned"]).nullable(),
    settings: z.record(z.string(), z.unknown()),
    identities: z.record(z.string(), z.string()),
  }),
);

export const userSchema = component(
  "User",
  z.object({
    aor: z.string(),
    record: recordSchema.nullable().describe("what an admin provisioned; null: nothing"),
    binding: bindingSchema.nullable().describe("null: bound nowhere"),
    epoch: z.int(),
  }),
);

export const claimSchema = component(
  "ClaimOutcome",
  z.object({
    binding: bindingSchema,
    changed: z.boolean().describe("false: he was bound there already"),
    previous: z.string().nullable().describe("the server that had him; null: none"),
  }),
);

export const auditSchema = component(
  "AuditEntry",
  z.object({
    id: z.string(),
    at: time,
    actor: z.string(),
    action: z.string(),
    aor: z.string().nullable(),
    before: z.unknown(),
    after: z.unknown(),
  }),
);

export type UserJson = z.output<typeof userSchema>;
export type ClaimJson = z.output<typeof claimSchema>;
export type ProblemJson = z.output<typeof problemSchema>;

export function bindingJson({ server, origin, epoch, expiresAt }: Binding): z.input<typeof bindingSchema> {
  return { server, origin, epoch, expiresAt: expiresAt === null ? null : iso(expiresAt) };
}

export function userJson({ aor, record, binding, epoch }: UserRow): z.input<typeof userSchema> {
  return {
    aor,
    record: record && { model: record.model, settings: record.settings, identities: record.identities },
    binding: binding && bindingJson(binding),
    epoch,
  };
}

export function auditJson({ id, at, actor, action, aor, before, after }: AuditEntry): z.input<typeof auditSchema> {
  return { id, at: iso(at), actor, action, aor, before, after };
}

export function iso(ms: number): string {
  return new Date(ms).toISOString();
}
