import { performance } from "node:perf_hooks";
import type { Runtime } from "../src/runtime/runtime.ts";
import { type Events, Telemetry } from "../src/telemetry/events.ts";
import { createLogger } from "../src/telemetry/logger.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";

/** What counting and logging one relayed request costs: `npx tsx bench/telemetry.ts`. */

const ROUNDS = 5;
const REQUESTS = 500_000;

const still: Pick<Runtime, "clock" | "timers"> = {
  clock: { now: () => 0, wall: () => 0 },
  timers: { after: () => ({ cancel: () => {} }), soon: () => {} },
};

const START_LINE = "MESSAGE sip:joe@example.com SIP/2.0";

function request(i: number): Events["request"] {
  return {
    // Cut out of a message, as the codec does: a new string each time.
    method: START_LINE.slice(0, 7),
    callId: "a84b4c76e66710@pc33.example.com",
    domain: "example.com",
    user: "joe",
    origin: "client",
    plan: "relay east",
    status: 200,
    durationMs: (i % 100) / 10,
    reasons: ["bound to east"],
  };
}

/** Nanoseconds a request, the best of some rounds. */
function measure(telemetry: Telemetry): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    for (let i = 0; i < REQUESTS; i++) {
      const event = request(i);
      telemetry.emit("request", event);
      telemetry.emit("branch", { method: event.method, server: "east", status: 200, durationMs: event.durationMs });
    }
    best = Math.min(best, ((performance.now() - start) * 1e6) / REQUESTS);
  }
  return best;
}

export async function run(): Promise<void> {
  const nobody = measure(new Telemetry());
  const counted = new Telemetry();
  const metrics = createMetrics(still, counted, {
    servers: () => [{ name: "east", drained: false, nodes: [] }],
    transactions: () => ({ server: 0, client: 0, completed: 0, completedBytes: 0 }),
    cached: () => 0,
    openForks: () => 0,
    subscriptions: () => ({ held: 0, live: 0, composed: 0 }),
    parts: () => [],
    stored: () => ({ messages: 0, octets: 0, inFlight: 0 }),
    waiting: () => 0,
  });
  const withMetrics = measure(counted);
  metrics.stop();
  const logged = new Telemetry();
  const logger = createLogger(logged, { level: "info", clock: still.clock, destination: { write: () => {} } });
  const withLog = measure(logged);
  logger.stop();
  const row = (name: string, ns: number): string => `${name.padEnd(24)}${ns.toFixed(0).padStart(8)} ns`;
  console.log(
    [row("nobody listens", nobody), row("metrics", withMetrics), row("log at info, no output", withLog)].join("\n"),
  );
}

if (import.meta.url === `file://${process.argv[1]}`) await run();
