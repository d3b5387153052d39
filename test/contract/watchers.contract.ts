import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FIRST_FENCE, type StoredSubscription } from "../../src/directory/subscriptions.ts";
import { MOST_OF_USER, MOST_OF_WATCHER, type PutOffWatcher } from "../../src/directory/watchers.ts";
import type { Harness } from "./harness.ts";

const KEPT = 600_000;
/** Long beside what a busy machine takes for a test. */
const SLACK = KEPT / 10;
const JOE = "joe@example.com";
const ANN = "ann@example.com";

export function watchersContract(name: string, open: () => Promise<Harness>): void {
  describe(`the contract of watchers who wait: ${name}`, () => {
    let h: Harness;
    beforeEach(async () => {
      h = await open();
    });
    afterEach(async () => {
      await h.close();
    });

    const watcher = (more: Partial<PutOffWatcher> = {}): PutOffWatcher => ({
      aor: JOE,
      watcher: ANN,
      trusted: true,
      event: "presence",
      ...more,
    });
    const putOff = (more: Partial<PutOffWatcher> = {}, keptMs = KEPT) =>
      h.run(h.east.watchers.putOff(watcher(more), keptMs));
    const waiting = async (aor = JOE, event = "presence") => h.run(h.west.watchers.waiting(aor, event));
    const names = async (aor?: string) => (await waiting(aor)).map((each) => each.watcher.split("@")[0]);

    it("who was put off waits, for every proxy to see, until his time is over", async () => {
      await putOff();
      expect(await waiting()).toEqual([{ ...watcher(), since: expect.any(Number) }]);
      expect(Math.abs((await waiting())[0]!.since - h.now())).toBeLessThan(SLACK);
      await h.advance(KEPT + 1000);
      expect(await waiting()).toEqual([]);
    });

    it("he is told from one who only says that he is the watcher, and event packages from each other", async () => {
      await putOff();
      await putOff({ trusted: false });
      await putOff({ event: "dialog" });
      expect((await waiting()).map((each) => each.trusted).sort()).toEqual([false, true]);
      expect(await waiting(JOE, "dialog")).toHaveLength(1);
    });

    it("again, he has waited since the first time, and waits longer; after his time it begins anew", async () => {
      await putOff();
      const [first] = await waiting();
      await h.advance(KEPT / 2);
      await putOff();
      // Where a clock cannot be turned what is stored is put back instead.
      const kept = (await waiting())[0]!.since;
      expect(h.now() - kept).toBeGreaterThan(KEPT / 2 - SLACK);
      await h.advance(KEPT - SLACK);
      expect(await names()).toEqual(["ann"]);
      await h.advance(2 * SLACK);
      await putOff();
      expect(h.now() - (await waiting())[0]!.since).toBeLessThan(SLACK);
      expect(first).toBeDefined();
    });

    it("who was decided about waits no more; the others do", async () => {
      await putOff();
      await putOff({ watcher: "bob@example.com" });
      await putOff({ trusted: false });
      await h.run(h.west.watchers.decided([watcher(), watcher({ watcher: "nobody@example.com" })]));
      expect((await waiting()).map((each) => `${each.watcher} ${each.trusted}`).sort()).toEqual([
        "ann@example.com false",
        "bob@example.com true",
      ]);
      await h.run(h.west.watchers.decided([watcher()]));
      await h.run(h.west.watchers.decided([]));
    });

    it("of one user so many are kept, the newest", async () => {
      for (let i = 0; i < MOST_OF_USER + 3; i++) {
        await putOff({ watcher: `w${i}@example.com` });
        await h.advance(1);
      }
      const kept = await names();
      expect([kept.length, kept[0]]).toEqual([MOST_OF_USER, `w${MOST_OF_USER + 2}`]);
      expect(kept.includes("w0")).toBe(false);
    });

    it("who only says who he is displaces nobody who was believed", async () => {
      await putOff();
      for (let i = 0; i < MOST_OF_USER + 5; i++) {
        await putOff({ watcher: `w${i}@example.com`, trusted: false });
        await h.advance(1);
      }
      const kept = await names();
      expect([kept.length, kept[0], kept[1]]).toEqual([MOST_OF_USER, "ann", `w${MOST_OF_USER + 4}`]);
    });

    it("one watcher is remembered by so many users (RFC 3857 4.7.1), and again once there is room", async () => {
      for (let i = 0; i < MOST_OF_WATCHER; i++) await putOff({ aor: `u${i}@example.com` });
      await putOff({ aor: "one-more@example.com" });
      expect(await names("one-more@example.com")).toEqual([]);
      await putOff({ aor: "u0@example.com" });
      await h.run(h.east.watchers.decided([watcher({ aor: "u0@example.com" })]));
      await putOff({ aor: "one-more@example.com" });
      expect(await names("one-more@example.com")).toEqual(["ann"]);
    });

    it("what no database takes is not remembered, and harms nothing", async () => {
      await putOff({ watcher: "a\0b@example.com" });
      expect(await names()).toEqual([]);
      expect(await waiting("a\0b@example.com")).toEqual([]);
      await h.run(h.east.watchers.tell(["a\0b@example.com"]));
    });

    it("a change of watchers is told to every proxy where somebody is told of it, and nowhere else", async () => {
      const heard: string[] = [];
      const ends = [h.east, h.west].map((each) =>
        each.onChange((change) => {
          if (change.kind === "watchers") heard.push(`${each === h.east ? "east" : "west"} ${change.aor}`);
        }),
      );
      const owner = await h.run(h.east.leases.open("sip:east.example.com", 60_000));
      const row: StoredSubscription = {
        id: "cdm-told",
        kind: "winfo",
        aor: JOE,
        watcher: JOE,
        origin: null,
        event: "presence.winfo",
        fence: FIRST_FENCE,
        dialog: "",
        expiresAt: h.now() + KEPT,
        notifyReserved: 16,
        leg: null,
        legServer: null,
        legReserved: 0,
        extendedEpoch: 0,
      };
      await h.run(h.east.subscriptions.insert(owner, row, false));
      await h.run(h.west.watchers.tell(["someone-else@example.com", JOE]));
      await h.eventually(() => heard.includes(`east ${JOE}`) && heard.includes(`west ${JOE}`));
      expect(heard.some((each) => each.includes("someone"))).toBe(false);
      for (const end of ends) end();
    });
  });
}
