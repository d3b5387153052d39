import type { Handles } from "./handles.ts";
import type { Clock, Timer, Timers } from "./runtime.ts";

/** The longest delay setTimeout takes; a longer one would fire at once. */
const LONGEST = 0x7fffffff;

export const realClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
};

class RealTimer implements Timer {
  readonly #handles: Handles;
  #run: (() => void) | undefined;
  #left: number;
  #timeout: NodeJS.Timeout;

  constructor(handles: Handles, ms: number, run: () => void) {
    this.#handles = handles;
    this.#run = run;
    this.#left = ms;
    this.#timeout = this.#arm();
    handles.timers++;
  }

  cancel(): void {
    if (this.#run === undefined) return;
    this.#run = undefined;
    this.#handles.timers--;
    clearTimeout(this.#timeout);
  }

  #arm(): NodeJS.Timeout {
    const step = Math.min(this.#left, LONGEST);
    this.#left -= step;
    return setTimeout(RealTimer.#fire, Math.ceil(step), this);
  }

  static #fire(timer: RealTimer): void {
    if (timer.#left > 0) {
      timer.#timeout = timer.#arm();
      return;
    }
    const run = timer.#run;
    if (run === undefined) return;
    timer.#run = undefined;
    timer.#handles.timers--;
    run();
  }
}

/** Node's timers: whole milliseconds, rounded up; a zero or negative delay counts as the shortest there is. */
export class RealTimers implements Timers {
  readonly #handles: Handles;

  constructor(handles: Handles) {
    this.#handles = handles;
  }

  after(ms: number, run: () => void): Timer {
    return new RealTimer(this.#handles, ms, run);
  }

  soon(run: () => void): void {
    setImmediate(run);
  }
}
