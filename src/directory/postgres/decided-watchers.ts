import type { Verb } from "./pool.ts";

export const DECIDED_WATCHERS: Verb = {
  name: "decided-watchers",
  text: `
delete from codomain.put_off_watchers p
using json_to_recordset($1::json) as d(aor text, watcher text, trusted boolean, event text)
where p.aor = d.aor and p.watcher = d.watcher and p.trusted = d.trusted and p.event = d.event`,
};
