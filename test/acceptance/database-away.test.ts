import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/child.ts";
import { startTestServer, type TestServer } from "../support/postgres.ts";
import { Domain, NAMES, pause, runtime } from "./domain.ts";

/** The database is shut down for ten seconds under load and started again (models.md, "Always"). */

const USERS = Array.from({ length: 60 }, (_, i) => `user${i}`);
const AWAY_MS = 10_000;
const CALM_MS = 150_000;

let postgres: TestServer;
let domain: Domain;

beforeAll(async () => {
  postgres = await startTestServer();
  domain = new Domain(postgres, { first: 61, users: USERS, loss: 0 });
  await domain.start();
  await domain.bindAll();
  await domain.watchAll(3, 600);
}, 120_000);

afterAll(async () => {
  await domain?.stop();
  await postgres?.stop();
});

const write = async (user: string, text: string): Promise<number> => {
  const answer = await domain.servers["mid"]!.ask({
    method: "MESSAGE",
    from: "writer",
    to: `${user}@example.com`,
    body: text,
  });
  return answer?.status ?? 0;
};

describe("the database stopped for ten seconds under load", () => {
  it("mapped users keep being routed, what must be stored gets 500, everything recovers by itself", async () => {
    for (const user of USERS) expect(await write(user, "before")).toBe(200);
    const moving: Promise<number | null>[] = [];
    for (const user of USERS.slice(0, 20)) moving.push(moveOn(user));
    const startAgain = await postgres.halt();
    const stopped = runtime.clock.now();
    const statuses: number[] = [];
    let turn = 0;
    const shown = new Map<string, number>();
    while (runtime.clock.now() - stopped < AWAY_MS) {
      // Who was not moved is mapped, and nothing about him is in doubt.
      const user = USERS[20 + (turn % 40)]!;
      statuses.push(await write(user, `away ${turn}`));
      if (turn % 10 === 0) {
        domain.servers[domain.present(user)]!.show(user, turn % 20 === 0 ? "closed" : "open");
        shown.set(user, domain.watches.get(user)![0]!.notified.length);
      }
      turn++;
      await pause(50);
    }
    expect(new Set(statuses)).toEqual(new Set([200]));
    // Documents go on to the watchers within lease and reserve.
    const told = [...shown].filter(([user, before]) => domain.watches.get(user)![0]!.notified.length > before);
    expect(told.length).toBeGreaterThan(0);

    const refused = await domain.servers["mid"]!.ask({
      method: "MESSAGE",
      from: "writer",
      to: "nobody-knows@example.com",
      body: "x",
    });
    expect(refused?.status).toBe(500);
    expect(refused?.header("Retry-After")).toBeDefined();
    const subscribe = await domain.servers["mid"]!.watch("late", `${USERS[50]}@example.com`);
    expect(subscribe.answer?.status).toBe(500);
    const claim = await domain.servers["east"]!.claim("user1", 3600);
    expect(claim?.status).toBe(500);

    await startAgain();
    await Promise.all(moving);
    for (const user of USERS)
      await eventually(`${user} moves again`, async () => (await moveOn(user)) !== null, CALM_MS);
    await eventually(
      "every watcher is on the user's present server",
      () => domain.behind().length === 0,
      CALM_MS,
    ).catch(() => expect(domain.behind()).toEqual([]));
    expect(domain.faults()).toEqual([]);
    const again = await domain.servers["mid"]!.watch("late", `${USERS[50]}@example.com`);
    expect(again.answer?.status).toBe(200);
    expect(await write("user1", "after")).toBe(200);
  }, 600_000);
});

/** To the next server. A move whose answer did not come may have happened: his path then has both. */
async function moveOn(user: string): Promise<number | null> {
  const server = NAMES[(NAMES.indexOf(domain.present(user) as (typeof NAMES)[number]) + 1) % NAMES.length]!;
  domain.paths.get(user)!.push(server);
  const epoch = await domain.move(user, server).catch(() => null);
  return epoch;
}
