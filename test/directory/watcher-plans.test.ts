import { expect, it } from "vitest";
import { DECIDED_WATCHERS } from "../../src/directory/postgres/decided-watchers.ts";
import type { Verb } from "../../src/directory/postgres/pool.ts";
import { PUT_OFF_WATCHER } from "../../src/directory/postgres/put-off-watcher.ts";
import { TELL_WATCHERS } from "../../src/directory/postgres/tell-watchers.ts";
import { WAITING_WATCHERS } from "../../src/directory/postgres/waiting-watchers.ts";
import { ownDatabase } from "../support/own-database.ts";

const database = ownDatabase();

const ROWS = 20_000;
const VERBS: readonly (readonly [Verb, string])[] = [
  [PUT_OFF_WATCHER, "'u7@x', 'new@x', true, 'presence', 1000"],
  [DECIDED_WATCHERS, `'[{"aor":"u7@x","watcher":"w7@x","trusted":true,"event":"presence","one":1}]'`],
  [WAITING_WATCHERS, "'u7@x', 'presence'"],
  [TELL_WATCHERS, "'{u7@x,u8@x,star@x}'"],
];

it("what was planned while nobody waited reads by keys when many do, and a user with many watchers costs no more", async () => {
  const client = await database.connect();
  await client.query("set plan_cache_mode = force_generic_plan");
  for (const [{ name, text }, values] of VERBS) {
    await client.query(`prepare "${name}" as ${text}`);
    await client.query("begin");
    await client.query(`execute "${name}"(${values})`);
    await client.query("rollback");
  }
  await client.query(`insert into codomain.put_off_watchers (aor, watcher, trusted, event, until_at)
    select 'u' || i || '@x', 'w' || i || '@x', true, 'presence', now() + interval '1 d' from generate_series(1, ${ROWS}) i`);
  // Half of all subscriptions are to one user; one in a thousand is to watchers.
  await client.query(`insert into codomain.subscriptions (id, kind, aor, watcher, event, owner, fence, dialog, expires_at,
      notify_reserved, leg_reserved, extended_epoch)
    select 'cdm-' || i, case when i % 1000 = 8 then 'winfo' else 'presence' end,
      case when i % 2 = 0 and i % 1000 <> 8 then 'star@x' else 'u' || i || '@x' end, 'w', 'presence', 'o', 1, 'd',
      now() + interval '1 h', 16, 0, 0
    from generate_series(1, ${ROWS}) i`);
  for (const [{ name }, values] of VERBS) {
    await client.query("begin");
    const { rows } = await client.query(`explain (analyze, timing off, costs off) execute "${name}"(${values})`);
    await client.query("rollback");
    const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
    const read = [...plan.matchAll(/Scan.* on (?:codomain\.)?\w+\b.*actual rows=(\d+)/g)].map(([, n]) => Number(n));
    const removed = [...plan.matchAll(/Rows Removed by Filter: (\d+)/g)].map(([, n]) => Number(n));
    expect(Math.max(0, ...read, ...removed), `${name}\n${plan}`).toBeLessThanOrEqual(200);
  }
});
