import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createExampleServer, type ExampleServer } from "../../src/demo/example-server.ts";
import { markOf } from "../../src/demo/presence-agent.ts";
import type { Watch } from "../../src/demo/watches.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { type Child, eventually, startChild } from "../support/child.ts";
import { lossy } from "../support/lossy.ts";
import { freePort } from "../support/ports.ts";
import { startTestServer, type TestDatabase, type TestServer } from "../support/postgres.ts";

/**
 * Users are moved by an admin between three servers while ten watchers each look on, packets are lost, and one of the two
 * proxies is killed: real sockets, real processes, a real PostgreSQL. `CODOMAIN_FULL=1`: 1,000 users for a minute.
 */

const FULL = process.env["CODOMAIN_FULL"] === "1";
const USERS = FULL ? 1_000 : 60;
const WATCHERS = FULL ? 10 : 3;
const MOVING_MS = FULL ? 60_000 : 8_000;
const MOVES_PER_SECOND = FULL ? 30 : 15;
const LOSS = 0.02;
/** A lease that lapses, what waits for retransmissions, and retries with back-off. */
const CALM_MS = FULL ? 150_000 : 75_000;

const PROXIES = ["127.0.0.41", "127.0.0.42"] as const;
const SERVERS = { east: "127.0.0.51", west: "127.0.0.52", north: "127.0.0.53" } as const;
/** Where the watchers live: each sends what begins a dialog to one of the proxies. */
const WATCHING = { south: "127.0.0.54", mid: "127.0.0.55" } as const;
const NAMES = Object.keys(SERVERS) as ReadonlyArray<keyof typeof SERVERS>;
const PORT = 15_260;

interface Proxy {
  readonly host: string;
  readonly admin: string;
  readonly file: string;
  child: Child;
}

const runtime = createRealRuntime();
let postgres: TestServer;

beforeAll(async () => {
  postgres = await startTestServer();
});

afterAll(async () => {
  await postgres.stop();
});

class Domain {
  readonly servers: Record<string, ExampleServer> = {};
  readonly proxies: Proxy[] = [];
  database!: TestDatabase;
  directory!: string;
  #seed = 1;

  async start(): Promise<void> {
    this.database = await postgres.database();
    this.directory = mkdtempSync(join(tmpdir(), "codomain-moving-"));
    let serial = 0;
    const users = Array.from({ length: USERS }, (_, i) => `user${i}`);
    for (const [i, [name, host]] of Object.entries({ ...SERVERS, ...WATCHING }).entries()) {
      const server = createExampleServer(lossy(runtime, LOSS, 100 + i), {
        name,
        listen: { host, port: PORT },
        users: name in SERVERS ? users : [],
        domain: "example.com",
        proxy: { host: PROXIES[i % 2]!, port: PORT },
        onUnknown: "404",
        serial: () => ++serial,
      });
      this.servers[name] = server;
      await server.start();
    }
    for (const host of PROXIES) {
      const admin = `http://${host}:${await freePort(host)}`;
      const file = join(this.directory, `${host}.yaml`);
      writeFileSync(file, configuration(host, admin, this.database.url));
      this.proxies.push({ host, admin, file, child: await this.launch(file) });
    }
  }

  async launch(file: string): Promise<Child> {
    const program = fileURLToPath(new URL("../support/lossy-proxy.ts", import.meta.url));
    const child = startChild(process.execPath, ["--import", "tsx", program, file, String(LOSS), String(this.#seed++)]);
    await eventually(
      `the proxy of ${file}`,
      () => {
        if (child.output().includes("started")) return true;
        if (/Error/.test(child.output())) throw new Error(child.output());
        return false;
      },
      60_000,
    );
    return child;
  }

  async move(user: string, server: string): Promise<number | null> {
    const response = await fetch(`${this.proxies[1]!.admin}/api/v1/users/${user}@example.com/move`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ server }),
    });
    if (!response.ok) return null;
    return ((await response.json()) as { binding: { epoch: number } }).binding.epoch;
  }

