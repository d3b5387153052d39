import type { InsertOutcome, StoredSubscription, SubscriptionState } from "../subscriptions.ts";
import type { Verb } from "./pool.ts";

/** The slot of `a.aor` as the statement's snapshot shows it; an expired binding is none, one epoch later. */
export const SLOT_OF = `
cross join lateral (select
  case when l.live then l.server end as server,
  coalesce(case when l.server is not null and not l.live then l.epoch + 1 else l.epoch end, 0)::float8 as epoch
  from (select 1) always
  left join lateral (
    select s.server, s.epoch, s.server is not null and (s.expires_at is null or s.expires_at > clock_timestamp()) as live
    from codomain.slots s where s.aor = a.aor offset 0
  ) l on true
) slot`;

/**
 * Inserts subscriptions, a batch of them in one statement, and says of each where its user is. Whose owner's lease is
 * over, and who is not known where that was asked for, is not inserted.
 *
 * Against a claim (concurrency.md 4): the slot is read from the snapshot and not locked. No wake-up is lost all the same,
 * since the owner puts a subscription into its index before it sends this: a claim whose commit the snapshot shows is in
 * the answer, any other commits later than the index was written and is told by the feed. The owner goes by the
 * greater epoch of the two. So a bind waits for no hold, nor a hold for a bind, and bind reads no holds.
 * Against END_LAPSED: see there. Repeated: `on conflict do nothing` waits for a first try that is still under way, and
 * the row there is the same; it is not asked for a record a second time.
 *
 * Rejected: the slot's lock and the holds read by the claim: two round trips and a transaction a hold, one more
 * statement a bind, and inserts of one user's watchers stand in line. `for share` on the lease: see END_LAPSED.
 * `a.one = 1` is true of every row: by it the planner takes them for few and reads the other tables by their keys, however
 * small those were when the statement was planned. Else it would read all of them later, for every batch.
 */
export const INSERT_SUBSCRIPTIONS: Verb = {
  name: "insert-subscriptions",
  text: `
with asked as materialized (
  select a.* from json_to_recordset($1::json) as a(
    id text, kind text, aor text, watcher text, origin text, event text, owner text, known boolean, dialog text,
    expires float8, notify_reserved bigint, leg text, leg_server text, leg_reserved bigint, extended_epoch bigint,
    one int)
  where a.one = 1
),
seen as materialized (
  select a.*, slot.server, slot.epoch,
    exists (select from codomain.proxies p where p.owner = a.owner and not p.over) as live,
    not a.known or slot.epoch > 0
      or exists (select from codomain.users u where u.aor = a.aor)
      or exists (select from codomain.subscriptions m where m.id = a.id and m.owner = a.owner) as allowed
  from asked a${SLOT_OF}
),
put as (
  insert into codomain.subscriptions (id, kind, aor, watcher, origin, event, owner, fence, dialog, expires_at,
    notify_reserved, leg, leg_server, leg_reserved, extended_epoch)
  select id, kind, aor, watcher, origin, event, owner, 1, dialog, to_timestamp(expires / 1000),
    notify_reserved, leg, leg_server, leg_reserved, extended_epoch
  from seen
  where live and allowed
  order by id collate "C"
  on conflict (id) do nothing
)
select id, live, allowed, server, epoch from seen`,
};

export interface InsertAsk {
  readonly owner: string;
  readonly subscription: Omit<StoredSubscription, "fence">;
  readonly known: boolean;
}

/** As INSERT_SUBSCRIPTIONS takes it, in a JSON array. */
export function askOfInsert({ owner, subscription, known }: InsertAsk): object {
  const { id, kind, aor, watcher, origin, event } = subscription;
  return { id, kind, aor, watcher, origin, event, owner, known, ...stateColumns(subscription), one: 1 };
}

export function stateColumns(state: SubscriptionState): object {
  return {
    dialog: state.dialog,
    expires: state.expiresAt,
    notify_reserved: state.notifyReserved,
    leg: state.leg,
    leg_server: state.legServer,
    leg_reserved: state.legReserved,
    extended_epoch: state.extendedEpoch,
  };
}

export interface InsertRow {
  readonly id: string;
  readonly live: boolean;
  readonly allowed: boolean;
  readonly server: string | null;
  readonly epoch: number;
}

export function outcomeOfInsert(row: InsertRow): InsertOutcome {
  if (!row.live) return { outcome: "over" };
  if (!row.allowed) return { outcome: "no-record" };
  return { outcome: "inserted", slot: { server: row.server, epoch: row.epoch } };
}
