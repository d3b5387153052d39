import { DirectoryUnavailable } from "../base/errors.ts";
import type { Directory } from "../directory/directory.ts";
import {
  type BatchHold,
  type EndedStep,
  MOST_STEPS,
  type MoveBatch,
  type MoveStep,
  OPEN_STEPS,
  type Standing,
} from "../directory/moves.ts";
import type { ModelTable } from "../federation/model.ts";
import { modelOf } from "../federation/model.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { Telemetry } from "../telemetry/events.ts";
import { Naps } from "./naps.ts";
import { endOf, type Judged, judgeStep } from "./step.ts";

export interface RunOptions {
  readonly leaseMs: number;
  /** From telling every proxy of a move that makes before it breaks, to the move. */
  readonly prepareMs: number;
  /** For how much longer second legs are kept where no move follows. */
  readonly prepareKeptMs: number;
  /** Steps begun and not ended, at most. */
  readonly inFlight: number;
}

export interface RunParts {
  readonly runtime: Pick<Runtime, "clock" | "timers">;
  readonly telemetry: Telemetry;
  readonly directory: Pick<Directory, "moves" | "lookup" | "move">;
  readonly models: () => ModelTable;
}

/** What a slow database has kept back is made up for, but no more than a quarter of a second's users at once. */
const BURST = 0.25;
/** A timer that fires a little early must not cost a turn. */
const LEAST_BURST = 2;
const FILL = 1000;
/** Waves are started no more often than this, milliseconds. */
const TICK_MS = 50;

type Begun = { readonly step: MoveStep; readonly judged: Judged & { verdict: "go" } };

/**
 * One batch, run by its owner. It is filled, then its open steps are worked off in order, in waves that overlap: looked
 * up; written down as begun, each with the epoch it is moved from; moved; written down as ended. Whatever fails on the
 * way leaves the step open in the journal, and whoever runs the batch next finds by that epoch whether the move was made.
 * Nothing is sent once the lease may have run out.
 */
export class BatchRun {
  readonly #parts: RunParts;
  readonly #options: RunOptions;
  readonly #hold: BatchHold;
  readonly #batch: MoveBatch;
  /** Monotonic milliseconds, from before the last renewal was sent. */
  #leaseEnds: number;
  #standing: Standing = "running";
  #stopped = false;
  #cursor = 0;
  #tokens = 0;
  #filledAt = 0;
  #inFlight = 0;
  #failure: unknown = null;
  #moved = 0;
  #refused = 0;
  readonly #waves = new Set<Promise<void>>();
  readonly #naps: Naps;
  #renewal: Timer | null = null;

  /** @param takenAt monotonic milliseconds, from before the batch was taken. */
  constructor(parts: RunParts, options: RunOptions, hold: BatchHold & { batch: MoveBatch }, takenAt: number) {
    this.#parts = parts;
    this.#options = options;
    this.#hold = { id: hold.id, owner: hold.owner, fence: hold.fence };
    this.#batch = hold.batch;
    this.#leaseEnds = takenAt + options.leaseMs;
    this.#naps = new Naps(parts.runtime.timers);
  }

