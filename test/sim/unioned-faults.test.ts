import { describe, expect, it } from "vitest";
import { live, type Planted } from "./unioned/life.ts";

/**
 * The small worlds of the unioned models with one rule left out: some seed notices. That the same seeds pass with the rule
 * in force is unioned.test.ts.
 */

/** So many seeds are tried, after those that noticed when this was written. */
const SEEDS = 40;

interface Fault {
  readonly rule: string;
  /** What the judge says where the rule is left out. */
  readonly seen: RegExp;
  readonly planted: Planted;
  readonly noticed: readonly number[];
}

const FAULTS: readonly Fault[] = [
  {
    rule: "a visited row is taken before a SUBSCRIBE is sent (models.md, Unioned, peer)",
    seen: /were begun within a second|went through|is pending|nothing has changed|there is/,
    planted: { database: { unsafeWithoutVisited: true } },
    noticed: [8, 4],
  },
  {
    rule: "a credit is spent once (models.md, Unioned, hierarchical)",
    seen: /is denied, and is shown|is shown .* there is|see different things/,
    planted: { database: { unsafeUnspent: true } },
    noticed: [555, 580],
  },
  {
    rule: "who is denied is denied later too (privacy safety)",
    seen: /is denied, and is shown|lives, though/,
    planted: { services: { subscriptions: { unsafe: { ignoresDenials: true } } } },
    noticed: [12, 16],
  },
  {
    rule: "every element says from which server it is (models.md, Composition)",
    seen: /is shown .* there is|see different things/,
    planted: { services: { subscriptions: { unsafe: { dropsMarks: true } } } },
    noticed: [4, 6],
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
});
