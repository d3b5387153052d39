import { DirectoryUnavailable } from "../base/errors.ts";
import type { Timer } from "../runtime/runtime.ts";
import { BatchRun, type RunOptions, type RunParts } from "./batch-run.ts";

export interface MoverOptions extends RunOptions {
  /** How often batches are looked for that nobody runs. */
  readonly pollMs: number;
  /** Run at once, at most. */
  readonly batches: number;
  /** The journal of a batch that has ended is kept this long. */
  readonly keptMs: number;
}

export const MOVER_OPTIONS: MoverOptions = {
  leaseMs: 15_000,
  prepareMs: 2000,
  prepareKeptMs: 30_000,
  inFlight: 4096,
  pollMs: 1000,
  batches: 4,
  keptMs: 30 * 86_400_000,
};

/** From one clearing away to the next. */
const CLEAR_MS = 60_000;

/**
 * Runs batches of moves: those that nobody runs are taken, whichever proxy they were given to, so a batch outlives the
 * death of any of them. Two proxies never run the same one.
 */
export class Mover {
  readonly #parts: RunParts;
  readonly #options: MoverOptions;
  readonly #owner: string;
  readonly #runs = new Map<string, { readonly run: BatchRun; readonly over: Promise<void> }>();
  #poll: Timer | null = null;
  #looking = false;
  #again = false;
  #running = false;
  #clearAt = 0;

  /** @param name of this process among all that ever use the database. */
  constructor(parts: RunParts, name: string, options: MoverOptions = MOVER_OPTIONS) {
    this.#parts = parts;
    this.#owner = name;
    this.#options = options;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#clearAt = this.#parts.runtime.clock.now() + CLEAR_MS;
    void this.#look();
  }

  /** What is under way ends; batches are given up, so that another proxy goes on with them at once. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#poll?.cancel();
    this.#poll = null;
    const runs = [...this.#runs.values()];
    for (const { run } of runs) run.stop();
    await Promise.all(runs.map((each) => each.over));
  }

  /** Something was ordered: no need to wait. @param id of a batch that may run here; absent: there may be a new one. */
  wake(id?: string): void {
    if (id !== undefined) this.#runs.get(id)?.run.look();
    void this.#look();
  }

  async #look(): Promise<void> {
    this.#again = true;
    if (this.#looking || !this.#running) return;
    this.#looking = true;
    try {
      while (this.#again && this.#running) {
        this.#again = false;
        await this.#takeAll();
      }
      await this.#clear();
    } catch (error) {
      this.#report(error);
    }
    this.#looking = false;
    if (!this.#running) return;
    this.#poll?.cancel();
    this.#poll = this.#parts.runtime.timers.after(this.#options.pollMs, () => void this.#look());
  }

  async #takeAll(): Promise<void> {
    const { directory, runtime, telemetry } = this.#parts;
    while (this.#running && this.#runs.size < this.#options.batches) {
      const takenAt = runtime.clock.now();
      const hold = await directory.moves.take(this.#owner, [...this.#runs.keys()], this.#options.leaseMs);
      if (hold === null) return;
      if (!this.#running) {
        await directory.moves.release(hold);
        return;
      }
      telemetry.emit("moveBatch", { batch: hold.id, state: "taken", moved: 0, refused: 0 });
      const run = new BatchRun(this.#parts, this.#options, hold, takenAt);
      const over = run.run().then(
        async (standing) => {
          this.#runs.delete(hold.id);
          telemetry.emit("moveBatch", { batch: hold.id, state: standing === "done" ? "done" : "left", ...run.done });
          if (standing === "running") await directory.moves.release(hold).catch((error) => this.#report(error));
        },
        (error: unknown) => {
          this.#runs.delete(hold.id);
          telemetry.emit("moveBatch", { batch: hold.id, state: "left", ...run.done });
          this.#report(error);
        },
      );
      this.#runs.set(hold.id, { run, over });
    }
  }

  async #clear(): Promise<void> {
    const now = this.#parts.runtime.clock.now();
    if (now < this.#clearAt) return;
    this.#clearAt = now + CLEAR_MS;
    await this.#parts.directory.moves.clear(this.#options.keptMs);
  }

  #report(error: unknown): void {
    // The database says for itself that it is away.
    if (error instanceof DirectoryUnavailable) return;
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#parts.telemetry.emit("warning", { what: "A batch of moves failed", detail });
  }
}
