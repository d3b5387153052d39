import { directoryAway, reject } from "./construct.ts";
import type { Facts } from "./facts.ts";
import type { Plan } from "./plan.ts";

/** Watcher information (RFC 3857), in every model: of whom rules are kept here, we tell who watches him. */

const OWN = Object.freeze(["rules are kept here, so this proxy tells the user who watches him (RFC 3857)"]);
const OTHER = Object.freeze(["who watches a user is told to himself only (RFC 3857 4.6)"]);
const DEEPER = Object.freeze(["who watches his watchers is told to nobody (RFC 3857 4.6)"]);

export const WATCHERINFO = "presence.winfo";

/** Null: it goes the way of any other event package. */
export function decideWatcherinfo(facts: Facts): Plan | null {
  if (facts.method !== "SUBSCRIBE" || !facts.event.startsWith(WATCHERINFO)) return null;
  const { event, settings, sender, aor } = facts;
  if (!settings.watcherinfo) return null;
  if (event.startsWith(`${WATCHERINFO}.`)) return reject(403, DEEPER);
  if (event !== WATCHERINFO) return null;
  if (!sender.trusted || sender.aor !== aor) return reject(403, OTHER);
  return facts.directoryAvailable ? { kind: "winfo", reasons: OWN } : directoryAway(facts);
}
