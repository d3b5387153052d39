import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decide } from "../../src/federation/decide.ts";
import { renderExplanation } from "../../src/federation/explain.ts";
import type { Facts, Onward, Origin, ServerFacts, Tree } from "../../src/federation/facts.ts";
import type { Plan } from "../../src/federation/plan.ts";
import { bound, CLIENT, facts, fromServer, NO_BINDING, NO_RECORD, runs, server, settings } from "./make.ts";

const NAMES = ["s0", "s1", "s2", "s3", "s4", "s5"];

const drawnServer = fc.record({
  parent: fc.nat(),
  known: fc.boolean(),
  up: fc.boolean(),
  onward: fc.constantFrom<Onward>("none", "up", "children", "both"),
});

/** Every request to a unioned user that can be thought of, in small domains. */
const anyFacts: fc.Arbitrary<Facts> = fc
  .record({
    servers: fc.array(drawnServer, { minLength: 1, maxLength: 6 }),
    isPeer: fc.boolean(),
    list: fc.array(fc.constantFrom(...NAMES, "gone"), { maxLength: 6 }),
    from: fc.constantFrom<Origin>(
      CLIENT,
      { kind: "peer", domain: "a.org" },
      ...NAMES.map(fromServer),
      fromServer("else"),
    ),
    asked: fc.constantFrom(
      ["SUBSCRIBE", "presence"],
      ["SUBSCRIBE", "dialog"],
      ["MESSAGE", ""],
      ["INVITE", ""],
      ["OPTIONS", ""],
      ["REGISTER", ""],
      ["PUBLISH", "presence"],
    ),
    claim: fc.constantFrom<Facts["claim"]>("claim", "deregister", "refresh", "none", "client"),
    lookup: fc.constantFrom<Facts["lookup"]>(
      NO_BINDING,
      NO_RECORD,
      { ...NO_BINDING, stored: true },
      bound("s1", "registered"),
      bound("else"),
      { state: "unavailable" },
    ),
    directoryAvailable: fc.boolean(),
    direction: fc.constantFrom<Facts["direction"]>("up", "down"),
    credit: fc.constantFrom<Facts["credit"]>("unasked", "spent", "none"),
    downListener: fc.boolean(),
    routing: fc.constantFrom<"proxy" | "redirect">("proxy", "redirect"),
    absentMessages: fc.constantFrom<"refuse" | "store">("refuse", "store"),
  })
  .map(({ servers, isPeer, list, from, asked, downListener, routing, absentMessages, ...rest }) => {
    const children: Record<string, string[]> = {};
    servers.slice(1).forEach(({ parent }, i) => {
      const above = NAMES[parent % (i + 1)]!;
      children[above] = [...(children[above] ?? []), NAMES[i + 1]!];
    });
    const tree: Tree = { name: "hq", root: "s0", children };
    const configured: ServerFacts[] = servers.flatMap(({ known, up, onward }, i) =>
      known ? [server(NAMES[i]!, { up, onward, claims: ["register", "publish"] })] : [],
    );
    return facts({
      ...rest,
      method: asked[0]!,
      event: asked[1]!,
      // Who is configured no more is no server.
      origin: from.kind === "server" && !isThere(configured, from.server) ? CLIENT : from,
      model: isPeer
        ? { model: "unioned", style: "peer", servers: list }
        : { model: "unioned", style: "hierarchical", tree: "hq" },
      servers: [...configured, server("else", { claims: ["register", "publish"] })],
      settings: settings({
        routing,
        absentMessages,
        unions: { trees: [tree], downListener, unreachable: "wait" },
      }),
    });
  });

const isThere = (servers: readonly ServerFacts[], name: string): boolean =>
  name === "else" || servers.some((each) => each.name === name);
const isUp = (given: Facts, name: string): boolean => given.servers.some((each) => each.name === name && each.up);

function askedBy(plan: Plan): readonly string[] {
  switch (plan.kind) {
    case "compose":
    case "spread":
      return plan.servers;
    case "relay":
    case "redirect":
      return [plan.server];
    case "bind":
      return plan.relayTo === null ? [] : [plan.relayTo];
    default:
      return [];
  }
}

