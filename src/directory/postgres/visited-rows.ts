import type { Visited } from "../unions.ts";
import { SLOT_OF } from "./insert-subscriptions.ts";
import type { Verb } from "./pool.ts";

const OF_PAIR = `
  select v.chain, v.server, v.role, v.holder, v.evidence, v.echoed, v.returned, v.subscription is null as gone, v.place
  from codomain.visited v
  where v.aor = $1 and v.watcher = $2 and v.event = $3
    and (v.subscription is not null or v.role = 'leg' and v.kept_until > clock_timestamp())`;

/** The servers on chains of a pair, in the order in which they came. */
export const VISITED: Verb = { name: "visited", text: `${OF_PAIR}\norder by v.place` };

/**
 * What a SUBSCRIBE is judged by, second statement of a transaction that holds the pair: nobody else comes in or visits
 * meanwhile, what goes was there a moment ago. One row at least, `chain` null where nothing is visited; `known`: the subscription is
 * stored already. The slot is not locked: see INSERT_SUBSCRIPTIONS.
 */
export const ENTRY_STATE: Verb = {
  name: "entry-state",
  text: `
select v.*, slot.server as slot_server, slot.epoch,
  exists (select from codomain.subscriptions s where s.id = $4) as known
from (select $1::text as aor) a${SLOT_OF}
left join lateral (${OF_PAIR}) v on true
order by v.place`,
};

export interface VisitedRow extends Visited {
  readonly place: string;
}

export type EntryRow = (VisitedRow | { readonly chain: null }) & {
  readonly slot_server: string | null;
  readonly epoch: number;
  readonly known: boolean;
};

export function visitedOf({ chain, server, role, holder, evidence, echoed, returned, gone }: Visited): Visited {
  return { chain, server, role, holder, evidence, echoed, returned, gone };
}
