import type { BindingOrigin, Lookup, ModelName, UserRecord } from "../directory.ts";
import { bindingOf } from "./claim.ts";
import type { Verb } from "./pool.ts";

/**
 * What is known of each of these AoRs, one row each. Those asked for in one turn of the event loop share it.
 *
 * Rejected: plain joins: planned while the tables were small they read all of both for every batch, 100 us a user at
 * 20,000 of them.
 */
export const LOOKUP: Verb = {
  name: "lookup",
  text: `
select a.aor, s.server, s.origin, coalesce(s.epoch, 0)::float8 as epoch,
  extract(epoch from s.expires_at)::float8 * 1000 as expires,
  s.server is not null and (s.expires_at is null or s.expires_at > clock_timestamp()) as live,
  coalesce(s.stored, false) as stored, u.aor is not null as recorded, u.model, u.settings, u.identities
from unnest($1::text[]) as a(aor)
left join lateral (select * from codomain.slots s where s.aor = a.aor offset 0) s on true
left join lateral (select * from codomain.users u where u.aor = a.aor offset 0) u on true`,
};

export interface LookupRow {
  readonly aor: string;
  readonly server: string | null;
  readonly origin: BindingOrigin | null;
  readonly epoch: number;
  readonly expires: number | null;
  readonly live: boolean;
  /** Absent where it was not asked for. */
  readonly stored?: boolean;
  readonly recorded: boolean;
  readonly model: ModelName | null;
  readonly settings: Record<string, unknown> | null;
  readonly identities: Record<string, string> | null;
}

const STORED = { stored: true } as const;
const NOTHING = {};

export function lookupOf(row: LookupRow): Lookup {
  const user = recordOfRow(row);
  const binding = bindingOf(row);
  const epoch = epochOfRow(row);
  const stored = row.stored === true ? STORED : NOTHING;
  if (binding !== null) return { state: "bound", epoch, user, binding, ...stored };
  if (user === null && epoch === 0) return { state: "no-record", epoch, ...stored };
  return { state: "no-binding", epoch, user, ...stored };
}

export function recordOfRow(row: LookupRow): UserRecord | null {
  if (!row.recorded) return null;
  return { aor: row.aor, model: row.model, settings: row.settings ?? {}, identities: row.identities ?? {} };
}

/** An expired binding is unbound, one epoch later, whether or not the sweep came by. */
export function epochOfRow(row: LookupRow): number {
  return row.server !== null && !row.live ? row.epoch + 1 : row.epoch;
}
