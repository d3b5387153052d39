import type { Verb } from "./pool.ts";

/** The sweep's one row, and what it found. */

const STATE = `owner, cursor, checked, rounds, extract(epoch from round_began_at)::float8 * 1000 as began,
  extract(epoch from round_ended_at)::float8 * 1000 as ended`;

export interface SweepRow {
  readonly owner: string | null;
  readonly cursor: string;
  readonly checked: number;
  readonly rounds: number;
  readonly began: number | null;
  readonly ended: number | null;
}

export const TAKE_SWEEP: Verb = {
  name: "take-sweep",
  text: `
update codomain.reconciler set
  owner = $1, lease_until = clock_timestamp() + $2 * interval '1 ms',
  round_began_at = coalesce(round_began_at, clock_timestamp())
where owner is null or owner = $1 or lease_until <= clock_timestamp()
returning ${STATE}`,
};

export const ADVANCE_SWEEP: Verb = {
  name: "advance-sweep",
  text: "update codomain.reconciler set cursor = $2, checked = checked + $3 where owner = $1 returning 1",
};

export const END_ROUND: Verb = {
  name: "end-round",
  text: `
with ended as (
  update codomain.reconciler set
    cursor = '', checked = 0, rounds = rounds + 1, round_began_at = null, round_ended_at = clock_timestamp()
  where owner = $1
  returning 1
),
forgotten as (
  delete from codomain.findings f using ended
  where f.at < clock_timestamp() - $2 * interval '1 ms'
    or f.id <= (select k.id from codomain.findings k order by k.id desc offset $3 limit 1)
)
select 1 from ended`,
};

export const RELEASE_SWEEP: Verb = {
  name: "release-sweep",
  text: "update codomain.reconciler set owner = null, lease_until = null where owner = $1",
};

export const SWEEP_STATE: Verb = { name: "sweep-state", text: `select ${STATE} from codomain.reconciler` };

/** Under a new id, so that it is the newest again. */
export const NOTE_FINDING: Verb = {
  name: "note-finding",
  text: `
insert into codomain.findings (aor, kind, server, epoch, detail) values ($1, $2, $3, $4, $5)
on conflict (aor, kind) do update set
  id = default, server = excluded.server, epoch = excluded.epoch, detail = excluded.detail, at = excluded.at`,
};

export const SETTLE_FINDINGS: Verb = {
  name: "settle-findings",
  text: "delete from codomain.findings where aor = $1 and kind <> 'repaired'",
};

/** `f.id`: a plain `id` in the order would be the text of it that is put out, and 9 newer than 10. */
export const FINDINGS: Verb = {
  name: "findings",
  text: `
select f.id::text as id, f.aor, f.kind, f.server, f.epoch::float8 as epoch, f.detail,
  extract(epoch from f.at)::float8 * 1000 as at
from codomain.findings f
where $1::bigint is null or f.id < $1::bigint
order by f.id desc
limit $2`,
};
