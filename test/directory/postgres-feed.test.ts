import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import { createDirectoryCache } from "../../src/directory/cache.ts";
import type { Change, Claim } from "../../src/directory/directory.ts";
import { changeOf, FEED_READ, type FeedRow } from "../../src/directory/postgres/feed-sql.ts";
import { PostgresDirectory, type PostgresOptions } from "../../src/directory/postgres/postgres-directory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { startTestServer, type TestDatabase, type TestServer } from "../support/postgres.ts";

const JOE = "joe@example.com";
const runtime = createRealRuntime();
let server: TestServer;
let database: TestDatabase;
const directories: PostgresDirectory[] = [];

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server?.stop();
});
beforeEach(async () => {
  database = await server.database();
});
afterEach(async () => {
  for (const each of directories.splice(0)) await each.stop();
  await database.drop();
});

async function open(proxy: string, options: Partial<PostgresOptions> = {}): Promise<PostgresDirectory> {
  const directory = new PostgresDirectory(runtime, new Telemetry(), { url: database.url, size: 3, proxy, ...options });
  directories.push(directory);
  await directory.start();
  return directory;
}

function claim(aor: string, on: string): Claim {
  return { aor, server: on, origin: "registered", expiresAt: null, conflict: "takeover", equalRank: true, actor: "t" };
}

function listen(directory: PostgresDirectory): Change[] {
  const heard: Change[] = [];
  directory.onChange((change) => heard.push(change));
  return heard;
}

