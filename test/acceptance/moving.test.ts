import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/child.ts";
import { startTestServer, type TestServer } from "../support/postgres.ts";
import { Domain, NAMES, pause, runtime } from "./domain.ts";

/**
 * Users are moved by an admin between three servers while watchers look on, packets are lost, and one of the two proxies is
 * killed: real sockets, real processes, a real PostgreSQL. `CODOMAIN_FULL=1`: 1,000 users, 10 watchers each, for a minute.
 */

const FULL = process.env["CODOMAIN_FULL"] === "1";
const USERS = Array.from({ length: FULL ? 1_000 : 60 }, (_, i) => `user${i}`);
const WATCHERS = FULL ? 10 : 3;
const MOVING_MS = FULL ? 60_000 : 8_000;
const MOVES_PER_SECOND = FULL ? 30 : 15;
/** Refreshed halfway. A refresh to the proxy that died is given up after 32 s (Timer F), and made again: time for both. */
const EXPIRES_S = 180;
/** A lease that lapses, what waits for retransmissions, and retries with back-off: at most. */
const CALM_MS = 150_000;

let postgres: TestServer;

beforeAll(async () => {
  postgres = await startTestServer();
});

afterAll(async () => {
  await postgres.stop();
});

describe.each([{ after: "restarted" }, { after: "left dead" }])("one proxy killed with -9 and $after", ({ after }) => {
  it(
    `${USERS.length} users with ${WATCHERS} watchers each, moved by the admin: nobody watching notices`,
    async () => {
      const domain = new Domain(postgres, { first: 41, users: USERS, loss: 0.02 });
      await domain.start();
      try {
        await domain.bindAll();
        await domain.watchAll(WATCHERS, EXPIRES_S);
        const accepted = await moveAll(domain, after === "restarted");
        await check(domain, accepted);
      } finally {
        await domain.stop();
      }
    },
    MOVING_MS + CALM_MS + 240_000,
  );
});

/** Moves, messages and changes of presence for a while; the first proxy dies in the midst of it. What was answered 2xx, by user. */
async function moveAll(domain: Domain, restarts: boolean): Promise<ReadonlyMap<string, string[]>> {
  const accepted = new Map<string, string[]>();
  const busy = new Set<string>();
  const write = async (user: string, text: string): Promise<void> => {
    const message = { method: "MESSAGE", from: "writer", to: `${user}@example.com`, body: text };
    const answer = await domain.servers["mid"]!.ask(message);
    if (answer !== null && answer.status < 300) accepted.set(user, [...(accepted.get(user) ?? []), text]);
  };
  // Moves of one user go one after the other, so that his path is known; he is entered before the answer, which may come later than
  // what his watchers see of it.
  const move = async (user: string, server: string): Promise<void> => {
    if (domain.present(user) === server || busy.has(user)) return;
    busy.add(user);
    domain.paths.get(user)!.push(server);
    expect(await domain.move(user, server)).not.toBeNull();
    busy.delete(user);
  };
  const random = <T>(from: readonly T[]): T => from[runtime.random.integer(from.length)]!;
  const started = runtime.clock.now();
  const chores: Promise<void>[] = [];
  let killed = false;
  for (let turn = 0; runtime.clock.now() - started < MOVING_MS; turn++) {
    const user = random(USERS);
    chores.push(move(user, random(NAMES)));
    if (turn % 3 === 0) chores.push(write(random(USERS), `message ${turn}`));
    if (turn % 4 === 0) domain.servers[domain.present(user)]!.show(user, turn % 8 === 0 ? "closed" : "open");
    if (!killed && runtime.clock.now() - started > MOVING_MS / 3) {
      killed = true;
      const proxy = domain.proxies[0]!;
      proxy.child.signal("SIGKILL");
      await proxy.child.exited;
      if (restarts) proxy.child = await domain.launch(proxy.file);
    }
    await pause(1000 / MOVES_PER_SECOND);
  }
  await Promise.all(chores);
  return accepted;
}

async function check(domain: Domain, accepted: ReadonlyMap<string, string[]>): Promise<void> {
  const settled = (what: string, left: () => string[]): Promise<unknown> =>
    eventually(what, () => left().length === 0, CALM_MS).catch(() => expect(left()).toEqual([]));
  await settled("every watcher is on the user's present server", () => domain.behind());
  expect(domain.faults()).toEqual([]);
  await settled("every message answered 2xx is delivered", () =>
    [...accepted].flatMap(([user, texts]) => {
      const read = domain.inbox(user);
      return texts.filter((text) => !read.has(text)).map((text) => `${user}: ${text}`);
    }),
  );
  const client = await domain.database.connect();
  const { rows } = await client.query<{ aor: string; server: string }>("select aor, server from codomain.bindings");
  const bound = new Map(rows.map(({ aor, server }) => [aor.split("@")[0], server]));
  expect(rows).toHaveLength(USERS.length);
  expect(bound).toEqual(new Map(USERS.map((user) => [user, domain.present(user)])));
}
