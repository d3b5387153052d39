import type pg from "pg";
import { beforeAll, describe, expect, it } from "vitest";
import type { Directory } from "../../src/directory/directory.ts";
import { PostgresDirectory } from "../../src/directory/postgres/postgres-directory.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { eventually } from "../support/child.ts";
import { ownDatabase } from "../support/own-database.ts";

// Holds race binds on two proxies over a real server (concurrency.md 4). CODOMAIN_FULL=1: 100,000 times.

const RACES = process.env["CODOMAIN_FULL"] === "1" ? 100_000 : 2000;
const AT_ONCE = 250;
const LEASE = 600_000;

const runtime = createRealRuntime();
const database = ownDatabase();
let client: pg.Client;

beforeAll(async () => {
  client = await database.connect();
});

/** What an owner does, and no more: the index, what the insert says, what the feed says. `late`: the index comes last. */
class Owner {
  readonly #directory: Directory;
  readonly #late: boolean;
  readonly #name: string;
  /** AoR -> the greatest epoch known of it; of those in the index. */
  readonly #index = new Map<string, number>();
  readonly #end: () => void;

  constructor(directory: Directory, name: string, late: boolean) {
    this.#directory = directory;
    this.#name = name;
    this.#late = late;
    this.#end = directory.onChange((change) => {
      if (change.kind === "binding") this.#learn(change.aor, change.epoch);
    });
  }

  async hold(aor: string, watcher: string): Promise<void> {
    if (!this.#late) this.#index.set(aor, 0);
    const outcome = await this.#directory.subscriptions.insert(
      this.#name,
      {
        id: `cdm-${runtime.random.token(20)}`,
        kind: "presence",
        aor,
        watcher,
        origin: null,
        event: "presence",
        dialog: "dialog",
        expiresAt: runtime.clock.wall() + LEASE,
        notifyReserved: 16,
        leg: null,
        legServer: null,
        legReserved: 0,
        extendedEpoch: 0,
      },
      false,
    );
    if (outcome.outcome !== "inserted") throw new Error(outcome.outcome);
    // A busy process comes to an answer late, and hears of changes before.
    await new Promise((resolve) => setTimeout(resolve, runtime.random.integer(this.#late ? 200 : 20)));
    if (this.#late) this.#index.set(aor, 0);
    this.#learn(aor, outcome.slot.epoch);
  }

  #learn(aor: string, epoch: number): void {
    const known = this.#index.get(aor);
    if (known !== undefined && epoch > known) this.#index.set(aor, epoch);
  }

  behind(epochs: ReadonlyMap<string, number>): string[] {
    return [...this.#index].filter(([aor, known]) => known !== epochs.get(aor)).map(([aor]) => aor);
  }

  get size(): number {
    return this.#index.size;
  }

  close(): void {
    this.#end();
  }
}

async function race(races: number, late: boolean): Promise<{ stranded: string[]; overlapped: number }> {
  await client.query("truncate codomain.slots, codomain.proxies, codomain.subscriptions, codomain.visited");
  const directories = ["east", "west"].map(
    (proxy) => new PostgresDirectory(runtime, new Telemetry(), { url: database.url, size: 4, proxy }),
  ) as [PostgresDirectory, PostgresDirectory];
  for (const each of directories) await each.start();
  const owners: Owner[] = [];
  for (const each of directories) {
    owners.push(new Owner(each, await each.leases.open(`sip:${each.proxy}.example.com`, LEASE), late));
  }
  try {
    let mark = 0;
    let heard = 0;
    for (const each of directories) {
      each.onChange((change) => {
        if (change.kind === "user" && change.aor === `mark-${mark}@example.com`) heard++;
      });
    }
    for (let from = 0; from < races; from += AT_ONCE) {
      const acts: Array<() => Promise<unknown>> = [];
      for (let n = from; n < Math.min(from + AT_ONCE, races); n++) {
        const aor = `u${n}@example.com`;
        const [one, two] = n % 2 === 0 ? [0, 1] : [1, 0];
        acts.push(() => (owners[one] as Owner).hold(aor, "ann@example.com"));
        acts.push(() => (directories[two] as Directory).move({ aor, to: "a", actor: "t" }));
        // Two holds and two binds of some, one each on the same proxy.
        if (n % 3 === 0) acts.push(() => (owners[two] as Owner).hold(aor, "bob@example.com"));
        if (n % 5 === 0) acts.push(() => (directories[one] as Directory).move({ aor, to: "b", actor: "t" }));
      }
      for (let i = acts.length - 1; i > 0; i--) {
        const j = runtime.random.integer(i + 1);
        [acts[i], acts[j]] = [acts[j] as () => Promise<unknown>, acts[i] as () => Promise<unknown>];
      }
      // Spread over some turns, so that the statements of holds and binds cross each other in every way.
      const running: Array<Promise<unknown>> = [];
      for (const [i, act] of acts.entries()) {
        running.push(act());
        if (i % 25 === 24) await new Promise<void>((resolve) => runtime.timers.soon(resolve));
      }
      await Promise.all(running);
      // Both feeds have told everything of these once they tell the mark behind it.
      mark++;
      heard = 0;
      await client.query(
        "with told as (insert into codomain.changes (kind, aor) values ('user', $1)) select pg_notify('codomain_changes', '')",
        [`mark-${mark}@example.com`],
      );
      await eventually("both feeds have come to the mark", () => heard === 2);
    }
    const { rows } = await client.query<{ aor: string; epoch: number }>(
      "select aor, epoch::int as epoch from codomain.slots",
    );
    const epochs = new Map(rows.map((row) => [row.aor, row.epoch]));
    const { rows: counted } = await client.query<{ holds: number; overlapped: number }>(`
      select count(*)::int as holds,
        count(*) filter (where abs(extract(epoch from b.changed_at - s.inserted_at)) < 0.05)::int as overlapped
      from codomain.subscriptions s join codomain.slots b using (aor)`);
    expect(counted[0]?.holds).toBe(races + Math.ceil(races / 3));
    expect(owners.reduce((sum, each) => sum + each.size, 0)).toBe(counted[0]?.holds);
    const stranded = owners.flatMap((each) => each.behind(epochs));
    return { stranded, overlapped: counted[0]?.overlapped ?? 0 };
  } finally {
    for (const each of owners) each.close();
    for (const each of directories) await each.stop();
  }
}

describe("holds race binds on two proxies (concurrency.md 4)", () => {
  it(`nothing is stranded in ${RACES} races`, { timeout: 600_000 }, async () => {
    const { stranded, overlapped } = await race(RACES, false);
    expect(stranded).toEqual([]);
    // Some of them did race; how many depends on what else the machine does.
    expect(overlapped).toBeGreaterThan(0);
  });

  it("where the index is written after the insert, some are", { timeout: 60_000 }, async () => {
    expect((await race(1000, true)).stranded.length).toBeGreaterThan(0);
  });
});
