import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createDirectory } from "../src/directory/postgres/directory.ts";
import type { StoredSubscription, TakenSubscription } from "../src/directory/subscriptions.ts";
import { createRealRuntime } from "../src/runtime/real.ts";
import { Telemetry } from "../src/telemetry/events.ts";

// Durable inserts, updates and removals of subscriptions a second through the store, group commit included, and how long
// a take-over takes: npx tsx bench/subscription-sql.ts [seconds] [subscriptions]

const SECONDS = Number(process.argv[2] ?? 5);
const ROWS = Number(process.argv[3] ?? 100_000);
const WATCHERS = 10;
const HOUR = 3_600_000;
/** What a dialog of a watcher behind one proxy takes, packed. */
const DIALOG = 420;

const runtime = createRealRuntime();
const place = await mkdtemp(join(tmpdir(), "codomain-bench-"));
const created = await createDirectory(runtime, new Telemetry(), { database: `embedded:${place}`, proxy: "bench" });
await created.start();
const { leases, subscriptions } = created;

function subscriptionOf(n: number, reserved = 16): Omit<StoredSubscription, "fence"> {
  const text = `${n} ${"sip:watcher@192.0.2.17:5060;transport=udp ".repeat(20)}`.slice(0, DIALOG);
  const live = n % 2 === 0;
  return {
    id: `cdm-${String(n).padStart(20, "0")}`,
    kind: "presence",
    aor: `user${Math.floor(n / WATCHERS)}@example.com`,
    watcher: `watcher${n % 1000}@example.com`,
    origin: "west",
    event: "presence",
    dialog: text,
    expiresAt: runtime.clock.wall() + HOUR,
    notifyReserved: reserved,
    leg: live ? text : null,
    legServer: live ? "east" : null,
    legReserved: reserved,
    extendedEpoch: 1,
  };
}

async function run(
  name: string,
  outstanding: number,
  next: (i: number) => Promise<unknown>,
  limit: number,
): Promise<void> {
  const started = runtime.clock.now();
  const until = started + SECONDS * 1000;
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
  const seconds = (runtime.clock.now() - started) / 1000;
  took.sort((a, b) => a - b);
  const at = (share: number) => (took[Math.floor((took.length - 1) * share)] ?? 0).toFixed(2);
  const rate = Math.round(took.length / seconds).toLocaleString("en");
  console.log(
    `${name.padEnd(34)} ${String(outstanding).padStart(5)} ${rate.padStart(10)} ${at(0.5).padStart(9)} ${at(0.99).padStart(9)}`,
  );
}

/** How many of the first `count` are there. */
let inserted = 0;

console.log("what                               at once   per s     p50 ms    p99 ms");
try {
  const owner = await leases.open("sip:bench.example.com", HOUR);
  const users = Array.from({ length: Math.ceil(ROWS / WATCHERS) }, (_, n) => ({
    aor: `user${n}@example.com`,
    model: null,
    server: n % 2 === 0 ? "east" : null,
  }));
  await created.importUsers(users, "bench");
  for (const outstanding of [1, 64, 512]) {
    const from = inserted;
    await run(
      "insert",
      outstanding,
      (n) => {
        inserted++;
        return subscriptions.insert(owner, subscriptionOf(from + n), true);
      },
      outstanding === 512 ? ROWS - inserted : Math.floor(ROWS / 3),
    );
  }
  for (const outstanding of [1, 64, 512]) {
    await run(
      "update (refresh)",
      outstanding,
      (n) =>
        subscriptions.update(
          owner,
          subscriptionOf((n * 7919) % inserted).id,
          1,
          subscriptionOf((n * 7919) % inserted, 32),
        ),
      Infinity,
    );
  }
  await run(
    "load, by the id",
    64,
    (n) => subscriptions.load(owner, [subscriptionOf((n * 7919) % inserted).id]),
    Infinity,
  );

  let after = "";
  let seen = 0;
  const looked = runtime.clock.now();
  for (;;) {
    const page = await subscriptions.owned(owner, after, 10_000);
    if (page.length === 0) break;
    seen += page.length;
    after = page.at(-1)?.id ?? "";
  }
  const lookedFor = ((runtime.clock.now() - looked) / 1000).toFixed(2);
  console.log(`a look at ${seen.toLocaleString("en")} own rows: ${lookedFor} s`);

  await leases.close(owner);
  const next = await leases.open("sip:next.example.com", HOUR);
  const began = runtime.clock.now();
  let taken = 0;
  let first = 0;
  let batch: readonly TakenSubscription[];
  do {
    batch = await subscriptions.take(next, 500);
    if (taken === 0) first = runtime.clock.now() - began;
    taken += batch.length;
  } while (batch.length > 0);
  const tookFor = ((runtime.clock.now() - began) / 1000).toFixed(2);
  console.log(
    `take-over of ${taken.toLocaleString("en")} rows, 500 at a time: ${tookFor} s, the first after ${first.toFixed(1)} ms`,
  );
  await run("remove", 512, (n) => subscriptions.remove(next, subscriptionOf(n).id, 2), inserted);
} finally {
  await created.stop();
  await rm(place, { recursive: true, force: true });
}
