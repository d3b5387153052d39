import { networkInterfaces } from "node:os";
import { onTestFinished } from "vitest";
import { createRealRuntime } from "../../src/runtime/real.ts";
import type { Connection, Runtime, StreamKind } from "../../src/runtime/runtime.ts";
import { createSimulation } from "../../src/runtime/simulated.ts";
import { leakChecked } from "./leak.ts";

/** Two machines that hear each other, real or simulated, and a way to let their time pass. */
export interface Pair {
  readonly one: Runtime;
  readonly other: Runtime;
  readonly oneHost: string;
  readonly otherHost: string;
  /** Waits, for as long as events take, until the condition holds. */
  until(condition: () => boolean): Promise<void>;
  /** Waits for a promise that needs events of the runtime. */
  finish<T>(work: Promise<T>): Promise<T>;
}

/** So long we wait at most for what this machine does in its own time, milliseconds. */
export const PATIENCE = 30_000;

/** Containers often have no IPv6. */
export const HAS_IPV6 = Object.values(networkInterfaces()).some((each) => each?.some((one) => one.address === "::1"));

export function realPair(host: string): Pair {
  const runtime = leakChecked(createRealRuntime());
  return {
    one: runtime,
    other: runtime,
    oneHost: host,
    otherHost: host,
    finish: (work) => work,
    async until(condition) {
      const end = performance.now() + PATIENCE;
      while (!condition()) {
        if (performance.now() > end)
          throw new Error(`What was waited for did not come about within ${PATIENCE / 1000} s.`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
  };
}

export function simulatedPair(oneHost: string, otherHost: string, seed = 1): Pair {
  const simulation = leakChecked(createSimulation({ seed, faults: { delay: [0.1, 3] } }));
  return {
    one: simulation.runtime([oneHost]),
    other: simulation.runtime([otherHost]),
    oneHost,
    otherHost,
    until: (condition) => simulation.run(condition),
    finish: (work) => simulation.finish(work),
  };
}

/** A connection that writes down all it hears. */
export class Heard {
  readonly connection: Connection;
  readonly chunks: Uint8Array[] = [];
  /** One entry for each call of `closed`. */
  readonly ends: (Error | undefined)[] = [];

  constructor(connection: Connection) {
    this.connection = connection;
    connection.handler = {
      data: (bytes) => this.chunks.push(bytes),
      closed: (error) => this.ends.push(error),
    };
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString("latin1");
  }

  say(text: string): void {
    this.connection.send(Buffer.from(text, "latin1"));
  }
}

/** A connection between the two machines of a pair; all of it is closed when the test ends. */
export async function connected(pair: Pair, kind: StreamKind): Promise<{ client: Heard; server: Heard }> {
  const accepted: Heard[] = [];
  const listener = await pair.other.network.listen(
    { kind, address: { host: pair.otherHost, port: 0 }, maxConnections: 10 },
    (connection) => accepted.push(new Heard(connection)),
  );
  onTestFinished(() => listener.close());
  const connecting = pair.one.network.connect({ kind, remote: listener.local, timeoutMs: PATIENCE });
  const client = new Heard(await pair.finish(connecting));
  onTestFinished(async () => {
    for (const end of [client, ...accepted]) end.connection.destroy();
    await pair.until(() => [client, ...accepted].every((end) => end.ends.length > 0));
  });
  await pair.until(() => accepted.length === 1);
  return { client, server: accepted[0] as Heard };
}
