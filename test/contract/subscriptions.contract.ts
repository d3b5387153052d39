import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  FIRST_FENCE,
  RESERVE,
  type StoredSubscription,
  type SubscriptionState,
} from "../../src/directory/subscriptions.ts";
import type { Harness } from "./harness.ts";

const HOUR = 3_600_000;
/** Long beside what a busy machine takes for a test. */
const LEASE = 300_000;
const JOE = "joe@example.com";
const ANN = "ann@example.com";

export function subscriptionsContract(name: string, open: () => Promise<Harness>): void {
  describe(`the contract of leases and subscriptions: ${name}`, () => {
    let h: Harness;
    let count = 0;
    beforeEach(async () => {
      h = await open();
    });
    afterEach(async () => {
      await h.close();
    });

    const east = () => h.east.subscriptions;
    const west = () => h.west.subscriptions;
    const lease = (proxy: "east" | "west" = "east") => h.run(h[proxy].leases.open(`sip:${proxy}.example.com`, LEASE));
    const state = (more: Partial<SubscriptionState> = {}): SubscriptionState => ({
      dialog: "the dialog\tof\nthe watcher “ä”",
      expiresAt: h.now() + HOUR,
      notifyReserved: 16,
      leg: null,
      legServer: null,
      legReserved: 0,
      extendedEpoch: 0,
      ...more,
    });
    const subscription = (more: Partial<StoredSubscription> = {}): Omit<StoredSubscription, "fence"> => ({
      id: `cdm-${String(++count).padStart(6, "0")}`,
      kind: "presence",
      aor: JOE,
      watcher: ANN,
      origin: "a",
      event: "presence",
      ...state(),
      ...more,
    });
    const insert = async (owner: string, more: Partial<StoredSubscription> = {}, known = false) => {
      const inserted = subscription(more);
      const outcome = await h.run(east().insert(owner, inserted, known));
      return { ...inserted, fence: FIRST_FENCE, outcome };
    };
    const bind = (server: string, expiresAt = h.now() + HOUR) =>
      h.run(
        h.west.claim({
          aor: JOE,
          server,
          origin: "registered",
          expiresAt,
          conflict: "takeover",
          equalRank: true,
          actor: server,
        }),
      );
    const stored = async (id: string) => {
      const all = await h.run(east().list({ limit: 1000 }));
      return all.find((each) => each.id === id);
    };
    /** An owner of east's whose lease is over, with these rows. */
    const dead = async (rows: number, more: Partial<StoredSubscription> = {}) => {
      const owner = await lease();
      const subscriptions = [];
      for (let i = 0; i < rows; i++) subscriptions.push(await insert(owner, more));
      await h.run(h.east.leases.close(owner));
      return { owner, ids: subscriptions.map((each) => each.id) };
    };

    describe("leases (concurrency.md 7)", () => {
      it("each begins under a name never used before", async () => {
        const names = [await lease(), await lease(), await lease("west")];
        expect(new Set(names).size).toBe(3);
      });

      it("one that runs is found under its contact, one that lapsed is not, renewed it is again", async () => {
        const owner = await lease();
        expect(await h.run(h.west.leases.contactOf(owner))).toBe("sip:east.example.com");
        await h.advance(LEASE + 1000);
        expect(await h.run(h.west.leases.contactOf(owner))).toBeNull();
        expect(await h.run(h.east.leases.renew(owner, LEASE))).toBe("renewed");
        expect(await h.run(h.west.leases.contactOf(owner))).toBe("sip:east.example.com");
        expect(await h.run(h.west.leases.contactOf("nobody"))).toBeNull();
      });

      it("a lease that runs is not declared over; one that lapsed is, and then is never renewed", async () => {
        const [one, two] = [await lease(), await lease("west")];
        await insert(one);
        await insert(two);
        expect(await h.run(h.west.leases.endLapsed())).toEqual([]);
        await h.advance(LEASE - 1000);
        expect(await h.run(h.west.leases.renew(two, LEASE))).toBe("renewed");
        await h.advance(2000);
        expect(await h.run(h.west.leases.endLapsed())).toEqual([one]);
        expect(await h.run(h.east.leases.renew(one, LEASE))).toBe("over");
        expect(await h.run(h.west.leases.renew(two, LEASE))).toBe("renewed");
      });

      it("of whom nothing is known is over", async () => {
        expect(await h.run(h.east.leases.renew("nobody", LEASE))).toBe("over");
        expect((await insert("nobody")).outcome).toEqual({ outcome: "over" });
      });

      it("who gave up is over at once, and its rows can be taken", async () => {
        const { owner, ids } = await dead(2);
        expect(await h.run(h.east.leases.renew(owner, LEASE))).toBe("over");
        expect(await h.run(h.west.leases.contactOf(owner))).toBeNull();
        const taken = await h.run(west().take(await lease("west"), 10));
        expect(taken.map((each) => each.subscription.id).sort()).toEqual(ids);
      });

      it("endLapsed names an owner as long as something is left to take, and not one that owned nothing", async () => {
        const { owner } = await dead(2);
        const idle = await lease();
        const me = await lease("west");
        await h.advance(LEASE / 2);
        await h.run(h.west.leases.renew(me, LEASE));
        await h.advance(LEASE / 2 + 1000);
        expect(await h.run(h.west.leases.endLapsed())).toEqual([owner]);
        expect(await h.run(h.east.leases.renew(idle, LEASE))).toBe("over");
        expect(await h.run(west().take(me, 1))).toHaveLength(1);
        expect(await h.run(h.west.leases.endLapsed())).toEqual([owner]);
        expect(await h.run(west().take(me, 1))).toHaveLength(1);
        expect(await h.run(h.west.leases.endLapsed())).toEqual([]);
      });
    });

    describe("insert", () => {
      it("keeps all of it", async () => {
        const owner = await lease();
        const leg = { leg: "the leg's dialog", legServer: "b", legReserved: 48, extendedEpoch: 7 };
        const { outcome, ...first } = await insert(owner, { origin: null, ...leg });
        expect(outcome).toEqual({ outcome: "inserted", slot: { server: null, epoch: 0 } });
        expect(await stored(first.id)).toEqual({ ...first, owner });
        const { outcome: _, ...second } = await insert(owner, { kind: "reg", event: "reg", aor: "server:a" });
        expect(await stored(second.id)).toEqual({ ...second, owner });
      });

      it("says where the user is: unbound, bound, bound elsewhere, and expired as unbound one epoch later", async () => {
        const owner = await lease();
        const slot = async () => (await insert(owner)).outcome;
        expect(await slot()).toEqual({ outcome: "inserted", slot: { server: null, epoch: 0 } });
        await bind("a");
        expect(await slot()).toEqual({ outcome: "inserted", slot: { server: "a", epoch: 1 } });
        await bind("b");
        expect(await slot()).toEqual({ outcome: "inserted", slot: { server: "b", epoch: 2 } });
        await h.advance(HOUR - LEASE / 2);
        await h.run(h.east.leases.renew(owner, LEASE));
        await h.advance(LEASE / 2 + 1000);
        expect(await slot()).toEqual({ outcome: "inserted", slot: { server: null, epoch: 3 } });
      });

      it("known: only of a user who has a record or was ever bound (models.md, Exclusive)", async () => {
        const owner = await lease();
        const refused = await insert(owner, {}, true);
        expect(refused.outcome).toEqual({ outcome: "no-record" });
        expect(await stored(refused.id)).toBeUndefined();
        await h.run(h.east.putUser({ aor: ANN, model: null, settings: {}, identities: {} }, "t"));
        expect((await insert(owner, { aor: ANN }, true)).outcome).toMatchObject({ outcome: "inserted" });
        await bind("a");
        expect((await insert(owner, {}, true)).outcome).toMatchObject({ outcome: "inserted", slot: { epoch: 1 } });
        await h.run(h.east.unbind({ aor: JOE, actor: "t" }));
        expect((await insert(owner, {}, true)).outcome).toEqual({
          outcome: "inserted",
          slot: { server: null, epoch: 2 },
        });
      });

      it("a lease that has lapsed but is not declared over still inserts; one that is over does not", async () => {
        const owner = await lease();
        await h.advance(LEASE + 1000);
        expect((await insert(owner)).outcome).toMatchObject({ outcome: "inserted" });
        await h.run(h.west.leases.endLapsed());
        const refused = await insert(owner);
        expect(refused.outcome).toEqual({ outcome: "over" });
        expect(await stored(refused.id)).toBeUndefined();
      });

      it("the same id again is the same insert, and does not undo an update (concurrency.md 9)", async () => {
        const owner = await lease();
        await bind("a");
        const first = subscription();
        expect(await h.run(east().insert(owner, first, true))).toMatchObject({ outcome: "inserted" });
        await h.run(east().update(owner, first.id, FIRST_FENCE, state({ notifyReserved: 32 })));
        await h.run(h.east.removeUser(JOE, "t"));
        expect(await h.run(east().insert(owner, first, true))).toMatchObject({ outcome: "inserted" });
        expect(await stored(first.id)).toMatchObject({ notifyReserved: 32, fence: FIRST_FENCE });
        expect(await h.run(east().count())).toMatchObject({ held: 1 });
      });

      it("many at once, each with its own answer", async () => {
        const owner = await lease();
        await bind("a");
        const outcomes = await h.run(
          Promise.all(
            Array.from({ length: 300 }, (_, i) =>
              east().insert(i % 10 === 9 ? "nobody" : owner, subscription({ aor: i % 2 === 0 ? JOE : ANN }), true),
            ),
          ),
        );
        for (const [i, outcome] of outcomes.entries()) {
          const expected = i % 10 === 9 ? "over" : i % 2 === 0 ? "inserted" : "no-record";
          expect(outcome.outcome, String(i)).toBe(expected);
        }
        expect(await h.run(east().count())).toMatchObject({ held: 150 });
      });

      it("an AoR that cannot be a key is nobody's", async () => {
        const owner = await lease();
        expect((await insert(owner, { aor: `joe\0@example.com` })).outcome).toEqual({ outcome: "no-record" });
      });
    });

    describe("update and remove: under owner and fence, in the very statement", () => {
      it("update writes the whole state, and nothing else", async () => {
        const owner = await lease();
        const { outcome: _, ...row } = await insert(owner, { leg: "leg", legServer: "a" });
        const next = state({ dialog: "later", expiresAt: h.now() + 2 * HOUR, notifyReserved: 64, extendedEpoch: 3 });
        expect(await h.run(east().update(owner, row.id, FIRST_FENCE, { ...next, aor: ANN } as never))).toBe("done");
        expect(await stored(row.id)).toEqual({ ...row, ...next, owner });
        expect(await h.run(east().update(owner, row.id, FIRST_FENCE, next))).toBe("done");
      });

      it("another owner, another fence, no row: lost, and nothing is written", async () => {
        const [owner, other] = [await lease(), await lease("west")];
        const { outcome: _, ...row } = await insert(owner);
        const next = state({ notifyReserved: 64 });
        expect(await h.run(west().update(other, row.id, FIRST_FENCE, next))).toBe("lost");
        expect(await h.run(east().update(owner, row.id, FIRST_FENCE + 1, next))).toBe("lost");
        expect(await h.run(east().update(owner, "cdm-none", FIRST_FENCE, next))).toBe("lost");
        await h.run(west().remove(other, row.id, FIRST_FENCE));
        await h.run(east().remove(owner, row.id, FIRST_FENCE + 1));
        expect(await stored(row.id)).toEqual({ ...row, owner });
      });

      it("what was taken is lost to its former owner, whose removal removes nothing", async () => {
        const { owner, ids } = await dead(1);
        const id = ids[0] as string;
        const me = await lease("west");
        const [taken] = await h.run(west().take(me, 10));
        expect(taken?.subscription.fence).toBe(FIRST_FENCE + 1);
        expect(await h.run(east().update(owner, id, FIRST_FENCE, state()))).toBe("lost");
        await h.run(east().remove(owner, id, FIRST_FENCE));
        expect(await stored(id)).toMatchObject({ owner: me });
        expect(await h.run(west().update(me, id, FIRST_FENCE, state()))).toBe("lost");
        expect(await h.run(west().update(me, id, FIRST_FENCE + 1, state()))).toBe("done");
      });

      it("removed is gone, and so again", async () => {
        const owner = await lease();
        const { id } = await insert(owner);
        await h.run(east().remove(owner, id, FIRST_FENCE));
        await h.run(east().remove(owner, id, FIRST_FENCE));
        expect(await stored(id)).toBeUndefined();
        expect(await h.run(east().update(owner, id, FIRST_FENCE, state()))).toBe("lost");
        expect(await h.run(east().ownerOf(id))).toBeNull();
      });

      it("many updates of few rows at once: the last one asked for stands", async () => {
        const owner = await lease();
        const rows = [await insert(owner), await insert(owner), await insert(owner)];
        const updates = Array.from({ length: 200 }, (_, i) =>
          east().update(owner, rows[i % 3]?.id ?? "", FIRST_FENCE, state({ notifyReserved: 16 + i })),
        );
        expect(new Set(await h.run(Promise.all(updates)))).toEqual(new Set(["done"]));
        for (const [i, row] of rows.entries()) {
          expect((await stored(row.id))?.notifyReserved).toBe(16 + (i === 2 ? 197 : 198 + i));
        }
      });
    });

    describe("take", () => {
      it("raises the fence and both reserves, keeps the rest, and says where the user is", async () => {
        await bind("b");
        const owner = await lease();
        const { outcome: _, ...row } = await insert(owner, { leg: "leg", legServer: "a", legReserved: 32 });
        await h.run(east().update(owner, row.id, FIRST_FENCE, { ...row, notifyReserved: 48 }));
        await h.run(h.east.leases.close(owner));
        const me = await lease("west");
        const taken = {
          ...row,
          fence: FIRST_FENCE + 1,
          notifyReserved: 48 + RESERVE,
          legReserved: 32 + RESERVE,
        };
        expect(await h.run(west().take(me, 10))).toEqual([{ subscription: taken, slot: { server: "b", epoch: 1 } }]);
        expect(await stored(row.id)).toEqual({ ...taken, owner: me });
      });

      it("takes from nobody whose lease runs, or has lapsed without being declared over", async () => {
        const owner = await lease();
        await insert(owner);
        await h.advance(LEASE + 1000);
        const me = await lease("west");
        expect(await h.run(west().take(me, 10))).toEqual([]);
      });

      it("gives nothing to an owner that is over itself", async () => {
        await dead(1);
        const me = await lease("west");
        await h.run(h.west.leases.close(me));
        expect(await h.run(west().take(me, 10))).toEqual([]);
      });

      it("at most as many as asked for, from several owners, until nothing is left", async () => {
        const first = await dead(7);
        const second = await dead(6);
        const me = await lease("west");
        const sizes: number[] = [];
        const ids: string[] = [];
        for (;;) {
          const taken = await h.run(west().take(me, 5));
          if (taken.length === 0) break;
          sizes.push(taken.length);
          ids.push(...taken.map((each) => each.subscription.id));
        }
        expect(sizes).toEqual([5, 5, 3]);
        expect(ids.sort()).toEqual([...first.ids, ...second.ids].sort());
      });

      it("removes what is expired in place of taking it, however much of it lies in front", async () => {
        const { ids } = await dead(12, { expiresAt: h.now() + 1000 });
        const { ids: alive } = await dead(3);
        await h.advance(2000);
        const me = await lease("west");
        const taken = await h.run(west().take(me, 4));
        expect(taken.map((each) => each.subscription.id).every((id) => alive.includes(id))).toBe(true);
        while ((await h.run(west().take(me, 4))).length > 0);
        const left = await h.run(east().list({ limit: 100 }));
        expect(left.map((each) => each.id)).toEqual(alive);
        expect(left.every((each) => each.owner === me)).toBe(true);
        expect(ids.some((id) => left.some((each) => each.id === id))).toBe(false);
      });

      it("two that take at once get different rows, and together all of them", async () => {
        const { ids } = await dead(60);
        const [one, two] = [await lease(), await lease("west")];
        const got: string[] = [];
        const drain = async (store: typeof h.east.subscriptions, me: string) => {
          let empty = 0;
          while (empty < 3) {
            const taken = await store.take(me, 7);
            if (taken.length === 0) empty++;
            got.push(...taken.map((each) => each.subscription.id));
          }
        };
        await h.run(Promise.all([drain(east(), one), drain(west(), two)]));
        expect(got.sort()).toEqual([...ids].sort());
      });

      it("what was taken by one that died in turn is taken again, with the next fence", async () => {
        const { ids } = await dead(1);
        const second = await lease("west");
        await h.run(west().take(second, 10));
        await h.run(h.west.leases.close(second));
        const third = await lease();
        const [taken] = await h.run(east().take(third, 10));
        expect(taken?.subscription).toMatchObject({
          id: ids[0],
          fence: FIRST_FENCE + 2,
          notifyReserved: 16 + 2 * RESERVE,
        });
      });
    });

    describe("one's own rows: owned, load, ownerOf", () => {
      it("pages in order of the id, with fence, epoch acted upon and slot", async () => {
        await bind("a");
        const [owner, other] = [await lease(), await lease("west")];
        const rows = [];
        for (let i = 0; i < 5; i++) rows.push(await insert(owner, { extendedEpoch: i }));
        await insert(other);
        const slot = { server: "a", epoch: 1 };
        const expected = rows.map(({ id, extendedEpoch }) => ({ id, fence: FIRST_FENCE, extendedEpoch, slot }));
        expect(await h.run(east().owned(owner, "", 3))).toEqual(expected.slice(0, 3));
        expect(await h.run(east().owned(owner, expected[2]?.id ?? "", 3))).toEqual(expected.slice(3));
        await bind("b");
        expect((await h.run(east().owned(owner, "", 1)))[0]?.slot).toEqual({ server: "b", epoch: 2 });
      });

      it("load brings what one owns, whole, and nothing of another's", async () => {
        const [owner, other] = [await lease(), await lease("west")];
        const { outcome: _, ...mine } = await insert(owner);
        const theirs = await insert(other);
        const loaded = await h.run(east().load(owner, [mine.id, theirs.id, "cdm-none"]));
        expect(loaded).toEqual([{ subscription: mine, slot: { server: null, epoch: 0 } }]);
      });

      it("ownerOf: the owner, and its contact while its lease runs", async () => {
        const owner = await lease();
        const { id } = await insert(owner);
        expect(await h.run(west().ownerOf(id))).toEqual({ owner, contact: "sip:east.example.com" });
        await h.advance(LEASE + 1000);
        expect(await h.run(west().ownerOf(id))).toEqual({ owner, contact: null });
        expect(await h.run(west().ownerOf("cdm-\0"))).toBeNull();
      });
    });

    describe("list and count", () => {
      it("by kind, AoR, watcher, held or not, in pages", async () => {
        const owner = await lease();
        const ids: string[] = [];
        for (let i = 0; i < 12; i++) {
          const more =
            i % 3 === 2 ? { kind: "reg" as const, event: "reg" } : i % 3 === 1 ? { leg: "x", legServer: "a" } : {};
          ids.push((await insert(owner, { aor: i < 6 ? JOE : ANN, watcher: i % 2 === 0 ? JOE : ANN, ...more })).id);
        }
        const list = async (query: object) =>
          (await h.run(west().list({ limit: 100, ...query }))).map((each) => ids.indexOf(each.id));
        expect(await list({})).toEqual(ids.map((_, i) => i));
        expect(await list({ limit: 2, after: ids[3] })).toEqual([4, 5]);
        expect(await list({ aor: ANN })).toEqual([6, 7, 8, 9, 10, 11]);
        expect(await list({ watcher: JOE })).toEqual([0, 2, 4, 6, 8, 10]);
        expect(await list({ watcher: JOE, aor: JOE })).toEqual([0, 2, 4]);
        expect(await list({ kind: "reg" })).toEqual([2, 5, 8, 11]);
        expect(await list({ held: true })).toEqual([0, 3, 6, 9]);
        expect(await list({ held: false, aor: JOE, after: ids[1] })).toEqual([4]);
        expect(await list({ aor: "nobody@example.com" })).toEqual([]);
        expect(await h.run(west().count())).toEqual({ held: 4, live: 4, composed: 0, reg: 4, winfo: 0 });
        await insert(owner, { kind: "composed", leg: "two legs", legServer: "a,b" });
        await insert(owner, { kind: "composed" });
        await insert(owner, { kind: "winfo", event: "presence.winfo" });
        expect(await h.run(west().count())).toEqual({ held: 4, live: 4, composed: 2, reg: 4, winfo: 1 });
        expect(await h.run(west().list({ kind: "composed", limit: 10 }))).toHaveLength(2);
      });
    });

    it("what has expired of owners that are over is cleared away; a live owner's is its own to remove", async () => {
      const { ids } = await dead(3, { expiresAt: h.now() + 1000 });
      const owner = await lease("west");
      const mine = await insert(owner, { expiresAt: h.now() + 1000 });
      const alive = await dead(1);
      await h.advance(1500);
      let left: string[] = [...ids];
      await h.eventually(() => {
        void east()
          .list({ limit: 100 })
          .then((rows) => (left = rows.map((each) => each.id)));
        return !left.some((id) => ids.includes(id));
      });
      expect(left).toEqual([mine.id, ...alive.ids]);
    });
  });
}
