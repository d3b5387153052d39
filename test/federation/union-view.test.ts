import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Onward, Tree } from "../../src/federation/facts.ts";
import type { UnionView } from "../../src/federation/plan.ts";
import { childrenOf, fansOut, type UnionedModel, type UnionServer, unionOf } from "../../src/federation/union-view.ts";
import { runs } from "./make.ts";

const HQ: UnionedModel = { model: "unioned", style: "hierarchical", tree: "hq" };
const NAMES = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"] as const;

interface Domain {
  readonly tree: Tree;
  readonly servers: readonly UnionServer[];
}

const onward = fc.constantFrom<Onward>("none", "up", "children", "both");

/** Trees of up to eight servers, of any shape; some servers are configured no more. */
const domain: fc.Arbitrary<Domain> = fc
  .array(fc.record({ parent: fc.nat(), onward, known: fc.boolean() }), { minLength: 1, maxLength: 8 })
  .map((drawn) => {
    const children: Record<string, string[]> = {};
    drawn.slice(1).forEach(({ parent }, i) => {
      const above = NAMES[parent % (i + 1)]!;
      children[above] = [...(children[above] ?? []), NAMES[i + 1]!];
    });
    const servers = drawn.flatMap((each, i) => (each.known ? [{ name: NAMES[i]!, onward: each.onward }] : []));
    return { tree: { name: "hq", root: "s0", children }, servers };
  });

function ask({ tree, servers }: Domain, view: UnionView, downListener = false) {
  return childrenOf(HQ, { trees: [tree], downListener, unreachable: "wait" }, servers, view);
}

/** Whose data is in what comes back, each as often as it is: who goes onward asks again for what is below it. */
function reached(given: Domain, view: UnionView): string[] {
  return ask(given, view).servers.flatMap((name) => {
    const server = given.servers.find((each) => each.name === name)!;
    return fansOut(server) ? [name, ...reached(given, { from: name, direction: "down" })] : [name];
  });
}

function below({ tree, servers }: Domain, name: string): string[] {
  const down = (each: string): string[] => (tree.children[each] ?? []).flatMap((child) => [child, ...down(child)]);
  return down(name)
    .filter((each) => servers.some((server) => server.name === each))
    .sort();
}

const names = ({ servers }: Domain): string[] => servers.map((each) => each.name).sort();

/** The only server at the top, with everything else below it. */
function rootOf(given: Domain): string | null {
  return names(given).find((each) => below(given, each).length === given.servers.length - 1) ?? null;
}

