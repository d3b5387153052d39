import { describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import type { MemoryOptions } from "../../src/directory/memory-store.ts";
import { RESERVE, type StoredSubscription } from "../../src/directory/subscriptions.ts";
import { fc } from "../support/fast-check.ts";
import { type VirtualRuntime, virtualRuntime } from "./virtual-runtime.ts";

// Proxies that stall for longer than their lease, over the twin: what each may use of a subscription's CSeqs.

const LEASE = 1000;
const ROWS = 3;

interface Stall {
  readonly proxy: 0 | 1;
  readonly at: number;
  readonly ms: number;
}

type Simulated = ReturnType<ReturnType<typeof createMemoryDatabase>["directory"]>;

/** A proxy as far as it owns subscriptions. While it stalls, what it has begun goes on when it wakes up. */
class Owner {
  readonly rows = new Map<string, { fence: number; state: StoredSubscription }>();
  owner = "";
  #leaseEnds = Number.NEGATIVE_INFINITY;
  #healthySince = Number.NEGATIVE_INFINITY;
  readonly #runtime: VirtualRuntime;
  readonly #directory: Simulated;
  readonly #used: Map<string, number[]>;

  constructor(runtime: VirtualRuntime, directory: Simulated, used: Map<string, number[]>) {
    this.#runtime = runtime;
    this.#directory = directory;
    this.#used = used;
  }

  async open(): Promise<void> {
    const sent = this.#runtime.clock.now();
    this.rows.clear();
    this.owner = await this.#directory.leases.open("sip:x", LEASE);
    this.#leaseEnds = sent + LEASE;
    this.#healthySince = sent;
  }

  async insert(id: string): Promise<void> {
    const state: Omit<StoredSubscription, "fence"> = {
      id,
      kind: "presence",
      aor: "joe@example.com",
      watcher: "ann@example.com",
      origin: null,
      event: "presence",
      dialog: "",
      expiresAt: this.#runtime.clock.wall() + 3_600_000,
      notifyReserved: 0,
      leg: null,
      legServer: null,
      legReserved: 0,
      extendedEpoch: 0,
    };
    await this.#directory.subscriptions.insert(this.owner, state, false);
    this.rows.set(id, { fence: 1, state: { ...state, fence: 1 } });
  }

  async renew(): Promise<void> {
    const sent = this.#runtime.clock.now();
    if (this.#leaseEnds <= sent) this.#healthySince = sent;
    if ((await this.#directory.leases.renew(this.owner, LEASE)) === "over") await this.open();
    else this.#leaseEnds = sent + LEASE;
  }

  /** Reserves CSeqs for one row and uses them at once, if its lease runs when the reserve is told. */
  async reserve(id: string): Promise<void> {
    const row = this.rows.get(id);
    if (row === undefined) return;
    const from = row.state.notifyReserved;
    const next = { ...row.state, notifyReserved: from + RESERVE };
    row.state = next;
    const told = await this.#directory.subscriptions.update(this.owner, id, row.fence, next);
    if (told === "lost") this.rows.delete(id);
    else if (this.#runtime.clock.now() < this.#leaseEnds) this.#use(id, from, from + RESERVE);
  }

  #use(id: string, from: number, to: number): void {
    const used = this.#used.get(id) ?? [];
    for (let cseq = from + 1; cseq <= to; cseq++) used.push(cseq);
    this.#used.set(id, used);
  }

  /** Rows taken under an answer that was lost. */
  async #look(): Promise<void> {
    const owner = this.owner;
    const { subscriptions } = this.#directory;
    const unknown = (await subscriptions.owned(owner, "", 10)).filter((each) => !this.rows.has(each.id));
    if (unknown.length === 0) return;
    const loaded = await subscriptions.load(
      owner,
      unknown.map((each) => each.id),
    );
    if (owner !== this.owner) return;
    for (const { subscription } of loaded)
      this.rows.set(subscription.id, { fence: subscription.fence, state: subscription });
  }

  async takeOver(): Promise<void> {
    const now = this.#runtime.clock.now();
    if (now >= this.#leaseEnds || now - this.#healthySince < LEASE) return;
    await this.#look();
    if ((await this.#directory.leases.endLapsed()).length === 0) return;
    const owner = this.owner;
    const taken = await this.#directory.subscriptions.take(owner, 10);
    if (owner !== this.owner) return;
    for (const { subscription } of taken) {
      const { id, fence, notifyReserved } = subscription;
      this.rows.set(id, { fence, state: subscription });
      if (this.#runtime.clock.now() < this.#leaseEnds) this.#use(id, notifyReserved - RESERVE, notifyReserved);
    }
  }
}

/** Until it is answered; everything can be repeated (concurrency.md 9). */
async function insisting(act: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await act();
      return;
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable) || tries > 20) throw error;
    }
  }
}

interface Played {
  readonly used: Map<string, number[]>;
  /** How many know a row as theirs, at the end. */
  readonly knownBy: number[];
}

/** CSeqs of each row in the order in which they were used. */
async function play(seed: number, options: MemoryOptions, stalls: readonly Stall[]): Promise<Played> {
  const runtime = virtualRuntime(seed);
  const database = createMemoryDatabase(runtime, { latencyMs: [0.1, 40], ...options });
  const used = new Map<string, number[]>();
  const directories = [database.directory("east"), database.directory("west")];
  const owners = directories.map((each) => new Owner(runtime, each, used)) as [Owner, Owner];
  for (const each of owners) await runtime.until(insisting(() => each.open()));
  for (let i = 0; i < ROWS; i++) await runtime.until(insisting(() => (owners[i % 2] as Owner).insert(`cdm-${i}`)));
  let over = false;
  const loop = (proxy: 0 | 1, every: number, act: (owner: Owner) => Promise<void>) => {
    const next = () => {
      if (over) return;
      const now = runtime.clock.now();
      const stall = stalls.find((each) => each.proxy === proxy && each.at <= now && now < each.at + each.ms);
      if (stall !== undefined) {
        runtime.timers.after(stall.at + stall.ms - now, next);
        return;
      }
      const again = () => void runtime.timers.after(every, next);
      act(owners[proxy]).then(again, (error) => {
        if (!(error instanceof DirectoryUnavailable)) throw error;
        again();
      });
    };
    runtime.timers.after(runtime.random.integer(every), next);
  };
  for (const proxy of [0, 1] as const) {
    loop(proxy, LEASE / 5, (owner) => owner.renew());
    loop(proxy, 300, (owner) => owner.takeOver());
    for (let i = 0; i < ROWS; i++) loop(proxy, 70, (owner) => owner.reserve(`cdm-${i}`));
  }
  await runtime.advance(18_000);
  over = true;
  await runtime.advance(10_000);
  expect(runtime.pending).toBe(0);
  expect(database.openTransactions).toBe(0);
  const knownBy = Array.from({ length: ROWS }, (_, i) => owners.filter((each) => each.rows.has(`cdm-${i}`)).length);
  return { used, knownBy };
}

const rises = (cseqs: readonly number[]) => cseqs.every((cseq, i) => i === 0 || cseq > (cseqs[i - 1] as number));

const stalls = fc.array(
  fc.record({
    proxy: fc.constantFrom(0 as const, 1 as const),
    at: fc.integer({ min: 1000, max: 9000 }),
    ms: fc.integer({ min: 100, max: 3000 }),
  }),
  { maxLength: 4 },
);

describe("proxies that stall for longer than their lease (concurrency.md 7)", () => {
  it("no CSeq is used twice or after a greater one, with latency and lost answers; somebody always goes on", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 0xffff }), stalls, async (seed, schedule) => {
        const { used, knownBy } = await play(seed, { lostAnswers: 30 }, schedule);
        for (const [id, cseqs] of used) expect(rises(cseqs), `${id}: ${cseqs.join(" ")}`).toBe(true);
        expect(knownBy).toEqual([1, 1, 1]);
      }),
      { numRuns: 60 },
    );
  });

  it("without the fence of updates some are", async () => {
    let broken = 0;
    for (let seed = 0; seed < 20; seed++) {
      const schedule: Stall[] = [
        { proxy: 0, at: 3000, ms: 2500 },
        { proxy: 1, at: 7000, ms: 2500 },
      ];
      const { used } = await play(seed, { unsafeWithoutFences: true }, schedule);
      if (![...used.values()].every(rises)) broken++;
    }
    expect(broken).toBeGreaterThan(0);
  });
});
