import type { Change, Directory } from "../../src/directory/directory.ts";
import { createMemoryDatabase, type MemoryDatabase } from "../../src/directory/memory.ts";
import type { MemoryOptions } from "../../src/directory/memory-store.ts";
import type { MoveBatch, MoveStep, NewBatch } from "../../src/directory/moves.ts";
import { compileModels } from "../../src/federation/model.ts";
import { MOVER_OPTIONS, Mover } from "../../src/moving/mover.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { type VirtualRuntime, virtualRuntime } from "../directory/virtual-runtime.ts";

export const MODELS = compileModels([
  { match: "u*@example.com", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } },
  { match: "both*@example.com", model: { model: "unioned", style: "peer" } },
]);

/** A database and the movers of some proxies on it, on virtual time. */
export class House {
  readonly runtime: VirtualRuntime;
  readonly database: MemoryDatabase;
  /** A proxy that moves nobody: for the test's own hands. */
  readonly hands: Directory;
  readonly told: Change[] = [];
  readonly #directories: Directory[] = [];
  readonly #movers: Mover[] = [];

  constructor(seed: number, options: MemoryOptions = {}) {
    this.runtime = virtualRuntime(seed);
    this.database = createMemoryDatabase(this.runtime, { latencyMs: [0.1, 3], ...options });
    this.hands = this.database.directory("hands");
    this.#directories.push(this.hands);
    this.hands.onChange((change) => this.told.push(change));
  }

  async open(): Promise<void> {
    await this.hands.start();
  }

  /** The mover of a new process, and the way to end that process as by kill -9. */
  async mover(name: string): Promise<{ readonly mover: Mover; readonly kill: () => void }> {
    const life = { alive: true };
    const directory = this.database.directory(name);
    await directory.start();
    this.#directories.push(directory);
    const runtime = {
      clock: this.runtime.clock,
      timers: {
        after: (ms: number, run: () => void) => this.runtime.timers.after(ms, () => life.alive && run()),
        soon: (run: () => void) => this.runtime.timers.soon(() => life.alive && run()),
      },
    };
    const parts = {
      runtime,
      telemetry: new Telemetry(),
      directory: mortal(directory, life),
      models: () => MODELS,
    };
    const mover = new Mover(parts, name, MOVER_OPTIONS);
    this.#movers.push(mover);
    mover.start();
    return {
      mover,
      kill: () => {
        life.alive = false;
        this.#movers.splice(this.#movers.indexOf(mover), 1);
      },
    };
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.runtime.until(promise);
  }

  /** Again until the answer arrives. */
  async sure<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await this.run(work());
      } catch (error) {
        if (tries > 20) throw error;
      }
    }
  }

  async bind(aor: string, server: string, origin: "registered" | "provisioned" = "registered"): Promise<void> {
    const claim = { aor, server, origin, expiresAt: null, conflict: "takeover", equalRank: true, actor: "t" } as const;
    await this.sure(() => this.hands.claim(claim));
  }

  async users(count: number, server: string): Promise<string[]> {
    const aors = Array.from({ length: count }, (_, i) => `u${String(i).padStart(4, "0")}@example.com`);
    for (const aor of aors) await this.bind(aor, server);
    return aors;
  }

  async create(over: Partial<NewBatch> = {}): Promise<string> {
    const id = over.id ?? `batch-${this.runtime.random.token(6)}`;
    const source = { kind: "server", from: "east", to: "west" } as const;
    const batch: NewBatch = { id, source, rate: 100, makeBeforeBreak: false, actor: "root", ...over };
    const outcome = await this.sure(() => this.hands.moves.create(batch));
    if (outcome.outcome !== "done") throw new Error(outcome.outcome);
    return id;
  }

  batch(id: string): Promise<MoveBatch> {
    return this.sure(async () => (await this.hands.moves.batch(id))!);
  }

  steps(id: string): Promise<readonly MoveStep[]> {
    return this.sure(() => this.hands.moves.steps(id, { limit: 1000 }));
  }

  /** Until the batch has ended; fails after so much virtual time. */
  async ended(id: string, limitMs = 600_000): Promise<MoveBatch> {
    for (let ms = 0; ms < limitMs; ms += 500) {
      const batch = await this.batch(id);
      if (batch.endedAt !== null) return batch;
      await this.runtime.advance(500);
    }
    throw new Error(`The batch has not ended: ${JSON.stringify(await this.batch(id))}`);
  }

  async where(aor: string): Promise<{ server: string | null; epoch: number }> {
    const lookup = await this.sure(() => this.hands.lookup(aor));
    return { server: lookup.state === "bound" ? lookup.binding.server : null, epoch: lookup.epoch };
  }

  async close(): Promise<void> {
    for (const mover of this.#movers) await this.run(mover.stop());
    for (const directory of this.#directories) await directory.stop();
    await this.runtime.advance(6000);
    if (this.runtime.pending > 0) throw new Error(`${this.runtime.pending} timers are left.`);
    if (this.database.openTransactions > 0) throw new Error("A transaction is left open.");
  }
}

/** What a dead process asked arrives or not, and the answer finds nobody. */
function mortal<T extends object>(target: T, life: { readonly alive: boolean }): T {
  return new Proxy(target, {
    get(from, key) {
      const value = Reflect.get(from, key) as unknown;
      if (key === "moves") return mortal(value as object, life);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (!life.alive) return new Promise(() => undefined);
        const answer = Reflect.apply(value, from, args) as unknown;
        if (!(answer instanceof Promise)) return answer;
        return new Promise((resolve, reject) => {
          answer.then(
            (found) => life.alive && resolve(found),
            (error: unknown) => life.alive && reject(error),
          );
        });
      };
    },
  });
}
