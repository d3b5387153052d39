import { expect, it } from "vitest";
import { subscriptionsContract } from "../contract/subscriptions.contract.ts";
import { eventually } from "../support/child.ts";
import { twoOnPostgres } from "./two-on-postgres.ts";

const AGE = `
with slots as (
  update codomain.slots set expires_at = expires_at - $1 * interval '1 ms', due_at = due_at - $1 * interval '1 ms'
),
leases as (update codomain.proxies set lease_until = lease_until - $1 * interval '1 ms')
update codomain.subscriptions set expires_at = expires_at - $1 * interval '1 ms'`;
const RESET = "truncate codomain.slots, codomain.users, codomain.subscriptions, codomain.proxies, codomain.visited";

const postgres = twoOnPostgres({ age: AGE, reset: RESET, sweepMs: 50 });
subscriptionsContract("on PostgreSQL", postgres.harness);

it("a lease that has been over for a day is forgotten, unless rows are left of it", async () => {
  const names = await Promise.all(
    ["sip:gone", "sip:left", "sip:fresh", "sip:lives"].map((each) => postgres.east.leases.open(each, 1000)),
  );
  const [gone, left, fresh, lives] = names as [string, string, string, string];
  const insert = `insert into codomain.subscriptions (id, kind, aor, watcher, event, owner, fence, dialog, expires_at,
    notify_reserved, leg_reserved, extended_epoch) values ('x', 'reg', 'a@x', 'b@x', 'reg', $1, 1, '', now() + interval '1 h', 0, 0, 0)`;
  await postgres.client.query(insert, [left]);
  for (const each of [gone, left, fresh]) await postgres.east.leases.close(each);
  const past = "update codomain.proxies set lease_until = now() - interval '25 h' where owner = any($1)";
  await postgres.client.query(past, [[gone, left, lives]]);
  const there = async () =>
    (await postgres.client.query("select owner from codomain.proxies")).rows.map((row) => row.owner as string);
  await eventually("it is forgotten", async () => !(await there()).includes(gone));
  expect((await there()).sort()).toEqual([left, fresh, lives].sort());
  await postgres.client.query("truncate codomain.subscriptions, codomain.proxies, codomain.visited");
});
