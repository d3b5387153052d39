import { afterAll, beforeAll, expect, test } from "vitest";
import { capture } from "../support/capture.ts";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import { answering, messageParts, registerParts, subscribeParts } from "../support/presence.ts";
import { type RunningProxy, startProxy } from "../support/proxy.ts";
import { ask, type WirePeer, wirePeer } from "../support/wire.ts";

/**
 * Every server here sends what it does not hold back to the proxy, one of them under another Call-ID and without the
 * Vias it got, as a B2BUA does. Nothing may go round, nothing may wait for a timer.
 */
const PROXY = "127.0.0.91";
const NET = "udp port 5060 and net 127.0.0.88/29";

let east: Kamailio;
let west: Kamailio;
let south: Kamailio;
let proxy: RunningProxy;
let olga: WirePeer;

beforeAll(async () => {
  const common = { proxy: `${PROXY}:5060` };
  [east, west, south] = await Promise.all([
    startKamailio({ ...common, host: "127.0.0.92", unknown: "back", users: ["alice"] }),
    startKamailio({ ...common, host: "127.0.0.93", unknown: "back", users: ["bob"] }),
    startKamailio({ ...common, host: "127.0.0.94", unknown: "hide", users: ["carol"] }),
  ]);
  proxy = await startProxy({ host: PROXY, servers: { east: east.uri, west: west.uri, south: south.uri } });
  olga = answering(await wirePeer("127.0.0.95"));
});

afterAll(async () => {
  await proxy?.stop();
  await Promise.all([east, west, south].map((each) => each?.stop()));
  await olga?.close();
});

const servers = () => [east, west, south];

test.each(["MESSAGE", "SUBSCRIBE"])("%s for a user of nobody: 404 at once, every server asked once", async (method) => {
  const user = `nobody-${method.toLowerCase()}`;
  const wire = await capture(NET);
  const started = performance.now();
  const parts = method === "MESSAGE" ? messageParts : (to: string, from: string) => subscribeParts(olga, to, from);
  const answer = await ask(olga, proxy, parts(`${user}@example.com`, "olga@example.com"));
  expect(answer.status).toBe(404);
  expect(performance.now() - started).toBeLessThan(2_000);
  for (const server of servers()) expect(await server.seen(method, user)).toBe(1);
  // One from olga, one to each server, one back from each.
  const rows = await wire.rows(`sip.Method == "${method}" && sip.r-uri.user == "${user}"`, ["ip.src", "ip.dst"]);
  await wire.close();
  expect(rows).toHaveLength(7);
});

test("a user held by one of them is found while the others send the question back", async () => {
  expect((await ask(olga, south, registerParts(olga, "carol@example.com"))).status).toBe(200);
  const started = performance.now();
  expect((await ask(olga, proxy, messageParts("carol@example.com", "olga@example.com"))).status).toBe(200);
  expect(performance.now() - started).toBeLessThan(2_000);
  await eventually("the lesson", async () => (await proxy.explain("MESSAGE", "carol@example.com")).server === "south");
});

test("a server's own client asking for a user of nobody: his server is not asked again", async () => {
  const started = performance.now();
  const answer = await ask(olga, west, messageParts("ghost@example.com", "bob@example.com"));
  expect(answer.status).toBe(404);
  expect(performance.now() - started).toBeLessThan(2_000);
  for (const server of servers()) expect(await server.seen("MESSAGE", "ghost")).toBe(1);
});

test("a hundred users of nobody at once: every one 404, no server asked twice for any", async () => {
  const wire = await capture(NET);
  const started = performance.now();
  const users = Array.from({ length: 100 }, (_, i) => `crowd${i}`);
  const answers = await Promise.all(
    users.map((user) => ask(olga, proxy, messageParts(`${user}@example.com`, "olga@example.com"))),
  );
  expect(answers.map((answer) => answer.status)).toEqual(users.map(() => 404));
  expect(performance.now() - started).toBeLessThan(8_000);
  for (const server of servers()) {
    const seen = await server.seenAll();
    expect(users.filter((user) => seen.get(`MESSAGE ${user}`) !== 1)).toEqual([]);
  }
  const messages = await wire.count(`sip.Method == "MESSAGE" && sip.r-uri.user contains "crowd"`);
  await wire.close();
  // Seven a user; the rest is room for retransmissions on a slow machine.
  expect(messages).toBeGreaterThanOrEqual(700);
  expect(messages).toBeLessThan(1_400);
});
