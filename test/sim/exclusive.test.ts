import { describe, expect, it } from "vitest";
import { live } from "./exclusive/life.ts";

/**
 * Small worlds of the exclusive model in which anything happens (quality.md, "It holds"): servers claim, lose and forget
 * users, an admin moves them, watchers come and go and sulk, proxies are killed and paused, the database goes away and its
 * answers are lost, datagrams are lost, doubled and late. An observer from outside judges what watchers were shown, what
 * left the proxies, and the rows. A seed that fails prints what happened to the user it failed for.
 */

const SEEDS = Number(process.env["CODOMAIN_SEEDS"] ?? (process.env["CODOMAIN_FULL"] === "1" ? 1_000 : 30));
const FIRST = Number(process.env["CODOMAIN_SEED"] ?? 1);

describe("exclusive, whatever happens (models.md, concurrency.md)", () => {
  it(`over ${SEEDS} seeds: nobody is stranded, sees an end, or anything older than what he has seen`, async () => {
    const sum: Record<string, number> = {};
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const { faults, story, tally } = await live(seed);
      for (const [what, count] of Object.entries(tally)) sum[what] = (sum[what] ?? 0) + count;
      if (faults.length > 0) expect.fail(`seed ${seed}: ${faults.slice(0, 10).join("\n")}\n\n${story}`);
    }
    // It would prove nothing if nothing happened.
    for (const what of ["accepted", "stored", "delivered", "kills"]) expect(sum[what], what).toBeGreaterThan(SEEDS / 2);
    if (SEEDS > 100) console.log("exclusive", SEEDS, "seeds", sum);
  }, 1_800_000);
});
