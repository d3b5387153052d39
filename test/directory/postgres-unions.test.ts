import { expect, it } from "vitest";
import { unionsContract } from "../contract/unions.contract.ts";
import { eventually } from "../support/child.ts";
import { twoOnPostgres } from "./two-on-postgres.ts";

const AGE = `
with slots as (
  update codomain.slots set expires_at = expires_at - $1 * interval '1 ms', due_at = due_at - $1 * interval '1 ms'
),
leases as (update codomain.proxies set lease_until = lease_until - $1 * interval '1 ms'),
visited as (update codomain.visited set kept_until = kept_until - $1 * interval '1 ms'),
credits as (update codomain.credits set until_at = until_at - $1 * interval '1 ms')
update codomain.subscriptions set expires_at = expires_at - $1 * interval '1 ms'`;
const RESET =
  "truncate codomain.slots, codomain.users, codomain.subscriptions, codomain.proxies, codomain.visited, codomain.credits";

const postgres = twoOnPostgres({ age: AGE, reset: RESET, sweepMs: 50 });
unionsContract("on PostgreSQL", postgres.harness);

it("credits that have lapsed are cleared away", async () => {
  const credit = { watcher: "ann@example.com", aor: "joe@example.com", event: "presence", digest: "", server: "b" };
  await postgres.east.unions.grant("g", [{ ...credit, count: 3 }], Date.now() - 1000);
  await postgres.east.unions.grant("h", [{ ...credit, count: 2 }], Date.now() + 3_600_000);
  const left = async () => (await postgres.client.query("select from codomain.credits")).rows.length;
  await eventually("what has lapsed is gone", async () => (await left()) <= 2);
  expect(await left()).toBe(2);
  await postgres.client.query("truncate codomain.credits");
});
