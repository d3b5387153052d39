import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ServerOptions } from "../../src/proxy/options.ts";
import { type ProbeResult, type Prober, Rotation, type RotationOptions } from "../../src/proxy/rotation.ts";
import { createSimulation, type Simulation } from "../../src/runtime/simulated.ts";
import { parseUri, type SipUri } from "../../src/sip/message/uri.ts";
import { type Events, Telemetry } from "../../src/telemetry/events.ts";

const A = "sip:10.0.0.1:5060";
const B = "sip:10.0.0.2:5060";
const C = "sip:10.0.0.3:5060";

function server(name: string, nodes: readonly string[], more: Partial<ServerOptions> = {}): ServerOptions {
  return {
    name,
    nodes: nodes.map((uri) => parseUri(uri) as SipUri),
    balance: "round-robin",
    names: [],
    identities: {},
    onward: "none",
    neverDenies: false,
    preserves: [],
    claims: [],
    proves: ["MESSAGE", "INVITE", "SUBSCRIBE"],
    subdomain: null,
    repoint: true,
    offers: [],
    evict: "none",
    reginfo: "contact",
    ...more,
  };
}

/** What each node answers, and what it was asked. */
class Answers implements Prober {
  readonly alives = new Map<string, ProbeResult>();
  readonly fooled = new Map<string, ProbeResult>();
  readonly asked: string[] = [];

  async alive(node: SipUri): Promise<ProbeResult> {
    this.asked.push(`OPTIONS ${node.raw}`);
    return this.alives.get(node.raw) ?? 200;
  }

  async impossible(node: SipUri, method: string): Promise<ProbeResult> {
    this.asked.push(`${method} ${node.raw}`);
    return this.fooled.get(`${method} ${node.raw}`) ?? 404;
  }
}

let simulation: Simulation;
let answers: Answers;
let rotation: Rotation;
let up: string[];
let health: Events["health"][];
let removed: Events["proofRemoved"][];

function build(
  servers: readonly ServerOptions[],
  options: RotationOptions = { intervalMs: 10_000, failures: 3 },
): void {
  const telemetry = new Telemetry();
  telemetry.on("health", (event) => health.push(event));
  telemetry.on("proofRemoved", (event) => removed.push(event));
  rotation = new Rotation(simulation.runtime(["10.0.0.9"]), telemetry, answers, options, (name) => up.push(name));
  rotation.configure(servers, options);
}

beforeEach(() => {
  simulation = createSimulation({ seed: 1 });
  answers = new Answers();
  up = [];
  health = [];
  removed = [];
});

afterEach(() => {
  rotation.stop();
  expect(simulation.leaks()).toEqual([]);
});

function nodes(name: string): string[] {
  return rotation.nodes(name).map((node) => node.raw);
}

function report(name: string, uri: string, answered: boolean, times = 1): void {
  const node = rotation.server(name)!.nodes.find((each) => each.raw === uri)!;
  for (let i = 0; i < times; i++) rotation.report(name, node, answered, "test");
}

describe("which node is asked", () => {
  it("round robin: each first in turn, the others behind it for failover", () => {
    build([server("east", [A, B, C])]);
    expect([nodes("east"), nodes("east"), nodes("east"), nodes("east")]).toEqual([
      [A, B, C],
      [B, C, A],
      [C, A, B],
      [A, B, C],
    ]);
  });

  it("failover: always in the order of the configuration", () => {
    build([server("east", [A, B], { balance: "failover" })]);
    expect([nodes("east"), nodes("east")]).toEqual([
      [A, B],
      [A, B],
    ]);
  });

  it("nobody of a server that is not there", () => {
    build([server("east", [A])]);
    expect(nodes("west")).toEqual([]);
  });
});

