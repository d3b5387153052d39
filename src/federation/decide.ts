import { decideClaim } from "./claims.ts";
import { reject } from "./construct.ts";
import { decideExclusive, decideRegServer } from "./exclusive.ts";
import type { Facts } from "./facts.ts";
import { decidePartitioned } from "./partitioned.ts";
import type { Plan } from "./plan.ts";
import { decideUnioned } from "./unioned.ts";
import { decideWatcherinfo } from "./watcherinfo.ts";

const UNKNOWN_ORIGIN = Object.freeze(["it comes from no server, no client and no domain known here"]);

/**
 * What is to be done with a request outside a dialog: pure, so that `explain`, the tests and the traffic get the same
 * answer from the same facts. In-dialog requests never come here, but for the question `movedSince` (in-dialog.ts).
 */
export function decide(facts: Facts): Plan {
  if (facts.origin.kind === "unknown") return reject(403, UNKNOWN_ORIGIN);
  if (facts.method === "REGISTER" || facts.method === "PUBLISH") return decideClaim(facts);
  if (facts.regServer !== null) return decideRegServer(facts, facts.regServer);
  const watcherinfo = decideWatcherinfo(facts);
  if (watcherinfo !== null) return watcherinfo;
  const { model } = facts;
  switch (model.model) {
    case "partitioned":
      return decidePartitioned(facts);
    case "exclusive":
      return decideExclusive(facts);
    case "unioned":
      return decideUnioned(facts, model);
  }
}