/** What fails meanwhile is asked again: a busy machine may not answer in time. */
async function eventually(met: () => boolean | Promise<boolean>): Promise<void> {
  const limit = runtime.clock.now() + 60_000;
  const holds = async () => met();
  while (!(await holds().catch(() => false))) {
    if (runtime.clock.now() > limit) throw new Error("It did not come within 60 s.");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const aors = (changes: readonly Change[]) => changes.flatMap((change) => ("aor" in change ? [change.aor] : []));
const INSERT =
  "insert into codomain.changes (kind, aor) values ('user', $1) returning xid::text as xid, id::text as id";
const NOTIFY = "select pg_notify('codomain_changes', '')";

describe("the change feed on PostgreSQL (concurrency.md 5)", () => {
  it("a row that commits late is told, in the order of (xid, id); by id alone it would be skipped", async () => {
    const [slow, fast, reader] = await Promise.all([database.connect(), database.connect(), database.connect()]);
    // The slow transaction has the older xid and takes the younger id.
    await slow.query("begin");
    const { rows: old } = await slow.query("select pg_current_xact_id()::text as xid");
    const first = (await fast.query(INSERT, ["fast@x"])).rows[0];
    const read = async (xid: string, id: string) => (await reader.query<FeedRow>(FEED_READ.text, [xid, id])).rows;
    const held = await read("0", "0");
    expect([held.length, held[0]?.xid, held[0]?.held]).toEqual([1, null, true]);
    const second = (await slow.query(INSERT, ["slow@x"])).rows[0];
    await slow.query("commit");
    const rows = await read("0", "0");
    expect(aors(rows.map(changeOf))).toEqual(["slow@x", "fast@x"]);
    expect(second.xid).toBe(old[0].xid);
    expect(BigInt(second.id) > BigInt(first.id)).toBe(true);
    expect(BigInt(second.xid) < BigInt(first.xid)).toBe(true);
    // Past the slow one's xid, but not past the fast one's: the pair says which is still to come.
    expect(aors((await read(second.xid, second.id)).map(changeOf))).toEqual(["fast@x"]);
    expect((await read(first.xid, first.id))[0]?.xid).toBeNull();
  });

  it("rows held back by an open transaction come within moments of its end, without a NOTIFY of their own", async () => {
    const east = await open("east", { pollMs: 60_000 });
    const heard = listen(east);
    const [slow, fast] = await Promise.all([database.connect(), database.connect()]);
    await slow.query("begin");
    await slow.query(INSERT, ["slow@x"]);
    await fast.query(INSERT, ["fast@x"]);
    await fast.query(NOTIFY);
    await fast.query("select pg_sleep(0.12)");
    expect(aors(heard)).toEqual([]);
    await slow.query("commit");
    await eventually(() => aors(heard).length >= 2);
    expect(aors(heard)).toEqual(["slow@x", "fast@x"]);
  });

  it("other proxies are woken, once for what comes together", async () => {
    const [east, west] = await Promise.all([open("east"), open("west", { pollMs: 60_000 })]);
    const heard = listen(west);
    const notified = await database.connect();
    let count = 0;
    notified.on("notification", () => count++);
    await notified.query("listen codomain_changes");
    const users = Array.from({ length: 100 }, (_, i) => `u${i}@example.com`);
    await Promise.all(users.map((aor) => east.claim(claim(aor, "a"))));
    await eventually(() => aors(heard).length >= 100 && count > 0);
    expect(count).toBeLessThan(10);
  });

  it("one's own changes come in the feed's order too, with no poll near", async () => {
    const east = await open("east", { pollMs: 600_000 });
    const heard = listen(east);
    await east.claim(claim(JOE, "a"));
    expect(aors(heard)).toContain(JOE);
    await eventually(() => aors(heard).length === 2);
    expect(heard[1]).toEqual(heard[0]);
  });

  it("without any wake-up it polls", async () => {
    const east = await open("east", { pollMs: 30 });
    const heard = listen(east);
    await (await database.connect()).query(INSERT, ["quiet@x"]);
    await eventually(() => aors(heard).includes("quiet@x"));
  });

  it("changes that are cleared away while a long transaction holds them back are made good by a reset", async () => {
    const slow = await database.connect();
    const [one, two] = [await open("one", { changesKeptMs: 600, sweepMs: 20, pollMs: 50 }), await open("two")];
    const cache = createDirectoryCache(one, runtime);
    await two.claim(claim(JOE, "a"));
    await eventually(async () => (await cache.lookup(JOE)).state === "bound" && one.available);
    const heard = listen(one);
    await slow.query("begin");
    await slow.query("select pg_current_xact_id()");
    await two.claim(claim(JOE, "b"));
    // It is still open when the row's time is over.
    await eventually(() => heard.some((change) => change.kind === "reset"));
    expect(await cache.lookup(JOE)).toMatchObject({ binding: { server: "b" } });
    await slow.query("rollback");
  });

  it("a thousand changes and more are told once each, in order", async () => {
    const east = await open("east");
    const heard = listen(east);
    const client = await database.connect();
    await client.query(
      "insert into codomain.changes (kind, aor) select 'user', 'u' || n from generate_series(1, 2500) n",
    );
    await client.query(NOTIFY);
    await eventually(() => heard.length >= 2500);
    expect(aors(heard)).toEqual(Array.from({ length: 2500 }, (_, i) => `u${i + 1}`));
  });

  it("what was read is cleared away after its time, what a fork left behind too", async () => {
    const client = await database.connect();
    await client.query(
      "insert into codomain.changes (kind, aor, at) values ('user', 'old@x', clock_timestamp() - interval '1 hour'), ('user', 'new@x', default)",
    );
    await client.query(
      "insert into codomain.audit (actor, action, at) values ('t', 'old', clock_timestamp() - interval '91 days')",
    );
    await client.query(
      "insert into codomain.open_forks (id, key, recipient, sender, method, event, asked, owner, joinable, expires_at) values ('f', 'k', 'r', 's', 'M', '', '{}', 'o', true, clock_timestamp() - interval '1 s')",
    );
    await open("east", { sweepMs: 10 });
    await eventually(async () => {
      const { rows } = await client.query(
        "select (select array_agg(aor) from codomain.changes) as changes, (select count(*)::int from codomain.audit) as audit, (select count(*)::int from codomain.open_forks) as forks",
      );
      return JSON.stringify(rows[0]) === JSON.stringify({ changes: ["new@x"], audit: 0, forks: 0 });
    });
  });

  it("a broken connection: reset, and what came between is told after it", async () => {
    const east = await open("east");
    const cache = createDirectoryCache(east, runtime, { entries: 100 });
    await east.claim(claim(JOE, "a"));
    await cache.lookup(JOE);
    const heard = listen(east);
    const client = await database.connect();
    await client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'codomain' and query like '%codomain%' and pid <> pg_backend_pid()",
    );
    await client.query(INSERT, ["between@x"]);
    await eventually(() => heard.some((change) => change.kind === "reset"));
    await eventually(() => aors(heard).includes("between@x"));
    const reset = heard.findIndex((change) => change.kind === "reset");
    expect(reset).toBeLessThan(heard.findIndex((change) => "aor" in change && change.aor === "between@x"));
    // Of the connections that were cut with it one may be asked before it has noticed.
    await eventually(async () => (await east.lookup(JOE).catch(() => null))?.state === "bound");
  });
});

describe("the database away or slow", () => {
  it("away: who is cached stays routable, the rest is refused before it is back; back again, it recovers by itself", async () => {
    const own = await startTestServer();
    const away = await own.database();
    const states: boolean[] = [];
    const telemetry = new Telemetry();
    telemetry.on("database", (event) => states.push(event.up));
    const east = new PostgresDirectory(runtime, telemetry, { url: away.url, proxy: "east", size: 3 });
    await east.start();
    try {
      const cache = createDirectoryCache(east, runtime, { entries: 100 });
      const heard = listen(east);
      await east.claim(claim(JOE, "a"));
      // Told at once, and once more by the feed, which drops what is cached.
      await eventually(() => aors(heard).length >= 2);
      await cache.lookup(JOE);
      const startAgain = await own.halt();
      await eventually(() => !east.available);
      expect(cache.peek(JOE)).toMatchObject({ state: "bound", binding: { server: "a" } });
      expect(await cache.lookup(JOE)).toMatchObject({ state: "bound" });
      await expect(cache.lookup("ann@example.com")).rejects.toBeInstanceOf(DirectoryUnavailable);
      await expect(east.claim(claim(JOE, "b"))).rejects.toBeInstanceOf(DirectoryUnavailable);
      await startAgain();
      await eventually(() => east.available && heard.some((change) => change.kind === "reset"));
      expect(await east.lookup(JOE)).toMatchObject({ state: "bound", binding: { server: "a", epoch: 1 } });
      expect(await east.claim(claim(JOE, "b"))).toMatchObject({ outcome: "bound", previous: "a" });
      expect(states).toEqual([false, true]);
    } finally {
      await east.stop();
      await own.stop();
    }
  });

  it("slow: a row that stays locked makes its claim DirectoryUnavailable in bounded time, the database stays available", async () => {
    const east = await open("east", { lockTimeoutMs: 100 });
    await east.claim(claim(JOE, "a"));
    const client = await database.connect();
    await client.query("begin");
    await client.query("select from codomain.slots where aor = $1 for update", [JOE]);
    await expect(east.claim(claim(JOE, "b"))).rejects.toBeInstanceOf(DirectoryUnavailable);
    expect(east.available).toBe(true);
    expect(await east.claim(claim("ann@example.com", "b"))).toMatchObject({ outcome: "bound" });
    await client.query("rollback");
    expect(await east.claim(claim(JOE, "b"))).toMatchObject({ outcome: "bound" });
  });

  it("an AoR that cannot be stored harms nobody in its batch", async () => {
    const east = await open("east");
    const odd = [`${"x".repeat(70_000)}@example.com`, "nul\0@example.com"];
    const outcomes = await Promise.all(
      [claim(JOE, "a"), ...odd.map((aor) => claim(aor, "a"))].map((each) => east.claim(each)),
    );
    expect(outcomes.map((each) => each.outcome)).toEqual(["bound", "stale", "stale"]);
    for (const aor of odd) {
      expect(await east.lookup(aor)).toEqual({ state: "no-record", epoch: 0 });
      expect(await east.user(aor)).toBeNull();
    }
    const batch = [claim("one@example.com", "a"), claim("two@example.com", "nul\0"), claim("three@example.com", "a")];
    const settled = await Promise.allSettled(batch.map((each) => east.claim(each)));
    expect(settled.map((each) => each.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    const fork = {
      sender: "s".repeat(60_000),
      recipient: JOE,
      method: "MESSAGE",
      event: "",
      asked: ["a"],
      expiresAt: runtime.clock.wall() + 8000,
    };
    expect(await east.openFork(fork, true)).toMatchObject({ outcome: "opened" });
  });

  it("one statement for the claims that come together", async () => {
    const east = await open("east", { claimBatch: 64 });
    const client = await database.connect();
    const users = Array.from({ length: 200 }, (_, i) => `u${i}@example.com`);
    await Promise.all(users.map((aor) => east.claim(claim(aor, "a"))));
    const { rows } = await client.query(
      "select count(distinct xid)::int as transactions, count(*)::int as changes from codomain.changes",
    );
    expect(rows[0].changes).toBe(200);
    expect(rows[0].transactions).toBeLessThanOrEqual(5);
  });

  it("an import of 5,000 users in batches, told and bound", async () => {
    const east = await open("east");
    const rows = Array.from({ length: 5000 }, (_, i) => ({
      aor: `u${String(i).padStart(5, "0")}@example.com`,
      model: null,
      server: i % 2 === 0 ? "a" : null,
    }));
    expect(await east.importUsers(rows, "root")).toEqual({ imported: 5000, refused: [] });
    expect((await east.users({ limit: 1000, server: "a", after: "u04000@example.com" })).length).toBe(499);
    expect((await east.users({ limit: 1000, prefix: "u049" })).length).toBe(100);
  });
});
