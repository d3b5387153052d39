import type { Runtime, Timer } from "../../../src/runtime/runtime.ts";

interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** A clock that stands until it is moved: timers run synchronously inside `advance`, in order. No network. */
export class ManualTime implements Runtime {
  #now: number;
  #order = 0;
  #count = 0;
  #scheduled: Scheduled[] = [];

  constructor(start = 0) {
    this.#now = start;
  }

  readonly clock = { now: (): number => this.#now, wall: (): number => this.#now };

  readonly timers = {
    after: (ms: number, run: () => void): Timer => {
      const entry: Scheduled = { at: this.#now + ms, order: this.#order++, run };
      this.#scheduled.push(entry);
      return {
        cancel: () => {
          this.#scheduled = this.#scheduled.filter((each) => each !== entry);
        },
      };
    },
    soon: (run: () => void): void => {
      this.timers.after(0, run);
    },
  };

  readonly random = {
    integer: (below: number): number => this.#count++ % below,
    bytes: (length: number): Uint8Array => new Uint8Array(length),
    token: (length: number): string => `t${this.#count++}`.padEnd(length, "x"),
  };

  get network(): never {
    throw new Error("There is no network here.");
  }

  /** Timers the program has asked for. */
  get pending(): number {
    return this.#scheduled.length;
  }

  advance(ms: number): void {
    this.runUntil(this.#now + ms);
  }

  runUntil(end: number): void {
    for (;;) {
      const next = this.#scheduled
        .filter((each) => each.at <= end)
        .reduce<Scheduled | undefined>(
          (best, each) =>
            best === undefined || each.at < best.at || (each.at === best.at && each.order < best.order) ? each : best,
          undefined,
        );
      if (next === undefined) break;
      this.#scheduled = this.#scheduled.filter((each) => each !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = end;
  }

  /** The clock goes on and nothing runs: a process that was held up. */
  stall(ms: number): void {
    this.#now += ms;
  }
}
