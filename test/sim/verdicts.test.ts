import { describe, expect, it } from "vitest";
import type { ModelFacts } from "../../src/federation/facts.ts";
import type { WatcherVerdict } from "../../src/policy/policy.ts";
import { applyWinfo, NO_WATCHERS, parseWinfo, WINFO_TYPE } from "../../src/presence/winfo.ts";
import { Notifier } from "../support/notifier.ts";
import { ALLOW, BLOCK, CONFIRM, POLITE_BLOCK, ScriptedPolicy, UNKNOWN, without } from "../support/scripted-policy.ts";
import { type Told, Watcher } from "../support/watcher.ts";
import { always, createWorld, type World } from "../support/world.ts";

/**
 * Small worlds in which rules change all the time, while the user moves, servers publish, proxies die and verdicts come late.
 * What holds in each: nobody is ever shown what the rules of that moment keep from him. What holds in the end: everybody is
 * shown what they let him see, and the user knows who watches.
 */

const SEEDS = Number(process.env["CODOMAIN_SEEDS"] ?? (process.env["CODOMAIN_FULL"] === "1" ? 500 : 20));
const FIRST = Number(process.env["CODOMAIN_SEED"] ?? 1);
const STEPS = 40;
const AOR = "alice@example.com";
const NAMES = ["ann", "bob", "cid"] as const;
const VERDICTS = [ALLOW, ALLOW, without("note"), CONFIRM, POLITE_BLOCK, BLOCK, UNKNOWN] as const;
const MODELS: readonly ModelFacts[] = [
  { model: "exclusive", conflict: "takeover", refuseWith: 403 },
  { model: "unioned", style: "peer", servers: ["east", "west"] },
  { model: "partitioned" },
];
/** A NOTIFY that has left is on its way, or is sent again, for so long. */
const UNDER_WAY_MS = 100;

interface Rule {
  readonly at: number;
  readonly verdict: WatcherVerdict;
}

class Story {
  readonly world: World;
  readonly policy: ScriptedPolicy;
  readonly servers: readonly Notifier[];
  readonly watchers = new Map<string, Watcher>();
  /** alice's own server, which is told of her watchers. */
  readonly alice: Watcher;
  /** What was ruled about each, in order. */
  readonly rules = new Map<string, Rule[]>();

  constructor(world: World, policy: ScriptedPolicy, servers: readonly Notifier[]) {
    this.world = world;
    this.policy = policy;
    this.servers = servers;
    this.alice = new Watcher(world, `127.0.0.${50 + NAMES.length}`);
    this.alice.event = "presence.winfo";
    this.alice.accept = WINFO_TYPE;
    NAMES.forEach((name, i) => {
      this.watchers.set(name, new Watcher(world, `127.0.0.${50 + i}`));
      this.rules.set(name, [{ at: 0, verdict: ALLOW }]);
    });
  }

  pick<T>(from: readonly T[]): T {
    return from[this.world.simulation.random.integer(from.length)]!;
  }

  rule(name: string, verdict: WatcherVerdict): void {
    this.rules.get(name)!.push({ at: this.world.simulation.now, verdict });
    this.policy.rule(`${name}@example.com`, verdict, this.pick([AOR, null]));
  }

  /** Those that were in force when this may have left. */
  verdictsAt(name: string, at: number): WatcherVerdict[] {
    const rules = this.rules.get(name)!;
    return rules
      .filter((each, i) => each.at <= at && (rules[i + 1]?.at ?? Number.POSITIVE_INFINITY) >= at - UNDER_WAY_MS)
      .map((each) => each.verdict);
  }
}

async function begin(seed: number): Promise<Story> {
  const policy = new ScriptedPolicy();
  policy.isEarly = seed % 4 < 2;
  const servers = [new Notifier("east"), new Notifier("west")];
  for (const each of servers) each.more = "<note>at home</note>";
  const world = await createWorld({
    seed,
    proxies: 1 + (seed % 2),
    servers: {
      east: { script: servers[0]!.script },
      west: { script: servers[1]!.script },
      home: { script: always(404) },
    },
    uris: { home: [...NAMES, "alice"].map((_, i) => `sip:127.0.0.${50 + i}:5060`) },
    options: { models: [{ match: "*", model: MODELS[seed % 3]! }], hold: { users: "any", events: ["presence"] } },
    services: { leaseMs: 3_000 },
    policy: policy.of,
  });
  world.simulation.faults({ delay: [0.5, 5] });
  return new Story(world, policy, servers);
}

