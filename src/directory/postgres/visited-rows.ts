import { FRESH_MS, KEPT_MS, type Visited } from "../unions.ts";
import { SLOT_OF } from "./insert-subscriptions.ts";
import type { Verb } from "./pool.ts";

const ofPair = (aor: string, watcher: string, event: string) => `
  select v.chain, v.server, v.role, v.holder, v.evidence, v.echoed, v.returned, v.subscription is null as gone,
    v.role = 'start' and v.kept_until > clock_timestamp() + interval '${KEPT_MS - FRESH_MS} ms' as fresh, v.place
  from codomain.visited v
  where v.aor = ${aor} and v.watcher = ${watcher} and v.event = ${event}
    and (v.subscription is not null or v.role = 'leg' and v.kept_until > clock_timestamp())`;

/** The servers on chains of a pair, in the order in which they came. */
export const VISITED: Verb = { name: "visited", text: `${ofPair("$1", "$2", "$3")}\norder by v.place` };

/**
 * What SUBSCRIBEs are judged by, a batch of them, second statement of a transaction that holds their pairs: nobody else comes
 * in or visits meanwhile, what goes was there a moment ago. One row at least for each, the `n`-th from 1, `chain` null where
 * nothing is visited; `known`: the subscription is stored already. Slots are not locked: see INSERT_SUBSCRIPTIONS.
 */
export const ENTRY_STATES: Verb = {
  name: "entry-states",
  text: `
select a.n::int as n, v.*, slot.server as slot_server, slot.epoch,
  known.id is not null as known
from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality as a(aor, watcher, event, id, n)${SLOT_OF}
left join lateral (select s.id from codomain.subscriptions s where s.id = a.id offset 0) known on true
left join lateral (${ofPair("a.aor", "a.watcher", "a.event")}
  offset 0
) v on true
order by a.n, v.place`,
};

export interface VisitedRow extends Visited {
  readonly place: string;
}

export type EntryRow = (VisitedRow | { readonly chain: null }) & {
  readonly n: number;
  readonly slot_server: string | null;
  readonly epoch: number;
  readonly known: boolean;
};

export function visitedOf({ chain, server, role, holder, evidence, echoed, returned, gone, fresh }: Visited): Visited {
  return { chain, server, role, holder, evidence, echoed, returned, gone, fresh };
}
