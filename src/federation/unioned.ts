import { directoryAway, isAsker, reject, send } from "./construct.ts";
import type { Facts, ServerFacts } from "./facts.ts";
import type { CreditPlan, Plan, SpreadPlan, UnionView } from "./plan.ts";
import { behindOthers, isKept, storePlan } from "./storing.ts";
import { ownReliance, usersOwnServer } from "./union-home.ts";
import {
  type Children,
  childrenOf,
  fansOut,
  isRoot,
  NO_CREDITS,
  type Union,
  type UnionedModel,
  type UnionServer,
  unionOf,
} from "./union-view.ts";

/** The unioned models: a user is on several servers at once (models.md, "Unioned, hierarchical" and "Unioned, peer"). */

const NO_UNION = Object.freeze(["the user's record names a tree that there is none of, or no servers"]);
const NONE_LEFT = Object.freeze(["none of the servers the user is on is configured"]);
const ASKER_IS_ALL = Object.freeze(["asked by the only server the user is on"]);
const TREE = Object.freeze(["from outside of the tree or a client: it is for the whole tree"]);
const UP = Object.freeze(["from a server of the tree, for its own user: it is for the whole tree"]);
const ROOT = Object.freeze(["from the root of the tree: it is for the servers below it"]);
const DOWN = Object.freeze(["it goes down from a server of the tree: it is for the servers below it"]);
const UP_OR_DOWN = Object.freeze([
  "from a server in the middle of the tree, that sends on to its children by itself",
  "a credit tells what it was sent, and sends on, from what its own users send up",
]);
const PEERS = Object.freeze(["it is for all servers of the user"]);
const OTHER_PEERS = Object.freeze(["the server that asks acts as the root: it is for the user's other servers"]);
const MAY_RETURN = Object.freeze([
  "from a server of the user that sends on to the others what it was sent",
  "a credit tells a copy that comes back from what its own users send",
]);
const RETURNED = Object.freeze(["what this server was sent comes back from it", "the others have it already"]);
const ALL_DOWN = Object.freeze(["none of the servers the user is on can be asked now"]);
const ALL_DOWN_STORED = Object.freeze([
  "none of the servers the user is on can be asked now",
  "the message is stored until one can",
]);
const ONE_SERVER = Object.freeze(["it makes no whole of several servers: it goes to one of the user's"]);
const ASKER_IS_ONE = Object.freeze(["it makes no whole of several servers", "asked by the very one it goes to"]);
const ONE_DOWN = Object.freeze(["it makes no whole of several servers", "the one it goes to cannot be asked now"]);

export function decideUnioned(facts: Facts, model: UnionedModel): Plan {
  const { settings, lookup } = facts;
  // Without his record he may be of another model, or on other servers.
  if (lookup.state === "unavailable") return directoryAway(facts);
  const union = unionOf(model, settings.unions.trees, facts.servers);
  if (union === null) {
    return reject(480, NO_UNION, { retryAfter: settings.retryAfter, warning: "The user's servers are not configured" });
  }
  if (union.members.length === 0) return reject(480, NONE_LEFT, { retryAfter: settings.retryAfter });
  if (facts.method === "SUBSCRIBE" && facts.event === "presence") return decidePresence(facts, model, union);
  if (facts.method === "MESSAGE" || facts.method === "INVITE") return decideSpread(facts, model, union);
  return decideOther(facts, union);
}

function decidePresence(facts: Facts, model: UnionedModel, union: Union): Plan {
  const { settings } = facts;
  const view = viewOf(facts, union);
  if (!facts.directoryAvailable) return directoryAway(facts);
  if (view === null) return creditPlan(facts, UP_OR_DOWN);
  const children = childrenOf(model, settings.unions, facts.servers, view);
  const reasons = reasonsOf(view, union);
  const { servers, credits, visited } = children;
  if (servers.length === 0) return reject(404, ASKER_IS_ALL);
  if (isRedirected(facts, union, children)) return send(facts, servers[0]!, null, null, reasons);
  return { kind: "compose", view, servers, visited, credits, reasons };
}

