import type { Meaning } from "./answers.ts";
import { directoryAway } from "./construct.ts";
import type { Facts } from "./facts.ts";
import type { Plan, StorePlan } from "./plan.ts";

/** MESSAGEs that cannot be delivered now (models.md, "Stored messages"; RFC 3428 4: 202 where it is not delivered yet). */

const BEHIND = Object.freeze([
  "something is stored for the user: if it is of this sender, this waits behind it",
  "else it goes its way",
]);

/** Something waits: only the database tells whether it is of this sender. Null: it goes its way. */
export function behindOthers(facts: Facts): Plan | null {
  const { lookup } = facts;
  if (facts.method !== "MESSAGE" || !facts.mayQueue) return null;
  if (lookup.state === "unavailable" || lookup.stored !== true) return null;
  return storePlan(facts, true, BEHIND);
}

/** True where a MESSAGE nobody can take now is stored in place of being refused: it was asked for, and we know the user. */
export function isKept(facts: Facts): boolean {
  if (facts.method !== "MESSAGE" || facts.settings.absentMessages !== "store") return false;
  return facts.lookup.state !== "no-record" && facts.lookup.state !== "unavailable";
}

/** It must be stored before it is accepted: with the directory away it cannot be. */
export function storePlan(facts: Facts, behind: boolean, reasons: readonly string[]): Plan {
  if (!facts.directoryAvailable) return directoryAway(facts);
  const until = facts.model.model === "unioned" ? ({ until: "up" } as const) : {};
  return { kind: "store", behindOthers: behind, ...until, reasons } satisfies StorePlan;
}

/**
 * What an ending of a MESSAGE relayed to the user's server means for one that could be stored: kept are *could not be
 * asked* and 429, and in the exclusive model *not here* too, since the next claim may be on its way.
 */
export function isKeptAfter(facts: Facts, ending: Meaning, status: number): boolean {
  if (!isKept(facts)) return false;
  if (ending === "could-not-ask" || status === 429) return true;
  return ending === "not-here" && facts.model.model === "exclusive";
}
