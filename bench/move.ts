import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { eventually } from "../test/support/child.ts";
import { percent, usedBetween, workBelow } from "./hold.ts";
import { percentiles, readSeen } from "./presence-load.ts";
import { Domain } from "./proxies.ts";
import { table, workDirectory } from "./systems.ts";

interface Sizes {
  readonly users: number;
  readonly watchers: number;
  /** Users a second; 0: as many as go. */
  readonly rate: number;
  readonly profile: string | undefined;
}

/** Batches take no more users a second. */
const MOST_RATE = 1000;
const EAST = 0;
const NORTH = 1;
const NAMES = ["east", "north"] as const;

/**
 * Users who are watched are moved from one server to the other by a batch, as `codomain migrate --from --to` makes it, until
 * every watcher has the new server's document: one proxy, and two between whom the watchers are divided.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      users: { type: "string", default: "1000" },
      watchers: { type: "string", default: "10" },
      rate: { type: "string", default: "30" },
      proxies: { type: "string", default: "1,2" },
      profile: { type: "string" },
    },
  });
  const sizes: Sizes = {
    users: Number(values.users),
    watchers: Number(values.watchers),
    rate: Number(values.rate),
    profile: values.profile,
  };
  const directory = workDirectory("move");
  const rows: string[][] = [];
  try {
    for (const proxies of values.proxies.split(",").map(Number)) {
      console.log(
        `${sizes.users} users with ${sizes.watchers} watchers each, by ${proxies === 1 ? "one proxy" : `${proxies} proxies`} ...`,
      );
      rows.push(...(await moveWith(proxies, sizes, directory)));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  console.log(
    `\n${table([
      [
        "proxies",
        "asked",
        "users/s",
        "SUBSCRIBE/s",
        "NOTIFY/s",
        "move to last document p50",
        "p99",
        "most ms",
        "not shown",
        "not 2xx",
        "sent again",
        "cpu ms/user",
        "in postgres",
        "proxies",
        "postgres",
        "generator",
      ],
      ...rows,
    ])}\n`,
  );
  console.log(
    "users/s: from the order until the last watcher of the last user has the new server's document. SUBSCRIBEs: new legs and the ends of",
  );
  console.log(
    "old ones. NOTIFYs: from the servers and to the watchers. move: from the move's statement until all the user's watchers have it. Sent again: by the proxies, by the servers.",
  );
}

async function moveWith(proxies: number, sizes: Sizes, parent: string): Promise<string[][]> {
  const { users, watchers, rate, profile } = sizes;
  const directory = workBelow(parent);
  const count = users * watchers;
  const domain = await Domain.start({
    directory,
    proxies,
    subscriptions: count,
    perUser: watchers,
    cpus: [undefined, undefined],
    ...(profile === undefined ? {} : { profile }),
  });
  try {
    const bound = await domain.load.bind({ first: 0, count: users }, 0, 64, EAST, 0);
    if (bound.ok !== users) console.log(`only ${bound.ok} of ${users} are bound: ${JSON.stringify(bound.codes)}`);
    const held = await domain.load.subscribe(0, count, 64, 120);
    if (held.ok !== count) console.log(`only ${held.ok} of ${count} watch: ${JSON.stringify(held.codes)}`);
    const { shown } = await domain.load.settle(0, count, EAST, 60);
    if (shown !== count) console.log(`only ${shown} of ${count} were shown a document`);
    const rows = [await move(domain, sizes, directory, EAST, NORTH, rate)];
    rows.push(await move(domain, sizes, directory, NORTH, EAST, 0));
    await domain.stopProxies();
    if (domain.complaints !== "") console.log(domain.complaints.slice(0, 2000));
    return rows.map((row) => [String(proxies), ...row]);
  } finally {
    await domain.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function move(
  domain: Domain,
  sizes: Sizes,
  directory: string,
  from: number,
  to: number,
  rate: number,
): Promise<string[]> {
  const { users, watchers } = sizes;
  const count = users * watchers;
  const before = await domain.spentNow();
  const { at: began } = await domain.load.mark();
  const batch = await order(domain, { from: NAMES[from], to: NAMES[to], rate: rate || MOST_RATE });
  const settled = await domain.load.settle(0, count, to, 120);
  const used = usedBetween(before, await domain.spentNow());
  await eventually("the batch to end", async () => (await state(domain, batch)) === "done", 20_000);
  // The old legs' last NOTIFYs may be on their way still.
  await domain.load.settle(0, count, -2, 1);
  const counts = await domain.load.counts();
  const file = join(directory, `seen-${to}`);
  await domain.load.dump(0, count, file);
  const last = new Map<number, number>();
  for (const { user, shown } of readSeen(readFileSync(file, "utf8")))
    last.set(user, Math.max(last.get(user) ?? 0, shown));
  const moved = await domain.query<{ n: number; at: number }>(`
    select substring(aor from 5 for position('@' in aor) - 5)::int as n, extract(epoch from changed_at)::float8 as at
    from codomain.slots where server = '${NAMES[to]}'`);
  const wall = wallOfMonotonic();
  const took = percentiles(moved.map(({ n, at }) => (wall + (last.get(n) ?? Number.NaN) - at) * 1000));
  const seconds = settled.last - began;
  const per = (what: number): string => (what / seconds).toFixed(0);
  const each = (share: number): string => ((share * used.seconds * 1000) / users).toFixed(2);
  if (counts.told !== counts.toldOk + counts.toldOther)
    console.log(`${counts.told - counts.toldOk - counts.toldOther} NOTIFYs of servers were not answered`);
  if (counts.toldOther > 0) console.log(`NOTIFYs of servers were answered ${JSON.stringify(counts.codes)}`);
  return [
    rate === 0 ? "all" : `${rate}/s`,
    (users / seconds).toFixed(1),
    per(counts.legs + counts.ended),
    per(counts.told + counts.notifies),
    ...[took.p50, took.p99, took.most].map((ms) => ms.toFixed(0)),
    String(count - settled.shown),
    String(counts.toldOther),
    `${counts.repeated}, ${counts.again}`,
    each(used.proxies),
    each(used.postgres),
    ...[used.proxies, used.postgres, used.load].map(percent),
  ];
}

/** What is to be added to CLOCK_MONOTONIC to get seconds since 1970. */
function wallOfMonotonic(): number {
  return Date.now() / 1000 - Number(process.hrtime.bigint()) / 1e9;
}

async function order(domain: Domain, batch: object): Promise<string> {
  const response = await fetch(`${domain.admin}/api/v1/moves`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...batch, makeBeforeBreak: false }),
  });
  if (!response.ok) throw new Error(await response.text());
  return ((await response.json()) as { id: string }).id;
}

async function state(domain: Domain, batch: string): Promise<string> {
  return ((await (await fetch(`${domain.admin}/api/v1/moves/${batch}`)).json()) as { state: string }).state;
}
