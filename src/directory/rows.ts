import type { Claim, ImportReport, ImportRow, Move, UserRecord } from "./directory.ts";
import type { ClaimAsk } from "./judge.ts";

/** Checks that every Directory makes alike, whichever database stands behind it. */

export const MODELS = ["partitioned", "exclusive", "unioned"] as const;
export const IMPORT_BATCH = 1000;
export const MOST_USERS = 1000;

const AOR = /^[^\s@]{1,255}@[a-z0-9.\-[\]:]{1,255}$/;
const SERVER = /^[A-Za-z0-9_.-]{1,64}$/;

/** Why this row cannot be imported; null: it can. */
export function refusal(row: ImportRow): string | null {
  if (!AOR.test(row.aor)) return `"${row.aor}" is no user@host with the host in lower case`;
  if (row.model !== null && !MODELS.includes(row.model)) return `model "${row.model}" is none of ${MODELS.join(", ")}`;
  if (row.server !== null && !SERVER.test(row.server)) return `"${row.server}" cannot be the name of a server`;
  for (const [server, identity] of Object.entries(row.identities ?? {})) {
    if (!SERVER.test(server)) return `"${server}" cannot be the name of a server`;
    if (typeof identity !== "string" || identity === "" || /\s/.test(identity))
      return `the identity for ${server} is empty or has a space`;
  }
  return null;
}

export function recordOf(row: ImportRow): UserRecord {
  return { aor: row.aor, model: row.model, settings: row.settings ?? {}, identities: row.identities ?? {} };
}

/** What an import takes and what it refuses; of a user named twice the first row stands. */
export function sortImport(rows: readonly ImportRow[]): { taken: ImportRow[]; refused: ImportReport["refused"] } {
  const taken: ImportRow[] = [];
  const refused: Array<ImportReport["refused"][number]> = [];
  const seen = new Set<string>();
  for (const [index, row] of rows.entries()) {
    const reason = refusal(row) ?? (seen.has(row.aor) ? "the same user stands in an earlier row" : null);
    if (reason !== null) refused.push({ index, aor: row.aor, reason });
    else {
      seen.add(row.aor);
      taken.push(row);
    }
  }
  return { taken, refused };
}

const LONGEST_AOR = 1024;

/** What can be a key: of bounded length, without the one character that PostgreSQL cannot store. Others are nobody. */
export function isAor(aor: string): boolean {
  return aor.length <= LONGEST_AOR && !aor.includes("\0");
}

export function askOf(claim: Claim, unread = false): ClaimAsk {
  return {
    ...claim,
    onlyFrom: claim.refreshOnly === true ? claim.server : null,
    onlyEpoch: null,
    fork: null,
    unread,
  };
}

/** An admin's move as the claim it is. */
export function movement(move: Move): ClaimAsk {
  return {
    aor: move.aor,
    server: move.to,
    origin: "admin",
    expiresAt: null,
    conflict: "takeover",
    equalRank: move.equalRank ?? false,
    actor: move.actor,
    onlyFrom: move.from ?? null,
    onlyEpoch: move.epoch ?? null,
    fork: null,
  };
}

/** Learning as the claim it is: of two servers learned at once the first stays. */
export function learning(aor: string, server: string, expiresAt: number, fork: string | null, actor: string): ClaimAsk {
  const ask = { aor, server, origin: "learned", expiresAt, conflict: "refuse", equalRank: false } as const;
  return { ...ask, actor, onlyFrom: null, onlyEpoch: null, fork };
}

/** A provisioned binding of an import, as the claim it is. */
export function provisioning(row: ImportRow, actor: string): ClaimAsk[] {
  if (row.server === null) return [];
  const ask = {
    aor: row.aor,
    server: row.server,
    origin: "provisioned",
    expiresAt: null,
    conflict: "takeover",
  } as const;
  return [{ ...ask, equalRank: false, actor, onlyFrom: null, onlyEpoch: null, fork: null }];
}