function decideSpread(facts: Facts, model: UnionedModel, union: Union): Plan {
  const { settings } = facts;
  const isPeer = union.tops === null;
  if (isPeer && mayReturn(facts, union)) {
    if (facts.credit === "spent") return reject(482, RETURNED, { warning: "The other servers have it already" });
    if (facts.credit === "unasked") return creditPlan(facts, MAY_RETURN);
  }
  const view = viewOf(facts, union);
  if (view === null) return creditPlan(facts, UP_OR_DOWN);
  const children = childrenOf(model, settings.unions, withoutPaths(facts.servers), view);
  const reasons = reasonsOf(view, union);
  if (children.servers.length === 0) return reject(404, ASKER_IS_ALL);
  if (isRedirected(facts, union, children)) return send(facts, children.servers[0]!, null, null, reasons);
  const servers = children.servers.filter((name) => isUp(facts, name));
  // A part of the whole comes of what is being delivered: it waits behind nothing, and is not kept beside it.
  const isPart = view.direction === "down";
  if (servers.length === 0) {
    if (isKept(facts) && !isPart) return storePlan(facts, false, ALL_DOWN_STORED);
    return reject(480, ALL_DOWN, { retryAfter: settings.retryAfter });
  }
  const queued = isPart ? null : behindOthers(facts);
  if (queued !== null) return queued;
  const credits = creditsOf(facts, union, children, servers);
  // A credit is committed before what it is for is sent; what can come back from nobody needs none.
  if (credits !== NO_CREDITS && !facts.directoryAvailable) return directoryAway(facts);
  return {
    kind: "spread",
    servers,
    unasked: children.servers.filter((name) => !servers.includes(name)),
    // The user's choice was made before.
    choice: isPart ? "all" : "user",
    credits,
    identities: facts.identities,
    reasons,
  } satisfies SpreadPlan;
}

/** What nobody can make one of several servers' answers of: it goes to one of them. */
function decideOther(facts: Facts, union: Union): Plan {
  const name = usersOwnServer(facts, union.members);
  if (isAsker(facts, name)) return reject(404, ASKER_IS_ONE);
  if (!isUp(facts, name)) return reject(480, ONE_DOWN, { retryAfter: facts.settings.retryAfter });
  return send(facts, name, ownReliance(facts), null, ONE_SERVER);
}

/** From where it is looked at; null: only a credit tells. */
function viewOf(facts: Facts, union: Union): UnionView | null {
  const from = facts.origin.kind === "server" ? facts.origin.server : null;
  if (from === null || union.tops === null || !union.members.includes(from)) return { from, direction: "up" };
  // A leaf only ever goes up.
  if (union.below(from).length === 0) return { from, direction: "up" };
  const itself = facts.servers.some((each) => each.name === from && fansOut(each));
  if (isRoot(union, from) && itself) return { from, direction: "down" };
  if (facts.settings.unions.downListener) return { from, direction: facts.direction };
  if (!itself) return { from, direction: "up" };
  if (facts.credit === "unasked") return null;
  return { from, direction: facts.credit === "spent" ? "down" : "up" };
}

function reasonsOf({ from, direction }: UnionView, union: Union): readonly string[] {
  const isMember = from !== null && union.members.includes(from);
  if (union.tops === null) return isMember ? OTHER_PEERS : PEERS;
  if (!isMember) return TREE;
  if (isRoot(union, from)) return ROOT;
  return direction === "down" ? DOWN : UP;
}

function creditPlan(facts: Facts, reasons: readonly string[]): Plan {
  if (!facts.directoryAvailable || facts.origin.kind !== "server") return directoryAway(facts);
  return { kind: "credit", server: facts.origin.server, reasons } satisfies CreditPlan;
}

/** What is below a server that cannot be asked is reached without it. */
function withoutPaths(servers: Facts["servers"]): readonly UnionServer[] {
  if (!servers.some((each) => !each.up && fansOut(each))) return servers;
  return servers.map((each) => (each.up ? each : { name: each.name, onward: "none" }));
}

/** Peer: it may be a copy of what this server was sent. */
function mayReturn(facts: Facts, union: Union): boolean {
  if (facts.origin.kind !== "server" || union.members.length < 2) return false;
  const { server } = facts.origin;
  return union.members.includes(server) && sendsOn(facts.servers, server);
}

function creditsOf(
  facts: Facts,
  union: Union,
  children: Children,
  servers: readonly string[],
): Readonly<Record<string, number>> {
  const credits: Record<string, number> = {};
  for (const name of servers) {
    if (union.tops !== null) {
      if (children.credits[name] !== undefined) credits[name] = children.credits[name];
    } else if (union.members.length > 1 && sendsOn(facts.servers, name)) credits[name] = union.members.length - 1;
  }
  return Object.keys(credits).length === 0 ? NO_CREDITS : credits;
}

/** What it is sent, among peers. */
function sendsOn(servers: readonly ServerFacts[], name: string): boolean {
  return servers.some((each) => each.name === name && fansOut(each));
}

/** A redirect server can name one server, and where a tree's root composes by itself that one has the whole. */
function isRedirected(facts: Facts, union: Union, { servers, credits }: Children): boolean {
  if (facts.settings.routing !== "redirect" || union.tops === null) return false;
  return servers.length === 1 && credits[servers[0]!] === undefined && isUp(facts, servers[0]!);
}

function isUp(facts: Facts, name: string): boolean {
  return facts.servers.some((each) => each.name === name && each.up);
}
