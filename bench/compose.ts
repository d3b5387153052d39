import { rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { percent, usedBetween, workBelow } from "./hold.ts";
import { Domain } from "./proxies.ts";
import { table, workDirectory } from "./systems.ts";

interface Sizes {
  readonly subscriptions: number;
  readonly watchers: number;
  readonly window: number;
  readonly seconds: number;
  readonly profile: string | undefined;
}

/**
 * Users who are on 2, 3 and 8 servers at once: subscriptions composed, and changes of one server's document shown to the
 * watcher within the whole. Each watcher has a leg to every server.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      children: { type: "string", default: "2,3,8" },
      subscriptions: { type: "string", default: "4000" },
      watchers: { type: "string", default: "2" },
      window: { type: "string", default: "64" },
      seconds: { type: "string", default: "15" },
      profile: { type: "string" },
    },
  });
  const sizes: Sizes = {
    subscriptions: Number(values.subscriptions),
    watchers: Number(values.watchers),
    window: Number(values.window),
    seconds: Number(values.seconds),
    profile: values.profile,
  };
  const directory = workDirectory("compose");
  const rows: string[][] = [];
  try {
    for (const children of values.children.split(",").map(Number)) {
      console.log(`${sizes.subscriptions} subscriptions of ${children} servers each ...`);
      rows.push(await measure(children, sizes, directory));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const head = [
    "children",
    "composed/s",
    "resident each",
    "changes/s",
    "p50 ms",
    "p99 ms",
    "not shown",
    "cpu us/change",
    "in postgres",
    "proxy",
    "generator",
  ];
  console.log(`\n${table([head, ...rows])}\n`);
  console.log(
    "composed/s: SUBSCRIBEs until the last watcher has the document of all servers. changes: a server's NOTIFY until the watcher has it",
  );
  console.log(
    "in a composed document; so many NOTIFYs come in as go out. Resident: octets, with documents and finished transactions of 32 s.",
  );
}

async function measure(children: number, sizes: Sizes, parent: string): Promise<string[]> {
  const { subscriptions, watchers, window, seconds, profile } = sizes;
  const directory = workBelow(parent);
  const domain = await Domain.start({
    directory,
    proxies: 1,
    subscriptions,
    perUser: watchers,
    children,
    cpus: [0, 1],
    ...(profile === undefined ? {} : { profile }),
  });
  try {
    const { load } = domain;
    const before = domain.resident;
    const { at } = await load.mark();
    const held = await load.subscribe(0, subscriptions, window, 120);
    if (held.ok !== subscriptions)
      console.log(`only ${held.ok} of ${subscriptions} watch: ${JSON.stringify(held.codes)}`);
    const { shown, last } = await load.settle(0, subscriptions, 0, 60);
    if (shown !== subscriptions) console.log(`only ${shown} of ${subscriptions} were shown a document`);
    const resident = (domain.resident - before) / subscriptions;
    const from = await domain.spentNow();
    const published = await load.publish(0, subscriptions, window, seconds);
    const used = usedBetween(from, await domain.spentNow());
    const each = (share: number): string => (((share * used.seconds) / published.shown) * 1e6).toFixed(0);
    return [
      String(children),
      (subscriptions / (last - at)).toFixed(0),
      resident.toFixed(0),
      (published.shown / published.seconds).toFixed(0),
      published.p50.toFixed(2),
      published.p99.toFixed(2),
      String(published.changes - published.shown),
      each(used.proxies + used.postgres),
      each(used.postgres),
      percent(used.proxies),
      percent(used.load),
    ];
  } finally {
    await domain.stopProxies();
    if (domain.complaints !== "") console.log(domain.complaints.slice(0, 2000));
    await domain.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}
