import type { DecisionSettings, ModelFacts, ServerFacts, Tree } from "./facts.ts";
import type { UnionView } from "./plan.ts";

/**
 * Which servers are asked for a unioned user, looked at from where a request came (models.md, "Unioned"): pure, so that a
 * subscription finds its children again when the configuration has changed.
 */

export type UnionedModel = Extract<ModelFacts, { readonly model: "unioned" }>;

/** What is looked at of a server. */
export type UnionServer = Pick<ServerFacts, "name" | "onward">;

export interface Children {
  /** Asked by us, in order, none twice. Empty: who asks is all there is. */
  readonly servers: readonly string[];
  /** How often each of them will send it on to its own children, where only credits tell that from what goes up. */
  readonly credits: Readonly<Record<string, number>>;
  /** Peer: which of them are free, the visited rows of the pair say. */
  readonly visited: boolean;
  /** Named by the tree or the list, and not configured: out. What is below them counts as their parent's. */
  readonly unknown: readonly string[];
}

/** A tree or a list of which only configured servers are left. */
export interface Union {
  /** All of the user's servers, in order; of a tree a parent before its children. */
  readonly members: readonly string[];
  /** Null: peer. More than one only where a tree's root is not configured. */
  readonly tops: readonly string[] | null;
  readonly unknown: readonly string[];
  /** The nearest configured servers below one. */
  below(server: string): readonly string[];
}

export const NO_CREDITS: Readonly<Record<string, number>> = Object.freeze({});
const NOBODY: readonly string[] = Object.freeze([]);

/** What was found for one list of servers and of trees: both are replaced whole where something of them changes. */
interface Known {
  readonly trees: readonly Tree[];
  readonly unions: Map<string, Union | null>;
  readonly children: Map<string, Children>;
}

const KNOWN = new WeakMap<readonly Pick<UnionServer, "name">[], Known>();
const MOST_KNOWN = 1_000;

function knownOf(servers: readonly Pick<UnionServer, "name">[], trees: readonly Tree[]): Known {
  let known = KNOWN.get(servers);
  if (known === undefined || known.trees !== trees) {
    known = { trees, unions: new Map(), children: new Map() };
    KNOWN.set(servers, known);
  }
  return known;
}

function remember<T>(map: Map<string, T>, key: string, value: T): T {
  if (map.size >= MOST_KNOWN) map.clear();
  map.set(key, value);
  return value;
}

/** Of users' own records there may be many; of trees a handful. */
function nameOf(model: UnionedModel): string {
  return model.style === "peer" ? `peers ${(model.servers ?? NOBODY).join("\n")}` : `tree ${model.tree ?? ""}`;
}

/** Null: the model names a tree that there is none of, or no servers. */
export function unionOf(
  model: UnionedModel,
  trees: readonly Tree[],
  servers: readonly Pick<UnionServer, "name">[],
): Union | null {
  const { unions } = knownOf(servers, trees);
  const name = nameOf(model);
  const known = unions.get(name);
  return known === undefined ? remember(unions, name, findUnion(model, trees, servers)) : known;
}

function findUnion(
  model: UnionedModel,
  trees: readonly Tree[],
  servers: readonly Pick<UnionServer, "name">[],
): Union | null {
  const isKnown = (name: string): boolean => servers.some((each) => each.name === name);
  if (model.style === "peer") {
    const named = [...new Set(model.servers ?? NOBODY)];
    if (named.length === 0) return null;
    return {
      members: named.filter(isKnown),
      tops: null,
      unknown: named.filter((name) => !isKnown(name)),
      below: () => NOBODY,
    };
  }
  const tree = trees.find((each) => each.name === model.tree);
  if (tree === undefined) return null;
  const named = new Set<string>();
  const below = new Map<string, readonly string[]>();
  // A server comes up once, whatever a tree says that nobody checked.
  const walk = (name: string): readonly string[] => {
    if (named.has(name)) return NOBODY;
    named.add(name);
    const children = (tree.children[name] ?? NOBODY).flatMap(walk);
    if (!isKnown(name)) return children;
    below.set(name, children);
    return [name];
  };
  const tops = walk(tree.root);
  return {
    members: [...named].filter(isKnown),
    tops,
    unknown: [...named].filter((name) => !isKnown(name)),
    below: (server) => below.get(server) ?? NOBODY,
  };
}

/** True for a server that sends on to its children by itself what its parent sends it. */
export function fansOut({ onward }: Pick<UnionServer, "onward">): boolean {
  return onward === "children" || onward === "both";
}

/** True for the only server at the top: what it sends is always for those below. */
export function isRoot(union: Union, server: string): boolean {
  return union.tops?.length === 1 && union.tops[0] === server;
}

/**
 * The servers below `tops` that are to be asked by us: one that fans out by itself stands for all below it; for every
 * other one we ask its children too, so that the whole is a virtual root.
 */
export function askedBelow(union: Union, servers: readonly UnionServer[], tops: readonly string[]): readonly string[] {
  return tops.flatMap((name) => {
    const below = union.below(name);
    const itself = below.length > 0 && servers.some((each) => each.name === name && fansOut(each));
    return itself ? [name] : [name, ...askedBelow(union, servers, below)];
  });
}

/**
 * Who is asked. In a tree what comes from the root, and what goes down from a server, is for those below it; whatever else
 * comes from wherever is for the whole tree, which its middle nodes would but pass on (draft, "Hierarchical Model").
 * Among peers it is for all others.
 */
export function childrenOf(
  model: UnionedModel,
  unions: DecisionSettings["unions"],
  servers: readonly UnionServer[],
  view: UnionView,
): Children {
  const { children } = knownOf(servers, unions.trees);
  const key = `${unions.downListener ? "listener" : "credits"} ${view.direction} ${view.from ?? ""} ${nameOf(model)}`;
  return children.get(key) ?? remember(children, key, findChildren(model, unions, servers, view));
}

function findChildren(
  model: UnionedModel,
  unions: DecisionSettings["unions"],
  servers: readonly UnionServer[],
  view: UnionView,
): Children {
  const union = unionOf(model, unions.trees, servers);
  if (union === null) return { servers: NOBODY, credits: NO_CREDITS, visited: false, unknown: NOBODY };
  const { tops, unknown } = union;
  if (tops === null) {
    const servers = union.members.filter((name) => name !== view.from);
    return { servers, credits: NO_CREDITS, visited: true, unknown };
  }
  const asked = askedBelow(union, servers, startsOf(union, tops, view));
  const credits = unions.downListener ? NO_CREDITS : fanOutCredits(union, servers, asked);
  return { servers: asked, credits, visited: false, unknown };
}

function startsOf(union: Union, tops: readonly string[], { from, direction }: UnionView): readonly string[] {
  if (from === null || !union.members.includes(from)) return tops;
  return direction === "down" || isRoot(union, from) ? union.below(from) : tops;
}

/** One for each child of whoever fans out by itself. The root needs none: it never goes up. */
function fanOutCredits(
  union: Union,
  servers: readonly UnionServer[],
  asked: readonly string[],
): Readonly<Record<string, number>> {
  const credits: Record<string, number> = {};
  for (const { name, onward } of servers) {
    const count = union.below(name).length;
    if (count > 0 && asked.includes(name) && fansOut({ onward }) && !isRoot(union, name)) credits[name] = count;
  }
  return credits;
}
