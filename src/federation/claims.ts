import {
  allSaid404,
  directoryAway,
  isAsker,
  isStale,
  liveBinding,
  reject,
  relianceOn,
  send,
  serverNamed,
  staleBinding,
} from "./construct.ts";
import type { Facts } from "./facts.ts";
import type { BindPlan, Plan, Reliance, StaleBinding } from "./plan.ts";
import { ownReliance, usersOwnServer } from "./union-home.ts";
import { unionOf } from "./union-view.ts";

/**
 * REGISTER and PUBLISH, in every model. From a server they claim its user; a client's goes to the user's server, else
 * to the configured home server. They never fork: that would make state everywhere (models.md, "Partitioned").
 */

const FROM_SERVER: Readonly<Record<BindPlan["action"], readonly string[]>> = {
  claim: Object.freeze(["the server claims the user for itself"]),
  deregister: Object.freeze(["the server gives the user up"]),
  refresh: Object.freeze(["the server renews what it published; that claims nobody"]),
  none: Object.freeze(["from the server for its own user, and no claim"]),
};
const ONE_OF_HIS = Object.freeze(["one of the user's servers: he is on all of them at once, and nothing is claimed"]);
const NONE_OF_HIS = Object.freeze(["the user is unioned, and not on this server"]);
const NO_UNION = Object.freeze(["the user is unioned, and none of the servers he is on is configured"]);
const TO_OWN = Object.freeze(["the user is unioned: what can go to one server only goes to this one of his"]);
const ASKER_IS_ONE = Object.freeze(["the user is unioned, and it is asked by the very one of his servers it goes to"]);
const OWN_DOWN = Object.freeze(["the user is unioned, and the one of his servers it goes to cannot be asked now"]);
const NO_CLAIMS = Object.freeze(["the server registers a user for itself, but is not configured to claim by REGISTER"]);
const PEER = Object.freeze(["another domain cannot register or publish our users"]);
const NOT_HIMSELF = Object.freeze(["a client registers and publishes for the user he authenticated as, and no other"]);
const TO_BOUND = Object.freeze(["bound: it goes to the user's server"]);
const TO_HOME = Object.freeze(["bound nowhere: it goes to the home server"]);
const TO_HOME_STALE = Object.freeze(["what was learned is stale: it is dropped", "it goes to the home server"]);
const BOUND_DOWN = Object.freeze(["bound, but the server cannot be asked now", "the binding is kept"]);
const BOUND_REMOVED = Object.freeze(["bound to a server that is not configured", "the binding is kept"]);
const ASKER_HOLDS = Object.freeze(["bound to the very server that asks", "the binding is kept"]);
const ALL_SAID_404 = Object.freeze(["every server said a moment ago that the user is not there"]);
const NO_HOME = Object.freeze(["bound nowhere", "there is no home server to send it to"]);
const HOME_DOWN = Object.freeze(["bound nowhere", "the home server cannot be asked now"]);
const NO_HOLDER = Object.freeze([
  "no server holds the user now",
  "a home server takes a partitioned user's PUBLISH only",
]);

export function decideClaim(facts: Facts): Plan {
  const { origin, claim } = facts;
  if (origin.kind === "peer") return reject(403, PEER);
  // RFC 3261 10.3 step 4, RFC 3903 14.1.
  if (origin.kind === "client" && origin.authenticated !== null && origin.authenticated !== facts.aor) {
    return reject(403, NOT_HIMSELF, { warning: "A user registers and publishes himself only" });
  }
  if (origin.kind === "server" && claim !== "client") {
    const mark = facts.method === "REGISTER" ? "register" : "publish";
    if (serverNamed(facts, origin.server)?.claims.includes(mark) === true) {
      if (facts.model.model === "unioned" && facts.lookup.state !== "unavailable") return ofUnion(facts, origin.server);
      if (!facts.directoryAvailable) return directoryAway(facts);
      return bind(facts, origin.server, claim, null, null, null, FROM_SERVER[claim]);
    }
    // Passed on, such a REGISTER would have another server send the user's requests to this one.
    if (mark === "register") return reject(403, NO_CLAIMS, { warning: "This server does not claim users by REGISTER" });
  }
  if (facts.lookup.state === "unavailable") return directoryAway(facts);
  if (facts.method === "REGISTER" && !facts.directoryAvailable) return directoryAway(facts);
  return facts.model.model === "unioned" ? toOwnServer(facts) : toUsersServer(facts);
}

