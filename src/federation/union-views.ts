import type { DecisionSettings, ServerFacts } from "./facts.ts";
import type { UnionView } from "./plan.ts";
import { askedBelow, childrenOf, fansOut, isRoot, type UnionedModel, unionOf } from "./union-view.ts";

/** Who is asked for a user, looked at from somewhere, and who in whose place. */
export interface SeenUnion {
  readonly servers: readonly string[];
  /** How often each server may send it on, also of those that are asked in another's place. */
  readonly credits: Readonly<Record<string, number>>;
  readonly visited: boolean;
  /** Of each that sends it on to its children by itself: who is to be asked where it is not there. */
  readonly below: Readonly<Record<string, readonly string[]>>;
  /** Who asks is the root: its own users' requests and what it sends on cannot be told apart, and need not be. */
  readonly fromRoot: boolean;
}

/**
 * What `childrenOf` says, with what is known of trees besides; kept once for all subscriptions that look from the same place,
 * until the servers or the settings are others.
 */
export class UnionViews {
  #servers: readonly ServerFacts[] = [];
  #unions: DecisionSettings["unions"] | null = null;
  #known = new Map<string, SeenUnion | null>();

  /** Null: nobody is to be asked. */
  of(
    model: UnionedModel,
    unions: DecisionSettings["unions"],
    servers: readonly ServerFacts[],
    view: UnionView,
  ): SeenUnion | null {
    if (servers !== this.#servers || unions !== this.#unions || this.#known.size >= MOST_KNOWN) {
      this.#servers = servers;
      this.#unions = unions;
      this.#known = new Map();
    }
    const whose = model.style === "peer" ? (model.servers ?? []).join(",") : model.tree;
    const key = `${model.style} ${whose} ${view.from ?? ""} ${view.direction}`;
    let seen = this.#known.get(key);
    if (seen === undefined) {
      seen = seenFrom(model, unions, servers, view);
      this.#known.set(key, seen);
    }
    return seen;
  }
}

const MOST_KNOWN = 10_000;
const NONE_BELOW: SeenUnion["below"] = Object.freeze({});

function seenFrom(
  model: UnionedModel,
  unions: DecisionSettings["unions"],
  servers: readonly ServerFacts[],
  view: UnionView,
): SeenUnion | null {
  const { servers: asked, credits, visited } = childrenOf(model, unions, servers, view);
  if (asked.length === 0) return null;
  const union = unionOf(model, unions.trees, servers);
  if (union === null || visited) return { servers: asked, credits, visited, below: NONE_BELOW, fromRoot: false };
  const below: Record<string, readonly string[]> = {};
  const all: Record<string, number> = { ...credits };
  for (const each of servers) {
    const behind = fansOut(each) ? askedBelow(union, servers, union.below(each.name)) : [];
    if (behind.length === 0) continue;
    below[each.name] = behind;
    if (!unions.downListener && !isRoot(union, each.name)) all[each.name] ??= union.below(each.name).length;
  }
  const fromRoot = view.from !== null && isRoot(union, view.from);
  return { servers: asked, credits: all, visited, below, fromRoot };
}
