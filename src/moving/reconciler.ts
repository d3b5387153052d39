import { DirectoryUnavailable } from "../base/errors.ts";
import type { UserRow } from "../directory/directory.ts";
import { modelOf } from "../federation/model.ts";
import { Checker, type CheckParts } from "./checker.ts";
import { Naps } from "./naps.ts";

export interface ReconcilerOptions {
  /** Users asked for a second, at most; 0: none. */
  readonly rate: number;
  /** From the end of one round to the beginning of the next, milliseconds. */
  readonly restMs: number;
}

/** Longer than a page of users takes, with every one of them asked twice. */
const LEASE_MS = 60_000;
const IDLE_MS = 10_000;
/** Seconds' worth of users in a page. */
const PAGE_S = 10;
const MOST_PAGE = 200;
const AT_ONCE = 16;
/** After a page of which nobody had to be asked: the database has others to serve. */
const UNASKED_MS = 100;
const KEPT_MS = 30 * 86_400_000;

/**
 * The sweep over all bound users of the exclusive model: each is looked up at the server that has him, so many a second,
 * by one proxy at a time; another goes on where one has ended. It sleeps while no server's OPTIONS proves anything.
 */
export class Reconciler {
  readonly checker: Checker;
  readonly #parts: CheckParts;
  readonly #options: () => ReconcilerOptions;
  readonly #owner: string;
  #naps: Naps | null = null;
  #over: Promise<void> = Promise.resolve();

  /** @param name of this process among all that ever use the database. @param options as they are now. */
  constructor(parts: CheckParts, name: string, options: () => ReconcilerOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#owner = name;
    this.checker = new Checker(parts);
  }

  start(): void {
    if (this.#naps !== null) return;
    const naps = new Naps(this.#parts.runtime.timers);
    this.#naps = naps;
    this.#over = this.#run(naps);
  }

  /** Resolves when nothing is under way; the turn is given up. */
  async stop(): Promise<void> {
    this.#naps?.end();
    this.#naps = null;
    await this.#over;
  }

  async #run(naps: Naps): Promise<void> {
    let held = false;
    let wait = IDLE_MS;
    while (await naps.take(wait)) {
      try {
        if (this.#options().rate === 0 || this.checker.askable.length === 0) {
          if (held) await this.#parts.directory.reconciliation.release(this.#owner);
          held = false;
          wait = IDLE_MS;
          continue;
        }
        const state = await this.#parts.directory.reconciliation.take(this.#owner, LEASE_MS);
        held = state !== null;
        const rested = state === null || this.#rests(state.cursor, state.roundEndedAt);
        wait = rested ? IDLE_MS : await this.#page(naps, state.cursor);
      } catch (error) {
        this.#report(error);
        wait = IDLE_MS;
      }
    }
    if (held) await this.#parts.directory.reconciliation.release(this.#owner).catch(() => undefined);
  }

  #rests(cursor: string, endedAt: number | null): boolean {
    return cursor === "" && endedAt !== null && this.#parts.runtime.clock.wall() < endedAt + this.#options().restMs;
  }

  /** A page of users. @returns how long to wait for the next, milliseconds. */
  async #page(naps: Naps, cursor: string): Promise<number> {
    const { directory } = this.#parts;
    const { rate } = this.#options();
    const limit = Math.max(1, Math.min(MOST_PAGE, Math.ceil(rate * PAGE_S)));
    const rows = await directory.users({ after: cursor, limit });
    if (rows.length === 0) {
      await directory.reconciliation.endRound(this.#owner, KEPT_MS);
      return IDLE_MS;
    }
    const checks = new Set<Promise<unknown>>();
    let reached = cursor;
    let asked = 0;
    for (const row of rows) {
      const { aor } = row;
      if (!this.#isOurs(row)) {
        reached = aor;
        continue;
      }
      if (!(await naps.take(1000 / rate))) break;
      reached = aor;
      asked++;
      while (checks.size >= AT_ONCE) await Promise.race(checks);
      const check: Promise<unknown> = this.checker
        .repair(aor, (ms) => naps.take(ms))
        .catch((error: unknown) => this.#report(error))
        .finally(() => checks.delete(check));
      checks.add(check);
    }
    await Promise.all(checks);
    await directory.reconciliation.advance(this.#owner, reached, asked);
    return asked === 0 ? UNASKED_MS : 0;
  }

  #isOurs({ aor, record, binding }: UserRow): boolean {
    if (binding === null || !this.checker.askable.includes(binding.server)) return false;
    return modelOf(this.#parts.models(), aor, record).model.model === "exclusive";
  }

  #report(error: unknown): void {
    // The database says for itself that it is away.
    if (error instanceof DirectoryUnavailable) return;
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#parts.telemetry.emit("warning", { what: "The reconciler failed", detail });
  }
}