/** A server's own REGISTER or PUBLISH of a user who is on several: acknowledged, and no binding changes. */
function ofUnion(facts: Facts, server: string): Plan {
  if (!membersOf(facts).includes(server))
    return reject(403, NONE_OF_HIS, { warning: "The user is not on this server" });
  return bind(facts, server, "none", null, null, null, ONE_OF_HIS);
}

function membersOf({ model, settings, servers }: Facts): readonly string[] {
  if (model.model !== "unioned") return [];
  return unionOf(model, settings.unions.trees, servers)?.members ?? [];
}

/** A client's goes to one of his servers, or his state would be here and there; the others' share of it is composed. */
function toOwnServer(facts: Facts): Plan {
  const members = membersOf(facts);
  const { retryAfter } = facts.settings;
  if (members.length === 0) return reject(480, NO_UNION, { retryAfter });
  const server = usersOwnServer(facts, members);
  if (isAsker(facts, server)) return reject(404, ASKER_IS_ONE);
  if (serverNamed(facts, server)?.up !== true) return reject(480, OWN_DOWN, { retryAfter });
  return pass(facts, server, ownReliance(facts), null, TO_OWN);
}

function toUsersServer(facts: Facts): Plan {
  const binding = liveBinding(facts);
  if (binding === null) return toHome(facts, null);
  if (binding.origin === "learned" && facts.model.model === "partitioned" && isStale(facts, binding.server)) {
    return toHome(facts, staleBinding(binding));
  }
  if (isAsker(facts, binding.server)) return reject(facts.model.model === "partitioned" ? 404 : 480, ASKER_HOLDS);
  const server = serverNamed(facts, binding.server);
  if (server === undefined) return reject(480, BOUND_REMOVED, { retryAfter: facts.settings.retryAfter });
  if (!server.up) return reject(480, BOUND_DOWN, { retryAfter: facts.settings.retryAfter });
  return pass(facts, server.name, relianceOn(facts, binding), null, TO_BOUND);
}

function toHome(facts: Facts, unlearn: StaleBinding | null): Plan {
  if (facts.method === "PUBLISH" && facts.model.model !== "partitioned") {
    return facts.lookup.state === "no-record" ? reject(404, NO_HOLDER) : reject(480, NO_HOLDER);
  }
  const { home } = facts.settings;
  const server = home === null ? undefined : serverNamed(facts, home);
  if (server === undefined || isAsker(facts, server.name) || facts.without.includes(server.name)) {
    return reject(404, allSaid404(facts) ? ALL_SAID_404 : NO_HOME, { unlearn });
  }
  if (!server.up) return reject(480, HOME_DOWN, { retryAfter: facts.settings.retryAfter, unlearn });
  return pass(facts, server.name, null, unlearn, unlearn === null ? TO_HOME : TO_HOME_STALE);
}

/** A client's REGISTER is relayed even by a redirect server: only its 2xx, seen here, binds. */
function pass(
  facts: Facts,
  server: string,
  binding: Reliance | null,
  unlearn: StaleBinding | null,
  reasons: readonly string[],
): Plan {
  return facts.method === "REGISTER"
    ? bind(facts, server, "claim", server, binding, unlearn, reasons)
    : send(facts, server, binding, unlearn, reasons);
}

function bind(
  facts: Facts,
  server: string,
  action: BindPlan["action"],
  relayTo: string | null,
  binding: Reliance | null,
  unlearn: StaleBinding | null,
  reasons: readonly string[],
): BindPlan {
  const { model } = facts;
  const exclusive = model.model === "exclusive" ? model : null;
  return {
    kind: "bind",
    origin: facts.method === "REGISTER" ? "registered" : "published",
    action,
    server,
    relayTo,
    binding,
    subdomain: relayTo === null ? null : (facts.settings.subdomains[relayTo] ?? null),
    identity: relayTo === null ? null : (facts.identities?.[relayTo] ?? null),
    conflict: exclusive?.conflict ?? "takeover",
    refuseWith: exclusive?.refuseWith ?? 403,
    equalRank: exclusive !== null,
    damping: exclusive === null ? null : facts.settings.exclusive.damping,
    graceMs: exclusive === null ? 0 : facts.settings.exclusive.graceMs,
    unlearn,
    reasons,
  };
}
