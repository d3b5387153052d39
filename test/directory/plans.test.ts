import { describe, expect, it } from "vitest";
import { askOfClaim, CLAIM } from "../../src/directory/postgres/claim.ts";
import { CLAIM_FREE, valuesOfFree } from "../../src/directory/postgres/claim-free.ts";
import { CLEAR_SUBSCRIPTIONS } from "../../src/directory/postgres/clear-subscriptions.ts";
import { END_LAPSED } from "../../src/directory/postgres/end-leases.ts";
import { INSERT_SUBSCRIPTIONS } from "../../src/directory/postgres/insert-subscriptions.ts";
import { LOOKUP } from "../../src/directory/postgres/lookup.ts";
import { NAMED_USERS } from "../../src/directory/postgres/named-users.ts";
import { OPEN_FORK, valuesOfForks } from "../../src/directory/postgres/open-fork.ts";
import type { Verb } from "../../src/directory/postgres/pool.ts";
import { LOAD_SUBSCRIPTIONS, listVerb, OWNED_SUBSCRIPTIONS } from "../../src/directory/postgres/query-subscriptions.ts";
import { REMOVE_SUBSCRIPTIONS } from "../../src/directory/postgres/remove-subscriptions.ts";
import { takeEvictions } from "../../src/directory/postgres/take-evictions.ts";
import { takeSubscriptions } from "../../src/directory/postgres/take-subscriptions.ts";
import { UPDATE_SUBSCRIPTIONS } from "../../src/directory/postgres/update-subscriptions.ts";
import { learning } from "../../src/directory/rows.ts";
import { ownDatabase } from "../support/own-database.ts";

const database = ownDatabase();

const ROWS = 20_000;
const FILL = `
with users as (insert into codomain.users (aor) select 'u' || i || '@x' from generate_series(1, ${ROWS}) i),
forks as (
  insert into codomain.open_forks (id, key, recipient, sender, method, event, asked, owner, joinable, expires_at)
  select 'f' || i, 'f' || i, 'u' || i || '@x', 'w@x', 'MESSAGE', '', '{}', 'o1', false, now() + interval '1 h'
  from generate_series(1, ${ROWS}) i
),
slots as (
  insert into codomain.slots (aor, epoch, verdict) select 'u' || i || '@x', 1, 'stale' from generate_series(1, ${ROWS}) i
),
evictions as (
  insert into codomain.evictions (aor, server, epoch) select 'u' || i || '@x', 'east', 1 from generate_series(1, ${ROWS}) i
),
proxies as (
  insert into codomain.proxies (owner, contact, lease_until, over)
  select 'o' || i, 'sip:o', now() + interval '1 h', i = 2 from generate_series(0, 2) i
)
insert into codomain.subscriptions (id, kind, aor, watcher, event, owner, fence, dialog, expires_at, notify_reserved,
  leg_reserved, extended_epoch)
select 'cdm-' || i, 'presence', 'u' || i || '@x', 'w' || i % 1000 || '@x', 'presence', case when i % 2000 = 0 then 'o2' else 'o1' end, 1,
  repeat('d', 300), now() + interval '1 h', 16, 0, 0
from generate_series(1, ${ROWS}) i`;

const ASKED = JSON.stringify(
  Array.from({ length: 20 }, (_, i) => ({
    id: `cdm-${i * 50 + 1}`,
    kind: "presence",
    aor: `u${i * 50}@x`,
    watcher: "w@x",
    event: "presence",
    owner: "o1",
    known: true,
    fence: 1,
    revision: 1,
    dialog: "d",
    expires: 4_000_000_000_000,
    notify_reserved: 32,
    leg_reserved: 0,
    extended_epoch: 0,
    one: 1,
  })),
);

const CLAIMED = JSON.stringify(
  Array.from({ length: 20 }, (_, i) => askOfClaim(learning(`u${i * 50}@x`, "a", 4_000_000_000_000, null, "t"))),
);

