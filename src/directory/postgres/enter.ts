import type { Noted } from "../judge-entry.ts";
import type { StoredSubscription } from "../subscriptions.ts";
import { type Entry, type Pair, RETURNED_MS } from "../unions.ts";
import { askOfInsert } from "./insert-subscriptions.ts";
import type { Verb } from "./pool.ts";

/**
 * Inserts composed subscriptions with what they visit, a batch in one statement; third of a transaction that holds their pairs
 * and has judged that they may come in. No row comes back for one whose owner's lease is over.
 *
 * The lock of the pair is what keeps two chains from beginning where the second is the first coming back, and one server
 * from being taken twice. The unique key of a chain's legs would stop only the latter, and by an error.
 * Against REMOVE, TAKE and CLEAR of other subscriptions of the pair: their visited rows may be gone by now. What counts of
 * those counts a while longer, and a server that was free a moment later is not asked, as if the SUBSCRIBE had come earlier.
 */
export const ENTER: Verb = {
  name: "enter",
  text: `
with a as materialized (
  select a.* from json_to_recordset($1::json) as a(
    id text, kind text, aor text, watcher text, origin text, event text, owner text, dialog text,
    expires float8, notify_reserved bigint, leg text, leg_server text, leg_reserved bigint, extended_epoch bigint,
    chain text, "from" text, evidence text, sent text, servers text[], one int)
  where a.one = 1
),
put as (
  insert into codomain.subscriptions (id, kind, aor, watcher, origin, event, owner, fence, dialog, expires_at,
    notify_reserved, leg, leg_server, leg_reserved, extended_epoch)
  select id, kind, aor, watcher, origin, event, owner, 1, dialog, to_timestamp(expires / 1000),
    notify_reserved, leg, leg_server, leg_reserved, extended_epoch
  from a
  where exists (select from codomain.proxies p where p.owner = a.owner and not p.over)
  returning id
),
visited as (
  insert into codomain.visited (holder, subscription, chain, role, server, aor, watcher, event, evidence)
  select a.id, a.id, a.chain, r.role, r.server, a.aor, a.watcher, a.event, r.evidence
  from put join a on a.id = put.id
  cross join lateral (
    select 0 as n, 'start' as role, a."from" as server, a.evidence
    union all
    select l.n, 'leg', l.server, a.sent from unnest(a.servers) with ordinality l(server, n)
  ) r
  order by a.id, r.n
)
select id from put`,
};

export interface EnterAsk {
  readonly owner: string;
  readonly subscription: Omit<StoredSubscription, "fence">;
  readonly entry: Entry;
}

/** As ENTER takes it, in a JSON array. */
export function askOfEnter(
  { owner, subscription, entry: { origin, evidence, sent } }: EnterAsk,
  { chain, servers }: { readonly chain: string; readonly servers: readonly string[] },
): object {
  return { ...askOfInsert({ owner, subscription, known: false }), chain, from: origin, evidence, sent, servers };
}

/** Notes what has come back of legs, with their own evidence or not; in the same transaction, let in or not. */
export const NOTE_RETURN: Verb = {
  name: "note-return",
  text: `
update codomain.visited v set echoed = e.echoed, returned = true,
  kept_until = least(v.kept_until, clock_timestamp() + interval '${RETURNED_MS} ms')
from unnest($4::text[], $5::text[], $6::boolean[]) as e(holder, server, echoed)
where v.aor = $1 and v.watcher = $2 and v.event = $3 and v.holder = e.holder and v.server = e.server and v.role = 'leg'`,
};

export function valuesOfReturn({ aor, watcher, event }: Pair, noted: readonly Noted[]): unknown[] {
  const of = <T>(column: (each: Noted) => T) => noted.map(column);
  return [aor, watcher, event, of(({ row }) => row.holder), of(({ row }) => row.server), of(({ echoed }) => echoed)];
}
