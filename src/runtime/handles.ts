import type { Runtime } from "./runtime.ts";

/** A runtime that can say what is still open in it: what a test looks at when it ends. */
export interface CountingRuntime extends Runtime {
  /** One line for each timer, socket, listener and connection still alive; empty when all is closed. */
  leaks(): string[];
}

/** The open sockets, listeners and connections of one runtime, and the count of its timers. */
export class Handles {
  /** Timers neither fired nor cancelled. A plain number, because it changes with every request. */
  timers = 0;
  readonly #open = new Map<object, string>();

  opened(handle: object, what: string): void {
    this.#open.set(handle, what);
  }

  closed(handle: object): void {
    this.#open.delete(handle);
  }

  leaks(): string[] {
    const lines = [...this.#open.values()];
    if (this.timers > 0) lines.push(`${this.timers} timer${this.timers === 1 ? "" : "s"}`);
    return lines;
  }
}
