import type { Change } from "../directory.ts";
import type { DocumentKind } from "../user-documents.ts";
import type { Verb } from "./pool.ts";

/**
 * Where a reader begins: at the oldest transaction that is not over. Everything older has been seen by whatever he
 * reads from now on.
 */
export const FEED_START: Verb = {
  name: "feed-start",
  text: "select pg_snapshot_xmin(pg_current_snapshot())::text as xid",
};

/**
 * What came after the cursor, in order of (xid, id), as far as no older transaction is still open: a row that commits
 * late is thus never skipped. `held`: rows are there that must wait for one (concurrency.md 5); `held_ms`: since when.
 *
 * Rejected: joining `waiting` in: planned while the table was small, it is run once a row, 2.5 s for 1,000 rows. `id > cursor`: ids are taken before the commit, so a row may appear behind the cursor. `skip locked` queues
 * and per-reader offsets in the database: a write per reader and change.
 */
export const FEED_READ: Verb = {
  name: "feed-read",
  text: `
with horizon as materialized (select pg_snapshot_xmin(pg_current_snapshot()) as xmin),
ready as materialized (
  select c.xid, c.id, c.kind, c.aor, c.server, c.previous, c.epoch, c.fork, c.result, c.until_at, c.document
  from codomain.changes c
  where (c.xid, c.id) > ($1::text::xid8, $2::bigint) and c.xid < (select xmin from horizon)
  order by c.xid, c.id
  limit 1000
),
waiting as materialized (
  select c.at from codomain.changes c where c.xid >= (select xmin from horizon) order by c.xid, c.id limit 1
)
select r.xid::text as xid, r.id::text as id, r.kind, r.aor, r.server, r.previous, r.epoch::float8 as epoch, r.fork, r.result, r.document,
  extract(epoch from r.until_at)::float8 * 1000 as until,
  exists (select from waiting) as held,
  (select extract(epoch from clock_timestamp() - w.at)::float8 * 1000 from waiting w) as held_ms
from (select 1) always left join ready r on true
order by r.xid, r.id`,
};

export interface FeedRow {
  /** Null in the one row that comes where nothing is ready. */
  readonly xid: string | null;
  readonly id: string;
  readonly kind: "binding" | "user" | "fork-closed" | "preparing" | "document" | "watchers" | "verdicts";
  readonly aor: string;
  readonly server: string | null;
  readonly previous: string | null;
  readonly epoch: number | null;
  readonly fork: string | null;
  readonly result: "learned" | "all-said-404" | "inconclusive" | null;
  /** Of a move that is being prepared, milliseconds since 1970. */
  readonly until: number | null;
  readonly document: DocumentKind | null;
  readonly held: boolean;
  /** How long the first row that is held back has been there; null: none is. */
  readonly held_ms: number | null;
}

export function changeOf(row: FeedRow): Change {
  const { aor, server, previous } = row;
  switch (row.kind) {
    case "user":
      return { kind: "user", aor };
    case "verdicts":
      return { kind: "verdicts", aor };
    case "watchers":
      return { kind: "watchers", aor };
    case "document":
      return { kind: "document", aor, document: row.document ?? "pres-rules" };
    case "binding":
      return { kind: "binding", aor, server, previous, epoch: row.epoch ?? 0 };
    case "preparing":
      return { kind: "preparing", aor, server: server ?? "", until: Math.round(row.until ?? 0) };
    case "fork-closed": {
      const fork = row.fork ?? "";
      if (row.result === "learned" && server !== null) {
        return { kind: "fork-closed", aor, fork, result: { result: "learned", server } };
      }
      return {
        kind: "fork-closed",
        aor,
        fork,
        result: { result: row.result === "all-said-404" ? "all-said-404" : "inconclusive" },
      };
    }
  }
}
