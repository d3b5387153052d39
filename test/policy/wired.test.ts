import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { startServer } from "../../src/server.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { DecisionPoint } from "../support/decision-point.ts";
import { leakChecked } from "../support/leak.ts";
import { handling, one, rule, ruleset } from "../support/rules.ts";

/** The whole program, from the text of its configuration, with a decision point beside it. */

async function decisionPoint(): Promise<{ point: DecisionPoint; url: string }> {
  const point = new DecisionPoint();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const headers = request.headers as Record<string, string>;
      const answer = point.answer({ url: request.url ?? "/", headers, body: Buffer.concat(chunks) });
      response.writeHead(answer.status, { ...answer.headers }).end(answer.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { point, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** Bob's server: what it sends is believed; what it is sent it takes. */
async function bobs() {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  onTestFinished(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  const { port } = socket.address();
  const answers = new Map<string, (status: number) => void>();
  socket.on("message", (bytes, from) => {
    const text = bytes.toString("latin1");
    const callId = /^Call-ID: (.*)$/im.exec(text)?.[1]?.trim() ?? "";
    const status = /^SIP\/2\.0 (\d+)/.exec(text)?.[1];
    if (status !== undefined) return answers.get(callId)?.(Number(status));
    const kept = text.split("\r\n").filter((line) => /^(Via|From|To|Call-ID|CSeq):/i.test(line));
    const ok = [
      "SIP/2.0 200 OK",
      ...kept.map((line) => line.replace(/^To: (.*)$/i, "To: $1;tag=x")),
      "Content-Length: 0",
      "",
      "",
    ];
    socket.send(ok.join("\r\n"), from.port, from.address);
  });
  let serial = 0;
  const message = (proxy: number): Promise<number> => {
    const id = `m${++serial}-${port}`;
    const lines = [
      "MESSAGE sip:alice@example.com SIP/2.0",
      `Via: SIP/2.0/UDP 127.0.0.1:${port};branch=z9hG4bK${id}`,
      "Max-Forwards: 70",
      `From: <sip:bob@example.com>;tag=${id}`,
      "To: <sip:alice@example.com>",
      `Call-ID: ${id}`,
      "CSeq: 1 MESSAGE",
      "Content-Length: 0",
      "",
      "",
    ];
    const answered = new Promise<number>((resolve) => answers.set(id, resolve));
    socket.send(lines.join("\r\n"), proxy, "127.0.0.1");
    return answered;
  };
  return { port, message };
}

it("decides, is told of a change over the admin API, says why, and takes another way at a reload", async () => {
  const { point, url } = await decisionPoint();
  const { port, message } = await bobs();
  const runtime = leakChecked(createRealRuntime());
  const configured = (policy: string): Config => {
    const text = `domain: example.com
listen: ["udp://127.0.0.1:0"]
admin: { url: "http://127.0.0.1:0", token: t }
servers: { home: { uri: "sip:127.0.0.1:${port}", proves: [MESSAGE] } }
health: { interval: 0s }
logging: { level: off }
clients: { authenticate: digest }
policy: ${policy}
`;
    const loaded = loadConfig(text, { env: {}, file: "test.yaml" });
    if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
    return loaded.config;
  };
  const asked = `{ way: pdp, pdp: { url: "${url}", token: secret, timeout: 30s } }`;
  const directory = createMemoryDatabase(runtime).directory("proxy-1");
  const running = await startServer(configured(asked), {
    runtime,
    telemetry: new Telemetry(),
    version: "0.0.0",
    directory,
  });
  onTestFinished(() => running.stop());
  const sip = running.points[0]!.port;
  const admin = async (path: string, body: unknown): Promise<Response> =>
    fetch(`${running.admin}${path}`, {
      method: "POST",
      headers: { authorization: "Bearer t", "content-type": "application/json" },
      body: JSON.stringify(body),
    });

  point.decide = () => ({ decision: false, context: { rule: "nobody writes" } });
  expect(await message(sip)).toBe(403);
  expect(point.requests.at(-1)?.headers["authorization"]).toBe("Bearer secret");
  point.decide = () => ({ decision: true });
  expect(await message(sip)).toBe(403);
  expect((await admin("/api/v1/policy/changed", { aor: "alice@example.com" })).status).toBe(202);
  expect(await message(sip)).not.toBe(403);

  const explained = await fetch(
    `${running.admin}/api/v1/explain?method=MESSAGE&aor=alice@example.com&from=home&watcher=bob@example.com`,
    { headers: { authorization: "Bearer t" } },
  );
  expect(await explained.text()).toContain(`policy pdp: allow, by pdp ${url}`);

  running.reload(configured("{ way: root-only, contact: block }"));
  expect(await message(sip)).toBe(403);
  const rules = ruleset(
    rule("bob", one("bob@example.com"), "<im:handling>allow</im:handling>"),
    rule("x", "", handling("block")),
  );
  await directory.documents.put("alice@example.com", "im-rules", rules, {}, "alice");
  expect(await message(sip)).not.toBe(403);
  running.reload(configured("{ way: distributed, contact: block }"));
  expect(await message(sip)).not.toBe(403);
});
