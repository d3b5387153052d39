import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Directory } from "../src/directory/directory.ts";
import { createDirectory } from "../src/directory/postgres/directory.ts";
import { createRealRuntime } from "../src/runtime/real.ts";
import { Telemetry } from "../src/telemetry/events.ts";

// What the benchmarks of the directory's statements share: an embedded PostgreSQL of their own, and a table of rates.

export const runtime = createRealRuntime();

/** A directory on a server of its own, whose data is thrown away at the end. */
export async function onOwnServer(work: (directory: Directory) => Promise<void>): Promise<void> {
  const place = await mkdtemp(join(tmpdir(), "codomain-bench-"));
  try {
    const directory = await createDirectory(runtime, new Telemetry(), {
      database: `embedded:${place}`,
      proxy: "bench",
    });
    try {
      await directory.start();
      await work(directory);
    } finally {
      await directory.stop();
    }
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

export function printHeader(): void {
  console.log("what                               at once   per s     p50 ms    p99 ms");
}

/** Does `next` with so many under way for so long, `limit` times at most, and prints how many a second and how long one took. */
export async function timed(
  name: string,
  { seconds, outstanding, limit = Infinity }: { seconds: number; outstanding: number; limit?: number },
  next: (i: number) => Promise<unknown>,
): Promise<void> {
  const started = runtime.clock.now();
  const until = started + seconds * 1000;
  const took: number[] = [];
  let sent = 0;
  const worker = async () => {
    while (sent < limit && runtime.clock.now() < until) {
      const before = runtime.clock.now();
      await next(sent++);
      took.push(runtime.clock.now() - before);
    }
  };
  await Promise.all(Array.from({ length: outstanding }, worker));
  const lasted = (runtime.clock.now() - started) / 1000;
  took.sort((a, b) => a - b);
  const at = (share: number) => (took[Math.floor((took.length - 1) * share)] ?? 0).toFixed(2);
  const rate = Math.round(took.length / lasted).toLocaleString("en");
  console.log(
    `${name.padEnd(34)} ${String(outstanding).padStart(5)} ${rate.padStart(10)} ${at(0.5).padStart(9)} ${at(0.99).padStart(9)}`,
  );
}
