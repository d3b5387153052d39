import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { startServer } from "../../src/server.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { XcapServer } from "../provisioning/xcap-server.ts";
import { eventually } from "../support/child.ts";
import { leakChecked } from "../support/leak.ts";
import { ask, responseText, wirePeer } from "../support/wire.ts";

const PROXY_RULES = "/xcap/im-rules/users/sip:alice@example.com/index";
const PRESENCE_RULES = "/xcap/pres-rules/users/sip:alice@example.com/index";

/** A whole proxy of way central on loopback, alice's server east, which keeps rules by itself too, and bob's server west. */
async function open() {
  const runtime = leakChecked(createRealRuntime());
  const [east, west] = await Promise.all([wirePeer("127.0.0.161"), wirePeer("127.0.0.162")]);
  east.onMessage = (m) => {
    if (m.status === 0) east.send(responseText(m.text, 200, "OK"), m.host, m.port);
  };
  const keeps = new XcapServer();
  const http = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", async () => {
      const { status, headers, body } = await keeps.answer({
        method: request.method as "PUT",
        url: `http://x${request.url}`,
        headers: request.headers as Record<string, string>,
        body: Buffer.concat(chunks),
        timeoutMs: 0,
        mostOctets: 0,
      });
      response.writeHead(status, headers).end(body);
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const yaml = `
domain: example.com
listen: ["udp://127.0.0.1:0"]
admin: { url: "http://127.0.0.1:0", token: sesame }
servers:
  east:
    uri: "sip:127.0.0.161:${east.port}"
    xcap: { url: "http://127.0.0.1:${(http.address() as AddressInfo).port}/root", user: portal, password: secret }
  west: { uri: "sip:127.0.0.162:${west.port}" }
policy: { way: central, presence: allow }
clients: { authenticate: digest }
health: { interval: 0ms }
logging: { level: off }
`;
  const loaded = loadConfig(yaml, { env: {}, file: "test.yaml" });
  if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
  const directory = createMemoryDatabase(runtime).directory("proxy-1");
  const running = await startServer(loaded.config, {
    runtime,
    telemetry: new Telemetry(),
    version: "0.0.0",
    directory,
  });
  onTestFinished(async () => {
    await running.stop();
    await Promise.all([east.close(), west.close()]);
    http.closeAllConnections();
    await new Promise<void>((resolve) => http.close(() => resolve()));
  });
  const call = async (method: string, path: string, body?: string, headers: Record<string, string> = {}) => {
    const response = await fetch(running.admin + path, {
      method,
      headers: { authorization: "Bearer sesame", ...headers },
      ...(body === undefined ? {} : { body }),
    });
    return { status: response.status, text: await response.text() };
  };
  const json = { "content-type": "application/json" };
  await call("PUT", "/api/v1/users/alice@example.com", JSON.stringify({ password: "wonderland" }), json);
  await call("POST", "/api/v1/users/alice@example.com/bind", JSON.stringify({ server: "east" }), json);
  const alice = {
    authorization: `Basic ${Buffer.from("alice:wonderland").toString("base64")}`,
    "content-type": "application/auth-policy+xml",
  };
  /** bob's server vouches for him. */
  const fromBob = async (method: string, headers: readonly string[] = []): Promise<number> => {
    const answer = await ask(west, running.points[0]!, {
      method,
      uri: "sip:alice@example.com",
      from: "sip:bob@example.com",
      headers: ["P-Asserted-Identity: <sip:bob@example.com>", ...headers],
    });
    return answer.status;
  };
  const subscribe = () =>
    fromBob("SUBSCRIBE", [
      "Event: presence",
      "Expires: 60",
      `Contact: <sip:bob@${west.host}:${west.port}>`,
      "Accept: application/pidf+xml",
    ]);
  return { call, alice, fromBob, subscribe, keeps };
}

describe("rules over XCAP on a running proxy", () => {
  it("a user blocks somebody who may write to him: the next MESSAGE is 403", async () => {
    const { call, alice, fromBob } = await open();
    expect(await fromBob("MESSAGE")).toBe(200);
    const rules = `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="a"><conditions><identity><many><except id="sip:bob@example.com"/></many></identity></conditions><actions><handling xmlns="urn:x-codomain:im-rules">allow</handling></actions></rule></ruleset>`;
    expect((await call("PUT", PROXY_RULES, rules, alice)).status).toBe(201);
    expect(await fromBob("MESSAGE")).toBe(403);
    expect((await call("DELETE", PROXY_RULES, undefined, alice)).status).toBe(200);
    expect(await fromBob("MESSAGE")).toBe(200);
  });

  it("a user blocks a watcher: the next SUBSCRIBE is 403, and his server is told the same over its XCAP", async () => {
    const { call, alice, subscribe, keeps } = await open();
    const rules = `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="a"><conditions><identity><one id="sip:bob@example.com"/></identity></conditions><actions><sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">block</sub-handling></actions></rule></ruleset>`;
    expect(await subscribe()).toBeLessThan(300);
    expect((await call("PUT", PRESENCE_RULES, rules, alice)).status).toBe(201);
    expect(await subscribe()).toBe(403);
    await eventually("the rules at east", async () => keeps.documents.size === 1);
    expect(keeps.documents.get("sip:alice@example.com")).toContain(">block<");
    const { text } = await call("GET", "/api/v1/provisioning");
    await eventually("the push to be told", async () =>
      (await call("GET", "/api/v1/provisioning")).text.includes('"pushed":1'),
    );
    expect(JSON.parse(text).servers[0].server).toBe("east");
  });
});
