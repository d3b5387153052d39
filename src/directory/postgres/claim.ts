import type { Binding, BindingOrigin, ClaimOutcome } from "../directory.ts";
import { type ClaimAsk, claimKey } from "../judge.ts";
import type { Verb } from "./pool.ts";

/**
 * The test-and-set: claims, moves, learning and the closing of a fork with a server learned, up to a batch of them in
 * one statement and one transaction (concurrency.md 1, 2, 3). `judge.ts` says the same in TypeScript, and is compared.
 *
 * - The slot is inserted or locked by `on conflict`, and always written: a loser too learns who holds.
 * - What is judged is the locked row, `s`: after a wait for its lock Postgres evaluates SET on the newest version. All
 *   that the judgement needs is therefore in that row; anything read from another table would be as old as the snapshot.
 * - Expiry is judged by the database's clock, read after the lock was got.
 *
 * Rejected:
 * - `on conflict … do update … where free`: a loser gets no row and learns nothing.
 * - `insert … do nothing`, then `select … for update`, then `update`: three round trips and a transaction around them.
 * - Call-IDs in a table of their own: read in the same statement they come from a snapshot older than the lock wait, so a
 *   refresh that waited for the takeover would not see that it had been superseded; read in a later one, see above.
 * - NOTIFY in the same transaction: commits with NOTIFY wait for each other, the disk included (`notify.ts`).
 * - `merge`: has no `returning` before version 17, and raises a unique violation where two insert the same key.
 */
