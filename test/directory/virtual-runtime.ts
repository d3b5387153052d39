import { randomFrom } from "../../src/runtime/random.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { Sfc32 } from "../../src/runtime/sfc32.ts";

/** Clock, timers and chance from one seed, no network: all that a directory takes from a runtime. */
export interface VirtualRuntime extends Runtime {
  /** Runs what falls due within `ms`, with everything that waits on it. */
  advance(ms: number): Promise<void>;
  /** Runs until the promise is settled, in virtual time. Fails after an hour of it. */
  until<T>(promise: Promise<T>): Promise<T>;
  readonly pending: number;
}

export function virtualRuntime(seed: number): VirtualRuntime {
  const chance = new Sfc32(seed, 1);
  let now = 0;
  let order = 0;
  let due: Array<{ at: number; order: number; run: () => void }> = [];
  const after = (ms: number, run: () => void) => {
    const entry = { at: now + Math.max(0, ms), order: order++, run };
    due.push(entry);
    return {
      cancel: () => {
        due = due.filter((each) => each !== entry);
      },
    };
  };
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  const next = (limit: number) => {
    const ready = due.filter((each) => each.at <= limit).sort((a, b) => a.at - b.at || a.order - b.order)[0];
    if (ready === undefined) return false;
    due = due.filter((each) => each !== ready);
    now = Math.max(now, ready.at);
    ready.run();
    return true;
  };
  return {
    clock: { now: () => now, wall: () => 1_800_000_000_000 + Math.floor(now) },
    timers: { after, soon: (run) => void after(0, run) },
    random: randomFrom(() => chance.byte()),
    get network(): never {
      throw new Error("A directory needs no network.");
    },
    async advance(ms) {
      const limit = now + ms;
      await settle();
      while (next(limit)) await settle();
      now = limit;
    },
    async until<T>(promise: Promise<T>): Promise<T> {
      let over = false;
      const end = () => {
        over = true;
      };
      promise.then(end, end);
      const limit = now + 3_600_000;
      await settle();
      while (!over && next(limit)) await settle();
      if (!over) throw new Error("Nothing is due, and the promise is still open.");
      return promise;
    },
    get pending() {
      return due.length;
    },
  };
}
