import { expect, it } from "vitest";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { type ProvisionedServer, Pusher } from "../../src/provisioning/pusher.ts";
import { EXPRESSIONS } from "../../src/provisioning/reduce.ts";
import { createSimulation } from "../../src/runtime/simulated.ts";
import type { SimulatedRuntime } from "../../src/runtime/simulated-machine.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { XcapServer } from "./xcap-server.ts";

/**
 * Users change and remove their rules while servers refuse and go away, the database goes away and loses answers, and
 * proxies are killed and started again. When all is well again every server has the last rules of everybody; and at no
 * time did older rules come after newer ones.
 */
const SEEDS = Number(process.env["CODOMAIN_SEEDS"] ?? 12);
const FIRST = Number(process.env["CODOMAIN_SEED"] ?? 1);
const USERS = ["ann", "bob"];
const SERVERS = ["10.0.1.1", "10.0.1.2"];
const BUSY_MS = 40_000;
const CALM_MS = 45 * 60_000;

function rules(version: number): string {
  return `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="v${version}"><conditions><identity><one id="sip:w@example.com"/></identity></conditions><actions><sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">allow</sub-handling></actions></rule></ruleset>`;
}

function versionOf(text: string | undefined): number {
  return text === undefined ? 0 : Number(/id="v(\d+)"/.exec(text)?.[1]);
}

async function life(seed: number): Promise<string[]> {
  const simulation = createSimulation({ seed, faults: { delay: [1, 400], loss: 0.02 } });
  const { random } = simulation;
  const wrong: string[] = [];
  const keeps = new Map<string, XcapServer>();
  const servers: ProvisionedServer[] = [];
  for (const host of SERVERS) {
    const keep = new XcapServer();
    const machine = simulation.runtime([host]);
    // It takes its time, and what came later may be done before.
    keep.before = () =>
      new Promise((resolve) => machine.timers.after(random.integer(3) === 0 ? random.integer(8000) : 0, resolve));
    machine.web.set(80, async (request) => {
      const before = new Map(keep.documents);
      const answer = await keep.answer(request);
      for (const [xui, text] of keep.documents) {
        const [old, now] = [versionOf(before.get(xui)), versionOf(text)];
        if (now < old) wrong.push(`${host} got v${now} of ${xui} after v${old}`);
      }
      return answer;
    });
    keeps.set(host, keep);
    servers.push({
      name: host,
      url: `http://${host}/root`,
      user: "portal",
      password: "secret",
      expresses: EXPRESSIONS,
    });
  }
  const database = createMemoryDatabase(simulation.runtime(["10.0.2.1"]), { latencyMs: [0.1, 5], lostAnswers: 30 });
  const hands = database.directory("hands");
  await simulation.finish(hands.start());
  const start = async (runtime: SimulatedRuntime, name: string) => {
    const directory = database.directory(name);
    await simulation.finish(directory.start());
    const pusher = new Pusher({
      runtime,
      telemetry: new Telemetry(),
      directory,
      servers: () => servers,
      domains: () => ["example.com"],
      ownDomains: () => ["example.com"],
      lookup: (aor) => directory.lookup(aor),
      serversOf: () => SERVERS,
      nameOn: (aor) => aor,
    });
    pusher.start();
    return { runtime, pusher, directory };
  };
  const proxies = [
    await start(simulation.runtime(["10.0.0.1"]), "p1"),
    await start(simulation.runtime(["10.0.0.2"]), "p2"),
  ];
  let version = 0;
  const write = async (user: string) => {
    const aor = `${user}@example.com`;
    const removed = random.integer(5) === 0;
    const done = removed
      ? hands.documents.remove(aor, "pres-rules", {}, "test")
      : hands.documents.put(aor, "pres-rules", rules(++version), {}, "test");
    // Lost answers and an absent database: what stands afterwards counts.
    await simulation.finish(
      done.then(
        () => undefined,
        () => undefined,
      ),
    );
  };
  const end = simulation.now + BUSY_MS;
  while (simulation.now < end) {
    await simulation.advance(random.integer(300));
    switch (random.integer(40)) {
      case 0:
        database.setAway(true);
        await simulation.advance(random.integer(3000));
        database.setAway(false);
        break;
      case 1: {
        const keep = keeps.get(SERVERS[random.integer(2)]!)!;
        keep.refuse = keep.refuse === null ? { status: 503, headers: {}, body: new Uint8Array() } : null;
        break;
      }
      case 2: {
        const i = random.integer(2);
        proxies[i]!.runtime.crash();
        await simulation.finish(proxies[i]!.directory.stop());
        await simulation.advance(random.integer(5000));
        proxies[i] = await start(proxies[i]!.runtime.restart(), `p${i + 1}`);
        break;
      }
      case 3:
        simulation.partition([["10.0.0.1", "10.0.0.2"], [SERVERS[random.integer(2)]!]]);
        break;
      case 4:
        simulation.heal();
        break;
      default:
        if (random.integer(3) > 0) break;
        await write(USERS[random.integer(USERS.length)]!);
    }
  }
  simulation.heal();
  simulation.faults({ loss: 0 });
  for (const keep of keeps.values()) {
    keep.refuse = null;
    keep.before = null;
  }
  await simulation.run(simulation.now + CALM_MS, CALM_MS + 1);
  for (const user of USERS) {
    const document = await simulation.finish(hands.documents.get(`${user}@example.com`, "pres-rules"));
    for (const host of SERVERS) {
      const there = versionOf(keeps.get(host)!.documents.get(`sip:${user}@example.com`));
      const wanted = versionOf(document?.text);
      if (there !== wanted) wrong.push(`${host} has v${there} of ${user}, who has v${wanted}`);
    }
  }
  for (const each of await simulation.finish(hands.pushes.list({ limit: 100 }))) {
    if (each.state !== "pushed") wrong.push(`${each.aor} at ${each.server} is ${each.state}: ${each.error}`);
  }
  for (const { pusher, directory } of proxies) {
    await simulation.finish(pusher.stop());
    await simulation.finish(directory.stop());
  }
  await simulation.finish(hands.stop());
  await simulation.idle();
  return [...wrong, ...simulation.leaks()];
}

it(`whatever happens, every server has everybody's last rules in the end, and never older after newer: ${SEEDS} seeds`, {
  timeout: 120_000,
}, async () => {
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) expect(await life(seed), `seed ${seed}`).toEqual([]);
});
