import { createSocket, type Socket } from "node:dgram";
import { expect, it, onTestFinished } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { startServer } from "../../src/server.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { leakChecked } from "../support/leak.ts";

async function socket(): Promise<Socket> {
  const opened = createSocket("udp4");
  await new Promise<void>((resolve) => opened.bind(0, "127.0.0.1", resolve));
  onTestFinished(() => new Promise<void>((resolve) => opened.close(() => resolve())));
  return opened;
}

async function startProxy(more: string) {
  const runtime = leakChecked(createRealRuntime());
  const telemetry = new Telemetry();
  const text = `
domain: example.com
listen: ["udp://127.0.0.1:0"]
admin: { url: "http://127.0.0.1:0" }
servers: { east: { uri: "sip:127.0.0.2:9" } }
health: { interval: 0s }
logging: { level: off }
${more}`;
  const loaded = loadConfig(text, { env: {}, file: "test.yaml" });
  if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
  const directory = createMemoryDatabase(runtime).directory("proxy-1");
  const running = await startServer(loaded.config, { runtime, telemetry, version: "0.0.0", directory });
  onTestFinished(() => running.stop());
  return { port: running.points[0]!.port, telemetry };
}

it("a configured capture gets what the proxy got and what it answered", async () => {
  const collector = await socket();
  const client = await socket();
  const wanted = ["OPTIONS sip:127.0.0.1", "SIP/2.0 200"];
  const got = new Promise<void>((resolve) => {
    collector.on("message", (bytes) => {
      const packet = bytes.toString("latin1");
      if (!packet.startsWith("HEP3") || !packet.includes("wired-1") || !packet.includes("the key")) return;
      if (packet.includes(wanted[0]!)) wanted.shift();
      if (wanted.length === 0) resolve();
    });
  });
  const hep = `udp://127.0.0.1:${collector.address().port}`;
  const { port } = await startProxy(`capture: { hep: "${hep}", key: the key }\n`);
  const lines = [
    `OPTIONS sip:127.0.0.1:${port} SIP/2.0`,
    `Via: SIP/2.0/UDP 127.0.0.1:${client.address().port};branch=z9hG4bKwired`,
    "Max-Forwards: 70",
    "From: <sip:bob@example.com>;tag=1",
    `To: <sip:127.0.0.1:${port}>`,
    "Call-ID: wired-1",
    "CSeq: 1 OPTIONS",
    "Content-Length: 0",
  ];
  client.send(`${lines.join("\r\n")}\r\n\r\n`, port, "127.0.0.1");
  await got;
  expect(wanted).toEqual([]);
});

it("without one nobody listens to messages", async () => {
  const { telemetry } = await startProxy("");
  expect(telemetry.wants("message")).toBe(false);
});
