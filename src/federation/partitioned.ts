import type { Binding, BindingOrigin } from "../directory/directory.ts";
import {
  allSaid404,
  directoryAway,
  holdPlan,
  isAsker,
  isStale,
  liveBinding,
  reject,
  relianceOn,
  send,
  serverNamed,
  staleBinding,
} from "./construct.ts";
import type { Facts, ServerFacts } from "./facts.ts";
import type { Plan, StaleBinding } from "./plan.ts";
import { behindOthers, isKept, storePlan } from "./storing.ts";

/**
 * The partitioned model: a user lives on one server for good, and the first request finds out on which
 * (models.md, "Partitioned"). REGISTER and PUBLISH are in `claims.ts`; they never fork.
 */

/** Methods an unbound user's server is searched by. Every other method waits until one of these has found it. */
export const FORKED_METHODS: readonly string[] = Object.freeze(["SUBSCRIBE", "MESSAGE", "INVITE"]);

const BOUND: Readonly<Record<BindingOrigin, readonly string[]>> = {
  learned: Object.freeze(["bound: this server proved to have the user"]),
  published: Object.freeze(["bound: this server published for the user"]),
  registered: Object.freeze(["bound: the user is registered at this server"]),
  admin: Object.freeze(["bound: an administrator put the user on this server"]),
  provisioned: Object.freeze(["bound: the user is provisioned on this server"]),
};
const RENAMED = Object.freeze([
  "bound to a server that knows the user by another name",
  "the subscription is answered here and goes on under that name",
]);
const BOUND_DOWN = Object.freeze(["bound, but the server cannot be asked now", "the binding is kept"]);
const BOUND_REMOVED = Object.freeze(["bound to a server that is not configured", "the binding is kept"]);
const BOUND_STORED = Object.freeze(["bound, but the server cannot be asked now", "the message is stored until it can"]);
const ASKER_HOLDS = Object.freeze(["bound to the very server that asks, and not by learning", "the binding is kept"]);
const ALL_SAID_404 = Object.freeze(["every server said a moment ago that the user is not there"]);
const NOT_SEARCHED = Object.freeze(["bound nowhere", "a user is searched by SUBSCRIBE, MESSAGE and INVITE only"]);
const NOBODY_TO_ASK = Object.freeze(["bound nowhere", "there is no other server to ask"]);
const NOBODY_UP = Object.freeze(["bound nowhere", "no server that may be asked first is up"]);
const FORK = Object.freeze(["bound nowhere: every other server is asked"]);
const FORK_STALE = Object.freeze(["what was learned is stale: it is dropped", "every other server is asked"]);
const FORK_AGAIN = Object.freeze([
  "the server learned said the user is not there",
  "every other server is asked, once",
]);

export function decidePartitioned(facts: Facts): Plan {
  const binding = liveBinding(facts);
  if (binding === null) return search(facts, null);
  return bound(facts, binding);
}

function bound(facts: Facts, binding: Binding): Plan {
  const learned = binding.origin === "learned";
  const server = serverNamed(facts, binding.server);
  if (learned && isStale(facts, binding.server)) return search(facts, staleBinding(binding));
  if (isAsker(facts, binding.server)) return reject(404, ASKER_HOLDS);
  if (server?.up !== true && isKept(facts)) return storePlan(facts, false, BOUND_STORED);
  const queued = behindOthers(facts);
  if (queued !== null) return queued;
  if (server === undefined) return reject(480, BOUND_REMOVED, { retryAfter: facts.settings.retryAfter });
  if (!server.up) return reject(480, BOUND_DOWN, { retryAfter: facts.settings.retryAfter });
  if (isRenamed(facts, server)) {
    // Back-to-back, it must be written down before it is accepted.
    return facts.directoryAvailable ? holdPlan(facts, server.name, binding.epoch, RENAMED) : directoryAway(facts);
  }
  return send(facts, server.name, relianceOn(facts, binding), null, BOUND[binding.origin]);
}

/** models.md, "Proxy or back-to-back": only a dialog of our own can carry another name in To and in its documents. */
function isRenamed(facts: Facts, server: ServerFacts): boolean {
  if (facts.method !== "SUBSCRIBE" || facts.settings.routing === "redirect" || !server.repoint) return false;
  return facts.identities?.[server.name] !== undefined;
}

function search(facts: Facts, unlearn: StaleBinding | null): Plan {
  if (facts.lookup.state === "unavailable") return directoryAway(facts);
  if (allSaid404(facts)) return reject(404, ALL_SAID_404);
  if (!FORKED_METHODS.includes(facts.method)) return reject(480, NOT_SEARCHED, { unlearn });
  const queued = unlearn === null && facts.without.length === 0 ? behindOthers(facts) : null;
  if (queued !== null) return queued;
  return fork(facts, unlearn);
}

/**
 * Two stages: those whose success is a proof first; the others only when all of the first have said *not here*. A
 * server that accepts anyone must not be asked first, because RFC 3261 16.7 forwards any 2xx at once. So a prover that
 * cannot be asked keeps the second stage from being asked as well.
 */
function fork(facts: Facts, unlearn: StaleBinding | null): Plan {
  const provers: string[] = [];
  const others: string[] = [];
  const provingDown: string[] = [];
  const othersDown: string[] = [];
  for (const server of facts.servers) {
    if (isAsker(facts, server.name) || facts.without.includes(server.name)) continue;
    if (server.proves.includes(facts.method)) (server.up ? provers : provingDown).push(server.name);
    else (server.up ? others : othersDown).push(server.name);
  }
  const stages: string[][] = [];
  const unasked = [...provingDown, ...othersDown];
  if (provers.length > 0) stages.push(provers);
  if (others.length > 0 && provingDown.length === 0) stages.push(others);
  else unasked.push(...others);
  if (stages.length === 0) {
    return unasked.length === 0
      ? reject(404, NOBODY_TO_ASK, { unlearn })
      : reject(480, NOBODY_UP, { retryAfter: facts.settings.retryAfter, unlearn });
  }
  // A fork is recorded before its first request leaves, so that a server that sends it back is known.
  if (!facts.directoryAvailable) return directoryAway(facts);
  const reasons = facts.without.length > 0 ? FORK_AGAIN : unlearn !== null ? FORK_STALE : FORK;
  return { kind: "fork", stages, unasked, provers, identities: facts.identities, unlearn, reasons };
}