const CLAIMED_FREE = valuesOfFree(
  Array.from({ length: 20 }, (_, i) => ({
    ...learning(`u${i * 50}@x`, "a", 4_000_000_000_000, null, "t"),
    order: { callId: "c", cseq: 1, expiresAt: 4_000_000_000_000 },
  })),
);

const FORKED = valuesOfForks(
  Array.from({ length: 20 }, (_, i) => ({
    id: `new${i}`,
    key: `new${i}`,
    recipient: `u${i * 50}@x`,
    sender: "w@x",
    method: "MESSAGE",
    event: "",
    asked: ["a"],
    joinable: true,
    expiresAt: 4_000_000_000_000,
  })),
  "o1",
);

const BATCHES: Array<[Verb, string]> = [
  [CLAIM, `('${CLAIMED}', array[]::text[])`],
  [CLAIM_FREE, `(${CLAIMED_FREE.map((each) => `'${each}'`).join(", ")})`],
  [OPEN_FORK, `(${FORKED.map((each) => `'${each}'`).join(", ")})`],
  [LOOKUP, "(array['u1@x', 'u2@x', 'nobody@x'])"],
  [INSERT_SUBSCRIPTIONS, `('${ASKED}')`],
  [UPDATE_SUBSCRIPTIONS, `('${ASKED}')`],
  [takeEvictions(32), ""],
  [REMOVE_SUBSCRIPTIONS, `('${ASKED}')`],
];
const OTHERS: Array<[Verb, string]> = [
  [takeSubscriptions(100), "('o0', 16)"],
  [END_LAPSED, ""],
  [CLEAR_SUBSCRIPTIONS, ""],
  [NAMED_USERS, "('', 100)"],
  [OWNED_SUBSCRIPTIONS, "('o1', '', 100)"],
  [LOAD_SUBSCRIPTIONS, "('o1', array['cdm-1', 'cdm-2'])"],
  [listVerb({ aor: "u1@x", limit: 1 }), "('', null, 'u1@x', null, null, 100)"],
  [listVerb({ watcher: "w1@x", limit: 1 }), "('', null, null, 'w1@x', null, 100)"],
];

/** Rows that the plan has read of tables that grow, the most in one node. */
function read(plan: string): number {
  let most = 0;
  for (const line of plan.split("\n")) {
    const rows =
      /(?:Scan|Only Scan).* on (?:codomain\.)?(?:subscriptions|slots|users|evictions|open_forks)\b.*actual rows=(\d+)/.exec(
        line,
      );
    if (rows !== null) most = Math.max(most, Number(rows[1]));
    const removed = /Rows Removed by Filter: (\d+)/.exec(line);
    if (removed !== null) most = Math.max(most, Number(removed[1]));
  }
  return most;
}

describe("what a statement reads does not grow with the tables", () => {
  it("batches, even as they were planned while all tables were empty", async () => {
    const client = await database.connect();
    await client.query("set plan_cache_mode = force_generic_plan");
    for (const [n, [verb, values]] of BATCHES.entries()) {
      await client.query(`prepare verb_${n} as ${verb.text}`);
      await client.query("begin");
      await client.query(`execute verb_${n} ${values}`);
      await client.query("rollback");
    }
    await client.query(FILL);
    for (const [n, [verb, values]] of BATCHES.entries()) {
      await client.query("begin");
      const { rows } = await client.query(`explain (analyze, timing off, costs off) execute verb_${n} ${values}`);
      await client.query("rollback");
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
      expect(read(plan), `${verb.name}\n${plan}`).toBeLessThan(100);
    }
  });

  it("all others, on tables that were looked at", async () => {
    const client = await database.connect();
    await client.query("analyze");
    await client.query("set plan_cache_mode = force_generic_plan");
    for (const [n, [verb, values]] of OTHERS.entries()) {
      await client.query(`prepare verb_${n} as ${verb.text}`);
      await client.query("begin");
      const { rows } = await client.query(`explain (analyze, timing off, costs off) execute verb_${n} ${values}`);
      await client.query("rollback");
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
      expect(read(plan), `${verb.name}\n${plan}`).toBeLessThan(500);
    }
  });
});
