import { z } from "zod";
import { digestSecret } from "../base/digest.ts";
import type { Directory, UserRecord } from "../directory/directory.ts";
import type { App, Desk } from "./app.ts";
import { Problem } from "./problem.ts";
import { aor, recordFields, serverName, userJson, userSchema } from "./schemas.ts";

const tags = ["users"];
const params = z.object({ aor });

const password = z
  .string()
  .min(1)
  .max(256)
  .nullable()
  .describe("kept only as digest secrets (RFC 8760); null: he has none any more");

const listQuery = z.strictObject({
  prefix: z.string().max(600).optional().describe("addresses that begin so"),
  server: serverName.optional().describe("users bound there"),
  after: z.string().max(600).optional().describe("`next` of the page before"),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});

const detailSchema = userSchema.extend({
  credentials: z
    .object({ realm: z.string(), algorithms: z.array(z.enum(["SHA-256", "MD5"])) })
    .nullable()
    .describe("the password is never told"),
});

export type UserDetail = z.output<typeof detailSchema>;

/** Users: records, bindings as they are read, passwords. */
export function userRoutes(app: App, { options, names }: Desk): void {
  const { directory } = options;

  app.get("/api/v1/users", {
    schema: {
      tags,
      summary: "Users who have a record or are bound, in order of their address",
      querystring: listQuery,
      response: { 200: z.object({ users: z.array(userSchema), next: z.string().nullable() }) },
    },
    handler: async (request) => {
      const { prefix, server, after, limit } = request.query;
      if (server !== undefined) names.server(server);
      const rows = await directory.users({
        ...(prefix === undefined ? {} : { prefix }),
        ...(server === undefined ? {} : { server }),
        ...(after === undefined ? {} : { after }),
        limit,
      });
      return { users: rows.map(userJson), next: rows.length < limit ? null : rows.at(-1)!.aor };
    },
  });

  app.get("/api/v1/users/:aor", {
    schema: { tags, summary: "One user", params, response: { 200: detailSchema } },
    handler: async (request) => detail(directory, names.user(request.params.aor)),
  });

  app.put("/api/v1/users/:aor", {
    schema: {
      tags,
      summary: "Write a user's record; what is left out has its default. A binding is left alone",
      params,
      body: z.strictObject({ ...recordFields, password: password.optional() }),
      response: { 200: detailSchema },
    },
    handler: async (request) => {
      const user = names.user(request.params.aor);
      const { password, ...fields } = request.body;
      names.servers(Object.keys(fields.identities), "identities");
      checkSettings(fields.model, fields.settings);
      names.union(fields.settings);
      await directory.putUser({ aor: user, ...fields }, request.actor);
      if (password !== undefined) await setPassword(user, password, request.actor);
      return detail(directory, user);
    },
  });

  app.delete("/api/v1/users/:aor", {
    schema: { tags, summary: "Remove a user's record, binding and password", params, response: { 204: z.null() } },
    handler: async (request, reply) => {
      const user = names.user(request.params.aor);
      if (!(await directory.removeUser(user, request.actor))) throw unknownUser(user);
      return reply.status(204).send(null);
    },
  });

  app.put("/api/v1/users/:aor/password", {
    schema: {
      tags,
      summary: "Set or take away a user's password; his record and binding are left alone",
      params,
      body: z.strictObject({ password }),
      response: { 204: z.null() },
    },
    handler: async (request, reply) => {
      await setPassword(names.user(request.params.aor), request.body.password, request.actor);
      return reply.status(204).send(null);
    },
  });

  /** In the default domain clients say `alice` or `alice@host`, elsewhere `alice@host`: that is what the secrets are made of. */
  async function setPassword(user: string, password: string | null, actor: string): Promise<void> {
    const realm = options.realm();
    const at = user.lastIndexOf("@");
    const secrets = (username: string) => ({
      md5: password === null ? null : digestSecret("MD5", username, realm, password),
      sha256: password === null ? null : digestSecret("SHA-256", username, realm, password),
    });
    const isShort = user.slice(at + 1) === options.domains()[0];
    const whole = isShort && password !== null ? { whole: secrets(user) } : {};
    await directory.putCredentials(
      { aor: user, realm, ...secrets(isShort ? user.slice(0, at) : user), ...whole },
      actor,
    );
  }
}

async function detail(directory: Directory, user: string): Promise<z.input<typeof detailSchema>> {
  const [row, credentials] = await Promise.all([directory.user(user), directory.credentials(user)]);
  const secrets =
    credentials === null || (credentials.md5 === null && credentials.sha256 === null) ? null : credentials;
  if (row === null && secrets === null) throw unknownUser(user);
  return {
    ...(row === null ? { aor: user, record: null, binding: null, epoch: 0 } : userJson(row)),
    credentials: secrets && {
      realm: secrets.realm,
      algorithms: [
        ...(secrets.sha256 === null ? [] : (["SHA-256"] as const)),
        ...(secrets.md5 === null ? [] : (["MD5"] as const)),
      ],
    },
  };
}

function unknownUser(user: string): Problem {
  return new Problem(404, "no-user", `${user} has no record, no binding and no password.`);
}

const SETTINGS_OF: Readonly<Record<string, readonly string[]>> = {
  exclusive: ["conflict", "refuse-with"],
  unioned: ["style", "tree", "servers"],
};

export function checkSettings(model: UserRecord["model"], settings: UserRecord["settings"], prefix = "settings"): void {
  const allowed = SETTINGS_OF[model ?? ""] ?? [];
  for (const [key, value] of Object.entries(settings)) {
    if (value === undefined || allowed.includes(key)) continue;
    const message =
      model === null
        ? `"${key}" is a setting of a model: name the model as well.`
        : `"${key}" is no setting of the ${model} model${allowed.length === 0 ? ", which has none" : `: ${allowed.join(", ")} are`}.`;
    throw new Problem(400, "bad-setting", message, { field: `${prefix}.${key}` });
  }
}
