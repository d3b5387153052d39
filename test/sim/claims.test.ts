import { describe, expect, it } from "vitest";
import { buildResponse } from "../../src/sip/message/build.ts";
import type { Script, World } from "../support/world.ts";
import { createWorld } from "../support/world.ts";

/**
 * Servers that take users from each other at random, over two proxies, with packets lost and a proxy that dies and comes
 * back. Whatever happens: an epoch has one server, and when all is quiet no server believes it has a user whom another has.
 */

const FULL = process.env["CODOMAIN_FULL"] === "1";
const SEEDS = FULL ? 1_000 : 12;
const USERS = ["ann", "bob", "carol"];
/** All are told by REGISTER; what a server with a subscription is told is in flows/reg-event.test.ts. */
const SERVERS = ["east", "west", "north"] as const;
const STEPS = 40;
const DOMAIN = "sip:example.com";

type Name = (typeof SERVERS)[number];

/** What a server thinks of its users, by what it was told. */
class Belief {
  readonly has = new Set<string>();
  /** Virtual time at which it was told last to let go. */
  readonly told = new Map<string, number>();
  readonly claims = new Map<string, { readonly callId: string; cseq: number; answered: number }>();

  readonly script: Script = (transaction) => {
    const { request } = transaction;
    const user = request.to.uri.kind === "sip" ? (request.to.uri.user ?? "") : "";
    if (request.method === "REGISTER" && request.contacts === "*") {
      this.has.delete(user);
      this.told.set(user, this.now());
      this.claims.delete(user);
    }
    transaction.respond(buildResponse(request, 200));
  };

  now: () => number = () => 0;
}

interface Run {
  readonly believed: string[];
  readonly held: string[];
  readonly conflicts: string[];
  readonly waiting: number;
  readonly takings: number;
  readonly evictions: number;
}

async function run(seed: number): Promise<Run> {
  const beliefs = Object.fromEntries(SERVERS.map((name) => [name, new Belief()])) as Record<Name, Belief>;
  const world = await createWorld({
    seed,
    proxies: 2,
    servers: Object.fromEntries(SERVERS.map((name) => [name, { script: beliefs[name].script }])),
    serverOptions: { evict: "register" },
    options: {
      models: [{ match: "*@example.com", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }],
      exclusive: { damping: { limit: 6, windowMs: 30_000 }, graceMs: 5_000 },
    },
    database: { latencyMs: [0, 20], lostAnswers: 30 },
    faults: { loss: 0.05 },
  });
  for (const belief of Object.values(beliefs)) belief.now = () => world.simulation.now;
  const epochs = new Map<string, string>();
  const conflicts: string[] = [];
  let takings = 0;
  let evictions = 0;
  const listen = (proxy: World["proxies"][number]): void => {
    proxy.telemetry.on("bound", ({ aor, epoch, server, changed }) => {
      const key = `${aor} ${epoch}`;
      if ((epochs.get(key) ?? server) !== server) conflicts.push(`${key}: ${epochs.get(key)} and ${server}`);
      epochs.set(key, server);
      if (changed) takings++;
    });
    proxy.telemetry.on("evicted", ({ result }) => {
      if (result === "done") evictions++;
    });
  };
  for (const proxy of world.proxies) listen(proxy);
  const { random } = world.simulation.runtime(["127.0.0.210"]);
  const dies = random.integer(STEPS);
  const returns = dies + 1 + random.integer(STEPS - dies);
  for (let step = 0; step < STEPS; step++) {
    if (step === dies) world.proxies[0]!.kill();
    if (step === returns) {
      await world.simulation.finish(world.restart("127.0.0.1"));
      listen(world.proxies[0]!);
    }
    const name = SERVERS[random.integer(SERVERS.length)]!;
    const user = USERS[random.integer(USERS.length)]!;
    const proxy = step >= dies && step < returns ? "127.0.0.2" : `127.0.0.${1 + random.integer(2)}`;
    ask(world, name, beliefs[name], user, random.integer(5) === 0 ? 0 : 3600, proxy);
    await world.simulation.advance(random.integer(4) === 0 ? 5_000 : random.integer(300));
  }
  if (!world.proxies[0]!.process.alive) await world.simulation.finish(world.restart("127.0.0.1"));
  world.simulation.faults({ loss: 0 });
  // Longer than three tries of an eviction.
  await world.simulation.advance(320_000);
  const { directory } = world.proxies[1]!;
  const held: string[] = [];
  for (const user of USERS) {
    const lookup = await asked(world, () => directory.lookup(`${user}@example.com`));
    if (lookup.state === "bound") held.push(`${user} ${lookup.binding.server}`);
  }
  const waiting = world.database.rows("evictions").length;
  const believed = SERVERS.flatMap((name) => [...beliefs[name].has].map((user) => `${user} ${name}`));
  await world.stop();
  return { believed, held, conflicts, waiting, takings, evictions };
}

/** An answer may be lost; then it is asked again. */
async function asked<T>(world: World, question: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await world.simulation.finish(question());
    } catch {
      await world.simulation.advance(100);
    }
  }
}

function ask(world: World, name: Name, belief: Belief, user: string, seconds: number, proxy: string): void {
  const known = belief.claims.get(user) ?? { callId: `${name}-${user}-${world.simulation.now}`, cseq: 0, answered: 0 };
  known.cseq += 1;
  const { cseq } = known;
  belief.claims.set(user, known);
  // He has gone there, whatever becomes of telling it.
  if (seconds === 0) {
    belief.has.delete(user);
    known.answered = cseq;
  }
  const sentAt = world.simulation.now;
  const aor = `sip:${user}@example.com`;
  const outgoing = world.scripted[name]!.begin("REGISTER", DOMAIN, {
    toUser: aor,
    from: aor,
    callId: known.callId,
    cseq,
    headers: [["Expires", String(seconds)]],
    proxy,
  });
  void outgoing.done.then((status) => {
    // An answer to a request from before it was told to let go, or from before one that was answered, is of no account.
    if ((belief.told.get(user) ?? -1) >= sentAt || cseq < known.answered) return;
    known.answered = cseq;
    if (status === 200 && seconds > 0) belief.has.add(user);
    if (status === 403) belief.has.delete(user);
  });
}

describe("servers that take users from each other", () => {
  it(`an epoch has one server, and nobody is left believing (${SEEDS} seeds)`, { timeout: 600_000 }, async () => {
    let takings = 0;
    let evictions = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const ended = await run(seed);
      expect({ seed, conflicts: ended.conflicts, waiting: ended.waiting }).toEqual({ seed, conflicts: [], waiting: 0 });
      expect({ seed, wrong: ended.believed.filter((each) => !ended.held.includes(each)) }).toEqual({ seed, wrong: [] });
      takings += ended.takings;
      evictions += ended.evictions;
    }
    expect(takings).toBeGreaterThan(SEEDS * 5);
    expect(evictions).toBeGreaterThan(SEEDS);
  });
});
