import { expect, it } from "vitest";
import { STEPS_OPEN } from "../../src/directory/postgres/move-batches.ts";
import { BEGIN_STEPS, COMPLETE_BATCH, END_STEPS } from "../../src/directory/postgres/move-run.ts";
import type { Verb } from "../../src/directory/postgres/pool.ts";
import { ownDatabase } from "../support/own-database.ts";

const database = ownDatabase();

const STEPS = 20_000;
const POSITIONS = Array.from({ length: 64 }, (_, i) => i + 100);

function rows(extra: object): string {
  return JSON.stringify(POSITIONS.map((position) => ({ position, ...extra })));
}

it("what was planned while the journal was small reads by keys when it is large", async () => {
  const client = await database.connect();
  const batches = `insert into codomain.move_batches (id, kind, state, filled, rate, make_before_break, actor, owner, fence)
    values ('small', 'list', 'running', true, 1, false, 't', 'o', 1), ('large', 'list', 'running', true, 1, false, 't', 'o', 1)`;
  await client.query(batches);
  const fill = `insert into codomain.move_steps (batch, position, aor, to_server)
    select $1, n, 'u' || n, 'w' from generate_series(1, $2::integer) n`;
  await client.query(fill, ["small", 5]);
  const verbs: Array<[Verb, unknown[]]> = [
    [STEPS_OPEN, [100, 64]],
    [BEGIN_STEPS, ["o", 1, rows({ from: "x", epoch: 1 }), "moving", POSITIONS]],
    [END_STEPS, ["o", 1, rows({ state: "moved", epoch: 2 }), POSITIONS]],
    [COMPLETE_BATCH, ["o", 1]],
  ];
  await client.query("set plan_cache_mode = force_generic_plan");
  for (const [{ name, text }, values] of verbs) await client.query({ name, text, values: ["small", ...values] });
  await client.query(fill, ["large", STEPS]);
  for (const [{ name }, values] of verbs) {
    const given = ["large", ...values].map((value) =>
      typeof value === "number"
        ? value
        : Array.isArray(value)
          ? `'{${value.join()}}'`
          : `'${String(value).replaceAll("'", "''")}'`,
    );
    const plan = await client.query<{ "QUERY PLAN": string }>(
      `explain (analyze, timing off, summary off) execute "${name}"(${given.join()})`,
    );
    const text = plan.rows.map((row) => row["QUERY PLAN"]).join("\n");
    const read = [...text.matchAll(/Scan.* on move_steps\b.*actual rows=(\d+)/g)].map((match) => Number(match[1]));
    expect(read.length, name).toBeGreaterThan(0);
    expect(Math.max(...read), `${name}\n${text}`).toBeLessThanOrEqual(64);
    expect(text, name).not.toMatch(/Rows Removed by (?:Join )?Filter: \d{5}/);
  }
});
