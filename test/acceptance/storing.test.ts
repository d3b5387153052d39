import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Stack } from "../../src/demo/stack.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import type { RunningServer } from "../../src/server.ts";
import { buildRequest, buildResponse } from "../../src/sip/message/build.ts";
import { eventually } from "../support/child.ts";
import { ownDatabase } from "../support/own-database.ts";
import { startProxy } from "../support/start-proxy.ts";

/** Two proxies on one PostgreSQL: messages for users who are nowhere, over both; then one proxy stops, and they come. Real sockets, real rows. */

const USERS = 40;
const EACH = 5;
const PROXIES = ["127.0.0.61", "127.0.0.62"];
const WEST = "127.0.0.63";
const SENDER = "127.0.0.64";
const PORT = 15_360;
const runtime = createRealRuntime();

const database = ownDatabase();
let west: Stack;
let sender: Stack;
const proxies: RunningServer[] = [];
/** Bodies as they came, by user. */
const got = new Map<string, string[]>();

beforeAll(async () => {
  west = new Stack(
    runtime,
    { host: WEST, port: PORT },
    {
      onRequest: (transaction) => {
        const { request } = transaction;
        const user = /^sip:([^@]+)@/.exec(request.requestUri)?.[1];
        const known = user?.startsWith("user") === true && request.method === "MESSAGE";
        if (known) got.set(user, [...(got.get(user) ?? []), request.body]);
        const status = known || request.method === "OPTIONS" ? 200 : 404;
        transaction.respond(buildResponse(request, status, undefined, { toTag: "west" }));
      },
      onAck: () => undefined,
      onCancel: () => undefined,
    },
  );
  sender = new Stack(
    runtime,
    { host: SENDER, port: PORT },
    { onRequest: () => undefined, onAck: () => undefined, onCancel: () => undefined },
  );
  await west.start();
  await sender.start();
  for (const host of PROXIES) {
    proxies.push(await startProxy(runtime, configuration(host)));
  }
});

afterAll(async () => {
  for (const proxy of proxies) await proxy.stop();
  await west?.stop();
  await sender?.stop();
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
  west: { uri: "sip:${WEST}:${PORT}" }
models:
  - { match: "*@example.com", model: exclusive }
messages: { absent: store }
`;
}

async function send(user: string, body: string, proxy: string): Promise<number> {
  const request = buildRequest({
    method: "MESSAGE",
    uri: `sip:${user}@example.com`,
    headers: [
      ["Max-Forwards", "70"],
      ["From", `<sip:ann@example.com>;tag=${user}`],
      ["To", `<sip:${user}@example.com>`],
      ["Call-ID", `${user}-${body}`],
      ["CSeq", "1 MESSAGE"],
      ["Content-Type", "text/plain"],
    ],
    body,
  });
  return (await sender.ask(request, { host: proxy, port: PORT }))?.status ?? 0;
}

describe("messages for users who are nowhere, over two proxies", () => {
  it("are answered 202, and come in order once each user is somewhere, though a proxy has stopped", async () => {
    const users = Array.from({ length: USERS }, (_, i) => `user${i}`);
    const { directory } = proxies[1]!;
    for (const user of users) {
      await directory.putUser({ aor: `${user}@example.com`, model: null, settings: {}, identities: {} }, "test");
    }
    const statuses = await Promise.all(
      users.map(async (user) => {
        const each: number[] = [];
        for (let i = 0; i < EACH; i++) each.push(await send(user, `${i}`, PROXIES[i % 2]!));
        return each;
      }),
    );
    expect(new Set(statuses.flat())).toEqual(new Set([202]));
    await proxies[0]!.stop();
    for (const user of users) await directory.move({ aor: `${user}@example.com`, to: "west", actor: "test" });
    await eventually("every message", () => [...got.values()].flat().length >= USERS * EACH);
    for (const user of users) expect([user, got.get(user)]).toEqual([user, ["0", "1", "2", "3", "4"]]);
    await eventually("nothing left", async () => (await directory.messages.count()).messages === 0);
    const { rows } = await (await database.connect()).query(
      "select state, count(*)::int as count from codomain.messages group by state",
    );
    expect(rows).toEqual([{ state: "delivered", count: USERS * EACH }]);
    // Nothing waits for them any more: straight through.
    expect(await send("user0", "5", PROXIES[1]!)).toBe(200);
  }, 180_000);
});