const all = (property: (given: Facts, plan: Plan) => void): void =>
  fc.assert(
    fc.property(anyFacts, (given) => property(given, decide(given))),
    runs(3_000),
  );

describe("unioned, whatever comes from wherever", () => {
  it("it is decided, with reasons, and can be explained", () => {
    all((given, plan) => {
      expect(["compose", "spread", "relay", "redirect", "bind", "store", "credit", "reject"]).toContain(plan.kind);
      expect(plan.reasons.length).toBeGreaterThan(0);
      const { text, json } = renderExplanation(given, plan);
      expect(text.every((line) => line.trim() !== "")).toBe(true);
      expect(JSON.parse(JSON.stringify(json))).toEqual(json);
    });
  });

  it("only servers of the user are asked, each once", () => {
    all((given, plan) => {
      const asked = askedBy(plan);
      const { model } = given;
      const his = model.model === "unioned" && model.style === "peer" ? (model.servers ?? []) : NAMES;
      expect(new Set(asked).size).toBe(asked.length);
      for (const name of asked) {
        expect(his).toContain(name);
        expect(given.servers.some((each) => each.name === name)).toBe(true);
      }
      if (plan.kind === "compose" || plan.kind === "spread") expect(asked.length).toBeGreaterThan(0);
    });
  });

  it("nothing but a subscription is sent to a server that is down", () => {
    all((given, plan) => {
      if (plan.kind !== "compose") for (const name of askedBy(plan)) expect(isUp(given, name)).toBe(true);
      if (plan.kind === "spread") for (const name of plan.unasked) expect(isUp(given, name)).toBe(false);
    });
  });

  it("a peer never gets back what it sends, nor the root of a tree", () => {
    all((given, plan) => {
      const { model, origin } = given;
      if (origin.kind !== "server" || model.model !== "unioned") return;
      const isRoot = origin.server === "s0" && given.servers.some((each) => each.name === "s0");
      if (model.style === "peer" || isRoot) expect(askedBy(plan)).not.toContain(origin.server);
    });
  });

  it("once a credit was asked for, it decides", () => {
    all((given, plan) => {
      if (plan.kind !== "credit") return;
      expect(given.credit).toBe("unasked");
      expect(given.origin).toEqual(fromServer(plan.server));
      expect(given.directoryAvailable).toBe(true);
      for (const credit of ["spent", "none"] as const) expect(decide({ ...given, credit }).kind).not.toBe("credit");
    });
  });

  it("credits are for who is asked and goes onward, never for a tree's root, never beside a listener that is down", () => {
    all((given, plan) => {
      if (plan.kind !== "compose" && plan.kind !== "spread") return;
      const isTree = given.model.model === "unioned" && given.model.style === "hierarchical";
      for (const [name, count] of Object.entries(plan.credits)) {
        expect(count).toBeGreaterThan(0);
        expect(plan.servers).toContain(name);
        expect(given.servers.find((each) => each.name === name)!.onward).not.toBe("none");
        if (isTree) expect(name === "s0" || given.settings.unions.downListener).toBe(false);
      }
    });
  });

  it("the directory away: nothing that must be stored or loop-checked goes out", () => {
    all((given, plan) => {
      if (given.directoryAvailable) return;
      expect(plan.kind).not.toBe("compose");
      expect(plan.kind).not.toBe("store");
      if (plan.kind === "spread") expect(plan.credits).toEqual({});
      // Who may not is refused first.
      if (given.lookup.state === "unavailable" && !(plan.kind === "reject" && plan.status === 403)) {
        expect(plan).toMatchObject({ kind: "reject", status: 500 });
      }
    });
  });

  it("what is refused is 403, 404, 480, 482 or 500, and 480 and 500 say when to come again", () => {
    all((_given, plan) => {
      if (plan.kind !== "reject") return;
      expect([403, 404, 480, 482, 500]).toContain(plan.status);
      if (plan.status === 480 || plan.status === 500) expect(plan.retryAfter).toBe(10);
    });
  });
});
