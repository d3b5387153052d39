import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { eventually, startChild } from "./child.ts";
import { ask, wirePeer } from "./wire.ts";

const run = promisify(execFile);
const START = fileURLToPath(new URL("../../docker/kamailio/start", import.meta.url));

export interface KamailioOptions {
  readonly host: string;
  readonly port?: number;
  /** Address and port of the proxy, as docker/kamailio/start wants it. */
  readonly proxy: string;
  readonly users?: readonly string[];
  /** What it does for users it does not hold; see docker/kamailio/start. */
  readonly unknown?: "404" | "accept" | "back" | "hide";
  /** Its users live where they register, and the proxy is told by REGISTER, by PUBLISH, or asks (docker/kamailio/exclusive.cfg). */
  readonly model?: "exclusive" | "exclusive-publish" | "exclusive-reg";
  /** `user:password` who writes users' presence rules there over XCAP; without it all may watch. */
  readonly xcap?: string;
  /** Its users have resource lists (`kamailio-lists.ts`); needs a `database`. */
  readonly lists?: boolean;
  /** PostgreSQL URL for its presence tables; SQLite in its run directory where absent. */
  readonly database?: string;
}

/** A real Kamailio on an address of its own, started as compose starts it. */
export interface Kamailio {
  readonly host: string;
  readonly port: number;
  readonly uri: string;
  readonly pid: number;
  hold(user: string): Promise<void>;
  release(user: string): Promise<void>;
  /** The contacts registered for a user: in its memory and, with a model, in its database, which must agree. */
  contacts(user: string): Promise<readonly string[]>;
  /** How often it was asked, outside dialogs and without retransmissions. */
  seen(method: string, user: string): Promise<number>;
  /** Everything it was asked, as `METHOD user` -> times. */
  seenAll(): Promise<ReadonlyMap<string, number>>;
  /** One of Kamailio's own counters, `core.rcv_requests_message` for one. */
  statistic(name: string): Promise<number>;
  log(): string;
  stop(): Promise<void>;
}

export async function startKamailio(options: KamailioOptions): Promise<Kamailio> {
  const port = options.port ?? 5060;
  const directory = mkdtempSync(join(tmpdir(), "kamailio-"));
  const control = `unix:${directory}/ctl`;
  const child = startChild(START, [], {
    // Its workers may hang when it ends, and would keep the address.
    detached: true,
    env: {
      ...process.env,
      LISTEN: `${options.host}:${port}`,
      RUN: directory,
      PROXY: options.proxy,
      USERS: (options.users ?? []).join(","),
      UNKNOWN: options.unknown ?? "404",
      MODEL: options.model ?? "",
      XCAP: options.xcap ?? "",
      LISTS: options.lists === true ? "1" : "",
      ...(options.database === undefined ? {} : { DB: options.database }),
    },
  });
  const rpc = async (...args: string[]): Promise<string> =>
    (await run("kamcmd", ["-s", control, ...args], { timeout: 10_000 })).stdout;
  const stop = async (): Promise<void> => {
    await child.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  let ended = false;
  void child.exited.then(() => {
    ended = true;
  });
  try {
    await eventually(`${directory}/ctl`, () => ended || existsSync(`${directory}/ctl`));
    await answersOptions(options.host, port, () => ended);
  } catch (error) {
    await stop();
    throw new Error(
      `Kamailio on ${options.host}:${port} did not start: ${String(error)}\n${child.output().slice(-2000)}`,
    );
  }
  return {
    host: options.host,
    port,
    uri: `sip:${options.host}:${port}`,
    pid: child.pid,
    hold: async (user) => void (await rpc("htable.seti", "users", user, "1")),
    release: async (user) => void (await rpc("htable.delete", "users", user)),
    contacts: async (user) => {
      const table = await rpc("ul.dump");
      const record = table.split(/^\s*Info: \{/m).find((each) => new RegExp(`AoR: ${user}$`, "m").test(each)) ?? "";
      const contacts = [...record.matchAll(/^\s*Address: (\S+)$/gm)].map((match) => match[1] ?? "");
      if (options.model === undefined) return contacts;
      const query = `select contact from location where username = '${user}'`;
      const { stdout } = await run("sqlite3", ["-readonly", `${directory}/location.db`, query], { timeout: 10_000 });
      const kept = stdout.split("\n").filter((line) => line !== "");
      if (kept.toSorted().join() !== contacts.toSorted().join()) {
        throw new Error(`${user} has ${contacts.join(" ")} in memory, but ${kept.join(" ")} in the database`);
      }
      return contacts;
    },
    seen: async (method, user) => (await seenTable(rpc)).get(`${method} ${user}`) ?? 0,
    seenAll: () => seenTable(rpc),
    statistic: async (name) => {
      const answer = await rpc("stats.fetch", name);
      return Number(/:\s*(\d+)/.exec(answer)?.[1] ?? Number.NaN);
    },
    log: child.output,
    stop,
  };
}

async function seenTable(rpc: (...args: string[]) => Promise<string>): Promise<ReadonlyMap<string, number>> {
  const seen = new Map<string, number>();
  const dump = await rpc("htable.dump", "seen");
  for (const entry of dump.matchAll(/name: (\S+ .+)\n\s*value: (\d+)/g)) seen.set(entry[1] ?? "", Number(entry[2]));
  return seen;
}

async function answersOptions(host: string, port: number, gone: () => boolean): Promise<void> {
  const peer = await wirePeer(host);
  try {
    await eventually(`an answer to OPTIONS from ${host}:${port}`, async () => {
      if (gone()) throw new Error("it ended");
      const answer = await ask(
        peer,
        { host, port },
        { method: "OPTIONS", uri: `sip:${host}:${port}`, from: `sip:probe@${host}` },
        500,
      );
      return answer.status === 200;
    });
  } finally {
    await peer.close();
  }
}
