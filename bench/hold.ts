import { execFile } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { startChild } from "../test/support/child.ts";
import { measureMemory, memoryTable } from "./held-memory.ts";
import { type Answers, compilePresenceLoad, PresenceLoad, percentiles, readSeen } from "./presence-load.ts";
import { Domain, PROXY_PORTS, type Spent, WATCHER_PORT } from "./proxies.ts";
import { installed, pinned, processorSeconds, table, untilUp, version, workDirectory } from "./systems.ts";

const execute = promisify(execFile);

interface Sizes {
  readonly directory: string;
  readonly seconds: number;
  readonly window: number;
  readonly most: number;
  readonly binds: number;
  readonly rate: number;
  readonly rows: number;
  readonly profile: string | undefined;
}

/**
 * Subscriptions to users who are nowhere: what one takes in memory and in PostgreSQL, how many are accepted a second beside
 * Kamailio's presence module, and how soon after a binding the SUBSCRIBE leaves for the server.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      subscriptions: { type: "string", default: "100000" },
      watchers: { type: "string", default: "10" },
      seconds: { type: "string", default: "10" },
      window: { type: "string", default: "64" },
      binds: { type: "string", default: "6000" },
      rate: { type: "string", default: "1000" },
      rows: { type: "string", default: "20000" },
      only: { type: "string", default: "memory,accept,bind,takeover" },
      profile: { type: "string" },
    },
  });
  const only = values.only.split(",");
  const directory = workDirectory("hold");
  const seconds = Number(values.seconds);
  const sizes: Sizes = {
    directory,
    seconds,
    window: Number(values.window),
    // More than can be accepted in that time.
    most: Math.ceil(seconds * 20_000),
    binds: Number(values.binds),
    rate: Number(values.rate),
    rows: Number(values.rows),
    profile: values.profile,
  };
  try {
    if (only.includes("memory")) {
      console.log(`memory: ${values.subscriptions} subscriptions, ${values.watchers} of each user and watcher ...`);
      const watchers = Number(values.watchers);
      const memory = await measureMemory({ subscriptions: Number(values.subscriptions), watchers }, null);
      const some = Math.min(MOST_COMPOSED, Number(values.subscriptions));
      memory.push(...(await measureMemory({ subscriptions: some, watchers }, 2)));
      console.log(`\n${memoryTable(memory)}\n`);
    }
    if (only.includes("accept")) await compareAccepting(sizes);
    if (only.includes("bind")) await bind(sizes);
    if (only.includes("takeover")) await takeover(sizes);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

// ── SUBSCRIBEs accepted ─────────────────────────────────────────────────────────────────────────────────────────────────

interface Accepted {
  readonly system: string;
  readonly answers: Answers;
  readonly used: Used;
  /** Of the system's processes but PostgreSQL, octets a subscription. */
  readonly resident: number | undefined;
}

async function compareAccepting(sizes: Sizes): Promise<void> {
  const cpus = availableParallelism() > 1 ? ([0, 1] as const) : ([undefined, undefined] as const);
  const rows: Accepted[] = [];
  console.log(`SUBSCRIBE: ${sizes.seconds} s each, ${sizes.window} unanswered ...`);
  rows.push(await acceptedByUs(sizes, cpus));
  if (await installed("kamailio")) rows.push(await acceptedByKamailio(sizes, cpus));
  else console.log("kamailio: not installed");
  const own = rows[0]?.answers;
  const rate = ({ ok, seconds }: Answers): number => ok / seconds;
  const each = (share: number, { seconds }: Used, { ok }: Answers): string =>
    share === 0 ? "" : ((share * seconds * 1e6) / ok).toFixed(0);
  console.log(
    `\n${table([
      [
        "system",
        "SUBSCRIBE/s",
        "ratio",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "lost",
        "not 2xx",
        "no NOTIFY",
        "cpu us each",
        "in postgres",
        "system",
        "postgres",
        "generator",
        "resident each",
      ],
      ...rows.map(({ system, answers, used, resident }) => [
        system,
        rate(answers).toFixed(0),
        own === undefined ? "" : (rate(own) / rate(answers)).toFixed(2),
        answers.p50.toFixed(2),
        answers.p99.toFixed(2),
        answers.p999.toFixed(2),
        String(answers.lost),
        String(answers.other),
        String(answers.ok - answers.notified),
        each(used.proxies, used, answers),
        each(used.postgres, used, answers),
        ...[used.proxies, used.postgres, used.load].map(percent),
        resident === undefined ? "" : resident.toFixed(0),
      ]),
    ])}\n`,
  );
  console.log(
    "Each SUBSCRIBE with its 200, its NOTIFY and the 200 to that. codomain's are on disk before they are answered,",
  );
  console.log(
    "Kamailio's in memory alone, and of event dialog. The system has processor 0; its PostgreSQL and the generator share processor 1.",
  );
  console.log("Resident: with what is kept of finished transactions for 32 s.");
  const name = await version("kamailio");
  if (name !== undefined) console.log(`${name}\n`);
}

