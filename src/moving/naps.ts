import type { Runtime, Timer } from "../runtime/runtime.ts";

/** Waits that can all be ended at once; after that nobody waits any more. */
export class Naps {
  readonly #timers: Runtime["timers"];
  readonly #naps = new Map<Timer, () => void>();
  #over = false;

  constructor(timers: Runtime["timers"]) {
    this.#timers = timers;
  }

  /** True: the time has passed; false: everything is at an end. */
  async take(ms: number): Promise<boolean> {
    if (this.#over) return false;
    await new Promise<void>((resolve) => {
      const timer = this.#timers.after(ms, () => {
        this.#naps.delete(timer);
        resolve();
      });
      this.#naps.set(timer, resolve);
    });
    return !this.#over;
  }

  end(): void {
    this.#over = true;
    for (const [timer, wake] of this.#naps) {
      timer.cancel();
      wake();
    }
    this.#naps.clear();
  }
}
