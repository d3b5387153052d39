import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import type { Network, Runtime, UdpHandler } from "../src/runtime/runtime.ts";
import type { RunningServer } from "../src/server.ts";
import { buildResponse } from "../src/sip/message/build.ts";
import type { SipRequest } from "../src/sip/message/message.ts";
import { parseMessage } from "../src/sip/message/parse.ts";

const HOST = "127.0.0.1";
const SYSTEM = 5160;
const CALLER = 5180;
const CALLEE = 5190;
const USERS = 10_000;
/** As many as sipblast keeps outstanding. */
const BATCH = 64;

/**
 * The whole program in this process, relaying MESSAGEs to mapped users, with nothing below its sockets: what of a relay is
 * ours. Processor time is told for each batch of 64, from low to high: on a busy machine the low ones are those that nothing
 * came between, and compare from one commit to the next where a rate does not.
 *   npm run bench -- relay-inside --relays 200000
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { relays: { type: "string", default: "200000" } } });
  // What this directory keeps would teach V8 to put parsed messages among the old objects: the product's does not.
  setFlagsFromString("--no-allocation-site-pretenuring");
  const wire = new Wire();
  const running = await start(wire);
  try {
    const batches = Math.ceil(Number(values.relays) / BATCH);
    for (let i = 0; i < batches / 2; i++) await relay(wire);
    const taken: number[] = [];
    for (let i = 0; i < batches; i++) taken.push((await relay(wire)) / BATCH);
    taken.sort((a, b) => a - b);
    const at = (share: number): string => taken[Math.floor(share * taken.length)]!.toFixed(2);
    console.log(`us of processor a relay: 2 % of batches below ${at(0.02)}, 10 % ${at(0.1)}, half ${at(0.5)}`);
    if (wire.delivered !== wire.made) throw new Error(`${wire.delivered} of ${wire.made} were answered 200`);
  } finally {
    await running.stop();
  }
}

/** The callers and the callees. */
class Wire {
  made = 0;
  delivered = 0;
  handler: UdpHandler = { receive() {}, failed() {} };
  #asked: Uint8Array[] = [];

  network(real: Network): Network {
    const udp: Network["udp"] = async (local, handler) => {
      this.handler = handler;
      return { local, send: (bytes, _host, port) => this.#take(bytes, port), close: async () => {} };
    };
    return { ...real, udp };
  }

  #take(bytes: Uint8Array, port: number): void {
    if (port === CALLEE) this.#asked.push(bytes);
    else if (textOf(bytes).startsWith("SIP/2.0 200 ")) this.delivered++;
  }

  requests(): Uint8Array[] {
    return Array.from({ length: BATCH }, () => request(this.made++));
  }

  answers(): Uint8Array[] {
    return this.#asked.splice(0).map((each) => {
      const asked = parseMessage(textOf(each)) as SipRequest;
      return octets(buildResponse(asked, 200, undefined, { toTag: "u0" }).raw);
    });
  }
}

/** Microseconds of processor for a batch, without those of its making. */
async function relay(wire: Wire): Promise<number> {
  const requests = wire.requests();
  let before = processor();
  for (const each of requests) wire.handler.receive(each, HOST, CALLER);
  let taken = processor() - before;
  const answers = wire.answers();
  before = processor();
  for (const each of answers) wire.handler.receive(each, HOST, CALLEE);
  await new Promise(setImmediate);
  taken += processor() - before;
  return taken;
}

function processor(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** A module of the built program: tsx gives every function its name at run time, which costs a fifth of a relay. */
async function built<Module>(path: string): Promise<Module> {
  return (await import(new URL(`../dist/${path}.js`, import.meta.url).href)) as Module;
}

async function start(wire: Wire): Promise<RunningServer> {
  const { loadConfig } = await built<typeof import("../src/config/load.ts")>("config/load");
  const { createMemoryDatabase } = await built<typeof import("../src/directory/memory.ts")>("directory/memory");
  const { createRealRuntime } = await built<typeof import("../src/runtime/real.ts")>("runtime/real");
  const { startServer } = await built<typeof import("../src/server.ts")>("server");
  const { Telemetry } = await built<typeof import("../src/telemetry/events.ts")>("telemetry/events");
  const real = createRealRuntime();
  const runtime: Runtime = { ...real, network: wire.network(real.network) };
  const loaded = loadConfig(
    `
domain: example.com
listen: [ "udp://${HOST}:${SYSTEM}" ]
servers:
  callers: { uri: "sip:${HOST}:${CALLER}", proves: [] }
  callees: { uri: "sip:${HOST}:${CALLEE}", proves: [] }
health: { interval: 1h }
logging: { level: off }
admin: { url: "http://${HOST}:0" }
`,
    { env: {}, file: "relay-inside.yaml" },
  );
  if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
  const directory = createMemoryDatabase(runtime).directory("bench");
  const starting = startServer(loaded.config, { runtime, telemetry: new Telemetry(), version: "bench", directory });
  // The servers are asked once before the proxy is ready.
  const answering = setInterval(() => {
    for (const each of wire.answers()) wire.handler.receive(each, HOST, CALLEE);
  }, 10);
  const running = await starting.finally(() => clearInterval(answering));
  const rows = Array.from({ length: USERS }, (_, i) => ({ aor: userOf(i), model: null, server: "callees" }));
  await directory.importUsers(rows, "bench");
  return running;
}

function userOf(n: number): string {
  return `user${n % USERS}@example.com`;
}

function request(n: number): Uint8Array {
  const user = userOf(Math.imul(n, 2_654_435_761) >>> 0);
  const lines = [
    `MESSAGE sip:${user} SIP/2.0`,
    `Via: SIP/2.0/UDP ${HOST}:${CALLER};branch=z9hG4bK0000abcd${n.toString(16).padStart(8, "0")};rport`,
    "Max-Forwards: 70",
    `From: <sip:watcher${n % USERS}@example.com>;tag=f${n}`,
    `To: <sip:${user}>`,
    `Call-ID: 0000abcd-${n}@${HOST}`,
    "CSeq: 1 MESSAGE",
    "User-Agent: relay-inside",
    "Content-Type: text/plain",
    "Content-Length: 11",
    "",
    "hello world",
  ];
  return octets(lines.join("\r\n"));
}

function octets(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}