/** To users of several servers, in memory. */
const MOST_COMPOSED = 100_000;
/** Code is compiled and pages are found in the first seconds; they are not measured. */
const WARM_UP = 5_000;

async function acceptedByUs(sizes: Sizes, cpus: readonly [number | undefined, number | undefined]): Promise<Accepted> {
  const { most, profile } = sizes;
  const directory = workBelow(sizes.directory);
  const domain = await Domain.start({
    directory,
    proxies: 1,
    subscriptions: most + WARM_UP,
    perUser: 10,
    cpus,
    ...(profile === undefined ? {} : { profile }),
  });
  try {
    await domain.load.subscribe(0, WARM_UP, sizes.window, 60);
    const resident = domain.resident;
    const before = await domain.spentNow();
    const answers = await domain.load.subscribe(WARM_UP, most, sizes.window, sizes.seconds);
    const after = await domain.spentNow();
    const grown = (domain.resident - resident) / answers.ok;
    const [row] = await domain.query<{ rows: number; heap: number; indexes: number }>(`
      select count(*)::int as rows, pg_table_size('codomain.subscriptions')::float8 as heap,
        pg_indexes_size('codomain.subscriptions')::float8 as indexes from codomain.subscriptions`);
    if (row !== undefined) {
      const each = (octets: number): string => (octets / row.rows).toFixed(0);
      console.log(
        `codomain: ${row.rows} rows in PostgreSQL, ${each(row.heap)} octets each and ${each(row.indexes)} in indexes`,
      );
      const missing = WARM_UP + answers.ok - row.rows;
      if (missing !== 0) console.log(`codomain: ${missing} accepted ones have no row`);
    }
    await domain.stopProxies();
    if (domain.complaints !== "") console.log(domain.complaints.slice(0, 2000));
    const used = usedBetween(before, after);
    return { system: "codomain", answers, used, resident: grown };
  } finally {
    await domain.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function acceptedByKamailio(
  sizes: Sizes,
  cpus: readonly [number | undefined, number | undefined],
): Promise<Accepted> {
  const { directory, most } = sizes;
  const control = `unix:${directory}/ctl`;
  const database = join(directory, "presence.db");
  for (const name of ["standard", "presence"])
    await execute("sh", ["-c", `sqlite3 "${database}" < "/usr/share/kamailio/db_sqlite/${name}-create.sql"`]);
  const cfg = fileURLToPath(new URL("kamailio-subscribe.cfg", import.meta.url));
  const [port] = PROXY_PORTS;
  const named = { CTL: `"${control}"`, DB: `"sqlite:///${database}"`, SELF: `"sip:127.0.0.1:${port}"` };
  const options = ["-f", cfg, "-DD", "-E", "-m", "4000", "-M", "16", "-Y", directory, "-l", `udp:127.0.0.1:${port}`];
  const defined = Object.entries(named).flatMap(([name, value]) => ["-A", `${name}=${value}`]);
  const child = startChild(...pinned(cpus[0], "kamailio", [...options, ...defined]));
  const load = await PresenceLoad.start(
    await compilePresenceLoad(directory),
    {
      proxies: [port],
      watchers: WATCHER_PORT,
      servers: [],
      subscriptions: most + WARM_UP,
      perUser: 10,
      event: "dialog",
    },
    cpus[1],
  );
  const spentNow = async (): Promise<Spent> => {
    const { cpu } = await load.counts();
    return { at: performance.now() / 1000, proxies: processorSeconds(child.pid), postgres: 0, load: cpu };
  };
  try {
    await untilUp(() => execute("kamcmd", ["-s", control, "core.uptime"])).catch((error) => {
      throw new Error(`${String(error)}\n${child.output().slice(-2000)}`);
    });
    await load.subscribe(0, WARM_UP, sizes.window, 60);
    const before = await spentNow();
    const answers = await load.subscribe(WARM_UP, most, sizes.window, sizes.seconds);
    const used = usedBetween(before, await spentNow());
    return { system: "kamailio", answers, used, resident: undefined };
  } finally {
    await load.stop();
    await child.stop(30_000);
  }
}

/** Processors in use between two moments: 1 is all of one. */
export interface Used {
  readonly seconds: number;
  readonly proxies: number;
  readonly postgres: number;
  readonly load: number;
}

export function usedBetween(before: Spent, after: Spent): Used {
  const seconds = after.at - before.at;
  const share = (key: "proxies" | "postgres" | "load"): number => (after[key] - before[key]) / seconds;
  return { seconds, proxies: share("proxies"), postgres: share("postgres"), load: share("load") };
}

export function percent(share: number): string {
  return share === 0 ? "" : `${(share * 100).toFixed(0)} %`;
}

let works = 0;

/** A place of its own for each domain that is started. */
export function workBelow(directory: string): string {
  works++;
  return workDirectory(`${directory.split("/").at(-1)}-${works}`);
}

// ── Binding ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

async function bind(sizes: Sizes): Promise<void> {
  const rows: string[][] = [];
  for (const proxies of [1, 2]) {
    console.log(
      `binding ${sizes.binds} users at ${sizes.rate}/s, and as many as go, with ${proxies} ${proxies === 1 ? "proxy" : "proxies"} ...`,
    );
    rows.push(...(await bindWith(proxies, sizes)));
  }
  console.log(
    `\n${table([
      [
        "proxies",
        "asked",
        "binds/s",
        "bind p50",
        "p99 ms",
        "commit to SUBSCRIBE p50",
        "p99",
        "most ms",
        "200 to SUBSCRIBE p50",
        "p99 ms",
        "document p99 ms",
        "not extended",
        "lost",
        "not 2xx",
        "repeated",
        "proxies",
        "postgres",
        "generator",
      ],
      ...rows,
    ])}\n`,
  );
  console.log(
    "bind: from the REGISTER's leaving to its 200. commit: when the claim's answer reaches the program. 200: when the REGISTER's",
  );
  console.log(
    "answer reaches the generator. SUBSCRIBE: when it reaches the generator, on behalf of the one watcher each user has. With two",
  );
  console.log(
    "proxies the REGISTER goes to the other one than holds the subscription. document: from the 200 until the watcher has it.\n",
  );
}

async function bindWith(proxies: number, sizes: Sizes): Promise<string[][]> {
  const { binds, rate, window, profile } = sizes;
  const directory = workBelow(sizes.directory);
  const count = binds * 2;
  const domain = await Domain.start({
    directory,
    proxies,
    subscriptions: count,
    perUser: 1,
    cpus: [undefined, undefined],
    ...(profile === undefined ? {} : { profile }),
  });
  try {
    const held = await domain.load.subscribe(0, count, window, 120);
    if (held.ok !== count) console.log(`only ${held.ok} of ${count} are held: ${JSON.stringify(held.codes)}`);
    await domain.load.mark();
    const measured = [];
    for (const [i, asked] of [rate, 0].entries()) {
      const users = { first: i * binds, count: binds };
      const before = await domain.spentNow();
      const counted = await domain.load.counts();
      const answers = await domain.load.bind(users, asked, asked === 0 ? window : binds, 0, proxies - 1);
      const used = usedBetween(before, await domain.spentNow());
      await domain.load.settle(users.first, binds, 0, 15);
      const file = join(directory, `seen-${i}`);
      await domain.load.dump(users.first, binds, file);
      const repeated = (await domain.load.counts()).repeated - counted.repeated;
      measured.push({ asked, answers, used, repeated, seen: readSeen(readFileSync(file, "utf8")) });
    }
    const bound = await domain.stopProxies();
    if (domain.complaints !== "") console.log(domain.complaints.slice(0, 2000));
    return measured.map(({ asked, answers, used, repeated, seen }) => {
      const extended = seen.filter(({ leg }) => leg > 0);
      const commit = percentiles(extended.map(({ user, leg }) => (leg - (bound.get(user) ?? Number.NaN)) * 1000));
      const wire = percentiles(extended.map(({ answered, leg }) => (leg - answered) * 1000));
      const shown = percentiles(
        seen.filter((each) => each.shown > 0).map((each) => (each.shown - each.answered) * 1000),
      );
      return [
        String(proxies),
        asked === 0 ? `${window} open` : `${asked}/s`,
        (answers.ok / answers.seconds).toFixed(0),
        ...[answers.p50, answers.p99, commit.p50, commit.p99, commit.most, wire.p50, wire.p99, shown.p99].map((ms) =>
          ms.toFixed(1),
        ),
        String(seen.length - extended.length),
        String(answers.lost),
        String(answers.other),
        String(repeated),
        ...[used.proxies, used.postgres, used.load].map(percent),
      ];
    });
  } finally {
    await domain.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

// ── Taking over ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** One proxy holds everything, half of it with a leg, and is killed; the other one has nothing to do until then. */
async function takeover(sizes: Sizes): Promise<void> {
  const { rows, window, profile } = sizes;
  console.log(`taking over ${rows} subscriptions of a proxy that was killed ...`);
  const directory = workBelow(sizes.directory);
  const domain = await Domain.start({
    directory,
    proxies: 2,
    standby: true,
    subscriptions: rows,
    perUser: 1,
    cpus: [undefined, undefined],
    ...(profile === undefined ? {} : { profile }),
  });
  try {
    const live = Math.floor(rows / 2);
    const bound = await domain.load.bind({ first: 0, count: live }, 0, window, 0, 0);
    const held = await domain.load.subscribe(0, rows, window, 300);
    const { shown } = await domain.load.settle(0, live, 0, 20);
    if (held.ok !== rows || bound.ok !== live || shown !== live)
      console.log(`held ${held.ok} of ${rows}, bound ${bound.ok} and shown ${shown} of ${live}`);
    await domain.kill();
    const resident = domain.resident;
    const before = await domain.spentNow();
    const { at: killed } = await domain.load.mark();
    const told = await domain.load.told(0, rows, 120);
    const used = usedBetween(before, await domain.spentNow());
    // What the servers tell on the refreshed legs.
    const again = await domain.load.settle(0, live, 0, 40);
    const counts = await domain.load.counts();
    const took = told.last - told.first;
    console.log(
      `\n${table([
        [
          "subscriptions",
          "first NOTIFY after s",
          "all after s",
          "a second",
          "not told",
          "legs refreshed",
          "not 2xx",
          "repeated",
          "cpu us each",
          "in postgres",
          "resident each",
        ],
        [
          String(rows),
          (told.first - killed).toFixed(1),
          (told.last - killed).toFixed(1),
          ((told.told - 1) / took).toFixed(0),
          String(rows - told.told),
          String(again.shown),
          String(counts.toldOther),
          String(counts.repeated),
          ...[used.proxies, used.postgres].map((share) => ((share * used.seconds * 1e6) / rows).toFixed(0)),
          ((domain.resident - resident) / rows).toFixed(0),
        ],
      ])}\n`,
    );
    console.log(
      "Half of them have a leg. The dead one's lease of 15 s has to run out first. Resident: with finished transactions, kept 32 s.\n",
    );
    await domain.stopProxies();
    if (domain.complaints !== "") console.log(domain.complaints.slice(0, 2000));
  } finally {
    await domain.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}
