import { type FileHandle, open } from "node:fs/promises";
import type { BatchJson, StepJson } from "../admin/move-shapes.ts";
import { CodomainError, UsageError } from "../base/errors.ts";
import { createRealRuntime } from "../runtime/real.ts";
import type { AdminClient } from "./admin-client.ts";
import { csvCell } from "./csv-file.ts";
import { type Io, printJson } from "./output.ts";
import { oneLine, type ProgressLine, users } from "./screen.ts";

/** Follows a batch to its end, and tells what became of it. */

/** Ctrl-C, as the process gives it. */
export interface Interrupts {
  on(signal: "SIGINT", listener: () => void): unknown;
  off(signal: "SIGINT", listener: () => void): unknown;
}

const POLL_MS = 500;
/** The proxy may be restarted meanwhile: another one goes on with the batch. */
const PATIENCE_MS = 60_000;
const PAGE = 1000;
/** Refused users printed one by one; more of them are in the report file. */
const PRINTED = 50;

/** Polls until the batch has ended or is paused; `interrupted` after Ctrl-C, which leaves it alone. */
export async function follow(
  client: AdminClient,
  id: string,
  progress: ProgressLine,
  interrupts: Interrupts,
): Promise<BatchJson | "interrupted"> {
  const { clock, timers } = createRealRuntime();
  let interrupted = false;
  let wake: () => void = () => {};
  const interrupt = (): void => {
    interrupted = true;
    wake();
  };
  interrupts.on("SIGINT", interrupt);
  let answeredAt = clock.now();
  let rate: Rate = { at: clock.now(), done: null };
  try {
    for (;;) {
      try {
        const batch = await client.get<BatchJson>(`/api/v1/moves/${id}`);
        answeredAt = clock.now();
        if (batch.state !== "running") return batch;
        rate = draw(progress, batch, rate, answeredAt);
      } catch (error) {
        const lost = error instanceof CodomainError && !(error instanceof UsageError) && error.code !== "no-batch";
        if (!lost || clock.now() - answeredAt > PATIENCE_MS) throw error;
        progress.draw(0, "the proxy does not answer; the batch goes on where one runs");
      }
      if (interrupted) return "interrupted";
      await new Promise<void>((resolve) => {
        const timer = timers.after(POLL_MS, resolve);
        wake = () => {
          timer.cancel();
          resolve();
        };
      });
      if (interrupted) return "interrupted";
    }
  } finally {
    interrupts.off("SIGINT", interrupt);
    progress.clear();
  }
}

interface Rate {
  readonly at: number;
  readonly done: number | null;
  readonly perSecond?: number;
}

function draw(progress: ProgressLine, batch: BatchJson, before: Rate, now: number): Rate {
  const done = batch.moved + batch.refused;
  if (!batch.filled) {
    progress.draw(0, `${users(batch.total)} found on ${batch.from ?? "the batch to undo"}`);
    return { at: now, done };
  }
  const measured = before.done === null ? 0 : ((done - before.done) * 1000) / Math.max(1, now - before.at);
  const perSecond = before.perSecond === undefined ? measured : before.perSecond * 0.7 + measured * 0.3;
  const left = perSecond > 0.1 ? `, ${span((batch.total - done) / perSecond)} left` : "";
  const text = `${batch.moved} of ${users(batch.total)}, ${batch.refused} refused, ${Math.round(perSecond)}/s${left}`;
  progress.draw(batch.total === 0 ? 1 : done / batch.total, text);
  return { at: now, done, perSecond };
}

function span(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** Prints what became of the batch and of those refused; exit code 1 where not everybody was moved. */
export async function report(
  client: AdminClient,
  batch: BatchJson,
  io: Io,
  { json, file }: { readonly json: boolean; readonly file: string | undefined },
): Promise<void> {
  let printed = 0;
  if (batch.refused > 0) {
    for await (const step of steps(client, batch.id, "refused")) {
      if (json) printJson(io, { aor: step.aor, from: step.from, to: step.to, reason: step.reason });
      else if (printed < PRINTED) io.printError(`${oneLine(step.aor)}: ${oneLine(step.reason ?? "refused")}.`);
      else break;
      printed++;
    }
    const more = batch.refused - printed;
    if (!json && more > 0) io.printError(`… and ${more} more: --resume ${batch.id} --report FILE.csv lists all.`);
  }
  if (file !== undefined) await writeReport(client, batch, file);
  if (json) printJson(io, batch);
  else io.print(summary(batch));
  if (batch.state !== "done" || batch.refused > 0) io.fail(1);
}

function summary(batch: BatchJson): string {
  const { id, state, total, moved, refused, undone } = batch;
  const took =
    batch.endedAt === null ? "" : ` in ${span((Date.parse(batch.endedAt) - Date.parse(batch.createdAt)) / 1000)}`;
  const head = state === "done" ? "" : `Batch ${id} is ${state}. `;
  const where = batch.to === null ? "" : ` to ${batch.to}`;
  const back = batch.kind === "undo" ? " back" : where;
  const counts = `${users(moved)} moved${back}${state === "done" ? took : ` of ${total}`}, ${refused} refused.`;
  const undoneText = undone > 0 ? ` ${undone} moved back since.` : "";
  const next =
    state === "paused" ? ` Go on: npx codomain migrate --resume ${id}` : ` Undo: npx codomain migrate --undo ${id}`;
  return `${head}${counts}${undoneText}${moved - undone > 0 || state === "paused" ? next : ""}`;
}

async function* steps(client: AdminClient, id: string, state?: string): AsyncGenerator<StepJson> {
  let after: number | null = 0;
  while (after !== null) {
    const page: { users: StepJson[]; next: number | null } = await client.get(`/api/v1/moves/${id}/users`, {
      state,
      after: String(after),
      limit: String(PAGE),
    });
    yield* page.users;
    after = page.next;
  }
}

async function writeReport(client: AdminClient, batch: BatchJson, path: string): Promise<void> {
  let file: FileHandle;
  try {
    file = await open(path, "w");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CodomainError("report", `${path} cannot be written (${code}): name another with --report.`, {
      cause: error,
    });
  }
  try {
    let lines = ["aor,from,to,state,epoch,reason"];
    for await (const step of steps(client, batch.id)) {
      const { aor, from, to, state, epoch, reason } = step;
      lines.push([aor, from, to, state, epoch, reason].map(csvCell).join(","));
      if (lines.length < PAGE) continue;
      await file.write(`${lines.join("\n")}\n`);
      lines = [];
    }
    if (lines.length > 0) await file.write(`${lines.join("\n")}\n`);
  } finally {
    await file.close();
  }
}
