import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Stack } from "../../src/demo/stack.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import type { RunningServer } from "../../src/server.ts";
import { buildRequest, buildResponse } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import { eventually } from "../support/child.ts";
import { ownDatabase } from "../support/own-database.ts";
import { startProxy } from "../support/start-proxy.ts";

/** Two proxies on one PostgreSQL, three servers of one user, two of which send on all they are sent as B2BUAs. Real sockets, real rows. */

const PROXIES = ["127.0.0.71", "127.0.0.72"];
const SERVERS = { east: "127.0.0.73", west: "127.0.0.74", north: "127.0.0.75" } as const;
const SENDER = "127.0.0.76";
const PORT = 15_460;
const MESSAGES = 60;
const runtime = createRealRuntime();

const database = ownDatabase();
const stacks: Stack[] = [];
const proxies: RunningServer[] = [];
/** Bodies of MESSAGEs as they came, by server; and what their copies were answered. */
const got: Record<string, string[]> = { east: [], west: [], north: [] };
const copied: number[] = [];
let calls = 0;

function message(from: string, body: string, to = "bob"): SipRequest {
  calls++;
  return buildRequest({
    method: "MESSAGE",
    uri: `sip:${to}@example.com`,
    headers: [
      ["Max-Forwards", "70"],
      ["From", `<sip:${from}@example.com>;tag=t${calls}`],
      ["To", `<sip:${to}@example.com>`],
      ["Call-ID", `call-${calls}`],
      ["CSeq", "1 MESSAGE"],
      ["Content-Type", "text/plain"],
    ],
    body,
  });
}

function server(name: keyof typeof SERVERS, sendsOn: string | null): Stack {
  const stack = new Stack(
    runtime,
    { host: SERVERS[name], port: PORT },
    {
      onRequest: (transaction) => {
        const { request } = transaction;
        const isHis = request.method === "MESSAGE" && request.requestUri === "sip:bob@example.com";
        const status = isHis || request.method === "OPTIONS" ? 200 : 404;
        transaction.respond(buildResponse(request, status, undefined, { toTag: name }));
        if (!isHis) return;
        got[name]!.push(request.body);
        // One for each of his other servers, under identifiers of its own.
        for (let i = 0; sendsOn !== null && i < 2; i++) {
          void stack
            .ask(message(/sip:([^@]+)@/.exec(request.header("From")!)![1]!, request.body), {
              host: sendsOn,
              port: PORT,
            })
            .then((answer) => copied.push(answer?.status ?? 0));
        }
      },
      onAck: () => undefined,
      onCancel: () => undefined,
    },
  );
  return stack;
}

const sender = new Stack(
  runtime,
  { host: SENDER, port: PORT },
  { onRequest: () => undefined, onAck: () => undefined, onCancel: () => undefined },
);

beforeAll(async () => {
  stacks.push(server("east", PROXIES[1]!), server("west", PROXIES[0]!), server("north", null), sender);
  for (const stack of stacks) await stack.start();
  for (const host of PROXIES) proxies.push(await startProxy(runtime, configuration(host)));
});

afterAll(async () => {
  for (const proxy of proxies) await proxy.stop();
  for (const stack of stacks) await stack.stop();
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
  east: { uri: "sip:${SERVERS.east}:${PORT}", onward: both }
  west: { uri: "sip:${SERVERS.west}:${PORT}", onward: both }
  north: { uri: "sip:${SERVERS.north}:${PORT}" }
models:
  - { match: "bob@example.com", model: unioned, style: peer, servers: [east, west, north] }
`;
}

async function send(body: string, i: number): Promise<number> {
  return (await sender.ask(message(`ann${i % 3}`, body), { host: PROXIES[i % 2]!, port: PORT }))?.status ?? 0;
}

const counts = () => Object.values(got).map((bodies) => bodies.length);

describe("messages for a user of several servers, over two proxies", () => {
  it("come to each once, the same text again and again too; what servers send on is 482", async () => {
    for (let i = 0; i < MESSAGES; i += 6) {
      const statuses = await Promise.all([0, 1, 2, 3, 4, 5].map((k) => send(k < 3 ? "ok" : `${i + k}`, i + k)));
      expect(statuses).toEqual([200, 200, 200, 200, 200, 200]);
    }
    await eventually("every copy is answered", () => copied.length === MESSAGES * 4);
    expect(new Set(copied)).toEqual(new Set([482]));
    expect(counts()).toEqual([MESSAGES, MESSAGES, MESSAGES]);
  }, 180_000);

  it("go as he sets it by one proxy through the other", async () => {
    const address = `${proxies[0]!.admin}/api/v1/users/bob@example.com/routing`;
    expect(await (await fetch(address)).json()).toEqual({ algorithm: "all", weights: {}, etag: null });
    const put = await fetch(address, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ algorithm: "roundrobin", weights: {} }),
    });
    expect(put.status).toBe(200);
    const before = counts();
    await eventually("both proxies know", async () => {
      const { json } = await proxies[1]!.proxy.explain({ method: "MESSAGE", aor: "bob@example.com" });
      return json.summary.includes("|");
    });
    for (let i = 0; i < 30; i++) expect(await send(`turn ${i}`, i)).toBe(200);
    const now = counts().map((count, i) => count - before[i]!);
    expect(now.reduce((a, b) => a + b)).toBe(30);
    // Each proxy is even within one.
    expect(Math.max(...now) - Math.min(...now)).toBeLessThanOrEqual(2);
  }, 180_000);
});
