import { describe, expect, it } from "vitest";
import { live } from "./unioned/life.ts";

/**
 * Small worlds of the unioned models in which anything happens: random trees and meshes of up to eight servers, of which
 * some go onward as the draft says, some not at all, and some rewrite, repeat or send back what they are sent; watchers at
 * servers and at proxies; servers go down and forget, proxies are killed, the configuration changes, datagrams are lost,
 * doubled and late. A judge from outside looks at what left the proxies and at what watchers were shown. A seed that fails
 * prints what happened to the user it failed for.
 */

const FULL = process.env["CODOMAIN_FULL"] === "1";
const SEEDS = Number(process.env["CODOMAIN_SEEDS"] ?? (FULL ? 10_000 : 30));
const FIRST = Number(process.env["CODOMAIN_SEED"] ?? 1);

describe("unioned, whatever happens (models.md, Unioned and Composition)", () => {
  it(`over ${SEEDS} seeds: every subscription settles, nothing goes round, all see the same, and who is denied sees nothing`, async () => {
    const sum: Record<string, number> = {};
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const { faults, story, tally } = await live(seed);
      for (const [what, count] of Object.entries(tally)) sum[what] = (sum[what] ?? 0) + count;
      if (faults.length > 0) expect.fail(`seed ${seed}: ${faults.slice(0, 10).join("\n")}\n\n${story}`);
    }
    // It would prove nothing if nothing happened.
    if (SEEDS >= 30)
      for (const what of ["whole", "documents", "loops", "kills", "changes"])
        expect(sum[what], what).toBeGreaterThan(SEEDS / 2);
    if (SEEDS > 100) console.log("unioned", SEEDS, "seeds", sum);
  }, 7_200_000);
});
