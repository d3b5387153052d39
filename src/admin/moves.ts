import { z } from "zod";
import { type BatchOrder, MOST_STEPS, type MoveBatch, STEP_STATES } from "../directory/moves.ts";
import type { App, Desk } from "./app.ts";
import { ROWS_LIMIT, rowsField, sortRows } from "./move-check.ts";
import { batchJson, batchSchema, refusedRows, stepJson, stepSchema } from "./move-shapes.ts";
import { Problem } from "./problem.ts";
import { serverName } from "./schemas.ts";

const tags = ["moves"];
const params = z.object({ id: z.string().min(1).max(64) });

const rate = z.int().min(1).max(10_000).default(50).describe("users a second, at most");
const makeBeforeBreak = z
  .boolean()
  .default(false)
  .describe("second legs go up to the new server before each user is moved");

/** Users moved in bulk: batches are made, started, steered, undone; any proxy may be asked, and any proxy runs them. */
export function moveRoutes(app: App, { runtime, options, names }: Desk): void {
  const { directory, mover } = options;

  async function found(id: string): Promise<MoveBatch> {
    const batch = await directory.moves.batch(id);
    if (batch === null) throw noBatch(id);
    return batch;
  }

  app.post("/api/v1/moves", {
    schema: {
      tags,
      summary:
        "Make a batch: of all users of one server, which runs at once; or an empty list, to be filled and started",
      body: z.strictObject({
        from: serverName.optional().describe("with `to`: everybody who is bound there"),
        to: serverName.optional(),
        rate,
        makeBeforeBreak,
      }),
      response: { 201: batchSchema },
    },
    handler: async (request, reply) => {
      const { from, to, ...rest } = request.body;
      if ((from === undefined) !== (to === undefined)) {
        throw new Problem(400, "invalid", "Name both servers, or neither for a list of users.", { field: "from" });
      }
      if (from !== undefined && to !== undefined) {
        names.server(from, "from");
        names.server(to, "to");
        if (from === to) throw new Problem(400, "same-server", `${to} is where the move starts.`, { field: "to" });
      }
      const source =
        from === undefined || to === undefined ? ({ kind: "list" } as const) : ({ kind: "server", from, to } as const);
      const id = runtime.random.token(10);
      const { actor } = request;
      const after = { id, ...source, ...rest };
      await directory.recordAudit({ actor, action: "create-moves", aor: null, before: null, after });
      const outcome = await directory.moves.create({ id, source, actor, ...rest });
      if (outcome.outcome !== "done") throw noBatch(id);
      mover.wake();
      return reply.status(201).send(batchJson(outcome.batch));
    },
  });

  app.get("/api/v1/moves", {
    schema: {
      tags,
      summary: "Batches, the newest first",
      querystring: z.strictObject({
        open: z.enum(["true", "false"]).optional().describe("true: those that have not ended"),
        before: z.string().max(64).optional().describe("`next` of the page before"),
        limit: z.coerce.number().int().min(1).max(1000).default(100),
      }),
      response: { 200: z.object({ batches: z.array(batchSchema), next: z.string().nullable() }) },
    },
    handler: async (request) => {
      const { open, before, limit } = request.query;
      const query = { open: open === "true", limit, ...(before === undefined ? {} : { before }) };
      const batches = await directory.moves.batches(query);
      return { batches: batches.map(batchJson), next: batches.length < limit ? null : batches.at(-1)!.id };
    },
  });

  app.get("/api/v1/moves/:id", {
    schema: { tags, summary: "One batch, and how far it is", params, response: { 200: batchSchema } },
    handler: async (request) => batchJson(await found(request.params.id)),
  });

  app.get("/api/v1/moves/:id/users", {
    schema: {
      tags,
      summary: "The users of a batch in order, and what became of each",
      params,
      querystring: z.strictObject({
        state: z.enum(STEP_STATES).optional(),
        after: z.coerce.number().int().min(0).default(0).describe("`next` of the page before"),
        limit: z.coerce.number().int().min(1).max(1000).default(100),
      }),
      response: { 200: z.object({ users: z.array(stepSchema), next: z.int().nullable() }) },
    },
    handler: async (request) => {
      const { state, after, limit } = request.query;
      const { id } = await found(request.params.id);
      const query = { after, limit, ...(state === undefined ? {} : { states: [state] }) };
      const steps = await directory.moves.steps(id, query);
      return { users: steps.map(stepJson), next: steps.length < limit ? null : steps.at(-1)!.position };
    },
  });

  app.post("/api/v1/moves/:id/users", {
    bodyLimit: ROWS_LIMIT,
    schema: {
      tags,
      summary: `Add up to ${MOST_STEPS} users to a list that was not started; the same rows again do no harm`,
      params,
      body: z.strictObject({
        first: z.int().min(1).describe("position of the first row in the whole list, from 1"),
        rows: rowsField,
      }),
      response: { 200: z.object({ batch: batchSchema, refused: refusedRows }) },
    },
    handler: async (request) => {
      const { id } = request.params;
      const { taken, refused } = sortRows(request.body.rows, names);
      const outcome = await directory.moves.add(
        id,
        taken.map(({ index, row }) => ({
          position: request.body.first + index,
          aor: row.aor,
          from: row.from ?? null,
          to: row.server,
        })),
      );
      if (outcome.outcome === "no-such-batch") throw noBatch(id);
      if (outcome.outcome === "refused") throw wrongState(outcome.batch, "takes no more users");
      return { batch: batchJson(outcome.batch), refused };
    },
  });

  for (const [order, summary] of [
    ["start", "Start a list that is filled"],
    ["pause", "Begin no more users; those under way are finished"],
    ["resume", "Go on with a paused batch"],
    ["cancel", "End a batch; who was not moved yet stays where he is"],
  ] as const) {
    app.post(`/api/v1/moves/:id/${order}`, {
      schema: { tags, summary, params, response: { 200: batchSchema } },
      handler: async (request) => batchJson(await steer(request.params.id, order, request.actor)),
    });
  }

  async function steer(id: string, order: BatchOrder, actor: string): Promise<MoveBatch> {
    const { state } = await found(id);
    await directory.recordAudit({ actor, action: `${order}-moves`, aor: null, before: { id, state }, after: { id } });
    const outcome = await directory.moves.steer(id, order);
    if (outcome.outcome === "no-such-batch") throw noBatch(id);
    if (outcome.outcome === "refused") throw wrongState(outcome.batch, `cannot be told to ${order}`);
    mover.wake(id);
    return outcome.batch;
  }

  app.post("/api/v1/moves/:id/undo", {
    schema: {
      tags,
      summary:
        "Move a batch's users back, each only while he is where it put him: a new batch; 409 while the old one runs",
      params,
      body: z
        .strictObject({ rate: rate.optional(), makeBeforeBreak: makeBeforeBreak.optional() })
        .nullish()
        .transform((body) => body ?? {}),
      response: { 201: batchSchema },
    },
    handler: async (request, reply) => {
      const of = await found(request.params.id);
      const id = runtime.random.token(10);
      const { actor } = request;
      const more = {
        rate: request.body.rate ?? of.rate,
        makeBeforeBreak: request.body.makeBeforeBreak ?? of.makeBeforeBreak,
      };
      const after = { id, undoOf: of.id, ...more };
      await directory.recordAudit({ actor, action: "undo-moves", aor: null, before: { id: of.id }, after });
      const outcome = await directory.moves.create({ id, source: { kind: "undo", of: of.id }, actor, ...more });
      if (outcome.outcome === "no-such-batch") throw noBatch(of.id);
      if (outcome.outcome === "refused") throw wrongState(outcome.batch, "must end or be paused before it is undone");
      mover.wake();
      return reply.status(201).send(batchJson(outcome.batch));
    },
  });
}

function noBatch(id: string): Problem {
  return new Problem(404, "no-batch", `There is no batch ${JSON.stringify(id.slice(0, 64))}.`);
}

function wrongState({ id, state }: MoveBatch, what: string): Problem {
  return new Problem(409, "wrong-state", `The batch ${id} is ${state} and ${what}.`);
}
