import { loadConfig } from "../config/load.ts";
import type { Directory } from "../directory/directory.ts";
import type { Address, Runtime } from "../runtime/runtime.ts";
import { type RunningServer, startServer } from "../server.ts";
import { Telemetry } from "../telemetry/events.ts";
import { createExampleServer, type ExampleServer } from "./example-server.ts";
import { type Column, drawLadder, labelOf } from "./ladder.ts";
import { type Tapped, tapped } from "./tap.ts";

const HOST = "127.0.0.1";
const FIRST_PORT = 15_060;
export const DOMAIN = "example.com";

/** The AoR of a user part. */
export function at(user: string): string {
  return `${user}@${DOMAIN}`;
}

/** Three example servers of one domain and the proxy between them, on loopback, with everything that is said written down. */
export interface ExampleDomain {
  readonly east: ExampleServer;
  readonly west: ExampleServer;
  readonly north: ExampleServer;
  /** Devices of users: each may send to the server it is connected to, and is no server of the proxy's. */
  readonly phones: ExampleServer;
  readonly proxy: RunningServer;
  /** Draws what was said since the last call. */
  ladder(): string[];
  /** How many messages since then begin so. */
  said(line: RegExp): number;
  /** Lets what is under way come to its end: until nothing new is said for a while, or 10 s have passed. */
  quiet(): Promise<void>;
  /** Until it is so, 20 s at most. */
  until(condition: () => boolean): Promise<void>;
  stop(): Promise<void>;
}

export interface DomainParts {
  readonly runtime: Runtime;
  /** Where the embedded Postgres keeps its data. */
  readonly data: string;
  readonly version: string;
  /** In place of the embedded Postgres. */
  readonly directory?: Directory;
}

export async function startDomain(parts: DomainParts): Promise<ExampleDomain> {
  const { runtime } = parts;
  const said: Tapped[] = [];
  // What a busy machine makes them send again is shown and counted once.
  const known = new Set<string>();
  const tap = tapped(runtime, (datagram) => {
    const key = `${datagram.from} ${datagram.to} ${datagram.text}`;
    if (!known.has(key)) said.push(datagram);
    known.add(key);
  });
  const proxyAt: Address = { host: HOST, port: FIRST_PORT };
  const servers = ["east", "west", "north"].map((name, i) =>
    createExampleServer(tap, {
      name,
      listen: { host: HOST, port: FIRST_PORT + 1 + i },
      users: [],
      domain: DOMAIN,
      proxy: proxyAt,
      onUnknown: "404",
      ...(name === "north" ? {} : { onward: { legs: (user, from) => legsOf(name, user, from), proxies: [proxyAt] } }),
    }),
  ) as [ExampleServer, ExampleServer, ExampleServer];
  const [east, west, north] = servers;
  const phones = createExampleServer(tap, {
    name: "phones",
    listen: { host: HOST, port: FIRST_PORT + 4 },
    users: [],
    domain: DOMAIN,
    proxy: proxyAt,
    onUnknown: "404",
  });
  const columns: Column[] = [
    { name: "east", port: FIRST_PORT + 1 },
    { name: "codomain", port: FIRST_PORT },
    { name: "west", port: FIRST_PORT + 2 },
    { name: "north", port: FIRST_PORT + 3 },
  ];
  const stops: Array<() => Promise<unknown>> = [];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    for (const server of [...servers, phones]) {
      await server.start();
      stops.push(() => server.stop());
    }
    const proxy = await startServer(configuration(servers, parts), {
      runtime,
      telemetry: new Telemetry(),
      version: parts.version,
      ...(parts.directory === undefined ? {} : { directory: parts.directory }),
    });
    stops.push(() => proxy.stop());
    let shown = 0;
    const domain: ExampleDomain = {
      east,
      west,
      north,
      phones,
      proxy,
      said: (line) => said.slice(shown).filter(({ text }) => line.test(text)).length,
      ladder: () => {
        const arrows = said.slice(shown).flatMap(({ from, to, text }) => {
          const label = labelOf(text);
          return label === undefined ? [] : [{ from, to, label }];
        });
        shown = said.length;
        return drawLadder(columns, arrows);
      },
      quiet: () => quiet(runtime, () => said.length),
      until: (condition) => until(runtime, condition),
      stop,
    };
    await domain.quiet();
    domain.ladder();
    return domain;
  } catch (error) {
    await stop();
    throw error;
  }
}

function configuration(servers: readonly ExampleServer[], parts: DomainParts) {
  const text = `
domain: ${DOMAIN}
listen: [ "udp://${HOST}:${FIRST_PORT}" ]
database: ${JSON.stringify(`embedded:${parts.data}`)}
admin: { url: "http://${HOST}:0" }
servers:
${servers.map(({ name, uri }) => `  ${name}: { uri: "${uri}", onward: ${name === "north" ? "none" : "both"} }`).join("\n")}
trees:
  offices: { root: east, children: { east: [west], west: [north] } }
models:
  - { match: "*.team@${DOMAIN}", model: unioned, style: peer, servers: [east, west, north] }
  - { match: "*.office@${DOMAIN}", model: unioned, style: hierarchical, tree: offices }
  - { match: "*.desk@${DOMAIN}", model: exclusive, conflict: refuse }
  - { match: "*.mobile@${DOMAIN}", model: exclusive, conflict: takeover }
logging: { level: off }
`;
  const loaded = loadConfig(text);
  if (loaded.config === undefined) throw new Error(`the demo's configuration is faulty: ${loaded.faults[0]?.message}`);
  return loaded.config;
}

/**
 * How many back-end subscriptions a server makes (draft, "Unioned"): among peers one, for whoever asks; in the tree of
 * offices what its parent asks goes to its child, what its own users ask goes up, but from the root.
 */
function legsOf(server: string, user: string, from: "own" | "asked"): number {
  if (user.endsWith(".team")) return 1;
  return user.endsWith(".office") && (server === "west" || from === "own" || server === "east") ? 1 : 0;
}

/** So many looks in a row must find nothing new: who is held up by a busy machine misses one of them, and not all. */
const LOOKS = 6;
const LOOK_MS = 20;

function quiet(runtime: Runtime, said: () => number): Promise<void> {
  return new Promise((resolve) => {
    const deadline = runtime.clock.now() + 10_000;
    const look = (before: number, left: number): void => {
      runtime.timers.after(LOOK_MS, () => {
        const now = said();
        const more = now === before ? left - 1 : LOOKS;
        if (more === 0 || runtime.clock.now() >= deadline) resolve();
        else look(now, more);
      });
    };
    look(said(), LOOKS);
  });
}

function until(runtime: Runtime, condition: () => boolean): Promise<void> {
  const deadline = runtime.clock.now() + 20_000;
  return new Promise((resolve) => {
    const look = (): void => {
      if (condition() || runtime.clock.now() >= deadline) resolve();
      else runtime.timers.after(20, look);
    };
    look();
  });
}
