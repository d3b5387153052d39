import { directoryAway, isAsker, liveBinding, reject, relianceOn, send, serverNamed } from "./construct.ts";
import type { Facts } from "./facts.ts";
import type { Plan } from "./plan.ts";

/**
 * The exclusive model: a user is on one server at a time, and claims move him (models.md, "Exclusive"). Who holds him is
 * decided here; subscriptions that are held while nobody does, and that move with him, are not part of this version.
 */

const BOUND = Object.freeze(["bound: this server holds the user now"]);
const BOUND_DOWN = Object.freeze(["bound, but the server cannot be asked now", "the binding is kept"]);
const BOUND_REMOVED = Object.freeze(["bound to a server that is not configured", "the binding is kept"]);
const ASKER_HOLDS = Object.freeze(["asked by the very server that holds the user", "the binding is kept"]);
const UNBOUND = Object.freeze(["no server holds the user now"]);
const UNBOUND_SUBSCRIBE = Object.freeze([
  "no server holds the user now",
  "holding a subscription until one does is not part of this version",
]);
const UNKNOWN = Object.freeze(["the user has no record and was never bound"]);

export function decideExclusive(facts: Facts): Plan {
  const binding = liveBinding(facts);
  if (binding === null) return unbound(facts);
  if (isAsker(facts, binding.server)) return reject(480, ASKER_HOLDS);
  const server = serverNamed(facts, binding.server);
  if (server === undefined) return reject(480, BOUND_REMOVED, { retryAfter: facts.settings.retryAfter });
  if (!server.up) return reject(480, BOUND_DOWN, { retryAfter: facts.settings.retryAfter });
  return send(facts, server.name, relianceOn(facts, binding), null, BOUND);
}

function unbound(facts: Facts): Plan {
  if (facts.lookup.state === "unavailable") return directoryAway(facts);
  if (facts.method !== "SUBSCRIBE") return reject(480, UNBOUND);
  return facts.lookup.state === "no-record" ? reject(404, UNKNOWN) : reject(480, UNBOUND_SUBSCRIBE);
}
