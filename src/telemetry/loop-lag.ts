import type { Runtime, Timer } from "../runtime/runtime.ts";

const EVERY_MS = 50;

/** How late timers fire: the pauses in which this process did nothing else (garbage, a long computation, a busy machine). */
export class LoopLag {
  readonly #runtime: Pick<Runtime, "clock" | "timers">;
  #timer: Timer | undefined;
  #due = 0;
  #longest = 0;
  #longestEver = 0;

  constructor(runtime: Pick<Runtime, "clock" | "timers">) {
    this.#runtime = runtime;
  }

  start(): void {
    this.#due = this.#runtime.clock.now() + EVERY_MS;
    this.#timer = this.#runtime.timers.after(EVERY_MS, () => this.#tick());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tick(): void {
    this.#note();
    this.start();
  }

  #note(): void {
    const late = this.#runtime.clock.now() - this.#due;
    if (late > this.#longest) this.#longest = late;
    if (late > this.#longestEver) this.#longestEver = late;
  }

  /** Milliseconds of the longest pause since this was last asked. */
  takeLongest(): number {
    const longest = this.#longest;
    this.#longest = 0;
    return longest;
  }

  /** Milliseconds of the longest pause since the start. */
  get longestEver(): number {
    return this.#longestEver;
  }
}
