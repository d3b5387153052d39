import { execFile } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pg from "pg";
import { createDirectory } from "../src/directory/postgres/directory.ts";
import { EmbeddedPostgres } from "../src/directory/postgres/embedded.ts";
import { createRealRuntime } from "../src/runtime/real.ts";
import { Telemetry } from "../src/telemetry/events.ts";
import { type Child, eventually, startChild } from "../test/support/child.ts";
import { freePort } from "../test/support/ports.ts";
import { compilePresenceLoad, PresenceLoad } from "./presence-load.ts";
import { pinned, processorSeconds, resident } from "./systems.ts";

export interface DomainOptions {
  readonly directory: string;
  readonly proxies: number;
  readonly subscriptions: number;
  readonly perUser: number;
  /** The last proxy is asked nothing. */
  readonly standby?: boolean;
  /** Processors of the proxies, and of PostgreSQL and the generator; undefined: wherever there is room. */
  readonly cpus: readonly [number | undefined, number | undefined];
  /** Users are on so many servers at once, which are peers (unioned), in place of on one of two. */
  readonly children?: number;
  /** Writes a .cpuprofile of each proxy there. */
  readonly profile?: string;
}

/** Processor time so far, seconds. */
export interface Spent {
  readonly at: number;
  readonly proxies: number;
  readonly postgres: number;
  readonly load: number;
}

export const PROXY_PORTS = [5160, 5161] as const;
export const WATCHER_PORT = 5180;
export const SERVER_PORTS = [5190, 5191, 5192, 5193, 5194, 5195, 5196, 5197] as const;
const SERVERS = ["east", "north", "south", "up", "under", "left", "right", "out"] as const;

/**
 * A domain to be measured: PostgreSQL as the product embeds it, one or two proxies, users with a record each, and the
 * generator as their watchers (who live on the server `west`) and as the servers `east` and `north`.
 */
export class Domain {
  readonly load: PresenceLoad;
  readonly admin: string;
  readonly #postgres: EmbeddedPostgres;
  readonly #proxies: ReadonlyArray<Child & { readonly stamps: string }>;

  private constructor(
    load: PresenceLoad,
    admin: string,
    postgres: EmbeddedPostgres,
    proxies: ReadonlyArray<Child & { readonly stamps: string }>,
  ) {
    this.load = load;
    this.admin = admin;
    this.#postgres = postgres;
    this.#proxies = proxies;
  }

