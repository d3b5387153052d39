import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createExampleServer, type ExampleServer } from "../../src/demo/example-server.ts";
import { markOf } from "../../src/demo/presence-agent.ts";
import type { Watch } from "../../src/demo/watches.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { type Child, eventually, startChild } from "../support/child.ts";
import { lossy } from "../support/lossy.ts";
import { freePort } from "../support/ports.ts";
import type { TestDatabase, TestServer } from "../support/postgres.ts";

/** An exclusive domain over real sockets: two proxies in processes of their own on one PostgreSQL, servers, and where watchers live. */

/** Servers that may have a user. */
export const NAMES = ["east", "west", "north"] as const;
/** Where watchers live: each sends what begins a dialog to one of the proxies. */
const WATCHING = ["south", "mid"] as const;
const PORT = 15_260;

export const runtime = createRealRuntime();

export interface DomainOptions {
  /** 127.0.0.N of the first proxy; seven addresses from there are used. */
  readonly first: number;
  /** User parts; each of the three servers would have them all. */
  readonly users: readonly string[];
  /** Of what everybody sends by UDP, 0 to 1. */
  readonly loss: number;
}

interface Proxy {
  readonly host: string;
  readonly admin: string;
  readonly file: string;
  child: Child;
}

export class Domain {
  readonly servers: Record<string, ExampleServer> = {};
  readonly proxies: Proxy[] = [];
  /** Where each user was, in order. */
  readonly paths = new Map<string, string[]>();
  /** By user. */
  readonly watches = new Map<string, Watch[]>();
  database!: TestDatabase;
  readonly #postgres: TestServer;
  readonly #options: DomainOptions;
  readonly #directory = mkdtempSync(join(tmpdir(), "codomain-moving-"));
  #seed = 1;

  constructor(postgres: TestServer, options: DomainOptions) {
    this.#postgres = postgres;
    this.#options = options;
  }

  async start(): Promise<void> {
    const { first, users, loss } = this.#options;
    this.database = await this.#postgres.database();
    const proxies = [`127.0.0.${first}`, `127.0.0.${first + 1}`];
    const hosts = Object.fromEntries([...NAMES, ...WATCHING].map((name, i) => [name, `127.0.0.${first + 2 + i}`]));
    let serial = 0;
    for (const [i, [name, host]] of Object.entries(hosts).entries()) {
      const server = createExampleServer(lossy(runtime, loss, 100 + i), {
        name,
        listen: { host, port: PORT },
        users: i < NAMES.length ? users : [],
        domain: "example.com",
        proxy: { host: proxies[i % 2]!, port: PORT },
        onUnknown: "404",
        serial: () => ++serial,
      });
      this.servers[name] = server;
      await server.start();
    }
    for (const host of proxies) {
      const admin = `http://${host}:${await freePort(host)}`;
      const file = join(this.#directory, `${host}.yaml`);
      writeFileSync(file, configuration(host, admin, this.database.url, hosts));
      this.proxies.push({ host, admin, file, child: await this.launch(file) });
    }
  }

  /** Every user comes, to each server in turn. */
  async bindAll(): Promise<void> {
    const { users } = this.#options;
    await each(users, 20, async (user) => {
      const name = NAMES[users.indexOf(user) % NAMES.length]!;
      const answer = await this.servers[name]!.claim(user, 3600);
      if (answer?.status !== 200) throw new Error(`${user} was refused: ${answer?.status}`);
      this.paths.set(user, [name]);
    });
  }

  /** So many watch each user; resolves when all see him. @param expires seconds. */
  async watchAll(watchers: number, expires: number): Promise<void> {
    const pairs = this.#options.users.flatMap((user) => Array.from({ length: watchers }, (_, k) => ({ user, k })));
    await each(pairs, 50, async ({ user, k }) => {
      const from = this.servers[WATCHING[k % WATCHING.length]!]!;
      const watch = await from.watch(`watcher${k}-of-${user}`, `${user}@example.com`, { expires, keep: true });
      if (watch.answer?.status !== 200) throw new Error(`${user} ${k} was answered ${watch.answer?.status}`);
      this.watches.set(user, [...(this.watches.get(user) ?? []), watch]);
    });
    const all = [...this.watches.values()].flat();
    await eventually("every watcher sees his user", () => all.every((watch) => watch.phase === "active"), 60_000);
  }

  /** Where he is, as far as his moves were begun. */
  present(user: string): string {
    return this.paths.get(user)!.at(-1)!;
  }

  /** Watchers whose last document is not of their user's present server. */
  behind(): string[] {
    return [...this.watches].flatMap(([user, watches]) =>
      watches.flatMap((watch, k) => (lastServer(watch) === this.present(user) ? [] : [`${user} ${k}`])),
    );
  }

  /** What watchers saw that they must not have seen; empty if nothing. */
  faults(): string[] {
    return [...this.watches].flatMap(([user, watches]) =>
      watches.flatMap((watch, k) => faultsOf(watch, this.paths.get(user)!).map((fault) => `${user} ${k}: ${fault}`)),
    );
  }

  /** Texts of messages to a user, on all servers. */
  inbox(user: string): ReadonlySet<string> {
    return new Set(NAMES.flatMap((name) => (this.servers[name]!.inboxes.get(user) ?? []).map(({ text }) => text)));
  }

  async launch(file: string): Promise<Child> {
    const program = fileURLToPath(new URL("../support/lossy-proxy.ts", import.meta.url));
    const loss = String(this.#options.loss);
    const child = startChild(process.execPath, ["--import", "tsx", program, file, loss, String(this.#seed++)]);
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

  /** Its new epoch; null: the move was refused. By the second proxy, which lives. */
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
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function configuration(host: string, admin: string, url: string, hosts: Readonly<Record<string, string>>): string {
  const servers = Object.entries(hosts).map(([name, address]) => `  ${name}: { uri: "sip:${address}:${PORT}" }`);
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

export async function pause(ms: number): Promise<void> {
  await new Promise<void>((resolve) => runtime.timers.after(ms, resolve));
}

/** `work` for each, so many at once. */
export async function each<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item);
    }),
  );
}
