import { describe, expect, it } from "vitest";
import { live, type Planted } from "./exclusive/life.ts";

/**
 * The small worlds of the exclusive model with one rule left out: some seed notices. That the same seeds pass with the rule
 * in force is exclusive.test.ts.
 */

/** So many seeds are tried, after those that noticed when this was written. */
const SEEDS = 25;

/** The look at one's own rows makes good what was missed: out of the way, so that the first rule is seen by itself. */
const WITHOUT_SWEEP = { sweep: { everyMs: 100_000_000, page: 500 } };

/** A slow database leaves room for what happens meanwhile. */
const SLOW: Planted["database"] = { latencyMs: [0, 40] };
const UNDISTURBED: Planted = { database: SLOW, peaceful: true };

interface Fault {
  readonly rule: string;
  /** What the observer says where the rule is left out. */
  readonly seen: RegExp;
  readonly planted: Planted;
  readonly noticed: readonly number[];
}

const FAULTS: readonly Fault[] = [
  {
    rule: "claims lock the slot (concurrency.md 2)",
    seen: /in epoch \d+, after/,
    planted: { database: { ...SLOW, unsafeWithoutLocks: true } },
    noticed: [2, 7],
  },
  {
    rule: "a subscription is in the index before its insert is sent, so that no binding passes it unseen (concurrency.md 4)",
    seen: /is shown .* and the user is/,
    planted: {
      ...UNDISTURBED,
      services: { subscriptions: { ...WITHOUT_SWEEP, unsafe: { indexedLate: true } } },
    },
    noticed: [4, 10],
  },
  {
    rule: "a late refresh is no claim (models.md, Exclusive)",
    seen: /a late refresh was taken for a claim/,
    planted: { database: { unsafeRefreshClaims: true } },
    noticed: [11, 15],
  },
  {
    rule: "writes and packets depend on owner, fence and lease (concurrency.md 7)",
    seen: / owns |, as \S+ had|, after \d+$/,
    planted: {
      database: { unsafeWithoutFences: true },
      services: { subscriptions: { unsafe: { withoutLease: true } } },
    },
    noticed: [2, 8],
  },
  {
    rule: "a stored message is removed only after its 2xx (models.md, Stored messages)",
    seen: /nobody has read it/,
    planted: { database: { unsafeRemovesFirst: true } },
    noticed: [1, 3],
  },
  {
    rule: "documents of an older epoch are dropped (models.md, Exclusive)",
    seen: /older than epoch|shows .* though/,
    planted: { services: { subscriptions: { unsafe: { showsSuperseded: true } } } },
    noticed: [2, 3],
  },
  {
    rule: "CSeqs are reserved ahead (concurrency.md 7)",
    seen: /NOTIFY \d+ in \S+, after \d+/,
    planted: { database: { unsafeWithoutReserves: true } },
    noticed: [1, 2],
  },
];

/** The first seed that notices; 0: none does. */
async function firstToNotice({ planted, seen, noticed }: Fault): Promise<number> {
  const seeds = [...noticed, ...Array.from({ length: SEEDS }, (_, index) => index + 1)];
  for (const seed of seeds) {
    const { faults } = await live(seed, planted);
    if (faults.some((fault) => seen.test(fault))) return seed;
  }
  return 0;
}

describe("with a rule left out, some small world goes wrong", () => {
  it.each(FAULTS)(
    "$rule",
    async (fault) => {
      expect(await firstToNotice(fault)).toBeGreaterThan(0);
    },
    300_000,
  );

  it("without its sweep, and every rule in force, none does", async () => {
    for (const seed of FAULTS[1]!.noticed) {
      const { faults } = await live(seed, { ...UNDISTURBED, services: { subscriptions: WITHOUT_SWEEP } });
      expect(faults, `seed ${seed}`).toEqual([]);
    }
  }, 300_000);
});
