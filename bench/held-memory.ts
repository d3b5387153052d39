import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import type { ComposePlan } from "../src/federation/plan.ts";
import { Accepting } from "../src/subscription/accept.ts";
import { ComposedAccepting } from "../src/subscription/composed-accept.ts";
import { Alone, turn } from "./alone.ts";
import { table } from "./systems.ts";

// Memory of a subscription that is held, of one with a leg, and of one to a user of several servers, each in a process of its own:
//   npx tsx bench/held-memory.ts [--subscriptions 1000000] [--watchers 10] [--children 2,3,8]

/** Of one kind of subscription: octets each, and microseconds of processor time to make one, without a network or a database. */
export interface Memory {
  readonly what: string;
  readonly subscriptions: number;
  readonly heap: number;
  readonly resident: number;
  readonly us: number;
}

export interface MemorySizes {
  readonly subscriptions: number;
  /** Of each user, and users of each watcher. */
  readonly watchers: number;
}

/** Held, and then with a leg. */
async function measureHeld({ subscriptions: count, watchers }: MemorySizes): Promise<Memory[]> {
  const alone = new Alone(watchers, ["east"]);
  const { subscriptions } = alone;
  await subscriptions.start();
  // What it remembers of requests for 32 s is not a subscription's.
  let accepting: Accepting | null = new Accepting(subscriptions);
  const before = use();
  let started = process.cpuUsage();
  for (let i = 0; i < count; i++) {
    const handed = alone.subscribe(i);
    void accepting.subscribe(handed, { kind: "presence", aor: handed.aor, server: null, epoch: 0, known: true });
    if (i % PIECE === PIECE - 1) await turn();
  }
  await turn();
  const acceptUs = spent(started) / count;
  if (subscriptions.counts.held !== count || alone.refused > 0)
    throw new Error(`${subscriptions.counts.held} of ${count} are held, ${alone.refused} were refused`);
  accepting = null;
  const held = memoryOf("held", count, before, acceptUs);

  started = process.cpuUsage();
  for (let user = 0; user < count / watchers; user++) {
    alone.bind(user, "east");
    if (user % Math.max(1, Math.floor(PIECE / watchers)) !== 0 && user < count / watchers - 1) continue;
    await turn();
    await alone.tell();
  }
  await turn();
  const extendUs = spent(started) / count;
  if (subscriptions.counts.live !== count) throw new Error(`${subscriptions.counts.live} of ${count} have a leg`);
  const live = memoryOf("with a leg", count, before, extendUs);
  await subscriptions.stop();
  return [held, live];
}

/** Of users on so many servers, all of which have told what they have. */
async function measureComposed({ subscriptions: count, watchers }: MemorySizes, children: number): Promise<Memory[]> {
  const servers = Array.from({ length: children }, (_, index) => `server${index}`);
  const alone = new Alone(watchers, servers);
  const { subscriptions } = alone;
  await subscriptions.start();
  let accepting: ComposedAccepting | null = new ComposedAccepting(subscriptions, new Accepting(subscriptions));
  const plan: ComposePlan = {
    kind: "compose",
    view: { from: "west", direction: "up" },
    servers,
    visited: true,
    credits: {},
    reasons: [],
  };
  const before = use();
  const started = process.cpuUsage();
  for (let i = 0; i < count; i++) {
    // Two minutes before the last ones: of documents to which nothing happens the texts are left.
    if (i === Math.floor(count / PIECE - 1) * PIECE) alone.pass(120_000);
    void accepting.subscribe(alone.subscribe(i), { ...plan, view: { ...plan.view } });
    if (i % PIECE !== PIECE - 1 && i !== count - 1) continue;
    await turn();
    await alone.tell();
    await turn();
  }
  const us = spent(started) / count;
  const shown = [...subscriptions.registry.all()].filter(({ active, content }) => active && content !== null).length;
  if (shown !== count || subscriptions.counts.composed !== count || alone.refused > 0)
    throw new Error(`${shown} of ${count} are shown a document, ${alone.refused} were refused`);
  accepting = null;
  const composed = memoryOf(`of ${children} servers`, count, before, us);
  await subscriptions.stop();
  return [composed];
}

/** Subscriptions made before the process turns to other things. */
const PIECE = 500;

function spent(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return user + system;
}

interface Use {
  readonly heap: number;
  readonly resident: number;
}

function use(): Use {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new Error("Run it with node --expose-gc.");
  gc();
  gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, resident: rss };
}

function memoryOf(what: string, subscriptions: number, before: Use, us: number): Memory {
  const { heap, resident } = use();
  return {
    what,
    subscriptions,
    heap: (heap - before.heap) / subscriptions,
    resident: (resident - before.resident) / subscriptions,
    us,
  };
}

/** @param children of those to users of several servers; null: of those held and with a leg. */
export async function measureMemory(sizes: MemorySizes, children: number | null): Promise<Memory[]> {
  const self = fileURLToPath(import.meta.url);
  const heap = `--max-old-space-size=${Math.max(2_000, Math.ceil(sizes.subscriptions / 150))}`;
  const args = ["--expose-gc", heap, "--import", "tsx", self, "--json"];
  const size = ["--subscriptions", String(sizes.subscriptions), "--watchers", String(sizes.watchers)];
  const which = ["--children", children === null ? "" : String(children)];
  const { stdout } = await promisify(execFile)(process.execPath, [...args, ...size, ...which]);
  return JSON.parse(stdout) as Memory[];
}

async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      subscriptions: { type: "string", default: "100000" },
      watchers: { type: "string", default: "10" },
      children: { type: "string", default: "2,3,8" },
      json: { type: "boolean", default: false },
    },
  });
  const sizes = { subscriptions: Number(values.subscriptions), watchers: Number(values.watchers) };
  const children = values.children.split(",").filter(Boolean).map(Number);
  if (values.json) {
    const [some] = children;
    console.log(JSON.stringify(await (some === undefined ? measureHeld(sizes) : measureComposed(sizes, some))));
    return;
  }
  const rows = await measureMemory(sizes, null);
  for (const each of children) rows.push(...(await measureMemory(sizes, each)));
  console.log(memoryTable(rows));
}

export function memoryTable(rows: readonly Memory[]): string {
  return table([
    ["", "subscriptions", "heap octets each", "resident octets each", "cpu us each to make"],
    ...rows.map(({ what, subscriptions, heap, resident, us }) => [
      what,
      String(subscriptions),
      heap.toFixed(0),
      resident.toFixed(0),
      us.toFixed(1),
    ]),
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await run(process.argv.slice(2));
