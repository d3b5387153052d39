import type { StoredSubscription } from "../src/directory/subscriptions.ts";
import type { Entry } from "../src/directory/unions.ts";
import { onOwnServer, printHeader, runtime, timed } from "./statements.ts";

// What the unioned models ask of the database, a second: npx tsx bench/union-sql.ts [seconds] [servers]

const SECONDS = Number(process.argv[2] ?? 5);
const SERVERS = Array.from({ length: Number(process.argv[3] ?? 3) }, (_, i) => `server${i}`);
const HOUR = 3_600_000;
const WATCHERS = 10;

function subscriptionOf(n: number): Omit<StoredSubscription, "fence"> {
  const text = `${n} ${"sip:watcher@192.0.2.17:5060;transport=udp ".repeat(20)}`;
  return {
    id: `cdm-${String(n).padStart(20, "0")}`,
    kind: "composed",
    aor: `user${Math.floor(n / WATCHERS)}@example.com`,
    watcher: `watcher${n}@example.com`,
    origin: SERVERS[0]!,
    event: "presence",
    dialog: text.slice(0, 420),
    expiresAt: runtime.clock.wall() + HOUR,
    notifyReserved: 16,
    leg: text.repeat(SERVERS.length - 1).slice(0, 300 * (SERVERS.length - 1)),
    legServer: SERVERS.slice(1).join(","),
    legReserved: 16,
    extendedEpoch: 0,
  };
}

function entryFrom(origin: string): Entry {
  return {
    origin,
    evidence: null,
    sent: "0123456789abcdef0123456789abcdef",
    within: null,
    servers: SERVERS.filter((each) => each !== origin),
    onward: SERVERS,
    most: 8,
  };
}

await onOwnServer(async (directory) => {
  const { leases, subscriptions, unions, documents } = directory;
  printHeader();
  const owner = await leases.open("sip:bench.example.com", HOUR);
  let entered = 0;
  for (const outstanding of [1, 16, 64]) {
    await timed(`enter, ${SERVERS.length} servers`, { seconds: SECONDS, outstanding }, () =>
      unions.enter(owner, subscriptionOf(entered++), entryFrom(SERVERS[0]!)),
    );
  }
  for (const outstanding of [1, 64]) {
    // Each comes back from where a leg of it leads to.
    await timed("enter, a loop", { seconds: SECONDS, outstanding, limit: entered }, (n) =>
      unions.enter(owner, { ...subscriptionOf(n), id: `loop-${n}` }, entryFrom(SERVERS[1]!)),
    );
  }
  for (const outstanding of [1, 64]) {
    await timed("leave and visit", { seconds: SECONDS, outstanding, limit: entered }, async (n) => {
      const { id } = subscriptionOf(n);
      await unions.leave(owner, id, 1, SERVERS[1]!);
      await unions.visit(owner, id, 1, SERVERS[1]!, null);
    });
  }
  for (const outstanding of [1, 64]) {
    await timed("remove", { seconds: SECONDS, outstanding, limit: outstanding * 2000 }, () =>
      subscriptions.remove(owner, subscriptionOf(--entered).id, 1),
    );
  }
  for (const outstanding of [1, 64]) {
    await timed("grant two and spend one", { seconds: SECONDS, outstanding }, async (n) => {
      const credit = { watcher: `w${n}@example.com`, aor: "joe@example.com", event: "MESSAGE", digest: "d" };
      const until = runtime.clock.wall() + 32_000;
      await unions.grant(`${outstanding} ${n}`, [{ ...credit, server: SERVERS[0]!, count: 2 }], until);
      await unions.spend({ ...credit, server: SERVERS[0]! }, "request");
    });
  }
  for (const outstanding of [1, 64]) {
    await timed("put a document", { seconds: SECONDS, outstanding }, (n) =>
      documents.put(`user${n}@example.com`, "pres-rules", `<ruleset n="${outstanding}"/>`, {}, "bench"),
    );
  }
});