async function settle<T>(promise: Promise<T>): Promise<void> {
  await promise.catch(() => undefined);
}

const STEPS_OF_LIFE: ReadonlyArray<(story: Story) => void> = [
  rule,
  rule,
  rule,
  subscribe,
  subscribe,
  publish,
  publish,
  move,
  slow,
  die,
];

function rule(story: Story): void {
  story.rule(story.pick(NAMES), story.pick(VERDICTS));
}

function subscribe(story: Story): void {
  const name = story.pick(NAMES);
  const proxy = story.pick(story.world.proxies.filter(({ process }) => process.alive)).host;
  const expires = story.pick([0, 600, 600, 600]);
  story.watchers.get(name)!.begin(`sip:${AOR}`, expires, { from: `sip:${name}@example.com`, proxy });
}

function publish(story: Story): void {
  for (const server of story.servers) {
    server.basic = story.pick(["open", "closed"]);
    for (const served of server.live) server.notify(served);
  }
}

function move(story: Story): void {
  const { directory } = story.pick(story.world.proxies.filter(({ process }) => process.alive));
  void settle(directory.move({ aor: AOR, to: story.pick(["east", "west"]), equalRank: true, actor: "test" }));
}

function slow(story: Story): void {
  story.policy.delayMs = story.pick([0, 0, 300, 2_000]);
}

function die(story: Story): void {
  const { proxies } = story.world;
  if (proxies.filter(({ process }) => process.alive).length > 1) story.pick(proxies).kill();
}

/** What this NOTIFY shows that no verdict of its time allows; null: nothing. */
function breach(story: Story, name: string, { at, shown, body }: Told): string | null {
  const verdicts = story.verdictsAt(name, at).filter(({ known }) => known);
  if (shown === "nothing") return null;
  const allowed = verdicts.filter(({ handling }) => handling === "allow");
  if (shown === "open" && allowed.length === 0) return `${name} is shown an open document at ${at}`;
  if (body.includes("at home") && allowed.every(({ transform }) => transform !== null))
    return `${name} is shown what is taken out at ${at}`;
  return null;
}

async function live(seed: number): Promise<Story> {
  const story = await begin(seed);
  const { simulation } = story.world;
  move(story);
  story.alice.begin(`sip:${AOR}`, 3600, { from: `sip:${AOR}`, proxy: story.pick(story.world.proxies).host });
  await simulation.advance(1_000);
  for (let step = 0; step < STEPS; step++) {
    story.pick(STEPS_OF_LIFE)(story);
    await simulation.advance(simulation.random.integer(1_500));
  }
  story.policy.delayMs = 0;
  await simulation.advance(30_000);
  return story;
}

describe("rules that change all the time", () => {
  it.each(Array.from({ length: SEEDS }, (_, i) => FIRST + i))("seed %i", async (seed) => {
    const story = await live(seed);
    const { simulation } = story.world;
    for (const [name, { told }] of story.watchers) {
      for (const each of told) expect(breach(story, name, each), `seed ${seed}`).toBeNull();
    }
    // Peace: whoever is let in now sees her.
    for (const name of NAMES) story.rule(name, ALLOW);
    for (const server of story.servers) server.basic = "open";
    await simulation.advance(400_000);
    for (const [name, watcher] of story.watchers) {
      subscribeNow(story, name);
      await simulation.advance(10_000);
      expect(watcher.last!.shown, `seed ${seed}: ${name}, ${watcher.saw.slice(-3).join("; ")}`).toBe("open");
    }
    await simulation.advance(6_000);
    const watching = NAMES.map((name) => `sip:${name}@example.com active`);
    expect(watchersOf(story), `seed ${seed}`).toEqual(watching);
    await story.world.stop();
  });
});

/** As alice's server puts its documents together (RFC 3858 4). */
function watchersOf({ alice }: Story): string[] {
  const documents = alice.told.filter(({ body }) => body !== "").map(({ body }) => parseWinfo(body));
  const table = documents.reduce((known, document) => {
    const applied = applyWinfo(known, document);
    return applied.outcome === "applied" ? applied.table : known;
  }, NO_WATCHERS);
  return [...(table.lists.get(`sip:${AOR}`)?.values() ?? [])].map(({ uri, status }) => `${uri} ${status}`).sort();
}

function subscribeNow(story: Story, name: string): void {
  const proxy = story.world.proxies.find(({ process }) => process.alive)!.host;
  story.watchers.get(name)!.begin(`sip:${AOR}`, 60, { from: `sip:${name}@example.com`, proxy });
}
