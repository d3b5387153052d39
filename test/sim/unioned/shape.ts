import type { ModelFacts, Onward, Tree } from "../../../src/federation/facts.ts";
import type { Random } from "../../../src/runtime/runtime.ts";

/** One server of a small world, and what it makes of what it is sent. */
export interface ServerShape {
  readonly name: string;
  readonly onward: Onward;
  /** Passes Session-ID on. */
  readonly passes: boolean;
  /** Is configured to do so. */
  readonly preserves: boolean;
  /** Its back-end subscriptions are its own in From. */
  readonly asItself: boolean;
  readonly dropsMarks: boolean;
  /** Sends each back-end subscription twice. */
  readonly twice: boolean;
  /** Has none of the users, and sends what it is asked for them back. */
  readonly back: "404" | "proxy-back" | "b2bua-back" | null;
  /** Its phones' names for users: AoR -> user part here. */
  readonly identities: Readonly<Record<string, string>>;
}

export interface UserShape {
  readonly user: string;
  /** As configured now. */
  style: "peer" | "tree";
  /** In order; of a tree a parent before its children. */
  servers: string[];
  /** Tree: server -> its parent; the root is not in it. */
  parents: Map<string, string>;
}

const NAMES = ["east", "west", "north", "south", "alpha", "beta", "gamma", "delta"];
const USERS = ["ann", "bob", "cid"];

export interface Shape {
  readonly servers: readonly ServerShape[];
  readonly users: readonly UserShape[];
  readonly watchers: readonly string[];
  /** `user watcher server`: he is denied there from the start. */
  readonly denials: ReadonlyMap<string, "403" | "pending">;
  /** Proxies have a second listener for what goes down in trees: no credits are needed. */
  readonly hasDownListener: boolean;
  /** Nobody dies, nothing is lost, nothing is changed in the configuration. */
  readonly peaceful: boolean;
}

/** What a seed makes of the world before anything happens in it. */
export function drawShape(random: Random, seed: number): Shape {
  const below = (n: number): number => (n <= 1 ? 0 : random.integer(n));
  const chance = (percent: number): boolean => below(100) < percent;
  const pick = <T>(from: readonly T[]): T => from[below(from.length)]!;
  // Small ones are found faults in sooner, large ones have more ways to go round.
  const count = 2 + (chance(30) ? below(7) : below(3));
  const bare = chance(20);
  const servers = NAMES.slice(0, count).map((name, index): ServerShape => {
    const passes = chance(30);
    const back = index > 0 && chance(8) ? pick(["404", "proxy-back", "b2bua-back"] as const) : null;
    const identity = chance(10) && back === null;
    return {
      name,
      onward:
        back !== null
          ? pick(["none", "none", "both"] as const)
          : pick(["none", "none", "up", "children", "both", "both"] as const),
      passes,
      preserves: passes || chance(15),
      asItself: chance(25),
      dropsMarks: bare && chance(50),
      twice: chance(8),
      back,
      identities: identity ? { [`${USERS[0]}@example.com`]: `${USERS[0]}.${name}` } : {},
    };
  });
  const users = USERS.slice(0, 1 + below(Math.min(3, count))).map((user, index): UserShape => {
    const style = (seed + index) % 2 === 0 ? "peer" : "tree";
    const members = servers.map(({ name }) => name).filter((_, i) => i < 2 || chance(75));
    for (let i = members.length - 1; i > 0; i--) {
      const j = below(i + 1);
      [members[i], members[j]] = [members[j]!, members[i]!];
    }
    const parents = new Map<string, string>();
    if (style === "tree") for (let i = 1; i < members.length; i++) parents.set(members[i]!, members[below(i)]!);
    return { user, style, servers: members, parents };
  });
  const watchers = ["wendy", "will", "wim", "wanda"].slice(0, 2 + below(3));
  const denials = new Map<string, "403" | "pending">();
  if (chance(50)) {
    const { user, servers: at } = pick(users);
    denials.set(`${user} ${pick(watchers)} ${pick(at)}`, chance(70) ? "403" : "pending");
  }
  return { servers, users, watchers, denials, hasDownListener: chance(25), peaceful: seed % 4 === 0 };
}

export function modelOf({ style, servers, user }: UserShape): ModelFacts {
  return style === "peer"
    ? { model: "unioned", style: "peer", servers: [...servers] }
    : { model: "unioned", style: "hierarchical", tree: user };
}

export function treeOf({ servers, parents, user }: UserShape): Tree {
  const children: Record<string, string[]> = {};
  for (const [child, parent] of parents) children[parent] = [...(children[parent] ?? []), child];
  return { name: user, root: servers[0]!, children };
}

export function childrenOf({ parents }: UserShape, server: string): string[] {
  return [...parents].filter(([, parent]) => parent === server).map(([child]) => child);
}

/** Takes a server out: its children become its parent's, and of the root the first child is the next root. */
export function leave(user: UserShape, server: string): void {
  const at = user.servers.indexOf(server);
  if (at < 0 || user.servers.length < 2) return;
  user.servers.splice(at, 1);
  const children = childrenOf(user, server);
  const parent = user.parents.get(server) ?? children[0];
  user.parents.delete(server);
  for (const child of children) {
    if (parent === undefined || child === parent) user.parents.delete(child);
    else user.parents.set(child, parent);
  }
  if (parent !== undefined && at === 0) {
    user.servers.splice(user.servers.indexOf(parent), 1);
    user.servers.unshift(parent);
  }
}

export function join(user: UserShape, server: string, under: string): void {
  if (user.servers.includes(server)) return;
  user.servers.push(server);
  if (user.style === "tree") user.parents.set(server, under);
}
