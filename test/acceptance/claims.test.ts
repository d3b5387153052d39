import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createExampleServer, type ExampleServer } from "../../src/demo/example-server.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import type { RunningServer } from "../../src/server.ts";
import { ownDatabase } from "../support/own-database.ts";
import { startProxy } from "../support/start-proxy.ts";

/** Two proxies on one PostgreSQL, two servers that claim the same users at once under `refuse`: real sockets, real rows. */

const USERS = 1_000;
const AT_ONCE = 50;
const PROXIES = ["127.0.0.21", "127.0.0.22"];
const SERVERS = { east: "127.0.0.31", west: "127.0.0.32" };
const PORT = 15_160;

const database = ownDatabase();
const servers: Record<string, ExampleServer> = {};
const proxies: RunningServer[] = [];
const runtime = createRealRuntime();

beforeAll(async () => {
  for (const [i, [name, host]] of Object.entries(SERVERS).entries()) {
    servers[name] = createExampleServer(runtime, {
      name,
      listen: { host, port: PORT },
      users: [],
      domain: "example.com",
      proxy: { host: PROXIES[i]!, port: PORT },
      onUnknown: "404",
    });
    await servers[name].start();
  }
  for (const host of PROXIES) {
    proxies.push(await startProxy(runtime, configuration(host)));
  }
});

afterAll(async () => {
  for (const proxy of proxies) await proxy.stop();
  for (const server of Object.values(servers)) await server.stop();
});

function configuration(host: string): string {
  return `
domain: example.com
proxy-name: proxy-${host}
listen: ["udp://${host}:${PORT}"]
database: ${database.url}
admin: { url: "http://${host}:0" }
logging: { level: "off" }
servers:
  east: { uri: "sip:${SERVERS.east}:${PORT}" }
  west: { uri: "sip:${SERVERS.west}:${PORT}" }
models:
  - { match: "*@example.com", model: exclusive, conflict: refuse }
`;
}

describe("two proxies, two servers claiming the same users at once under refuse", () => {
  it("gives each user one 200 and one 403, and the same holder in SQL and in both proxies' explain", async () => {
    const users = Array.from({ length: USERS }, (_, i) => `user${i}`);
    const answers: Record<string, number[]> = {};
    for (let from = 0; from < USERS; from += AT_ONCE) {
      await Promise.all(
        users.slice(from, from + AT_ONCE).map(async (user) => {
          const both = await Promise.all(["east", "west"].map((name) => servers[name]!.claim(user, 3600)));
          answers[user] = both.map((response) => response?.status ?? 0);
        }),
      );
    }
    for (const user of users) expect([...answers[user]!].sort()).toEqual([200, 403]);

    const client = await database.connect();
    const { rows } = await client.query<{ aor: string; server: string; epoch: string }>(
      "select aor, server, epoch from bindings order by aor",
    );
    expect(rows).toHaveLength(USERS);
    const wins = { east: 0, west: 0 };
    for (const { aor, server } of rows) {
      const winner = answers[aor.slice(0, aor.indexOf("@"))]![0] === 200 ? "east" : "west";
      expect([aor, server]).toEqual([aor, winner]);
      wins[winner]++;
      for (const proxy of proxies) {
        const { json } = await proxy.proxy.explain({ method: "MESSAGE", aor });
        expect([aor, json.binding.server, json.binding.epoch]).toEqual([aor, winner, 1]);
      }
    }
    // Both proxies took part: a test in which one server always comes first would prove nothing.
    expect(Math.min(wins.east, wins.west)).toBeGreaterThan(0);
  }, 180_000);
});
