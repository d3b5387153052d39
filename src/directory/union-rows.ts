import { createHash } from "node:crypto";
import { isAor } from "./rows.ts";
import { type Fate, type Grant, MOST_CREDITS, type Visited } from "./unions.ts";

/** What every UnionStore makes alike, whichever database stands behind it. */

/** A caller's name for a granting or a spending as it is stored: of one length, whatever is in it. */
export function nameOf(name: string): string {
  return createHash("sha256").update(name).digest("base64url");
}

/** Without those that nobody could spend. */
export function grantRows(credits: readonly Grant[]): Required<Grant>[] {
  return credits
    .filter(({ aor, watcher, count }) => count >= 1 && isAor(aor) && isAor(watcher))
    .map((each) => ({
      ...each,
      count: Math.min(Math.trunc(each.count), MOST_CREDITS),
      underWay: each.underWay === true,
    }));
}

/** What a subscription that is stored already was told when it came in; its answer was lost. */
export function enteredBefore(
  id: string,
  rows: readonly Visited[],
): { readonly outcome: "entered"; readonly chain: string; readonly servers: readonly string[] } {
  const own = rows.filter((row) => row.holder === id && !row.gone);
  const servers = own.flatMap(({ role, server }) => (role === "leg" && server !== null ? [server] : []));
  return { outcome: "entered", chain: own[0]?.chain ?? id, servers };
}

/** @param underWay of each credit that a request has spent. */
export function fateOf(underWay: readonly boolean[]): Fate {
  if (underWay.length === 0) return "gone";
  return underWay.includes(false) ? "arrived" : "under-way";
}