export const CLAIM: Verb = {
  name: "claim",
  text: `
with asked as materialized (
  select a.*, to_timestamp(a.expires / 1000.0) as expires_at
  from json_to_recordset($1::json) as a(
    aor text, server text, origin text, expires float8, takeover boolean, equal boolean,
    key text, cseq bigint, until float8, only_from text, only_epoch float8, fork text, actor text, flap_share float8, flap_window float8,
    unread boolean)
  where not a.unread or (select true from codomain.users u where u.aor = a.aor) is null
),
judged as (
  insert into codomain.slots as s (aor, server, origin, epoch, expires_at, due_at, claims, verdict, previous)
  select
    a.aor,
    case when a.only_from is null then a.server end,
    case when a.only_from is null then a.origin end,
    case when a.only_from is null then 1 else 0 end,
    case when a.only_from is null then a.expires_at end,
    case when a.only_from is null then a.expires_at end,
    case when a.only_from is null and a.key is not null
      then jsonb_build_object(a.key, concat_ws(E'\\t', a.cseq, a.until::bigint, '--', a.server)) else '{}' end,
    case when a.only_from is null then 'bound' else 'stale' end,
    null
  from asked a
  order by a.aor collate "C"
  on conflict (aor) do update set
    (server, origin, epoch, expires_at, due_at, claims, verdict, previous, changed_at, calm_at) = (
    select
      case when n.writes then a.server else s.server end,
      case when n.writes then a.origin else s.origin end,
      case when n.writes and not h.same then h.epoch + 1 else s.epoch end,
      case when n.writes then a.expires_at else s.expires_at end,
      case when n.writes then case when a.expires_at is not null then least(s.due_at, a.expires_at) end else s.due_at end,
      case
        when a.key is null or v.verdict = 'repeat' or a.cseq <= k.cseq then s.claims
        else (
          select case
            -- Seventeen are never as small as this; counting costs more than the rest together.
            when pg_column_size(all_of.claims) < 400 then all_of.claims
            when (select count(*) from jsonb_object_keys(all_of.claims)) <= 16 then all_of.claims
            else coalesce((
              select jsonb_object_agg(kept.key, kept.value)
              from (
                select e.key, e.value
                from jsonb_each_text(all_of.claims) e
                where split_part(e.value, E'\\t', 2)::float8 > c.ms - 3600000
                order by split_part(e.value, E'\\t', 2)::float8 desc, e.key collate "C"
                limit 16
              ) kept
            ), '{}') end
          from (select s.claims || jsonb_build_object(a.key, case
            when v.verdict = 'bound' then concat_ws(E'\\t', a.cseq, a.until::bigint, '--', a.server)
            else concat_ws(E'\\t', a.cseq, coalesce(k.until, a.until)::bigint,
              case when k.ended then 'e' else '-' end || case when v.verdict in ('held-by', 'damped') then 'r' else '-' end, k.server)
            end) as claims) all_of
        )
      end,
      case
        when v.verdict = 'bound' and not h.same then 'bound'
        when v.verdict not in ('bound', 'repeat') then v.verdict
        when n.writes and (a.origin <> s.origin or a.expires_at < coalesce(s.expires_at, 'infinity')) then 'told'
        else 'kept'
      end,
      h.holder,
      case when v.verdict = 'bound' and not h.same then c.at else s.changed_at end,
      -- Of a taking by a server only; every other claim leaves it.
      case
        when v.verdict = 'damped' then c.at + (2 * a.flap_window - a.flap_share) * interval '1 ms'
        when v.verdict = 'bound' and a.flap_share is not null and h.holder is not null and not h.same
          then greatest(s.calm_at, c.at) + a.flap_share * interval '1 ms'
        else s.calm_at
      end
    from asked a
    cross join lateral (select t.at, extract(epoch from t.at)::float8 * 1000 as ms from (select clock_timestamp() as at) t) c
    -- An expired binding is unbound, one epoch later.
    cross join lateral (select s.server is not null and (s.expires_at is null or s.expires_at > c.at) as live) l
    cross join lateral (select
      case when l.live then s.server end as holder,
      l.live and s.server = a.server as same,
      case when s.server is not null and not l.live then s.epoch + 1 else s.epoch end as epoch,
      case a.origin when 'provisioned' then 2 when 'admin' then case when a.equal then 1 else 2 end
        when 'learned' then 0 else 1 end as rank_asked,
      case s.origin when 'provisioned' then 2 when 'admin' then case when a.equal then 1 else 2 end
        when 'learned' then 0 else 1 end as rank_held
      offset 0
    ) h
    cross join lateral (select
      e.part[1]::bigint as cseq,
      e.part[2]::float8 as until,
      starts_with(e.part[3], 'e') as ended,
      right(e.part[3], 1) = 'r' as refused,
      e.part[4] as server
      from (select string_to_array(s.claims->>a.key, E'\\t') as part offset 0) e
      offset 0
    ) k
    cross join lateral (select case
      when a.only_from is not null and not h.same
        and (h.holder is distinct from a.only_from or h.epoch <> a.only_epoch)
        then case when h.holder is null then 'stale' else 'held-by' end
      when a.only_from <> a.server and h.same then 'repeat'
      when a.cseq < k.cseq then 'stale'
      when a.cseq = k.cseq then case
        when h.same then 'repeat'
        when k.refused and h.holder is not null then 'held-by'
        else 'stale' end
      when h.holder <> k.server and not h.same and not k.ended and k.until > c.ms then 'stale'
      when h.holder is null or h.same then 'bound'
      when h.rank_asked > h.rank_held or h.rank_asked = h.rank_held and a.takeover then case
        when s.calm_at > c.at + (a.flap_window + 1 - a.flap_share) * interval '1 ms' then 'damped'
        else 'bound' end
      else 'held-by'
    end as verdict offset 0) v
    cross join lateral (select v.verdict = 'bound' and not (h.same and h.rank_asked < h.rank_held) as writes offset 0) n
    where a.aor = s.aor
  )
  returning s.aor, s.server, s.origin, s.epoch, s.expires_at, s.verdict, s.previous, s.stored,
    s.server is not null and (s.expires_at is null or s.expires_at > clock_timestamp()) as live
),
told as (
  insert into codomain.changes (kind, aor, server, previous, epoch, fork, result)
  select t.kind, t.aor, t.server, t.previous, t.epoch, t.fork, t.result
  from (
    select 0 as part, 'binding' as kind, j.aor, j.server, j.previous, j.epoch, null as fork, null as result
    from judged j where j.verdict in ('bound', 'told')
    union all
    select 1, 'fork-closed', j.aor, case when j.live then j.server else a.server end, null, null, a.fork, 'learned'
    from judged j join asked a on a.aor = j.aor where a.fork is not null
  ) t
  order by t.aor, t.part
  returning 1
),
closed as (
  delete from codomain.open_forks f using asked a where f.id = a.fork
),
-- Servers that are told by a REGISTER of ours (evictions.ts); written here, so that no crash comes between.
evicted as (
  insert into codomain.evictions (aor, server, epoch)
  select j.aor, j.previous, j.epoch from judged j join asked a on a.aor = j.aor
  where j.verdict = 'bound' and j.previous = any($2::text[]) and a.equal
  on conflict (aor, server) do update set epoch = excluded.epoch, tries = 0, due_at = excluded.due_at, since = excluded.since
),
-- What an admin did, and whoever took a user from another server. The first binding of each user is no news.
audited as (
  insert into codomain.audit (actor, action, aor, before, after)
  select a.actor, 'bind', j.aor,
    case when j.previous is not null then jsonb_build_object('server', j.previous) end,
    jsonb_build_object('server', j.server, 'origin', j.origin)
  from judged j join asked a on a.aor = j.aor
  where j.verdict = 'bound' and (j.previous is not null or j.origin in ('admin', 'provisioned'))
)
select j.aor, j.verdict, j.previous, j.stored, j.live, j.server, j.origin, j.epoch::float8 as epoch,
  extract(epoch from j.expires_at)::float8 * 1000 as expires
from judged j`,
};

