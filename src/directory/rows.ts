import type { ImportRow, UserRecord } from "./directory.ts";
import { ORIGINS } from "./directory.ts";

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

/** Precedence by name, for rows that come back from SQL as text. */
export function isOrigin(text: string): text is (typeof ORIGINS)[number] {
  return (ORIGINS as readonly string[]).includes(text);
}
