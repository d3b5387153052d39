import { expect, it } from "vitest";
import { ARRIVED, GRANT, REVOKE, SPEND, SPENT } from "../../src/directory/postgres/credits.ts";
import { DOCUMENT, DOCUMENTS, REPLACE_DOCUMENT } from "../../src/directory/postgres/document-verbs.ts";
import { ENTER, NOTE_RETURN } from "../../src/directory/postgres/enter.ts";
import { LOCK_PAIR_OF_SUBSCRIPTION, LOCK_PAIRS } from "../../src/directory/postgres/lock-pair.ts";
import type { Verb } from "../../src/directory/postgres/pool.ts";
import { CLEAR } from "../../src/directory/postgres/sweep.ts";
import { REMOVE_USER } from "../../src/directory/postgres/users.ts";
import { LEAVE, VISIT } from "../../src/directory/postgres/visit.ts";
import { ENTRY_STATES, VISITED } from "../../src/directory/postgres/visited-rows.ts";
import { ownDatabase } from "../support/own-database.ts";

const database = ownDatabase();

const ROWS = 20_000;
const FILL = [
  "insert into codomain.proxies (owner, contact, lease_until) values ('o1', 'sip:o', now() + interval '1 h')",
  `insert into codomain.users (aor) select 'u' || i || '@x' from generate_series(1, ${ROWS}) i`,
  `insert into codomain.slots (aor, epoch, verdict) select 'u' || i || '@x', 1, 'stale' from generate_series(1, ${ROWS}) i`,
  `insert into codomain.subscriptions (id, kind, aor, watcher, event, owner, fence, dialog, expires_at, notify_reserved,
    leg_reserved, extended_epoch)
  select 'cdm-' || i, 'composed', 'u' || i || '@x', 'w' || i % 1000 || '@x', 'presence', 'o1', 1, '', now() + interval '1 h', 16, 0, 0
  from generate_series(1, ${ROWS}) i`,
  `insert into codomain.visited (holder, subscription, chain, role, server, aor, watcher, event)
  select s.id, s.id, s.id, case when n = 0 then 'start' else 'leg' end, 's' || n, s.aor, s.watcher, s.event
  from codomain.subscriptions s, generate_series(0, 2) n`,
  `insert into codomain.credits (id, server, n, aor, watcher, event, digest, until_at)
  select 'g' || i, 's1', 1, 'u' || i || '@x', 'w' || i % 1000 || '@x', 'presence', '', now() + interval '1 h'
  from generate_series(1, ${ROWS}) i`,
  `insert into codomain.user_documents (aor, kind, etag, text)
  select 'u' || i || '@x', 'pres-rules', 'e', '<r/>' from generate_series(1, ${ROWS}) i`,
];

const IN = JSON.stringify([
  {
    id: "cdm-new",
    kind: "composed",
    aor: "u7@x",
    watcher: "w7@x",
    origin: "s0",
    event: "presence",
    owner: "o1",
    dialog: "",
    expires: 4_000_000_000_000,
    notify_reserved: 16,
    leg: null,
    leg_server: null,
    leg_reserved: 16,
    extended_epoch: 0,
    chain: "cdm-new",
    from: "s0",
    evidence: null,
    sent: null,
    servers: ["s1", "s2"],
    one: 1,
  },
]);
const GRANTED = JSON.stringify([
  {
    server: "s1",
    aor: "u7@x",
    watcher: "w7@x",
    event: "presence",
    digest: "",
    count: 3,
    underWay: false,
    id: "new",
    until: 4_000_000_000_000,
  },
]);

const VERBS: Array<[Verb, string]> = [
  [LOCK_PAIRS, "(array['u7@x', 'u8@x'], array['w7@x', 'w8@x'], array['presence', 'presence'])"],
  [LOCK_PAIR_OF_SUBSCRIPTION, "('cdm-7')"],
  [
    ENTRY_STATES,
    "(array['u7@x', 'u8@x'], array['w7@x', 'w8@x'], array['presence', 'presence'], array['new', 'cdm-8'])",
  ],
  [ENTER, `('${IN}')`],
  [NOTE_RETURN, "('u7@x', 'w7@x', 'presence', array['cdm-7'], array['s1'], array[true])"],
  [VISIT, "('cdm-7', 'o1', 1, 's3', null)"],
  [LEAVE, "('cdm-7', 'o1', 1, 's1')"],
  [VISITED, "('u7@x', 'w7@x', 'presence')"],
  [GRANT, `('${GRANTED}')`],
  [REVOKE, `('[{"id": "g7", "server": "s1", "one": 1}, {"id": "g8", "server": "s1", "one": 1}]')`],
  [ARRIVED, `('[{"id": "g7", "server": "s1", "one": 1}, {"id": "g8", "server": "s1", "one": 1}]')`],
  [SPENT, "('u7@x', 'w7@x', 's1', 'presence', '', 'me')"],
  [SPEND, "('u7@x', 'w7@x', 's1', 'presence', '', 'me')"],
  [DOCUMENT, "('u7@x', 'pres-rules')"],
  [DOCUMENTS, "('pres-rules', 'u7@x', 10)"],
  [REPLACE_DOCUMENT, "('u7@x', 'pres-rules', 't', 'f', '<s/>', 'e')"],
  [REMOVE_USER, "('u7@x', 't', array['pres-rules', 'im-rules', 'im-routing'])"],
  [CLEAR, "(600000, 7776000000)"],
];

/** Rows that the plan has read, the most in one node, of tables. */
function read(plan: string): number {
  let most = 0;
  for (const line of plan.split("\n")) {
    const rows = /Scan.* on \w+.*actual rows=(\d+)/.exec(line) ?? /Rows Removed by Filter: (\d+)/.exec(line);
    if (rows !== null) most = Math.max(most, Number(rows[1]));
  }
  return most;
}

it("what unions and documents read does not grow with the tables, even as it was planned while they were empty", async () => {
  const client = await database.connect();
  await client.query("set plan_cache_mode = force_generic_plan");
  for (const [n, [verb, values]] of VERBS.entries()) {
    await client.query(`prepare verb_${n} as ${verb.text}`);
    await client.query("begin");
    await client.query(`execute verb_${n} ${values}`);
    await client.query("rollback");
  }
  for (const each of FILL) await client.query(each);
  const found: string[] = [];
  for (const looked of [false, true]) {
    if (looked) await client.query("analyze");
    for (const [n, [verb, values]] of VERBS.entries()) {
      // Once in ten seconds: what it was planned for when there was nothing does no harm until tables are looked at.
      if (verb === CLEAR && !looked) continue;
      await client.query("begin");
      const { rows } = await client.query(`explain (analyze, timing off, costs off) execute verb_${n} ${values}`);
      await client.query("rollback");
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
      if (read(plan) >= 100) found.push(`${verb.name}, ${looked ? "looked at" : "as planned"}\n${plan}`);
    }
  }
  expect(found).toEqual([]);
});