describe("a tree, from wherever one watches", () => {
  it("every configured server's data is there exactly once, for a client and for a server outside", () => {
    fc.assert(
      fc.property(domain, fc.constantFrom("up", "down"), (given, direction) => {
        expect(reached(given, { from: null, direction }).sort()).toEqual(names(given));
        expect(reached(given, { from: "elsewhere", direction }).sort()).toEqual(names(given));
      }),
      runs(500),
    );
  });

  it("for a server's own user all are there once; the root's own part it has itself", () => {
    fc.assert(
      fc.property(domain, (given) => {
        const root = rootOf(given);
        for (const { name } of given.servers) {
          const expected = name === root ? names(given).filter((each) => each !== root) : names(given);
          expect(reached(given, { from: name, direction: "up" }).sort()).toEqual(expected);
        }
      }),
      runs(500),
    );
  });

  it("what goes down from a server is all below it, once, and not itself", () => {
    fc.assert(
      fc.property(domain, (given) => {
        for (const { name } of given.servers) {
          expect(reached(given, { from: name, direction: "down" }).sort()).toEqual(below(given, name));
        }
      }),
      runs(500),
    );
  });

  it("no server is asked twice, nor the one that asks for those below it", () => {
    fc.assert(
      fc.property(domain, fc.constantFrom<UnionView["direction"]>("up", "down"), (given, direction) => {
        for (const from of [null, ...names(given)]) {
          const { servers } = ask(given, { from, direction });
          expect(new Set(servers).size).toBe(servers.length);
          if (direction === "down") expect(servers).not.toContain(from);
        }
      }),
      runs(500),
    );
  });

  it("a tree with one server left acts as partitioned: it alone is asked, and nobody when it asks", () => {
    fc.assert(
      fc.property(domain, fc.nat(), (given, which) => {
        fc.pre(given.servers.length > 0);
        const left = given.servers[which % given.servers.length]!;
        const one = { ...given, servers: [left] };
        expect(ask(one, { from: null, direction: "up" }).servers).toEqual([left.name]);
        expect(ask(one, { from: left.name, direction: "up" }).servers).toEqual([]);
        expect(ask(one, { from: left.name, direction: "down" }).servers).toEqual([]);
      }),
      runs(300),
    );
  });

  it("credits are there for exactly those that will send it on: one for each child, none for the root", () => {
    fc.assert(
      fc.property(domain, (given) => {
        const { servers, credits } = ask(given, { from: null, direction: "up" });
        const root = rootOf(given);
        for (const { name, onward } of given.servers) {
          const { below: children } = unionOf(HQ, [given.tree], given.servers)!;
          const due = servers.includes(name) && name !== root && fansOut({ onward }) ? children(name).length : 0;
          expect(credits[name] ?? 0).toBe(due);
        }
        expect(ask(given, { from: null, direction: "up" }, true).credits).toEqual({});
      }),
      runs(500),
    );
  });

  it("a server that is configured no more is out, and said to be; those below it are their grandparent's", () => {
    const tree: Tree = { name: "hq", root: "a", children: { a: ["b", "c"], b: ["d", "e"] } };
    const servers = ["a", "c", "d", "e"].map((name) => ({ name, onward: "children" as const }));
    expect(ask({ tree, servers }, { from: "a", direction: "up" })).toMatchObject({
      servers: ["d", "e", "c"],
      unknown: ["b"],
    });
    expect(ask({ tree, servers: servers.slice(1) }, { from: null, direction: "up" })).toMatchObject({
      servers: ["d", "e", "c"],
      unknown: ["a", "b"],
    });
  });

  it("is found anew where servers, trees or the model are others, and remembered where they are the same", () => {
    const servers = ["a", "b", "c"].map((name): UnionServer => ({ name, onward: "none" }));
    const view: UnionView = { from: null, direction: "up" };
    const trees = (children: Tree["children"]) => ({
      trees: [{ name: "hq", root: "a", children }],
      downListener: false,
      unreachable: "wait" as const,
    });
    const flat = trees({ a: ["b", "c"] });
    const first = childrenOf(HQ, flat, servers, view);
    expect(first.servers).toEqual(["a", "b", "c"]);
    expect(childrenOf({ ...HQ }, { ...flat }, servers, { ...view })).toBe(first);
    expect(childrenOf(HQ, trees({ a: ["c"] }), servers, view).servers).toEqual(["a", "c"]);
    expect(childrenOf(HQ, flat, servers.slice(0, 2), view).servers).toEqual(["a", "b"]);
    const fanning = servers.map((each): UnionServer => ({ ...each, onward: each.name === "a" ? "both" : "none" }));
    expect(childrenOf(HQ, flat, fanning, view).servers).toEqual(["a"]);
    const peers = (...names: string[]): UnionedModel => ({ model: "unioned", style: "peer", servers: names });
    expect(childrenOf(peers("a", "b"), flat, servers, view).servers).toEqual(["a", "b"]);
    expect(childrenOf(peers("b", "a"), flat, servers, view).servers).toEqual(["b", "a"]);
    expect(childrenOf(peers("a,b"), flat, servers, view).servers).toEqual([]);
  });

  it("a tree that there is none of has nobody", () => {
    const unions = { trees: [], downListener: false, unreachable: "wait" as const };
    const servers: UnionServer[] = [{ name: "a", onward: "none" }];
    const view: UnionView = { from: null, direction: "up" };
    expect(childrenOf(HQ, unions, servers, view).servers).toEqual([]);
    expect(childrenOf({ model: "unioned", style: "hierarchical" }, unions, servers, view).servers).toEqual([]);
    expect(childrenOf({ model: "unioned", style: "peer" }, unions, servers, view).servers).toEqual([]);
  });
});

describe("virtual root", () => {
  const tree: Tree = { name: "hq", root: "a", children: { a: ["b", "c"], b: ["d", "e"] } };
  const at = (change: Readonly<Record<string, Onward>>): Domain => ({
    tree,
    servers: ["a", "b", "c", "d", "e"].map((name) => ({ name, onward: change[name] ?? "none" })),
  });
  const asked = (given: Domain, from: string | null, direction: UnionView["direction"] = "up") =>
    ask(given, { from, direction }).servers;

  it("where nobody goes onward the proxy asks every server of the tree", () => {
    expect(asked(at({}), null)).toEqual(["a", "b", "d", "e", "c"]);
    expect(asked(at({}), "d")).toEqual(["a", "b", "d", "e", "c"]);
    expect(asked(at({}), "a")).toEqual(["b", "d", "e", "c"]);
  });

  it("a root that goes onward is asked alone, and then asks for those below it", () => {
    expect(asked(at({ a: "children" }), null)).toEqual(["a"]);
    expect(asked(at({ a: "children" }), "a")).toEqual(["b", "d", "e", "c"]);
  });

  it("a node that goes onward stands for its children, wherever it is", () => {
    expect(asked(at({ b: "both" }), null)).toEqual(["a", "b", "c"]);
    expect(asked(at({ b: "both" }), "b", "down")).toEqual(["d", "e"]);
    expect(asked(at({ b: "up" }), null)).toEqual(["a", "b", "d", "e", "c"]);
  });

  it("what a leaf's mark says is nobody's matter: there is nothing below it", () => {
    expect(asked(at({ d: "both" }), null)).toEqual(["a", "b", "d", "e", "c"]);
  });
});

describe("peers", () => {
  const peer: UnionedModel = { model: "unioned", style: "peer", servers: ["a", "b", "a", "gone", "c"] };
  const servers = ["a", "b", "c", "other"].map((name) => ({ name, onward: "both" as const }));
  const unions = { trees: [], downListener: false, unreachable: "wait" as const };

  it("all of the user's servers but the one that asks, each once, in order; visited rows say which are free", () => {
    const asked = (from: string | null) => childrenOf(peer, unions, servers, { from, direction: "up" });
    expect(asked(null)).toEqual({ servers: ["a", "b", "c"], credits: {}, visited: true, unknown: ["gone"] });
    expect(asked("other").servers).toEqual(["a", "b", "c"]);
    expect(asked("b").servers).toEqual(["a", "c"]);
  });
});
