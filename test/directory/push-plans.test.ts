import { expect, it } from "vitest";
import type { Verb } from "../../src/directory/postgres/pool.ts";
import {
  END_FAILED,
  END_PUSHED,
  END_REMOVED,
  PUSHES,
  takePushes,
  WANT_PUSHES,
} from "../../src/directory/postgres/push-verbs.ts";
import { ownDatabase } from "../support/own-database.ts";

const database = ownDatabase();

const ROWS = 20_000;
const VERBS: readonly (readonly [Verb, string])[] = [
  [WANT_PUSHES, "'u7@x', '{a,b}', 'v2', false"],
  [takePushes(8), "60000"],
  [END_PUSHED, "'u7@x', 'a', 'v1', 0, '[]'"],
  [END_REMOVED, "'u7@x', 'a', 'v2', 0"],
  [END_FAILED, "'u7@x', 'a', 'v1', 0, 'why', 5000"],
];
const LIST: readonly [Verb, string] = [PUSHES, "null, null, null, false, 'u5@x', 'a', 100"];

it("what was planned while nothing was pushed reads by keys when much is; a list, once the table was looked at", async () => {
  const client = await database.connect();
  await client.query("set plan_cache_mode = force_generic_plan");
  for (const [{ name, text }, values] of VERBS) {
    await client.query(`prepare "${name}" as ${text}`);
    await client.query("begin");
    await client.query(`execute "${name}"(${values})`);
    await client.query("rollback");
  }
  // Of one in a thousand something is to be done; that of u7 is under way.
  await client.query(`insert into codomain.pushes (aor, server, wanted, pushed, state, due_at, taken_until)
    select 'u' || i || '@x', 'a', 'v1', 'v1', case when i % 1000 in (0, 7) then 'waiting' else 'pushed' end,
      case when i % 1000 in (0, 7) then now() end, case when i = 7 then now() + interval '1 h' end
    from generate_series(1, ${ROWS}) i`);
  for (const [{ name, text }, values] of [...VERBS, LIST]) {
    if (name === LIST[0].name) {
      await client.query("analyze codomain.pushes");
      await client.query(`prepare "${name}" as ${text}`);
    }
    await client.query("begin");
    const { rows } = await client.query(`explain (analyze, timing off, costs off) execute "${name}"(${values})`);
    await client.query("rollback");
    const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
    const read = [...plan.matchAll(/Scan.* on (?:codomain\.)?pushes\b.*actual rows=(\d+)/g)].map(([, n]) => Number(n));
    const removed = [...plan.matchAll(/Rows Removed by Filter: (\d+)/g)].map(([, n]) => Number(n));
    expect(Math.max(0, ...read, ...removed), `${name}\n${plan}`).toBeLessThanOrEqual(101);
  }
});