  static async start(options: DomainOptions): Promise<Domain> {
    const { directory, subscriptions, perUser, cpus } = options;
    const program = await compilePresenceLoad(directory);
    const ports = PROXY_PORTS.slice(0, options.proxies);
    const children = options.children ?? 0;
    const postgres = await EmbeddedPostgres.start(createRealRuntime(), new Telemetry(), {
      directory: join(directory, `data-${options.proxies}`),
    });
    const started: Child[] = [];
    try {
      if (cpus[1] !== undefined)
        await promisify(execFile)("taskset", ["-a", "-c", "-p", String(cpus[1]), String(postgres.pid)]);
      await importUsers(postgres.url, Math.ceil(subscriptions / perUser));
      const load = await PresenceLoad.start(
        program,
        {
          proxies: options.standby === true ? ports.slice(0, -1) : ports,
          watchers: WATCHER_PORT,
          servers: SERVER_PORTS.slice(0, children || EXCLUSIVE_SERVERS),
          subscriptions,
          perUser,
          publishes: children > 0,
        },
        cpus[1],
      );
      const proxies = [];
      let admin = "";
      for (const port of ports) {
        admin = `http://127.0.0.1:${await freePort()}`;
        const file = join(directory, `proxy-${port}.yaml`);
        const stamps = join(directory, `stamps-${port}`);
        writeFileSync(file, configuration(port, admin, postgres.url, children));
        const node = options.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${options.profile}`];
        const self = fileURLToPath(new URL("stamped-proxy.ts", import.meta.url));
        const child = startChild(
          ...pinned(cpus[0], process.execPath, [...node, "--import", "tsx", self, file, stamps]),
        );
        started.push(child);
        await eventually("the proxy to start", () => routes(child), 60_000);
        proxies.push({ ...child, stamps });
      }
      return new Domain(load, admin, postgres, proxies);
    } catch (error) {
      for (const each of started) await each.stop();
      await postgres.stop();
      throw error;
    }
  }

  spent(loadCpu: number): Spent {
    const proxies = this.#proxies.reduce((sum, { pid }) => sum + processorSeconds(pid), 0);
    return { at: performance.now() / 1000, proxies, postgres: processorSeconds(this.#postgres.pid), load: loadCpu };
  }

  async spentNow(): Promise<Spent> {
    return this.spent((await this.load.counts()).cpu);
  }

  /** Resident octets of the proxies that run. */
  get resident(): number {
    return this.#proxies.reduce((sum, { pid }) => sum + resident(pid), 0);
  }

  /** Ends the first proxy without a word. */
  async kill(): Promise<void> {
    this.#proxies[0]!.signal("SIGKILL");
    await this.#proxies[0]!.exited;
  }

  async query<Row extends object>(text: string): Promise<Row[]> {
    const client = new pg.Client({ connectionString: this.#postgres.url });
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** Ends the proxies; when each claim's answer came, in seconds of CLOCK_MONOTONIC, by user, the last one. */
  async stopProxies(): Promise<ReadonlyMap<number, number>> {
    const bound = new Map<number, number>();
    for (const each of this.#proxies) {
      await each.stop(30_000);
      if (!existsSync(each.stamps)) continue;
      for (const line of readFileSync(each.stamps, "utf8").split("\n")) {
        const [aor = "", at = ""] = line.split(" ");
        if (aor !== "") bound.set(Number(/^user(\d+)@/.exec(aor)?.[1]), Number(at));
      }
    }
    return bound;
  }

  /** What the proxies complained of. */
  get complaints(): string {
    return this.#proxies.map((each) => each.output().replaceAll("started\n", "")).join("");
  }

  async stop(): Promise<void> {
    for (const each of this.#proxies) await each.stop(30_000);
    await this.load.stop();
    await this.#postgres.stop();
  }
}

function routes(child: Child): boolean {
  if (child.output().includes("started")) return true;
  if (/Error/.test(child.output())) throw new Error(child.output());
  return false;
}

async function importUsers(url: string, count: number): Promise<void> {
  const directory = await createDirectory(createRealRuntime(), new Telemetry(), { database: url, proxy: "import" });
  await directory.start();
  try {
    for (let first = 0; first < count; first += 1000) {
      const some = Array.from({ length: Math.min(1000, count - first) }, (_, i) => i + first);
      await directory.importUsers(
        some.map((n) => ({ aor: `user${n}@example.com`, model: null, server: null })),
        "bench",
      );
    }
  } finally {
    await directory.stop();
  }
}

const EXCLUSIVE_SERVERS = 2;

function configuration(port: number, admin: string, url: string, children: number): string {
  const names = SERVERS.slice(0, children || EXCLUSIVE_SERVERS);
  const model =
    children > 0 ? `model: unioned, style: peer, servers: [${names}]` : "model: exclusive, conflict: takeover";
  const servers = names.map((name, i) => `  ${name}: { uri: "sip:127.0.0.1:${SERVER_PORTS[i]}", proves: [] }`);
  return `
domain: example.com
proxy-name: "proxy-${port}"
listen: [ "udp://127.0.0.1:${port}" ]
database: "${url}"
admin: { url: "${admin}" }
servers:
  west: { uri: "sip:127.0.0.1:${WATCHER_PORT}", proves: [] }
${servers.join("\n")}
models:
  - { match: "*@example.com", ${model} }
health: { interval: 1h }
logging: { level: off }
`;
}
