import { z } from "zod";
import { type MoveBatch, type MoveStep, STEP_STATES } from "../directory/moves.ts";
import { component, iso } from "./schemas.ts";

/** Batches of moves and their users, as the API tells of them. */

export const batchSchema = component(
  "MoveBatch",
  z.object({
    id: z.string(),
    kind: z.enum(["list", "server", "undo"]),
    from: z.string().nullable().describe("kind server: all who were bound there"),
    to: z.string().nullable(),
    undoOf: z.string().nullable().describe("kind undo: the batch that is moved back"),
    state: z.enum(["filling", "running", "paused", "cancelled", "done"]),
    rate: z.int().describe("users a second, at most"),
    makeBeforeBreak: z.boolean(),
    actor: z.string(),
    createdAt: z.string(),
    endedAt: z.string().nullable(),
    filled: z.boolean().describe("false: total still grows"),
    total: z.int(),
    moved: z.int(),
    refused: z.int(),
    undone: z.int().describe("of those moved, how many another batch moved back"),
    proxy: z.string().nullable().describe("the process that runs it, or ran it last"),
  }),
);

export const stepSchema = component(
  "MoveStep",
  z.object({
    position: z.int(),
    aor: z.string(),
    from: z.string().nullable().describe("null: wherever he is"),
    to: z.string(),
    state: z.enum(STEP_STATES),
    epoch: z.int().nullable().describe("of the binding that the move made"),
    reason: z.string().nullable().describe("why he was refused"),
    endedAt: z.string().nullable(),
  }),
);

export const refusedRows = z.array(
  z.object({ index: z.int().describe("of the row, from 0"), aor: z.string(), reason: z.string() }),
);

export type BatchJson = z.output<typeof batchSchema>;
export type StepJson = z.output<typeof stepSchema>;

export function batchJson(batch: MoveBatch): z.input<typeof batchSchema> {
  const { source, createdAt, endedAt, owner, ...rest } = batch;
  return {
    id: rest.id,
    kind: source.kind,
    from: source.kind === "server" ? source.from : null,
    to: source.kind === "server" ? source.to : null,
    undoOf: source.kind === "undo" ? source.of : null,
    state: rest.state,
    rate: rest.rate,
    makeBeforeBreak: rest.makeBeforeBreak,
    actor: rest.actor,
    createdAt: iso(createdAt),
    endedAt: endedAt === null ? null : iso(endedAt),
    filled: rest.filled,
    total: rest.total,
    moved: rest.moved,
    refused: rest.refused,
    undone: rest.undone,
    proxy: owner,
  };
}

export function stepJson(step: MoveStep): z.input<typeof stepSchema> {
  const { position, aor, from, to, state, epoch, reason, endedAt } = step;
  return { position, aor, from, to, state, epoch, reason, endedAt: endedAt === null ? null : iso(endedAt) };
}
