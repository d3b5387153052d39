import { z } from "zod";
import type { Binding, ClaimOutcome } from "../directory/directory.ts";
import { modelOf } from "../federation/model.ts";
import { MOVER_OPTIONS } from "../moving/mover.ts";
import type { App, Desk } from "./app.ts";
import { Problem } from "./problem.ts";
import { aor, bindingJson, bindingSchema, claimSchema, serverName } from "./schemas.ts";

const tags = ["bindings"];
const params = z.object({ aor });

const bindBody = z.strictObject({
  server: serverName,
  origin: z
    .enum(["admin", "provisioned"])
    .default("admin")
    .describe("provisioned: pins him; in the exclusive model no claim moves him then"),
  conflict: z
    .enum(["takeover", "refuse"])
    .optional()
    .describe("where another server holds him; default: what his model says, and refuse where it says nothing"),
  expiresAt: z.iso
    .datetime({ offset: true, error: "a time as 2030-01-31T12:00:00Z" })
    .nullable()
    .default(null)
    .describe("ISO 8601; null: it does not expire"),
});

/** Bind, unbind, move: each one test-and-set in the directory, answered with what it found. */
export function bindingRoutes(app: App, { runtime, options, names }: Desk): void {
  const { directory, proxy } = options;

  /** By the user's own record, else by the configuration, as for his requests. */
  async function modelFor(user: string) {
    const row = await directory.user(user);
    return { known: row !== null, model: modelOf(proxy.models, user, row?.record ?? null).model };
  }

  /** Tells every proxy of a move and gives it time. The server he is moved from: if he moves meanwhile, he stays there. */
  async function prepared(user: string, to: string, from: string | undefined): Promise<string | undefined> {
    const server = (await directory.user(user))?.binding?.server;
    if (server === undefined || server === to || (from !== undefined && from !== server)) return from;
    const { prepareMs, prepareKeptMs } = MOVER_OPTIONS;
    await directory.moves.prepare([{ aor: user, server: to }], runtime.clock.wall() + prepareMs + prepareKeptMs);
    await new Promise<void>((resolve) => void runtime.timers.after(prepareMs, resolve));
    return server;
  }

  app.post("/api/v1/users/:aor/bind", {
    schema: {
      tags,
      summary: "Bind a user to a server; 409 where another holds him",
      params,
      body: bindBody,
      response: { 200: claimSchema },
    },
    handler: async (request) => {
      const user = names.user(request.params.aor);
      const { server, origin, conflict, expiresAt } = request.body;
      names.server(server);
      const until = expiresAt === null ? null : Date.parse(expiresAt);
      if (until !== null && until <= runtime.clock.wall()) {
        throw new Problem(400, "invalid", `"expiresAt" is in the past.`, { field: "expiresAt" });
      }
      const { model } = await modelFor(user);
      const exclusive = model.model === "exclusive";
      const outcome = await directory.claim({
        aor: user,
        server,
        origin,
        expiresAt: until,
        conflict: conflict ?? (exclusive ? model.conflict : "refuse"),
        equalRank: exclusive,
        actor: request.actor,
      });
      return claimJson(user, outcome);
    },
  });

  app.post("/api/v1/users/:aor/move", {
    schema: {
      tags,
      summary: "Move a user to a server, wherever he is; 409 where he is pinned, or not where `from` says",
      params,
      body: z.strictObject({
        server: serverName.describe("where to"),
        from: serverName.optional().describe("acts only while he is there"),
        makeBeforeBreak: z
          .boolean()
          .default(false)
          .describe("second legs go up to the new server first; takes two seconds"),
      }),
      response: { 200: claimSchema },
    },
    handler: async (request) => {
      const user = names.user(request.params.aor);
      const { server, makeBeforeBreak } = request.body;
      names.server(server);
      if (request.body.from !== undefined) names.server(request.body.from, "from");
      const { known, model } = await modelFor(user);
      // A move makes nobody: a name mistyped would be bound for good.
      if (!known)
        throw new Problem(404, "no-user", `There is no user ${user}: bind him, if you mean to begin with him.`);
      const from = makeBeforeBreak ? await prepared(user, server, request.body.from) : request.body.from;
      const outcome = await directory.move({
        aor: user,
        to: server,
        ...(from === undefined ? {} : { from }),
        equalRank: model.model === "exclusive",
        actor: request.actor,
      });
      if (outcome.outcome === "held-by") throw notMoved(user, outcome.binding, from);
      return claimJson(user, outcome);
    },
  });

  app.post("/api/v1/users/:aor/unbind", {
    schema: {
      tags,
      summary: "End a user's binding; 409 where he is bound nowhere, or not as named",
      params,
      body: z
        .strictObject({
          server: serverName.optional().describe("acts only while he is bound there"),
          epoch: z.int().min(0).optional().describe("acts only at this epoch"),
        })
        .nullish()
        .transform((body) => body ?? {}),
      response: { 200: z.object({ epoch: z.int(), previous: bindingSchema }) },
    },
    handler: async (request) => {
      const user = names.user(request.params.aor);
      const { server, epoch } = request.body;
      if (server !== undefined) names.server(server);
      const outcome = await directory.unbind({
        aor: user,
        ...(server === undefined ? {} : { server }),
        ...(epoch === undefined ? {} : { epoch }),
        actor: request.actor,
      });
      if (outcome.outcome === "unbound") return { epoch: outcome.epoch, previous: bindingJson(outcome.previous) };
      const { binding } = outcome;
      if (binding === null) throw new Problem(409, "not-bound", `${user} is bound nowhere.`, { holder: null });
      const message = `${user} is bound to ${binding.server} at epoch ${binding.epoch}.`;
      throw new Problem(409, "bound-elsewhere", message, { holder: binding });
    },
  });
}

/** @param from where the move was to start; undefined: wherever he is. */
function notMoved(user: string, holder: Binding, from: string | undefined): Problem {
  const { server, origin } = holder;
  if (from !== undefined && from !== server) {
    return new Problem(409, "bound-elsewhere", `${user} is on ${server}, not on ${from}.`, { holder });
  }
  return new Problem(409, "held", `${user} is held by ${server} (${origin}): unbind him first.`, { holder });
}

function claimJson(user: string, outcome: ClaimOutcome): z.input<typeof claimSchema> {
  switch (outcome.outcome) {
    case "bound":
      return { binding: bindingJson(outcome.binding), changed: outcome.changed, previous: outcome.previous };
    case "held-by": {
      const { server, origin } = outcome.binding;
      const hint = origin === "provisioned" ? "unbind him first, or move him" : "move him";
      throw new Problem(409, "held", `${user} is held by ${server} (${origin}): ${hint}.`, { holder: outcome.binding });
    }
    // Only servers' claims are counted; an admin's never is refused for it.
    case "damped":
    case "stale":
      throw new Problem(409, "not-bound", `${user} is not bound where the move starts.`, { holder: outcome.binding });
  }
}
