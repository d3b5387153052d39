import { createHash } from "node:crypto";
import type { ForkKey, OpenFork } from "../directory.ts";
import type { Verb } from "./pool.ts";
import { textArray } from "./text-array.ts";

/**
 * Takes the keys of forks before their first requests leave (concurrency.md 8), each for another recipient, in the order of
 * those, since each waits for whoever else is inserting the same. The unique keys decide: one fork per
 * (recipient, sender, method, event), one joinable fork per recipient. No row comes back where one of them is taken, or
 * where a joinable one is asked for and any live fork for the recipient is seen. The caller then reads FORKS_OF; where
 * that finds none alive, it drops the expired (DROP_EXPIRED_FORKS) and asks again. The id is the caller's own, so that
 * he knows his fork again when the answer to the first try was lost (concurrency.md 9).
 *
 * The commit need not reach the disk to be seen by others; what a crash of the database loses is one fork's row.
 *
 * What is looked for is looked for by recipient, whatever the table held when it was planned.
 *
 * Rejected: an unlogged table: emptied by a crash and absent on a standby, for a gain that asynchronous commit has too.
 * `on conflict … do update where expired`: names one unique key, raises on the other.
 */
export const OPEN_FORK: Verb = {
  name: "open-fork",
  text: `
with quick as materialized (select set_config('synchronous_commit', 'off', true) as set)
insert into codomain.open_forks (id, key, recipient, sender, method, event, asked, owner, joinable, expires_at)
select a.id, a.key, a.recipient, a.sender, a.method, a.event, a.asked::text[], $8, a.joinable, to_timestamp(a.expires / 1000)
from quick,
  unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $9::boolean[], $10::float8[])
    as a(id, key, recipient, sender, method, event, asked, joinable, expires)
where not a.joinable or (
  select true from codomain.open_forks f where f.recipient = a.recipient and f.expires_at > clock_timestamp() limit 1
) is null
order by a.recipient collate "C"
on conflict do nothing
returning id`,
};

/** A fork to be opened. */
export interface ForkAsk extends ForkKey {
  readonly id: string;
  readonly key: string;
  readonly asked: readonly string[];
  readonly joinable: boolean;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** As OPEN_FORK takes them. */
export function valuesOfForks(batch: readonly ForkAsk[], owner: string): string[] {
  return [
    textArray(batch.map((ask) => ask.id)),
    textArray(batch.map((ask) => ask.key)),
    textArray(batch.map((ask) => ask.recipient)),
    textArray(batch.map((ask) => ask.sender)),
    textArray(batch.map((ask) => ask.method)),
    textArray(batch.map((ask) => ask.event)),
    textArray(batch.map((ask) => textArray(ask.asked))),
    owner,
    `{${batch.map((ask) => ask.joinable).join(",")}}`,
    `{${batch.map((ask) => ask.expiresAt).join(",")}}`,
  ];
}

/** The live forks for a recipient. */
export const FORKS_OF: Verb = {
  name: "forks-of",
  text: `
select id, key, recipient, sender, method, event, asked, owner, extract(epoch from expires_at)::float8 * 1000 as expires
from codomain.open_forks
where recipient = $1 and expires_at > clock_timestamp()
order by expires_at, id`,
};

export const DROP_EXPIRED_FORKS: Verb = {
  name: "drop-expired-forks",
  text: "delete from codomain.open_forks where recipient = $1 and expires_at <= clock_timestamp()",
};

export interface ForkRow {
  readonly id: string;
  readonly key: string;
  readonly recipient: string;
  readonly sender: string;
  readonly method: string;
  readonly event: string;
  readonly asked: string[];
  readonly owner: string;
  readonly expires: number;
}

export function forkOf(row: ForkRow): OpenFork {
  const { id, recipient, sender, method, event, asked, owner } = row;
  return { id, recipient, sender, method, event, asked, owner, expiresAt: Math.round(row.expires) };
}

/** A digest, since a sender may be as long as a message and an index entry may not. */
export function digestOf(fork: ForkKey): string {
  const parts = [fork.recipient, fork.sender, fork.method, fork.event].map((part) => `${part.length}:${part}`);
  return createHash("sha256").update(parts.join(""), "utf8").digest("base64url");
}
