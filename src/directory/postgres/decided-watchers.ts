import type { PutOffWatcher } from "../watchers.ts";
import type { Verb } from "./pool.ts";

/** `a.one = 1`: see UPDATE_SUBSCRIPTIONS; planned while nobody waits, it would read all who do ever after. */
export const DECIDED_WATCHERS: Verb = {
  name: "decided-watchers",
  text: `
with asked as materialized (
  select a.* from json_to_recordset($1::json) as a(aor text, watcher text, trusted boolean, event text, one int)
  where a.one = 1
)
delete from codomain.put_off_watchers p
using asked a
where p.aor = a.aor and p.watcher = a.watcher and p.trusted = a.trusted and p.event = a.event`,
};

/** As DECIDED_WATCHERS takes it, in a JSON array. */
export function askOfDecided({ aor, watcher, trusted, event }: PutOffWatcher): object {
  return { aor, watcher, trusted, event, one: 1 };
}
