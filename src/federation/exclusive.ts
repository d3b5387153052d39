import { directoryAway, holdPlan, isAsker, liveBinding, reject, relianceOn, send, serverNamed } from "./construct.ts";
import type { Facts } from "./facts.ts";
import type { Plan } from "./plan.ts";
import { behindOthers, isKept, storePlan } from "./storing.ts";

/** The exclusive model: a user is on one server at a time, and claims move him (models.md, "Exclusive"). */

const BOUND = Object.freeze(["bound: this server holds the user now"]);
const BOUND_DOWN = Object.freeze(["bound, but the server cannot be asked now", "the binding is kept"]);
const BOUND_REMOVED = Object.freeze(["bound to a server that is not configured", "the binding is kept"]);
const ASKER_HOLDS = Object.freeze(["asked by the very server that holds the user", "the binding is kept"]);
const UNBOUND = Object.freeze(["no server holds the user now"]);
const UNBOUND_STORED = Object.freeze(["no server holds the user now", "the message is stored until one does"]);
const BOUND_STORED = Object.freeze(["bound, but the server cannot be asked now", "the message is stored until it can"]);
const UNKNOWN = Object.freeze(["the user has no record and was never bound"]);
const HELD = Object.freeze([
  "no server holds the user now",
  "the subscription is held here, and extended to the server that binds him",
]);
const NOT_HELD = Object.freeze([
  "no server holds the user now",
  "subscriptions to this event package are not held (subscriptions: hold-events)",
]);
const EXTENDED = Object.freeze([
  "bound: this server holds the user now",
  "the subscription is answered here and follows the user when he moves",
]);
const NO_LEG = Object.freeze([
  "bound: this server holds the user now",
  "a dialog with it cannot be moved (repoint: no), so the subscription is passed on to it",
]);
const REG_WHOLE = Object.freeze(["registrations of the asking server's users are told by this proxy (RFC 3680)"]);
const REG = Object.freeze(["registrations of an exclusive user are told to servers by this proxy (RFC 3680)"]);
const REG_OTHER = Object.freeze(["a server is told of its own users only"]);

export function decideExclusive(facts: Facts): Plan {
  return facts.method === "SUBSCRIBE" ? decideSubscribe(facts) : decideRequest(facts);
}

/** A server's subscription to registrations: of one user, or with `;server=` of all of its own. */
export function decideRegServer(facts: Facts, server: string): Plan {
  if (!isAsker(facts, server)) return reject(403, REG_OTHER);
  return facts.directoryAvailable ? { kind: "reginfo", server, aor: null, reasons: REG_WHOLE } : directoryAway(facts);
}

function decideSubscribe(facts: Facts): Plan {
  if (facts.lookup.state === "unavailable") return directoryAway(facts);
  if (facts.event === "reg" && facts.origin.kind === "server") {
    if (!facts.directoryAvailable) return directoryAway(facts);
    return { kind: "reginfo", server: facts.origin.server, aor: facts.aor, reasons: REG };
  }
  const binding = liveBinding(facts);
  if (binding === null) return hold(facts);
  if (isAsker(facts, binding.server)) return reject(480, ASKER_HOLDS);
  const server = serverNamed(facts, binding.server);
  if (server === undefined) return reject(480, BOUND_REMOVED, { retryAfter: facts.settings.retryAfter });
  if (facts.settings.routing === "redirect") return send(facts, server.name, null, null, BOUND);
  if (!server.repoint) {
    if (!server.up) return reject(480, BOUND_DOWN, { retryAfter: facts.settings.retryAfter });
    return send(facts, server.name, relianceOn(facts, binding), null, NO_LEG);
  }
  // Back-to-back, it must be written down before it is accepted.
  if (!facts.directoryAvailable) return directoryAway(facts);
  return holdPlan(facts, server.name, binding.epoch, EXTENDED);
}

function hold(facts: Facts): Plan {
  const { lookup, settings } = facts;
  if (lookup.state === "no-record" && settings.hold.users === "known") return reject(404, UNKNOWN);
  if (!settings.hold.events.includes(facts.event)) return reject(480, NOT_HELD);
  if (!facts.directoryAvailable) return directoryAway(facts);
  return holdPlan(facts, null, lookup.state === "unavailable" ? 0 : lookup.epoch, HELD);
}

function decideRequest(facts: Facts): Plan {
  const binding = liveBinding(facts);
  if (binding === null) {
    if (facts.lookup.state === "unavailable") return directoryAway(facts);
    return isKept(facts) ? storePlan(facts, false, UNBOUND_STORED) : reject(480, UNBOUND);
  }
  if (isAsker(facts, binding.server)) return reject(480, ASKER_HOLDS);
  const server = serverNamed(facts, binding.server);
  if (server?.up !== true && isKept(facts)) return storePlan(facts, false, BOUND_STORED);
  const queued = behindOthers(facts);
  if (queued !== null) return queued;
  if (server === undefined) return reject(480, BOUND_REMOVED, { retryAfter: facts.settings.retryAfter });
  if (!server.up) return reject(480, BOUND_DOWN, { retryAfter: facts.settings.retryAfter });
  return send(facts, server.name, relianceOn(facts, binding), null, BOUND);
}