describe("health (quality.md, Reliability)", () => {
  it("a node leaves after as many consecutive failures as configured, and not before", async () => {
    build([server("east", [A, B])]);
    await simulation.finish(rotation.start());
    report("east", A, false, 2);
    report("east", A, true);
    report("east", A, false, 2);
    expect(nodes("east")).toContain(A);
    report("east", A, false);
    expect(nodes("east")).toEqual([B]);
    expect(rotation.facts[0]).toMatchObject({ up: true });
    report("east", B, false, 3);
    expect(rotation.facts[0]).toMatchObject({ up: false });
    expect(health.map((each) => [each.node, each.up])).toEqual([
      [A, false],
      [B, false],
    ]);
  });

  it("a node nobody has heard of yet leaves with its first failure", () => {
    build([server("east", [A])]);
    report("east", A, false);
    expect(rotation.facts[0]).toMatchObject({ up: false });
  });

  it("comes back by itself with the first answer: those that are down are asked every 2 s", async () => {
    build([server("east", [A])]);
    answers.alives.set(A, "no-answer");
    await simulation.finish(rotation.start());
    expect(rotation.facts[0]).toMatchObject({ up: false });
    await simulation.advance(9_000);
    answers.alives.set(A, 200);
    await simulation.advance(2_100);
    expect(rotation.facts[0]).toMatchObject({ up: true });
    expect(up).toEqual(["east"]);
  });

  it("any answer shows life, but a 503 does not", async () => {
    build([server("east", [A]), server("west", [B]), server("north", [C])]);
    answers.alives.set(A, 405).set(B, 503).set(C, 481);
    await simulation.finish(rotation.start());
    expect(rotation.facts.map((each) => each.up)).toEqual([true, false, true]);
  });

  it("comes back even where probes are off: only what is down is asked then", async () => {
    build([server("east", [A, B])], { intervalMs: 0, failures: 3 });
    await simulation.finish(rotation.start());
    await simulation.advance(30_000);
    expect(answers.asked).toEqual([]);
    report("east", A, false);
    expect(nodes("east")).toEqual([B]);
    await simulation.advance(2_100);
    expect(nodes("east").sort()).toEqual([A, B]);
    expect(answers.asked).toEqual([`OPTIONS ${A}`]);
  });

  it("probes that a new configuration turns on begin by themselves", async () => {
    build([server("east", [A])], { intervalMs: 0, failures: 3 });
    await simulation.finish(rotation.start());
    rotation.configure([server("east", [A])], { intervalMs: 10_000, failures: 3 });
    await simulation.advance(20_000);
    expect(answers.asked.filter((each) => each.startsWith("OPTIONS")).length).toBeGreaterThanOrEqual(1);
    expect(rotation.facts[0]?.proves).toEqual(["MESSAGE", "INVITE", "SUBSCRIBE"]);
  });

  it("a drained server is asked nothing new until it is resumed, and that is a coming up", () => {
    build([server("east", [A])]);
    expect(rotation.drain("east", true)).toBe(true);
    expect(rotation.facts[0]).toMatchObject({ up: false, drained: true });
    expect(up).toEqual([]);
    rotation.drain("east", false);
    expect(rotation.facts[0]).toMatchObject({ up: true, drained: false });
    expect(up).toEqual(["east"]);
    expect(rotation.drain("west", true)).toBe(false);
  });

  it("a new configuration keeps what is known of unchanged nodes, and forgets who is gone", async () => {
    build([server("east", [A, B]), server("west", [C])]);
    await simulation.finish(rotation.start());
    report("east", A, false, 3);
    rotation.drain("west", true);
    rotation.configure([server("east", [A, B, C]), server("west", [C])], { intervalMs: 10_000, failures: 3 });
    expect(nodes("east").sort()).toEqual([B, C]);
    expect(rotation.facts[1]).toMatchObject({ drained: true });
    rotation.configure([server("west", [C])], { intervalMs: 10_000, failures: 3 });
    expect(nodes("east")).toEqual([]);
  });
});

