import { execFile, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { createRealRuntime } from "../src/runtime/real.ts";
import type { UdpSocket } from "../src/runtime/runtime.ts";

/** A forwarder on 127.0.0.1: what comes from the port `to` goes to `back`, everything else to `to`. It parses nothing. */
export interface Forwarder {
  readonly listen: number;
  readonly to: number;
  readonly back: number;
}

/** A forwarder in a process of its own. */
export interface FloorProcess {
  /** Ends it, and tells the processor time it took, in microseconds. */
  stop(): Promise<number>;
}

const HOST = "127.0.0.1";
const BUFFER = 8 * 1024 * 1024;

/** `node:dgram` by itself: the floor any Node program stands on. Gives a function that closes it. */
async function bare({ listen, to, back }: Forwarder): Promise<() => void> {
  const socket = createSocket({ type: "udp4", lookup: (host, _options, done) => done(null, host, 4) });
  await new Promise<void>((resolve) => socket.bind(listen, HOST, resolve));
  socket.setRecvBufferSize(BUFFER);
  socket.setSendBufferSize(BUFFER);
  socket.on("message", (bytes, from) => socket.send(bytes, from.port === to ? back : to, HOST));
  return () => socket.close();
}

/** The same through the product's own Runtime: what that costs is the difference. */
async function throughRuntime({ listen, to, back }: Forwarder): Promise<() => void> {
  const { network } = createRealRuntime();
  const socket: UdpSocket = await network.udp(
    { host: HOST, port: listen },
    { receive: (bytes, _host, port) => socket.send(bytes, HOST, port === to ? back : to), failed: () => {} },
  );
  return () => void socket.close();
}

/**
 * Starts the forwarder as a child process, once it listens.
 * @param cpu pins it to this processor with taskset.
 */
export async function startFloor(
  forwarder: Forwarder,
  through: "node" | "runtime",
  cpu?: number,
): Promise<FloorProcess> {
  const self = [fileURLToPath(import.meta.url), "--through", through];
  const ports = Object.entries(forwarder).flatMap(([name, port]) => [`--${name}`, String(port)]);
  const node = [process.execPath, "--import", "tsx", ...self, ...ports];
  const [command = "", ...args] = cpu === undefined ? node : ["taskset", "-c", String(cpu), ...node];
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => reject(new Error("The forwarder did not start.")));
    child.stdout.once("data", () => resolve());
  });
  return {
    async stop() {
      child.kill("SIGTERM");
      await exited;
      return Number(/^cpu (\d+)$/m.exec(output)?.[1]);
    },
  };
}

/**
 * Without `--generator`: forwards until SIGTERM. With it (the program sipblast): both forwarders in turn on processor 0, the
 * generator on processor 1, and its figures.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      listen: { type: "string", default: "5060" },
      to: { type: "string", default: "5190" },
      back: { type: "string", default: "5180" },
      through: { type: "string", default: "node" },
      generator: { type: "string" },
      seconds: { type: "string", default: "10" },
    },
  });
  const forwarder = { listen: Number(values.listen), to: Number(values.to), back: Number(values.back) };
  if (values.generator !== undefined) {
    await compare(forwarder, values.generator, values.seconds);
    return;
  }
  const close = await (values.through === "runtime" ? throughRuntime(forwarder) : bare(forwarder));
  const started = process.cpuUsage();
  console.log(`forwarding ${HOST}:${forwarder.listen}`);
  process.once("SIGTERM", () => {
    close();
    const { user, system } = process.cpuUsage(started);
    console.log(`cpu ${user + system}`);
  });
}

async function compare(forwarder: Forwarder, generator: string, seconds: string): Promise<void> {
  for (const through of ["node", "runtime"] as const) {
    const floor = await startFloor(forwarder, through, 0);
    const ports = ["-s", forwarder.listen, "-c", forwarder.back, "-u", forwarder.to].map(String);
    const load = ["-c", "1", generator, ...ports, "-w", "64", "-t", seconds];
    const { stdout } = await promisify(execFile)("taskset", load).catch(async (error: unknown) => {
      await floor.stop();
      throw error;
    });
    const perRequest = (await floor.stop()) / Number(/ ok=(\d+)/.exec(stdout)?.[1]);
    console.log(`${through.padEnd(8)} ${perRequest.toFixed(2)} us of processor a request; ${stdout.trim()}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await run(process.argv.slice(2));