  async stop(): Promise<void> {
    for (const server of Object.values(this.servers)) await server.stop();
    for (const { child } of this.proxies) await child.stop();
    await this.database.drop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function configuration(host: string, admin: string, url: string): string {
  const servers = Object.entries({ ...SERVERS, ...WATCHING }).map(
    ([name, address]) => `  ${name}: { uri: "sip:${address}:${PORT}" }`,
  );
  return `
domain: example.com
proxy-name: proxy-${host}
listen: ["udp://${host}:${PORT}", "tcp://${host}:${PORT}"]
database: ${url}
admin: { url: "${admin}" }
logging: { level: "off" }
messages: { absent: store }
servers:
${servers.join("\n")}
models:
  - { match: "*@example.com", model: exclusive, conflict: takeover }
`;
}

/** What one watcher saw that he must not have seen; empty if nothing. */
function faultsOf(watch: Watch, path: readonly string[]): string[] {
  const faults: string[] = [];
  if (watch.backward > 0) faults.push(`${watch.backward} NOTIFYs went back in CSeq`);
  let shown = "";
  /** By server: a document is numbered when its server makes it, so numbers of different servers say nothing. */
  const newest = new Map<string, number>();
  let at = -1;
  for (const { state, document, cseq } of watch.notified) {
    if (state.startsWith("terminated")) faults.push(`${cseq}: ${state}`);
    const mark = markOf(document);
    if (mark === undefined) continue;
    const { server, serial } = mark;
    const before = newest.get(server) ?? 0;
    if (serial < before) faults.push(`${cseq}: ${server} ${serial} after ${before}`);
    newest.set(server, serial);
    if (server === shown) continue;
    const next = path.indexOf(server, at + 1);
    if (next < 0) faults.push(`${cseq}: ${server} after ${shown}, where he was not since (${path.join(", ")})`);
    else at = next;
    shown = server;
  }
  return faults;
}

function lastServer(watch: Watch): string | undefined {
  return watch.notified.map(({ document }) => markOf(document)?.server).findLast((each) => each !== undefined);
}

async function pause(ms: number): Promise<void> {
  await new Promise<void>((resolve) => runtime.timers.after(ms, resolve));
}

/** `work` for each, so many at once. */
async function each<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item);
    }),
  );
}

describe.each([{ after: "and restarted" }, { after: "and left dead" }])(
  "one proxy killed with -9 $after",
  ({ after }) => {
    it(
      `${USERS} users with ${WATCHERS} watchers each, moved by the admin: nobody watching notices`,
      async () => {
        const domain = new Domain();
        await domain.start();
        try {
          await scenario(domain, after === "and restarted");
        } finally {
          await domain.stop();
        }
      },
      MOVING_MS + CALM_MS + 240_000,
    );
  },
);

