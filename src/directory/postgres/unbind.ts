import type { BindingOrigin, Unbind, UnbindOutcome } from "../directory.ts";
import { claimKey } from "../judge.ts";
import { bindingOf } from "./claim.ts";
import type { Verb } from "./pool.ts";

/**
 * Ends a binding while server, epoch and origin still hold, and notes a deregistration's (Call-ID, CSeq) even where the
 * binding is another's by now: a superseded claim that was deregistered may claim again. One statement; the row is
 * written in any case, so that whoever loses learns who holds. `judgeUnbind` says the same in TypeScript. Serves unlearn.
 *
 * Rejected: `delete` or `update … where server = … and epoch = …` alone: no row comes back for a loser, and a slot that
 * is deleted forgets its epoch.
 */
export const UNBIND: Verb = {
  name: "unbind",
  text: `
with ended as (
  update codomain.slots s set
    (server, origin, epoch, expires_at, due_at, claims, verdict, previous, changed_at) = (
    select
      case when not n.acts then s.server end,
      case when not n.acts then s.origin end,
      case when n.acts then s.epoch + 1 else s.epoch end,
      case when not n.acts then s.expires_at end,
      case when not n.acts then s.due_at end,
      case
        when $5::text is null or k.overtaken then s.claims
        else (
          select coalesce(jsonb_object_agg(kept.key,
            case when n.acts and split_part(kept.value, E'\\t', 4) = s.server
              then regexp_replace(kept.value, E'\\t-(.\\t[^\\t]*)$', E'\\te\\\\1') else kept.value end), '{}')
          from (
            select e.key, e.value, row_number() over (
              order by split_part(e.value, E'\\t', 2)::float8 > c.ms - 3600000 desc,
                split_part(e.value, E'\\t', 2)::float8 desc, e.key collate "C") as place
            from jsonb_each_text(s.claims || jsonb_build_object($5::text,
              concat_ws(E'\\t', $6::bigint, coalesce(k.part[2], floor(c.ms)::bigint::text), 'e-',
                case when k.part is null then $2::text else k.part[4] end))) e
          ) kept
          where kept.place <= 16
        )
      end,
      case when n.acts then 'bound' when k.overtaken and not k.repeated then 'overtaken' else 'stale' end,
      case when n.acts then s.server || E'\\t' || s.origin || E'\\t' || coalesce((extract(epoch from s.expires_at) * 1000)::text, '') end,
      case when n.acts then c.at else s.changed_at end
    from (select t.at, extract(epoch from t.at)::float8 * 1000 as ms from (select clock_timestamp() as at) t) c
    cross join lateral (select
      e.part, coalesce($6::bigint <= e.part[1]::bigint, false) as overtaken,
      coalesce($6::bigint = e.part[1]::bigint and starts_with(e.part[3], 'e'), false) as repeated
      from (select string_to_array(s.claims->>$5::text, E'\\t') as part) e
    ) k
    cross join lateral (select
      s.server is not null
        and (s.expires_at is null or s.expires_at > c.at)
        and ($2::text is null or s.server = $2::text)
        and ($3::bigint is null or s.epoch = $3::bigint)
        and ($4::text[] is null or s.origin = any($4::text[]))
        and not k.overtaken as acts
    ) n
  )
  where s.aor = $1
  returning s.*
),
told as (
  insert into codomain.changes (kind, aor, server, previous, epoch)
  select 'binding', aor, null, split_part(previous, E'\\t', 1), epoch from ended where verdict = 'bound'
),
-- A deregistration and an unlearning are everyday; the rest an admin did.
audited as (
  insert into codomain.audit (actor, action, aor, before, after)
  select $7::text, 'unbind', aor,
    jsonb_build_object('server', split_part(previous, E'\\t', 1), 'origin', split_part(previous, E'\\t', 2)), null
  from ended where verdict = 'bound' and $5::text is null and $4::text[] is null
)
select e.aor, e.verdict = 'bound' as acted, e.verdict = 'overtaken' as overtaken, e.previous, e.server, e.origin, e.epoch::float8 as epoch,
  extract(epoch from e.expires_at)::float8 * 1000 as expires,
  e.server is not null and (e.expires_at is null or e.expires_at > clock_timestamp()) as live
from ended e`,
};

export function valuesOfUnbind(unbind: Unbind): unknown[] {
  const { order } = unbind;
  return [
    unbind.aor,
    unbind.server ?? null,
    unbind.epoch ?? null,
    unbind.origins ?? null,
    order === undefined ? null : claimKey(order.callId),
    order?.cseq ?? null,
    unbind.actor,
  ];
}

export interface UnbindRow {
  readonly aor: string;
  readonly acted: boolean;
  readonly overtaken: boolean;
  readonly previous: string | null;
  readonly live: boolean;
  readonly server: string | null;
  readonly origin: BindingOrigin | null;
  readonly epoch: number;
  readonly expires: number | null;
}

export function outcomeOfUnbind(row: UnbindRow | undefined): UnbindOutcome {
  if (row === undefined) return { outcome: "stale", binding: null };
  if (!row.acted || row.previous === null) {
    return { outcome: row.overtaken ? "overtaken" : "stale", binding: bindingOf(row) };
  }
  const [server = "", origin = "learned", expires = ""] = row.previous.split("\t");
  const previous = {
    aor: row.aor,
    server,
    origin: origin as BindingOrigin,
    epoch: row.epoch - 1,
    expiresAt: expires === "" ? null : Math.round(Number(expires)),
  };
  return { outcome: "unbound", epoch: row.epoch, previous };
}
