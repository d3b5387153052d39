import type { StoredSubscription, TakenSubscription } from "../src/directory/subscriptions.ts";
import { onOwnServer, printHeader, runtime, timed } from "./statements.ts";

// Durable inserts, updates and removals of subscriptions a second through the store, group commit included, and how long
// a take-over takes: npx tsx bench/subscription-sql.ts [seconds] [subscriptions]

const SECONDS = Number(process.argv[2] ?? 5);
const ROWS = Number(process.argv[3] ?? 100_000);
const WATCHERS = 10;
const HOUR = 3_600_000;
/** What a dialog of a watcher behind one proxy takes, packed. */
const DIALOG = 420;

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

await onOwnServer(async (directory) => {
  const { leases, subscriptions } = directory;
  printHeader();
  const owner = await leases.open("sip:bench.example.com", HOUR);
  const users = Array.from({ length: Math.ceil(ROWS / WATCHERS) }, (_, n) => ({
    aor: `user${n}@example.com`,
    model: null,
    server: n % 2 === 0 ? "east" : null,
  }));
  await directory.importUsers(users, "bench");
  /** How many of the first rows are there. */
  let inserted = 0;
  for (const outstanding of [1, 64, 512]) {
    const from = inserted;
    const limit = outstanding === 512 ? ROWS - inserted : Math.floor(ROWS / 3);
    await timed("insert", { seconds: SECONDS, outstanding, limit }, (n) => {
      inserted++;
      return subscriptions.insert(owner, subscriptionOf(from + n), true);
    });
  }
  for (const outstanding of [1, 64, 512]) {
    await timed("update (refresh)", { seconds: SECONDS, outstanding }, (n) => {
      const refreshed = subscriptionOf((n * 7919) % inserted, 32);
      return subscriptions.update(owner, refreshed.id, 1, refreshed);
    });
  }
  await timed("load, by the id", { seconds: SECONDS, outstanding: 64 }, (n) =>
    subscriptions.load(owner, [subscriptionOf((n * 7919) % inserted).id]),
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
  await timed("remove", { seconds: SECONDS, outstanding: 512, limit: inserted }, (n) =>
    subscriptions.remove(next, subscriptionOf(n).id, 2),
  );
});
