import type { Config } from "../config/config.ts";
import { FaultyConfig, printFaults } from "./config-file.ts";
import type { Io } from "./output.ts";

/** What signals do to a running proxy. */
export interface Stoppable {
  /** What changed, for people. */
  reload(config: Config): readonly string[];
  drain(limitMs: number): Promise<void>;
  stop(): Promise<void>;
}

/** Longer than any transaction but a ringing INVITE (64 * T1 = 32 s): who still waits then has given up. */
const DRAIN_MS = 35_000;

/** One run, from start to end. A first stop drains, a second one does not wait. */
export class Session {
  readonly #io: Io;
  readonly #read: (() => Config) | undefined;
  #running: Stoppable | undefined;
  #stops = 0;
  #end: () => void = () => {};

  /** @param read reads the configuration again; absent where there is no file. */
  constructor(io: Io, read: (() => Config) | undefined) {
    this.#io = io;
    this.#read = read;
  }

  /** Resolves when the proxy has stopped. */
  run(running: Stoppable): Promise<void> {
    this.#running = running;
    return new Promise((resolve) => {
      this.#end = resolve;
      if (this.#stops > 0) void this.#finish(running, this.#stops === 1);
    });
  }

  /** Also before the proxy runs: then it stops as soon as it does. */
  stop(): void {
    this.#stops++;
    if (this.#running === undefined) return;
    if (this.#stops === 1)
      this.#io.printError("Draining: what is open is finished, new work refused. Signal again to stop at once.");
    if (this.#stops <= 2) void this.#finish(this.#running, this.#stops === 1);
  }

  async #finish(running: Stoppable, drain: boolean): Promise<void> {
    try {
      if (drain) await running.drain(DRAIN_MS);
      if (drain && this.#stops > 1) return;
      await running.stop();
    } catch (error) {
      this.#io.printError(`The proxy did not stop in order: ${told(error)}`);
      this.#io.fail(1);
    }
    this.#end();
  }

  reload(): void {
    if (this.#read === undefined) {
      this.#io.printError("There is nothing to reload: this proxy was started without --config.");
      return;
    }
    if (this.#running === undefined) return;
    try {
      const changes = this.#running.reload(this.#read());
      this.#io.printError(changes.length === 0 ? "Reloaded: nothing changed." : `Reloaded: ${changes.join(", ")}.`);
    } catch (error) {
      if (error instanceof FaultyConfig) printFaults(error.faults, error.file, this.#io);
      this.#io.printError(
        `The configuration in force is kept${error instanceof FaultyConfig ? "." : `: ${told(error)}`}`,
      );
    }
  }
}

function told(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
