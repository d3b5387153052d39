import { type ChildProcess, execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { pinned } from "./systems.ts";

/** What became of requests of one kind. Times in milliseconds. */
export interface Answers {
  readonly sent: number;
  readonly ok: number;
  readonly other: number;
  readonly lost: number;
  /** Of SUBSCRIBEs: how many were told of by a NOTIFY. */
  readonly notified: number;
  /** From the first request to the last answer. */
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly codes: Readonly<Record<string, number>>;
}

/** Since `mark`. */
export interface Counts {
  /** SUBSCRIBEs that open or refresh a leg, and those that end one. */
  readonly legs: number;
  readonly ended: number;
  /** Watchers were sent. */
  readonly notifies: number;
  /** NOTIFYs of the servers, and what the proxies answered. */
  readonly told: number;
  readonly toldOk: number;
  readonly toldOther: number;
  readonly codes: Readonly<Record<string, number>>;
  /** Requests that a proxy has sent again. */
  readonly repeated: number;
  /** NOTIFYs that a server has sent again. */
  readonly again: number;
  /** Requests for nobody. */
  readonly unknown: number;
  /** Seconds of processor time the generator has had since it began. */
  readonly cpu: number;
  /** CLOCK_MONOTONIC, seconds. */
  readonly at: number;
}

/** Times in milliseconds, from a server's NOTIFY to the watcher's. */
export interface Published {
  readonly changes: number;
  readonly shown: number;
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
}

export interface LoadOptions {
  readonly proxies: readonly number[];
  readonly watchers: number;
  readonly servers: readonly number[];
  readonly subscriptions: number;
  readonly perUser: number;
  /** Default presence. */
  readonly event?: string;
  /** Every server has all users, and publishes changes. */
  readonly publishes?: boolean;
}

/** Watchers and servers as bare UDP peers, in one process of presence-load.c. One order at a time. */
export class PresenceLoad {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  static async start(program: string, options: LoadOptions, cpu: number | undefined): Promise<PresenceLoad> {
    const { proxies, watchers, servers, subscriptions, perUser } = options;
    const event = options.event ?? "presence";
    const args = [
      "-e",
      event,
      "-p",
      proxies.join(),
      "-w",
      watchers,
      "-s",
      servers.join(),
      "-n",
      subscriptions,
      "-k",
      perUser,
      "-d",
      options.publishes === true ? 1 : 0,
    ];
    const child = spawn(...pinned(cpu, program, args.map(String)), { stdio: ["pipe", "pipe", "inherit"] });
    const load = new PresenceLoad(child);
    await load.#next();
    return load;
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  subscribe(first: number, count: number, window: number, seconds: number): Promise<Answers> {
    return this.#ask(`subscribe ${first} ${count} ${window} ${seconds}`);
  }

  /** @param rate a second; 0: as many as the window lets. @param shift 0: to the proxy that holds; 1: to the next one. */
  bind(
    users: { first: number; count: number },
    rate: number,
    window: number,
    server: number,
    shift: number,
  ): Promise<Answers> {
    return this.#ask(`bind ${users.first} ${users.count} ${rate} ${window} ${server} ${shift}`);
  }

  mark(): Promise<{ readonly at: number }> {
    return this.#ask("mark");
  }

  /** Until the watchers have that server's document. `last`: when the last one came, CLOCK_MONOTONIC in seconds. */
  settle(
    first: number,
    count: number,
    server: number,
    seconds: number,
  ): Promise<{ readonly shown: number; readonly last: number }> {
    return this.#ask(`settle ${first} ${count} ${server} ${seconds}`);
  }

  /** Until they were sent a NOTIFY since `mark`; when the first and the last came, CLOCK_MONOTONIC in seconds. */
  told(
    first: number,
    count: number,
    seconds: number,
  ): Promise<{ readonly told: number; readonly first: number; readonly last: number }> {
    return this.#ask(`told ${first} ${count} ${seconds}`);
  }

  /** For so many seconds servers in turn change what they show, at most `window` changes at a time that their watchers have not seen. */
  publish(first: number, count: number, window: number, seconds: number): Promise<Published> {
    return this.#ask(`publish ${first} ${count} ${window} ${seconds}`);
  }

  dump(first: number, count: number, file: string): Promise<object> {
    return this.#ask(`dump ${first} ${count} ${file}`);
  }

  counts(): Promise<Counts> {
    return this.#ask("counts");
  }

  async stop(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await exited;
  }

  async #ask<T>(order: string): Promise<T> {
    this.#child.stdin?.write(`${order}\n`);
    return (await this.#next()) as T;
  }

  async #next(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error("The load generator has ended.");
    return JSON.parse(line.value);
  }
}

export async function compilePresenceLoad(directory: string): Promise<string> {
  const program = join(directory, "presence-load");
  const source = fileURLToPath(new URL("presence-load.c", import.meta.url));
  await promisify(execFile)("gcc", ["-O2", "-o", program, source]);
  return program;
}

/** A line of `dump`. Moments in seconds of CLOCK_MONOTONIC; 0: never. */
export interface Seen {
  readonly user: number;
  readonly registered: number;
  readonly answered: number;
  readonly leg: number;
  readonly shown: number;
}

export function readSeen(text: string): Seen[] {
  return text
    .trim()
    .split("\n")
    .map((line) => {
      const [user = 0, registered = 0, answered = 0, leg = 0, shown = 0] = line.split(" ").map(Number);
      return { user, registered, answered, leg, shown };
    });
}

/** p50 and p99 of some values, in their unit. */
export function percentiles(values: readonly number[]): {
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
} {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), most: at(1) };
}