async function scenario(domain: Domain, restarts: boolean): Promise<void> {
  const { servers } = domain;
  const users = Array.from({ length: USERS }, (_, i) => `user${i}`);
  /** Where each user was, in order. */
  const paths = new Map<string, string[]>();
  await each(users, 20, async (user) => {
    const name = NAMES[users.indexOf(user) % NAMES.length]!;
    const answer = await servers[name]!.claim(user, 3600);
    expect(answer?.status).toBe(200);
    paths.set(user, [name]);
  });

  const watches = new Map<string, Watch[]>();
  const pairs = users.flatMap((user, i) =>
    Array.from({ length: WATCHERS }, (_, k) => ({ user, watcher: `w${i}-${k}` })),
  );
  await each(pairs, 50, async ({ user, watcher }) => {
    const from = watcher.endsWith("0") || watcher.endsWith("2") ? servers["south"]! : servers["mid"]!;
    const watch = await from.watch(watcher, `${user}@example.com`, { expires: 60, keep: true });
    watches.set(user, [...(watches.get(user) ?? []), watch]);
  });
  const all = [...watches.values()].flat();
  for (const watch of all) expect(watch.answer?.status).toBe(200);
  await eventually("every watcher sees his user", () => all.every((watch) => watch.phase === "active"), 60_000);

  /** What was answered 202, by user. */
  const accepted = new Map<string, string[]>();
  let killed = false;
  const started = runtime.clock.now();
  const random = (below: number): number => runtime.random.integer(below);
  const chores: Promise<void>[] = [];
  for (let turn = 0; runtime.clock.now() - started < MOVING_MS; turn++) {
    const user = users[random(USERS)]!;
    const server = NAMES[random(NAMES.length)]!;
    chores.push(moveAndWrite(domain, paths, accepted, user, server, turn));
    if (turn % 4 === 0) servers[paths.get(user)!.at(-1)!]!.show(user, turn % 8 === 0 ? "closed" : "open");
    if (!killed && runtime.clock.now() - started > MOVING_MS / 3) {
      killed = true;
      const proxy = domain.proxies[0]!;
      proxy.child.signal("SIGKILL");
      await proxy.child.exited;
      if (restarts) proxy.child = await domain.launch(proxy.file);
    }
    await pause(1000 / MOVES_PER_SECOND);
  }
  await Promise.all(chores);

  const present = (user: string): string => paths.get(user)!.at(-1)!;
  const behind = (): string[] =>
    users.flatMap((user) =>
      watches.get(user)!.flatMap((watch, k) => (lastServer(watch) === present(user) ? [] : [`${user} ${k}`])),
    );
  await eventually("every watcher is on the user's present server", () => behind().length === 0, CALM_MS).catch(() =>
    expect(behind()).toEqual([]),
  );
  const faults = users.flatMap((user) =>
    watches
      .get(user)!
      .flatMap((watch, k) => faultsOf(watch, paths.get(user)!).map((fault) => `${user} ${k}: ${fault}`)),
  );
  expect(faults).toEqual([]);

  const missing = (): string[] =>
    [...accepted].flatMap(([user, texts]) => {
      const read = new Set(NAMES.flatMap((name) => (servers[name]!.inboxes.get(user) ?? []).map(({ text }) => text)));
      return texts.filter((text) => !read.has(text)).map((text) => `${user}: ${text}`);
    });
  await eventually("every message answered 2xx is delivered", () => missing().length === 0, CALM_MS).catch(() =>
    expect(missing()).toEqual([]),
  );

  const client = await domain.database.connect();
  const { rows } = await client.query<{ aor: string; server: string }>("select aor, server from codomain.bindings");
  expect(new Map(rows.map(({ aor, server }) => [aor.split("@")[0], server]))).toEqual(
    new Map(users.map((user) => [user, present(user)])),
  );
}

/** Moves of one user go one after the other, so that his path is known; a message is on its way at the same time. */
async function moveAndWrite(
  domain: Domain,
  paths: Map<string, string[]>,
  accepted: Map<string, string[]>,
  user: string,
  server: string,
  turn: number,
): Promise<void> {
  const writes = async (): Promise<void> => {
    if (turn % 3 !== 0) return;
    const text = `message ${turn}`;
    const answer = await domain.servers["mid"]!.ask({
      method: "MESSAGE",
      from: "w",
      to: `${user}@example.com`,
      body: text,
    });
    if (answer !== null && answer.status < 300) accepted.set(user, [...(accepted.get(user) ?? []), text]);
  };
  const moves = async (): Promise<void> => {
    const path = paths.get(user)!;
    // He is entered at once: what his watchers see of it may come before the answer.
    if (path.at(-1) !== server && !busy.has(user)) {
      busy.add(user);
      path.push(server);
      const epoch = await domain.move(user, server);
      busy.delete(user);
      expect(epoch).not.toBeNull();
    }
  };
  await Promise.all([moves(), writes()]);
}

const busy = new Set<string>();
