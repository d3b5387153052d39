import { createSocket } from "node:dgram";
import { describe, expect, it, onTestFinished } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { startServer } from "../../src/server.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { leakChecked } from "../support/leak.ts";

/** A whole proxy on loopback over the in-memory directory, and one server behind it that answers everything with 200. */
async function startProxy() {
  const runtime = leakChecked(createRealRuntime());
  const east = createSocket("udp4");
  await new Promise<void>((resolve) => east.bind(0, "127.0.0.2", resolve));
  east.on("message", (bytes, peer) => {
    const [head] = bytes.toString("latin1").split("\r\n\r\n");
    const kept = head!.split("\r\n").filter((line) => /^(via|from|to|call-id|cseq):/i.test(line));
    const answer = ["SIP/2.0 200 OK", ...kept, "Content-Length: 0", "", ""]
      .join("\r\n")
      .replace(/^To:(?!.*tag=).*$/im, "$&;tag=e");
    east.send(answer, peer.port, peer.address);
  });
  const yaml = (learned: string) => `
domains: [example.com, other.net]
listen: ["udp://127.0.0.1:0"]
admin: { url: "http://127.0.0.1:0", token: sesame }
servers: { east: { uri: "sip:127.0.0.2:${east.address().port}", proves: [INVITE] } }
clients: { realm: the-realm }
health: { interval: 0ms }
logging: { level: off }
learned: ${learned}
`;
  const config = (learned: string) => {
    const loaded = loadConfig(yaml(learned), { env: {}, file: "test.yaml" });
    if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
    return loaded.config;
  };
  let learned = "1h";
  const running = await startServer(config(learned), {
    runtime,
    telemetry: new Telemetry(),
    version: "0.0.0",
    directory: createMemoryDatabase(runtime).directory("proxy-1"),
    reread: () => config(learned),
  });
  onTestFinished(async () => {
    await running.stop();
    await new Promise<void>((resolve) => east.close(resolve));
  });
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(running.admin + path, {
      method,
      headers: {
        authorization: "Bearer sesame",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, text, body: text.startsWith("{") ? JSON.parse(text) : null };
  };
  const relearn = (text: string): void => {
    learned = text;
  };
  return { running, call, relearn };
}

async function sendMessage(port: number, user: string): Promise<string> {
  const client = createSocket("udp4");
  await new Promise<void>((resolve) => client.bind(0, "127.0.0.1", resolve));
  const answer = new Promise<string>((resolve) => client.once("message", (bytes) => resolve(bytes.toString("latin1"))));
  const lines = [
    `MESSAGE sip:${user} SIP/2.0`,
    `Via: SIP/2.0/UDP 127.0.0.1:${client.address().port};branch=z9hG4bKadmin`,
    "Max-Forwards: 70",
    "From: <sip:bob@example.com>;tag=1",
    `To: <sip:${user}>`,
    "Call-ID: admin-test",
    "CSeq: 1 MESSAGE",
    "Content-Length: 0",
  ];
  client.send([...lines, "", ""].join("\r\n"), port, "127.0.0.1");
  const text = await answer;
  await new Promise<void>((resolve) => client.close(resolve));
  return text.slice(0, text.indexOf("\r\n"));
}

describe("the admin API of a running proxy", () => {
  it("binds a user, and his next request goes there; explain had said so, the counters say so after", async () => {
    const { running, call } = await startProxy();
    expect((await call("GET", "/readyz")).body).toMatchObject({
      ready: true,
      checks: { listeners: { detail: "1 open" } },
    });
    await call("POST", "/api/v1/users/sip:al%2569ce@EXAMPLE.com/bind", { server: "east" });
    const plan = await call("GET", "/api/v1/explain?method=MESSAGE&aor=alice@example.com");
    expect(plan.body.explanation.summary).toBe("relay east");
    expect(await sendMessage(running.points[0]!.port, "alice@example.com")).toBe("SIP/2.0 200 OK");
    const { servers } = (await call("GET", "/api/v1/servers")).body;
    expect(servers[0].traffic).toEqual({ requests: 1, unanswered: 0, answers: { "2xx": 1 } });
    expect((await call("GET", "/api/v1/status")).body).toMatchObject({
      domains: ["example.com", "other.net"],
      counters: { requests: { relay: 1 } },
    });
    expect((await call("GET", "/metrics")).text).toContain("codomain_requests_total");
  });

  it("a drained server gets nothing, a resumed one does", async () => {
    const { running, call } = await startProxy();
    await call("POST", "/api/v1/users/alice@example.com/bind", { server: "east" });
    await call("POST", "/api/v1/servers/east/drain");
    expect(await sendMessage(running.points[0]!.port, "alice@example.com")).toMatch(/^SIP\/2\.0 480 /);
    await call("POST", "/api/v1/servers/east/resume");
    expect((await call("GET", "/api/v1/explain?method=MESSAGE&aor=alice@example.com")).body.explanation.summary).toBe(
      "relay east",
    );
  });

  it("passwords are for the realm configured; a reload tells what changed; draining is not ready", async () => {
    const { running, call, relearn } = await startProxy();
    const { body } = await call("PUT", "/api/v1/users/alice@example.com", { password: "x" });
    expect(body.credentials.realm).toBe("the-realm");
    relearn("2h");
    expect((await call("POST", "/api/v1/reload")).body).toEqual({
      changes: [expect.stringMatching(/^learned/)],
    });
    void running.drain(1);
    expect((await call("GET", "/readyz")).status).toBe(503);
  });
});
