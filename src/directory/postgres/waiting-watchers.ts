import { MOST_OF_USER, type WaitingWatcher } from "../watchers.ts";
import type { Verb } from "./pool.ts";

export const WAITING_WATCHERS: Verb = {
  name: "waiting-watchers",
  text: `
select aor, watcher, trusted, event, extract(epoch from since)::float8 * 1000 as since
from codomain.put_off_watchers
where aor = $1 and event = $2 and until_at > statement_timestamp()
order by trusted desc, codomain.put_off_watchers.since desc, watcher
limit ${MOST_OF_USER}`,
};

export function waitingOf(row: WaitingWatcher): WaitingWatcher {
  return { ...row, since: Math.round(row.since) };
}
