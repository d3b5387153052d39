import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ALGORITHMS,
  chooseRouting,
  dispositionOf,
  MOST_WEIGHT,
  NO_DISPOSITION,
  type Routing,
  type RoutingQuestion,
} from "../../src/federation/routing-choice.ts";
import { runs } from "./make.ts";

const SERVERS = ["east", "west", "north"];

function choose(change: Partial<RoutingQuestion> & { algorithm?: (typeof ALGORITHMS)[number] } = {}): Routing {
  const { algorithm = "all", ...rest } = change;
  return chooseRouting({
    method: "MESSAGE",
    servers: SERVERS,
    setting: { algorithm, weights: {} },
    disposition: NO_DISPOSITION,
    activity: null,
    turn: 0,
    ...rest,
  });
}

const stages = (change: Parameters<typeof choose>[0]) => choose(change).stages;
const active = (values: Record<string, number>): ReadonlyMap<string, number> => new Map(Object.entries(values));

describe("a user's algorithm", () => {
  it("all: every server at once", () => {
    expect(choose()).toEqual({ stages: [SERVERS], moveOn: "untaken", rule: "all", tookTurn: false });
  });

  it("mostactive: the most active, then the next, and those where nothing shows him last and at once", () => {
    expect(stages({ algorithm: "mostactive", activity: active({ west: 9, north: 4, east: 0 }) })).toEqual([
      ["west"],
      ["north"],
      ["east"],
    ]);
    expect(stages({ algorithm: "mostactive", activity: active({ north: 4 }) })).toEqual([["north"], ["east", "west"]]);
  });

  it("mostactive: all where nothing tells one from another", () => {
    expect(stages({ algorithm: "mostactive" })).toEqual([SERVERS]);
    expect(stages({ algorithm: "mostactive", activity: active({ east: 0, west: 0 }) })).toEqual([SERVERS]);
  });

  it("roundrobin: each in its turn, the others in order behind it", () => {
    expect([0, 1, 2, 3].map((turn) => stages({ algorithm: "roundrobin", turn })[0])).toEqual([
      ["east"],
      ["west"],
      ["north"],
      ["east"],
    ]);
    expect(stages({ algorithm: "roundrobin", turn: 1 })).toEqual([["west"], ["north"], ["east"]]);
  });

  it("weighted: as often as the weights say, spread out", () => {
    const setting = { algorithm: "weighted" as const, weights: { east: 3, north: 0 } };
    const first = Array.from({ length: 8 }, (_, turn) => stages({ setting, turn })[0]![0]);
    expect(first).toEqual(["east", "east", "west", "east", "east", "east", "west", "east"]);
    // Without weight it is asked last all the same.
    expect(stages({ setting })).toEqual([["east"], ["west"], ["north"]]);
  });

  it("weighted: nobody has any weight: turns", () => {
    const setting = { algorithm: "weighted" as const, weights: { east: 0, west: 0, north: 0 } };
    expect([0, 1, 2].map((turn) => stages({ setting, turn })[0])).toEqual([["east"], ["west"], ["north"]]);
  });

  it("is for messages: a call rings everywhere", () => {
    expect(stages({ method: "INVITE", algorithm: "roundrobin", turn: 1 })).toEqual([SERVERS]);
  });

  it("has nothing to say of one server", () => {
    expect(choose({ servers: ["west"], algorithm: "weighted", disposition: dispositionOf(["no-fork"]) })).toMatchObject(
      {
        stages: [["west"]],
        tookTurn: false,
      },
    );
  });
});

describe("Request-Disposition (RFC 3841 9.1)", () => {
  it("is read in any case and order, of each type the first", () => {
    expect(dispositionOf(["proxy", " No-Fork", "SEQUENTIAL", "fork", "No-Cancel", "cancel", "no-recurse"])).toEqual({
      fork: "no-fork",
      order: "sequential",
      cancel: "no-cancel",
      recurse: "no-recurse",
    });
    expect(dispositionOf(["redirect", "queue", "no-such"])).toEqual(NO_DISPOSITION);
  });

  it("fork, parallel: all at once, whatever he has set", () => {
    for (const token of ["fork", "parallel"]) {
      expect(stages({ algorithm: "roundrobin", turn: 2, disposition: dispositionOf([token]) })).toEqual([SERVERS]);
    }
  });

  it("no-fork: one, the best by what he has set", () => {
    const disposition = dispositionOf(["no-fork"]);
    expect(stages({ disposition, algorithm: "roundrobin", turn: 2 })).toEqual([["north"]]);
    expect(stages({ disposition, activity: active({ west: 1 }) })).toEqual([["west"]]);
    expect(stages({ disposition, method: "INVITE", activity: active({ west: 1 }) })).toEqual([["west"]]);
  });

  it("sequential: one after the other, the next after any final response but 2xx and 6xx", () => {
    expect(choose({ disposition: dispositionOf(["fork", "sequential"]) })).toMatchObject({
      stages: [["east"], ["west"], ["north"]],
      moveOn: "failed",
    });
  });
});

describe("whatever is asked", () => {
  const name = fc.constantFrom("a", "b", "c", "d", "e");
  const question = fc.record({
    method: fc.constantFrom("MESSAGE", "INVITE"),
    servers: fc.uniqueArray(name, { minLength: 1 }),
    setting: fc.record({
      algorithm: fc.constantFrom(...ALGORITHMS),
      weights: fc.dictionary(name, fc.integer({ min: 0, max: MOST_WEIGHT })),
    }),
    disposition: fc.array(fc.constantFrom("fork", "no-fork", "parallel", "sequential")).map(dispositionOf),
    activity: fc.option(fc.dictionary(name, fc.integer({ min: 0, max: 5 })).map(active)),
    turn: fc.nat({ max: 2 ** 41 }),
  });

  it("nobody is asked twice, no stage is empty, and all are asked in the end but by no-fork", () => {
    fc.assert(
      fc.property(question, (each) => {
        const { stages } = chooseRouting(each);
        const asked = stages.flat();
        expect(new Set(asked).size).toBe(asked.length);
        expect(stages.every((stage) => stage.length > 0)).toBe(true);
        if (each.disposition.fork === "no-fork") expect(asked).toHaveLength(1);
        else expect(asked.toSorted()).toEqual(each.servers.toSorted());
      }),
      runs(500),
    );
  });

  it("over as many turns as the weights' sum each is first exactly as often as its weight, wherever they begin", () => {
    fc.assert(
      fc.property(question, (given) => {
        const each = { ...given, method: "MESSAGE", disposition: NO_DISPOSITION };
        const setting = { ...each.setting, algorithm: "weighted" as const };
        const weight = (server: string) => (Object.hasOwn(setting.weights, server) ? setting.weights[server]! : 1);
        const sum = each.servers.reduce((total, server) => total + weight(server), 0);
        if (sum === 0 || sum > 150 || each.servers.length === 1) return;
        const counts = new Map<string, number>();
        for (let i = 0; i < sum; i++) {
          const [[first] = []] = chooseRouting({ ...each, setting, turn: each.turn + i }).stages;
          counts.set(first!, (counts.get(first!) ?? 0) + 1);
        }
        for (const server of each.servers) expect(counts.get(server) ?? 0).toBe(weight(server));
      }),
      runs(60),
    );
  });
});
