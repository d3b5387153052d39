import { expect, it } from "vitest";
import { listMessages } from "../../src/directory/postgres/list-messages.ts";
import { ownDatabase } from "../support/own-database.ts";

const database = ownDatabase();

const FILL = `
insert into codomain.messages
  (id, key, recipient, sender, call_id, from_tag, cseq, request_uri, octets, received_at, expires_at, state, ended_at)
select 'm' || i, sha256(i::text::bytea), 'joe@x', 'ann@x', 'c', 't', 1, 'sip:joe@x', 200, now(), now(), 'delivered', now()
from generate_series(1, 20000) i`;

it("messages that wait, failed or expired are found by an index among all that are remembered", async () => {
  const client = await database.connect();
  await client.query(FILL);
  await client.query("analyze codomain.messages");
  await client.query("set plan_cache_mode = force_generic_plan");
  for (const state of ["stored", "failed", "expired"] as const) {
    const { name, text } = listMessages({ state, limit: 20 });
    await client.query(`prepare "${name}" as ${text}`);
    const { rows } = await client.query(
      `explain (analyze, timing off, costs off) execute "${name}" (null, null, '${state}', -1, 20)`,
    );
    const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
    expect(plan).not.toMatch(/Seq Scan|Rows Removed by Filter: \d{3}/);
  }
});
