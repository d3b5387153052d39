import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NewFinding } from "../../src/directory/reconciliation.ts";
import type { Harness } from "./harness.ts";

const LEASE = 15_000;
const DAY = 86_400_000;

export function reconciliationContract(name: string, open: () => Promise<Harness>): void {
  describe(`the contract of what the reconciler keeps: ${name}`, () => {
    let h: Harness;
    beforeEach(async () => {
      h = await open();
    });
    afterEach(async () => {
      await h.close();
    });
    const east = () => h.east.reconciliation;
    const west = () => h.west.reconciliation;
    const finding = (over: Partial<NewFinding> = {}): NewFinding => ({
      aor: "joe@example.com",
      kind: "pinned",
      server: "a",
      epoch: 3,
      detail: "a does not have him",
      ...over,
    });
    const kinds = async () =>
      (await h.run(west().findings({ limit: 100 }))).map((each) => `${each.aor.split("@")[0]} ${each.kind}`);

    it("one proxy has the turn; another takes it when the lease has lapsed, where the first had come to", async () => {
      const first = await h.run(east().take("east-1", LEASE));
      expect(first).toMatchObject({ owner: "east-1", cursor: "", checked: 0, rounds: 0, roundEndedAt: null });
      expect(first?.roundBeganAt).not.toBeNull();
      expect(await h.run(east().advance("east-1", "bob@example.com", 2))).toBe(true);
      expect(await h.run(west().take("west-1", LEASE))).toBeNull();
      expect(await h.run(west().advance("west-1", "zoe@example.com", 1))).toBe(false);
      await h.advance(LEASE + 1);
      const taken = await h.run(west().take("west-1", LEASE));
      expect(taken).toMatchObject({ owner: "west-1", cursor: "bob@example.com", checked: 2 });
      expect(await h.run(east().advance("east-1", "zoe@example.com", 1))).toBe(false);
      expect(await h.run(east().endRound("east-1", DAY))).toBe(false);
      await h.run(east().release("east-1"));
      expect(await h.run(east().take("east-1", LEASE))).toBeNull();
      await h.run(west().release("west-1"));
      expect(await h.run(east().take("east-1", LEASE))).toMatchObject({ owner: "east-1", checked: 2 });
    });

    it("a round that ended is counted, and the next begins at the first user", async () => {
      await h.run(east().take("east-1", LEASE));
      await h.run(east().advance("east-1", "zoe@example.com", 9));
      expect(await h.run(east().endRound("east-1", DAY))).toBe(true);
      const state = await h.run(west().state());
      expect(state).toMatchObject({ owner: "east-1", cursor: "", checked: 0, rounds: 1, roundBeganAt: null });
      expect(state.roundEndedAt).not.toBeNull();
      expect((await h.run(east().take("east-1", LEASE)))?.roundBeganAt).not.toBeNull();
    });

    it("of each kind the latest finding of a user stands, the newest first, page by page", async () => {
      await h.run(east().note(finding()));
      await h.run(east().note(finding({ aor: "bob@example.com", kind: "conflict" })));
      await h.run(east().note(finding({ epoch: 5, detail: "still not" })));
      const found = await h.run(west().findings({ limit: 10 }));
      expect(found.map((each) => [each.aor, each.kind, each.epoch, each.detail])).toEqual([
        ["joe@example.com", "pinned", 5, "still not"],
        ["bob@example.com", "conflict", 3, "a does not have him"],
      ]);
      const rest = await h.run(west().findings({ limit: 10, before: found[0]!.id }));
      expect(rest.map((each) => each.aor)).toEqual(["bob@example.com"]);
    });

    it("the newest finding comes first, also where ids have one digit more than those before", async () => {
      const aors = Array.from({ length: 12 }, (_, i) => `u${i}@example.com`);
      for (const aor of aors) await h.run(east().note(finding({ aor })));
      const found = await h.run(west().findings({ limit: 100 }));
      expect(found.map((each) => each.aor)).toEqual(aors.toReversed());
    });

    it("with whom nothing is wrong any more is forgotten, but not that he was repaired", async () => {
      for (const kind of ["pinned", "conflict", "repaired"] as const) await h.run(east().note(finding({ kind })));
      await h.run(east().note(finding({ aor: "bob@example.com" })));
      await h.run(east().settle("joe@example.com"));
      expect(await kinds()).toEqual(["bob pinned", "joe repaired"]);
    });

    it("old findings are forgotten at the end of a round", async () => {
      await h.run(east().note(finding({ kind: "repaired" })));
      await h.advance(DAY);
      await h.run(east().note(finding({ aor: "bob@example.com" })));
      await h.run(east().take("east-1", LEASE));
      await h.run(east().endRound("east-1", DAY - 1000));
      expect(await kinds()).toEqual(["bob pinned"]);
    });
  });
}