describe("proof marks (models.md, Proof)", () => {
  it("count from when they were checked; INVITE is never checked", async () => {
    build([server("east", [A])]);
    expect(rotation.facts[0]?.proves).toEqual(["INVITE"]);
    await simulation.finish(rotation.start());
    expect(rotation.facts[0]?.proves).toEqual(["MESSAGE", "INVITE", "SUBSCRIBE"]);
    expect(answers.asked.sort()).toEqual([`MESSAGE ${A}`, `OPTIONS ${A}`, `SUBSCRIBE ${A}`]);
  });

  it("a 2xx for a user that cannot exist removes the mark and says so, once", async () => {
    build([server("east", [A])]);
    answers.fooled.set(`MESSAGE ${A}`, 202);
    await simulation.finish(rotation.start());
    expect(rotation.facts[0]?.proves).toEqual(["INVITE", "SUBSCRIBE"]);
    expect(rotation.status()[0]).toMatchObject({ proofRemoved: ["MESSAGE"] });
    await simulation.advance(60_000);
    expect(removed).toEqual([{ server: "east", method: "MESSAGE" }]);
  });

  it("of OPTIONS too: a server that answers it for anybody is not asked whether it has a user", async () => {
    build([{ ...server("east", [A]), proves: ["OPTIONS"] }]);
    answers.fooled.set(`OPTIONS ${A}`, 200);
    await simulation.finish(rotation.start());
    expect(rotation.facts[0]?.proves).toEqual([]);
    expect(removed).toEqual([{ server: "east", method: "OPTIONS" }]);
  });

  it.each([401, 407, 480, 302])("a %s removes nothing", async (status) => {
    build([server("east", [A])]);
    answers.fooled.set(`MESSAGE ${A}`, status);
    await simulation.finish(rotation.start());
    expect(rotation.facts[0]?.proves).toContain("MESSAGE");
  });

  it.each(["no-answer", 500, 503] as const)(
    "a mark answered by %s does not count, and is asked about again",
    async (result) => {
      build([server("east", [A])]);
      answers.fooled.set(`SUBSCRIBE ${A}`, result);
      await simulation.finish(rotation.start());
      expect(rotation.facts[0]?.proves).toEqual(["MESSAGE", "INVITE"]);
      answers.fooled.delete(`SUBSCRIBE ${A}`);
      await simulation.advance(11_000);
      expect(rotation.facts[0]?.proves).toEqual(["MESSAGE", "INVITE", "SUBSCRIBE"]);
    },
  );

  it("are checked again at every recovery; until then what was shown before proves nothing", async () => {
    build([server("east", [A])]);
    await simulation.finish(rotation.start());
    report("east", A, false, 3);
    answers.fooled.set(`MESSAGE ${A}`, 200);
    report("east", A, true);
    expect(rotation.facts[0]).toMatchObject({ up: true, proves: ["INVITE"] });
    await simulation.advance(1);
    expect(rotation.facts[0]?.proves).toEqual(["INVITE", "SUBSCRIBE"]);
    expect(removed).toEqual([{ server: "east", method: "MESSAGE" }]);
    report("east", A, false, 3);
    answers.fooled.clear();
    report("east", A, true);
    await simulation.advance(1);
    expect(rotation.facts[0]?.proves).toEqual(["MESSAGE", "INVITE", "SUBSCRIBE"]);
  });

  it("the coming up is told after the check, so that who was forgotten is searched by marks that hold", async () => {
    build([server("east", [A])]);
    await simulation.finish(rotation.start());
    report("east", A, false, 3);
    report("east", A, true);
    expect(up).toEqual([]);
    await simulation.advance(1);
    expect(up).toEqual(["east"]);
  });

  it("count as configured where probes are off", () => {
    build([server("east", [A])], { intervalMs: 0, failures: 3 });
    expect(rotation.facts[0]?.proves).toEqual(["MESSAGE", "INVITE", "SUBSCRIBE"]);
  });
});
