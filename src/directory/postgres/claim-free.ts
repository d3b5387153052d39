import type { ClaimOutcome } from "../directory.ts";
import { type ClaimAsk, claimKey } from "../judge.ts";
import { storable } from "./claim.ts";
import type { Verb } from "./pool.ts";
import { textArray } from "./text-array.ts";

/**
 * The claims that nobody contests, which nearly all are: of a user who is bound nowhere, and the refresh by the server
 * that has him. Who gets a row is bound. Of the others nothing was changed: they are judged by CLAIM. What is tested is
 * the locked row, as there; an expired binding that was not swept yet is left to CLAIM too, since by a clock that is read
 * twice it might be judged in two ways.
 *
 * Starting a statement costs as much as what it can do is long: CLAIM costs 480 us and 27 a row, this one 210 and 12
 * (bench/NOTES.md).
 *
 * - The Call-ID comes in `previous`, which means nothing where nobody had him before: all that the update needs of its ask
 *   is then in `excluded`. Found in the batch by AoR it costs as much again for every row that the batch has.
 * - An object below 350 octets has less than 16 members; counting costs more than the rest.
 */
export const CLAIM_FREE: Verb = {
  name: "claim-free",
  text: `
with free as (
  insert into codomain.slots as s (aor, server, origin, epoch, expires_at, due_at, claims, verdict, previous)
  select a.aor, a.server, a.origin, 1, to_timestamp(a.expires / 1000.0), to_timestamp(a.expires / 1000.0),
    jsonb_build_object(a.key, a.claim), 'bound', a.key
  from unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::text[], $6::text[], $7::boolean[])
    as a(aor, server, origin, expires, key, claim, unread)
  where not a.unread or (select true from codomain.users u where u.aor = a.aor) is null
  order by a.aor collate "C"
  on conflict (aor) do update set
    server = excluded.server,
    origin = excluded.origin,
    epoch = case when s.server is null then s.epoch + 1 else s.epoch end,
    expires_at = excluded.expires_at,
    due_at = case when s.server is null then excluded.due_at else s.due_at end,
    claims = s.claims || excluded.claims,
    verdict = case when s.server is null then 'bound' else 'kept' end,
    previous = null,
    changed_at = case when s.server is null then clock_timestamp() else s.changed_at end
  where (s.server is null or s.server = excluded.server and s.origin = excluded.origin
      and s.expires_at > clock_timestamp() and s.expires_at <= excluded.expires_at)
    and coalesce(split_part(s.claims ->> excluded.previous, E'\\t', 1)::bigint, -1)
      < split_part(excluded.claims ->> excluded.previous, E'\\t', 1)::bigint
    and (pg_column_size(s.claims) < 350 or s.claims ? excluded.previous
      or jsonb_array_length(jsonb_path_query_array(s.claims, '$.*')) < 16)
  returning s.aor, s.server, s.epoch, s.verdict, s.stored
),
told as (
  insert into codomain.changes (kind, aor, server, epoch)
  select 'binding', f.aor, f.server, f.epoch from free f where f.verdict = 'bound' order by f.aor
)
select f.aor, f.epoch::float8 as epoch, f.verdict, f.stored from free f`,
};

/** Those that may be tried so. */
export function mayBeFree(ask: ClaimAsk): boolean {
  return ask.order !== undefined && ask.expiresAt !== null && ask.onlyFrom === null && ask.fork === null;
}

/** As CLAIM_FREE takes them. */
export function valuesOfFree(batch: readonly ClaimAsk[]): string[] {
  const claims = batch.map(({ order, server }) => `${order!.cseq}\t${storable(order!.expiresAt)}\t--\t${server}`);
  return [
    textArray(batch.map((ask) => ask.aor)),
    textArray(batch.map((ask) => ask.server)),
    textArray(batch.map((ask) => ask.origin)),
    `{${batch.map((ask) => storable(ask.expiresAt!)).join(",")}}`,
    textArray(batch.map((ask) => claimKey(ask.order!.callId))),
    textArray(claims),
    `{${batch.map((ask) => (ask.unread === true ? "t" : "f")).join(",")}}`,
  ];
}

export interface FreeRow {
  readonly aor: string;
  readonly epoch: number;
  readonly verdict: "bound" | "kept";
  readonly stored: boolean;
}

export function outcomeOfFree(ask: ClaimAsk, { epoch, verdict }: FreeRow): ClaimOutcome & { outcome: "bound" } {
  const { aor, server, origin, expiresAt } = ask;
  const changed = verdict === "bound";
  const binding = { aor, server, origin, epoch, expiresAt: expiresAt === null ? null : storable(expiresAt) };
  return { outcome: "bound", binding, changed, previous: changed ? null : server };
}