  /** How much of it was done here. */
  get done(): { readonly moved: number; readonly refused: number } {
    return { moved: this.#moved, refused: this.#refused };
  }

  /** Until the batch has ended, was paused or cancelled, is another's, or `stop`. Rejects where the database is away. */
  async run(): Promise<Standing> {
    this.#scheduleRenewal();
    try {
      await this.#fill();
      while (this.#goes()) {
        await this.#naps.take(Math.max(TICK_MS, 1000 / this.#batch.rate));
        if (!this.#goes()) break;
        const steps = await this.#next();
        if (steps.length > 0) this.#start(steps);
        else if (this.#waves.size === 0 && this.#tokens >= 1) await this.#finish();
      }
    } finally {
      this.#renewal?.cancel();
      this.#renewal = null;
      await Promise.all(this.#waves);
    }
    if (this.#failure !== null) throw this.#failure;
    return this.#standing;
  }

  /** No more is begun; what is on its way ends, and what is being prepared stays so in the journal. */
  stop(): void {
    this.#stopped = true;
    this.#naps.end();
  }

  /** The admin has ordered something: asked at once, not at the next renewal. */
  look(): void {
    void this.#renew();
  }

  #goes(): boolean {
    return !this.#stopped && this.#standing === "running" && this.#failure === null && this.#leased();
  }

  #leased(): boolean {
    return this.#parts.runtime.clock.now() < this.#leaseEnds;
  }

  async #fill(): Promise<void> {
    const { moves } = this.#parts.directory;
    let filled = this.#batch.filled;
    while (!filled && this.#goes()) {
      const outcome = await moves.fill(this.#hold, FILL);
      if (outcome === "lost") this.#standing = "lost";
      filled = outcome !== "more";
    }
    this.#filledAt = this.#parts.runtime.clock.now();
  }

  /** As many as the rate allows now. */
  async #next(): Promise<readonly MoveStep[]> {
    const now = this.#parts.runtime.clock.now();
    const { rate } = this.#batch;
    this.#tokens = Math.min(Math.max(LEAST_BURST, rate * BURST), this.#tokens + ((now - this.#filledAt) * rate) / 1000);
    this.#filledAt = now;
    const limit = Math.min(Math.floor(this.#tokens), this.#options.inFlight - this.#inFlight, MOST_STEPS);
    if (limit < 1) return [];
    const query = { states: OPEN_STEPS, after: this.#cursor, limit };
    return this.#parts.directory.moves.steps(this.#hold.id, query);
  }

  #start(steps: readonly MoveStep[]): void {
    this.#cursor = steps.at(-1)!.position;
    this.#tokens -= steps.length;
    this.#inFlight += steps.length;
    const wave: Promise<void> = this.#wave(steps)
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => {
        this.#inFlight -= steps.length;
        this.#waves.delete(wave);
      });
    this.#waves.add(wave);
  }

  async #wave(steps: readonly MoveStep[]): Promise<void> {
    const { directory, models } = this.#parts;
    const table = models();
    const lookups = await Promise.all(steps.map((step) => directory.lookup(step.aor)));
    const ended: EndedStep[] = [];
    const begun: Begun[] = [];
    for (const [i, step] of steps.entries()) {
      const lookup = lookups[i]!;
      const record = "user" in lookup ? lookup.user : null;
      const judged = judgeStep(step, lookup, modelOf(table, step.aor, record).model);
      const { position } = step;
      if (judged.verdict === "go") begun.push({ step, judged });
      else if (judged.verdict === "done") ended.push({ position, state: "moved", epoch: judged.epoch, reason: null });
      else ended.push({ position, state: "refused", epoch: null, reason: judged.reason });
    }
    if (begun.length > 0) ended.push(...(await this.#move(begun)));
    await this.#end(steps, ended);
  }

  /** Those of which the journal is to say how they ended; the others stay open. */
  async #move(begun: readonly Begun[]): Promise<readonly EndedStep[]> {
    const { directory } = this.#parts;
    const { makeBeforeBreak, actor } = this.#batch;
    const rows = begun.map(({ step, judged }) => ({
      position: step.position,
      from: judged.from,
      epoch: judged.epoch,
    }));
    this.#learn(await directory.moves.begin(this.#hold, rows, makeBeforeBreak ? "preparing" : "moving"));
    if (!this.#goes()) return this.#cut(begun);
    if (makeBeforeBreak) {
      const { prepareMs, prepareKeptMs } = this.#options;
      const until = this.#parts.runtime.clock.wall() + prepareMs + prepareKeptMs;
      await directory.moves.prepare(
        begun.map(({ step }) => ({ aor: step.aor, server: step.to })),
        until,
      );
      await this.#naps.take(prepareMs);
      if (!this.#goes()) return this.#cut(begun);
    }
    const outcomes = await Promise.allSettled(
      begun.map(({ step, judged }) => {
        const { from, epoch, equalRank } = judged;
        return directory.move({ aor: step.aor, to: step.to, from, epoch, equalRank, actor });
      }),
    );
    const ended: EndedStep[] = [];
    for (const [i, outcome] of outcomes.entries()) {
      const { step, judged } = begun[i]!;
      if (outcome.status === "fulfilled") ended.push(endOf(step.position, judged, outcome.value));
      else this.#failure ??= outcome.reason;
    }
    return ended;
  }

  /** Begun, and not to be moved any more: by a cancelled batch for good, else by whoever goes on with it. */
  #cut(begun: readonly Begun[]): EndedStep[] {
    if (this.#standing !== "cancelled") return [];
    const reason = "the batch was cancelled before his turn";
    return begun.map(({ step }) => ({ position: step.position, state: "refused", epoch: null, reason }));
  }

  async #end(steps: readonly MoveStep[], ended: readonly EndedStep[]): Promise<void> {
    if (ended.length === 0) return;
    const standing = await this.#parts.directory.moves.end(this.#hold, ended);
    this.#learn(standing);
    if (standing === "lost") return;
    const byPosition = new Map(steps.map((step) => [step.position, step]));
    for (const { position, state, reason } of ended) {
      const { aor, from, to } = byPosition.get(position)!;
      if (state === "moved") this.#moved++;
      else this.#refused++;
      this.#parts.telemetry.emit("moveStep", { batch: this.#hold.id, aor, from, to, reason });
    }
  }

  async #finish(): Promise<void> {
    const standing = await this.#parts.directory.moves.complete(this.#hold);
    this.#learn(standing);
    // Steps that were skipped are open still: once more from the first.
    if (standing === "running") this.#cursor = 0;
  }

  #learn(standing: Standing): void {
    if (this.#standing !== "lost") this.#standing = standing;
    if (standing !== "running") this.stop();
  }

  #scheduleRenewal(): void {
    this.#renewal = this.#parts.runtime.timers.after(this.#options.leaseMs / 5, () => {
      void this.#renew().then(() => {
        if (this.#renewal !== null) this.#scheduleRenewal();
      });
    });
  }

  async #renew(): Promise<void> {
    const sentAt = this.#parts.runtime.clock.now();
    try {
      const standing = await this.#parts.directory.moves.renew(this.#hold, this.#options.leaseMs);
      if (standing !== "lost") this.#leaseEnds = sentAt + this.#options.leaseMs;
      this.#learn(standing);
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable)) this.#failure ??= error;
    }
  }
}
