import { expect, it } from "vitest";
import { watchersContract } from "../contract/watchers.contract.ts";
import { eventually } from "../support/child.ts";
import { twoOnPostgres } from "./two-on-postgres.ts";

const AGE = `
with watchers as (
  update codomain.put_off_watchers
  set since = since - $1 * interval '1 ms', until_at = until_at - $1 * interval '1 ms'
),
leases as (update codomain.proxies set lease_until = lease_until - $1 * interval '1 ms')
update codomain.subscriptions set expires_at = expires_at - $1 * interval '1 ms'`;
const RESET =
  "truncate codomain.users, codomain.subscriptions, codomain.proxies, codomain.visited, codomain.put_off_watchers";

const postgres = twoOnPostgres({ age: AGE, reset: RESET, sweepMs: 50 });
watchersContract("on PostgreSQL", postgres.harness);

it("who has waited long enough is cleared away", async () => {
  const watcher = { watcher: "ann@example.com", aor: "joe@example.com", event: "presence", trusted: true };
  await postgres.east.watchers.putOff(watcher, 1);
  await postgres.east.watchers.putOff({ ...watcher, watcher: "bob@example.com" }, 3_600_000);
  const left = async () => (await postgres.client.query("select from codomain.put_off_watchers")).rows.length;
  await eventually("who has waited long enough is gone", async () => (await left()) <= 1);
  expect(await left()).toBe(1);
  await postgres.client.query("truncate codomain.put_off_watchers");
});