/** As CLAIM takes it, in a JSON array; its second value is the list of servers that are evicted durably. */
export function askOfClaim(claim: ClaimAsk): object {
  const { order } = claim;
  return {
    aor: claim.aor,
    server: claim.server,
    origin: claim.origin,
    expires: claim.expiresAt === null ? null : storable(claim.expiresAt),
    takeover: claim.conflict === "takeover",
    equal: claim.equalRank,
    key: order === undefined ? null : claimKey(order.callId),
    cseq: order?.cseq ?? null,
    until: order === undefined ? null : storable(order.expiresAt),
    only_from: claim.onlyFrom,
    only_epoch: claim.onlyEpoch,
    fork: claim.fork,
    actor: claim.actor,
    flap_share: claim.damping === undefined ? null : claim.damping.windowMs / claim.damping.limit,
    flap_window: claim.damping?.windowMs ?? null,
    unread: claim.unread === true,
  };
}

/** A moment between 1970 and 9999 in whole milliseconds, whatever a peer's Expires made of it. */
export function storable(moment: number): number {
  return Number.isNaN(moment) ? 0 : Math.round(Math.min(Math.max(moment, 0), 253_402_300_799_000));
}

export interface ClaimRow {
  readonly aor: string;
  readonly verdict: "bound" | "told" | "kept" | "held-by" | "stale" | "damped";
  readonly previous: string | null;
  readonly stored: boolean;
  readonly live: boolean;
  readonly server: string | null;
  readonly origin: BindingOrigin | null;
  readonly epoch: number;
  readonly expires: number | null;
}

export function outcomeOfClaim(row: ClaimRow): ClaimOutcome {
  const bound = row.verdict === "bound" || row.verdict === "told" || row.verdict === "kept";
  const binding = bindingOf({ ...row, live: row.live || bound });
  if (row.verdict === "stale" || binding === null) return { outcome: "stale", binding };
  if (row.verdict === "held-by" || row.verdict === "damped") return { outcome: row.verdict, binding };
  return { outcome: "bound", binding, changed: row.verdict === "bound", previous: row.previous };
}

/** Null where the row's binding is none, or has expired. */
export function bindingOf(row: {
  aor: string;
  live: boolean;
  server: string | null;
  origin: BindingOrigin | null;
  epoch: number;
  expires: number | null;
}): Binding | null {
  if (!row.live || row.server === null || row.origin === null) return null;
  const expiresAt = row.expires === null ? null : Math.round(row.expires);
  return { aor: row.aor, server: row.server, origin: row.origin, epoch: row.epoch, expiresAt };
}
