import type { Facts, Onward } from "./facts.ts";
import type { Plan, UnionView } from "./plan.ts";
import { childrenOf, fansOut, isRoot, type Union, unionOf } from "./union-view.ts";

/** What `explain` tells of a user who is on several servers: all of them, who is asked, and why the others are not. */
export interface UnionExplanation {
  readonly style: "hierarchical" | "peer";
  /** Null: peer. */
  readonly tree: string | null;
  /** From where it is looked at; null: a credit decides, or the model names no servers. */
  readonly view: UnionView | null;
  /** This proxy does the root's part: the root does not send on to its children by itself. */
  readonly virtualRoot: boolean;
  readonly servers: readonly UnionServerJson[];
  /** Named by the tree or the list, and not configured. */
  readonly unknown: readonly string[];
}

export interface UnionServerJson {
  readonly name: string;
  readonly place: "root" | "middle" | "leaf" | "peer";
  readonly below: readonly string[];
  readonly onward: Onward;
  readonly up: boolean;
  readonly asked: boolean;
  /** How often it may send it on, or back, before that is taken for its own users'; 0: it needs no leave. */
  readonly credits: number;
  /** Why it is asked, or is not. */
  readonly why: string;
}

/** Null: the user's model is not unioned. */
export function explainUnion(facts: Facts, plan: Plan): UnionExplanation | null {
  const { model, settings, servers } = facts;
  if (model.model !== "unioned") return null;
  const { style } = model;
  const tree = style === "peer" ? null : (model.tree ?? "");
  const union = unionOf(model, settings.unions.trees, servers);
  if (union === null) return { style, tree, view: null, virtualRoot: false, servers: [], unknown: [] };
  const asked = askedBy(plan);
  const view = viewIn(plan) ?? null;
  const credits = "credits" in plan ? plan.credits : {};
  return {
    style,
    tree,
    view,
    virtualRoot: isVirtualRoot(facts, union),
    servers: union.members.map((name): UnionServerJson => {
      const server = servers.find((each) => each.name === name)!;
      const below = union.below(name);
      return {
        name,
        place: placeOf(union, name),
        below,
        onward: server.onward,
        up: server.up,
        asked: asked.includes(name),
        credits: credits[name] ?? 0,
        why: asked.includes(name) ? whyAsked(facts, union, name) : whyNot(facts, union, plan, name),
      };
    }),
    unknown: union.unknown,
  };
}

export function unionLines(union: UnionExplanation): string[] {
  const lines = [union.tree === null ? "union: peers" : `union: tree ${union.tree === "" ? "not named" : union.tree}`];
  if (union.servers.length === 0) lines.push("  none of its servers is known");
  if (union.virtualRoot)
    lines.push("  the root does not go onward to its children by itself: this proxy is its virtual root");
  for (const { name, place, below, onward, up, asked, credits, why } of union.servers) {
    const marks = [
      place,
      ...(below.length > 0 ? [`above ${below.join(", ")}`] : []),
      `onward ${onward}`,
      up ? "up" : "down",
    ];
    lines.push(`  ${asked ? "asked" : "not asked"}: ${name} (${marks.join(", ")}): ${why}`);
    if (credits > 0)
      lines.push(`    ${credits} ${credits === 1 ? "credit" : "credits"} for 32 s, for what it sends on or back`);
  }
  if (union.unknown.length > 0) lines.push(`  out, because not configured: ${union.unknown.join(", ")}`);
  return lines;
}

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

function viewIn(plan: Plan): UnionView | undefined {
  return plan.kind === "compose" ? plan.view : undefined;
}

function placeOf(union: Union, name: string): UnionServerJson["place"] {
  if (union.tops === null) return "peer";
  if (isRoot(union, name)) return "root";
  return union.below(name).length > 0 ? "middle" : "leaf";
}

function isVirtualRoot({ servers }: Facts, union: Union): boolean {
  if (union.tops === null || union.members.length < 2) return false;
  const [root] = union.tops;
  return union.tops.length > 1 || !servers.some((each) => each.name === root && fansOut(each));
}

function whyAsked({ servers, settings, model }: Facts, union: Union, name: string): string {
  const below = union.below(name);
  if (below.length === 0) return "its own part";
  const itself = servers.some((each) => each.name === name && fansOut(each));
  if (!itself) return "its own part; for those below it this proxy asks itself";
  if (isRoot(union, name)) return "its own part and that of all below it, which it asks for by itself";
  const how = settings.unions.downListener ? "at a listener that is down" : "told by credits";
  const { servers: then } =
    model.model === "unioned"
      ? childrenOf(model, settings.unions, servers, { from: name, direction: "down" })
      : { servers: [] };
  return `its own part and that of all below it, which it asks for by itself (${how}): ${then.join(", ")}`;
}

function whyNot({ origin, servers }: Facts, union: Union, plan: Plan, name: string): string {
  const isUp = servers.some((each) => each.name === name && each.up);
  const asks = origin.kind === "server" && origin.server === name;
  switch (plan.kind) {
    case "credit":
      return "a credit decides";
    case "compose":
    case "spread": {
      if (plan.kind === "spread" && plan.unasked.includes(name)) return "it cannot be asked now";
      if (asks) return "it asks itself, and has its own part";
      const above = servers.find(
        (each) => plan.servers.includes(each.name) && fansOut(each) && isBelow(union, each.name, name),
      );
      return above === undefined ? "it is not below the server that asks" : `${above.name} goes onward to it by itself`;
    }
    case "reject":
      if (asks) return "it asks itself";
      return isUp ? "the request is refused" : "it cannot be asked now";
    case "store":
      return isUp ? "the message waits behind others" : "it cannot be asked now";
    case "winfo":
      return "this proxy answers itself";
    default:
      return askedBy(plan).length === 0 ? "this proxy answers itself" : "it goes to one server only";
  }
}

function isBelow(union: Union, top: string, name: string): boolean {
  return union.below(top).some((each) => each === name || isBelow(union, each, name));
}
