import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FIRST_FENCE, type StoredSubscription } from "../../src/directory/subscriptions.ts";
import {
  type Entry,
  FRESH_MS,
  type Grant,
  KEPT_MS,
  MOST_CREDITS,
  type Pair,
  RETURNED_MS,
  SENT_ON_MS,
  type Visited,
} from "../../src/directory/unions.ts";
import type { Harness } from "./harness.ts";

const HOUR = 3_600_000;
/** Long beside what a busy machine takes for a test. */
const LEASE = 300_000;
const JOE = "joe@example.com";
const ANN = "ann@example.com";
const BOB = "bob@example.com";
const PAIR: Pair = { watcher: ANN, aor: JOE, event: "presence" };

export function unionsContract(name: string, open: () => Promise<Harness>): void {
  describe(`the contract of visited rows and credits: ${name}`, () => {
    let h: Harness;
    let count = 0;
    beforeEach(async () => {
      h = await open();
    });
    afterEach(async () => {
      await h.close();
    });

    const lease = (proxy: "east" | "west" = "east") => h.run(h[proxy].leases.open(`sip:${proxy}.example.com`, LEASE));
    const subscription = (more: Partial<StoredSubscription> = {}): Omit<StoredSubscription, "fence"> => ({
      id: `cdm-${String(++count).padStart(6, "0")}`,
      kind: "composed",
      aor: JOE,
      watcher: ANN,
      origin: "a",
      event: "presence",
      dialog: "the watcher's dialog “ä”",
      expiresAt: h.now() + HOUR,
      notifyReserved: 16,
      leg: null,
      legServer: null,
      legReserved: 16,
      extendedEpoch: 0,
      ...more,
    });
    const entry = (more: Partial<Entry> = {}): Entry => ({
      origin: "a",
      evidence: null,
      sent: "the session",
      within: null,
      servers: ["a", "b", "c"].filter((server) => server !== (more.origin === undefined ? "a" : more.origin)),
      onward: ["a", "b", "c"],
      most: 3,
      ...more,
    });
    const enter = async (
      owner: string,
      asked: Entry,
      more: Partial<StoredSubscription> = {},
      proxy: "east" | "west" = "east",
    ) => {
      const row = subscription({ origin: asked.origin, ...more });
      return { id: row.id, ...(await h.run(h[proxy].unions.enter(owner, row, asked))) };
    };
    const all = async (pair = PAIR) => h.run(h.west.unions.visited(pair));
    const visited = async (pair = PAIR) => (await all(pair)).filter((row) => !row.gone);
    const gone = async () => (await all()).filter((row) => row.gone).map(({ holder, server }) => [holder, server]);
    const brief = async () => (await visited()).map(({ server, role, holder }) => [holder, role, server]);
    /** Until nothing that has been set off can be coming back. */
    const quiet = () => h.advance(KEPT_MS + 1000);
    const stored = async () => (await h.run(h.west.subscriptions.list({ limit: 100 }))).map((each) => each.id);
    const visit = (owner: string, holder: string, server: string, fence = FIRST_FENCE) =>
      h.run(h.east.unions.visit(owner, holder, fence, server, "the session"));
    const leave = (owner: string, holder: string, server: string, fence = FIRST_FENCE) =>
      h.run(h.east.unions.leave(owner, holder, fence, server));

    describe("enter", () => {
      it("stores the subscription whole, with the server it starts from and all that it goes to", async () => {
        const owner = await lease();
        const row = subscription({ leg: "legs", legServer: "b,c", legReserved: 32 });
        const slot = { server: null, epoch: 0 };
        expect(await h.run(h.east.unions.enter(owner, row, entry({ evidence: "e" })))).toEqual({
          outcome: "entered",
          chain: row.id,
          servers: ["b", "c"],
          slot,
        });
        expect(await h.run(h.west.subscriptions.load(owner, [row.id]))).toEqual([
          { subscription: { ...row, fence: FIRST_FENCE }, slot },
        ]);
        const of = { chain: row.id, holder: row.id, echoed: false, returned: false, gone: false, fresh: false };
        expect(await visited()).toEqual([
          { ...of, server: "a", role: "start", evidence: "e", fresh: expect.any(Boolean) },
          { ...of, server: "b", role: "leg", evidence: "the session" },
          { ...of, server: "c", role: "leg", evidence: "the session" },
        ] satisfies Visited[]);
        for (const other of [{ watcher: BOB }, { aor: BOB }, { event: "dialog" }])
          expect(await visited({ ...PAIR, ...other })).toEqual([]);
      });

      it("says where the user is", async () => {
        const owner = await lease();
        const claim = { aor: JOE, server: "b", origin: "admin", expiresAt: null, conflict: "takeover" } as const;
        await h.run(h.west.claim({ ...claim, equalRank: true, actor: "t" }));
        expect(await enter(owner, entry())).toMatchObject({ outcome: "entered", slot: { server: "b", epoch: 1 } });
      });

      it("a client's start has no server, and holds nobody back", async () => {
        const owner = await lease();
        const first = await enter(owner, entry({ origin: null }));
        expect(first).toMatchObject({ outcome: "entered", servers: ["a", "b", "c"] });
        expect((await visited())[0]).toMatchObject({ role: "start", server: null });
        const second = await enter(owner, entry({ origin: null }), {}, "west");
        expect(second).toMatchObject({ outcome: "entered", chain: second.id, servers: ["a", "b", "c"] });
      });

      it("a loop stores nothing, on whichever proxy, and names the chain", async () => {
        const [owner, other] = [await lease(), await lease("west")];
        const first = await enter(owner, entry());
        const before = await visited();
        const back = await enter(other, entry({ origin: "b" }), {}, "west");
        expect(back).toEqual({ id: back.id, outcome: "loop", chain: first.id, lives: true });
        expect(await visited()).toEqual(before.map((row) => ({ ...row, returned: row.server === "b" })));
        expect(await stored()).toEqual([first.id]);
      });

      it("of another watcher, presentity or event it is none", async () => {
        const owner = await lease();
        await enter(owner, entry());
        for (const other of [{ watcher: BOB }, { aor: BOB }, { event: "dialog" }])
          expect((await enter(owner, entry({ origin: "b" }), other)).outcome).toBe("entered");
      });

      it("goes to what its chain has left, and then there is nothing left", async () => {
        const owner = await lease();
        const first = await enter(owner, entry());
        await leave(owner, first.id, "c");
        expect(await enter(owner, entry({ origin: "b" }))).toMatchObject({ outcome: "loop", chain: first.id });
        await quiet();
        const onward = await enter(owner, entry({ origin: "b" }));
        expect(onward).toMatchObject({ outcome: "entered", chain: first.id, servers: ["c"] });
        expect(await brief()).toEqual([
          [first.id, "start", "a"],
          [first.id, "leg", "b"],
          [onward.id, "start", "b"],
          [onward.id, "leg", "c"],
        ]);
        expect(await enter(owner, entry({ origin: "c" }))).toMatchObject({ outcome: "loop", chain: first.id });
      });

      it("notes what came back with its own evidence, loop or not, and then lets a second instance in", async () => {
        const owner = await lease();
        await enter(owner, entry({ evidence: "one", sent: "one" }));
        const second = entry({ origin: "b", evidence: "two", sent: "two" });
        expect((await enter(owner, second)).outcome).toBe("loop");
        expect((await enter(owner, entry({ origin: "b", evidence: "one", sent: "one" }))).outcome).toBe("loop");
        expect((await visited()).filter((row) => row.echoed).map((row) => row.server)).toEqual(["b"]);
        const admitted = await enter(owner, second);
        expect(admitted).toMatchObject({ outcome: "entered", chain: admitted.id, servers: ["a", "c"] });
      });

      it("a start is fresh for a moment; then what comes from there is none of its copies", async () => {
        const owner = await lease();
        await enter(owner, entry());
        const begun = h.now();
        const fresh = (await visited()).map((row) => row.fresh);
        const copy = await enter(owner, entry({ most: 1 }), {}, "west");
        // A real database may have been slow.
        if (h.now() - begun < FRESH_MS) {
          expect(fresh).toEqual([true, false, false]);
          expect(copy).toMatchObject({ outcome: "loop", lives: true });
        }
        await h.advance(FRESH_MS);
        expect((await visited()).map((row) => row.fresh)).toEqual([false, false, false]);
        const { id, ...other } = await enter(owner, entry(), {}, "west");
        expect(other).toMatchObject({ outcome: "entered", chain: id, servers: ["b", "c"] });
        await h.advance(FRESH_MS);
        expect(await enter(owner, entry({ most: 2 }))).toMatchObject({ outcome: "loop", lives: false });
      });

      it("a From tag of a leg of ours is that chain, whatever it comes from (models.md, peer)", async () => {
        const owner = await lease();
        const first = await enter(owner, entry({ onward: [] }));
        const within = entry({ origin: "d", servers: ["b", "c"], within: first.id });
        expect(await enter(owner, within)).toMatchObject({ outcome: "loop", chain: first.id });
        expect((await enter(owner, { ...within, within: null })).outcome).toBe("entered");
      });

      it("under a lease that is over: nothing is stored", async () => {
        const owner = await lease();
        await h.run(h.east.leases.close(owner));
        expect((await enter(owner, entry())).outcome).toBe("over");
        expect((await enter("nobody", entry())).outcome).toBe("over");
        expect([await visited(), await stored()]).toEqual([[], []]);
      });

      it("again under the same id is the same, also where it would be a loop by now (concurrency.md 9)", async () => {
        const owner = await lease();
        const row = subscription();
        const asked = entry();
        const first = await h.run(h.east.unions.enter(owner, row, asked));
        const before = await visited();
        expect(await h.run(h.east.unions.enter(owner, row, asked))).toEqual(first);
        expect(await visited()).toEqual(before);
        expect(await stored()).toEqual([row.id]);
      });

      it("of two at once from both ends, one begins the chain and the other is on it", async () => {
        const [owner, other] = [await lease(), await lease("west")];
        for (let i = 0; i < 20; i++) {
          const pair = { watcher: `w${i}@example.com` };
          const outcomes = await h.run(
            Promise.all([
              h.east.unions.enter(owner, subscription(pair), entry()),
              h.west.unions.enter(other, subscription({ ...pair, origin: "b" }), entry({ origin: "b" })),
            ]),
          );
          expect(outcomes.map((each) => each.outcome).sort(), String(i)).toEqual(["entered", "loop"]);
        }
      });

      it("many at once, of many pairs", async () => {
        const owner = await lease();
        const asks = Array.from({ length: 60 }, (_, i) => {
          const origin = ["a", "b", "c"][Math.floor(i / 20)]!;
          return h.east.unions.enter(
            owner,
            subscription({ watcher: `w${i % 20}@example.com`, origin }),
            entry({ origin }),
          );
        });
        const outcomes = (await h.run(Promise.all(asks))).map((each) => each.outcome);
        expect(outcomes.filter((each) => each === "entered")).toHaveLength(20);
        expect(await stored()).toHaveLength(20);
      });
    });

    describe("visit and leave", () => {
      it("what was given back is free for another of the chain, and nobody has it twice", async () => {
        const owner = await lease();
        const { id } = await enter(owner, entry());
        expect(await visit(owner, id, "b")).toBe("taken");
        await leave(owner, id, "b");
        await leave(owner, id, "b");
        expect(await brief()).toEqual([
          [id, "start", "a"],
          [id, "leg", "c"],
        ]);
        expect(await gone()).toEqual([[id, "b"]]);
        expect(await visit(owner, id, "b")).toBe("taken");
        await leave(owner, id, "b");
        await quiet();
        expect(await gone()).toEqual([]);
        const onward = await enter(owner, entry({ origin: "c" }));
        expect(onward).toMatchObject({ servers: ["b"] });
        expect(await visit(owner, id, "b")).toBe("visited");
        await leave(owner, onward.id, "b");
        expect(await visit(owner, id, "b")).toBe("taken");
        expect((await visited()).at(-1)).toEqual({
          chain: id,
          holder: id,
          server: "b",
          role: "leg",
          evidence: "the session",
          echoed: false,
          returned: false,
          gone: false,
          fresh: false,
        });
      });

      it("the server a chain starts from is visited for as long as that subscription lives", async () => {
        const owner = await lease();
        const { id } = await enter(owner, entry());
        await leave(owner, id, "a");
        expect(await visit(owner, id, "a")).toBe("visited");
        expect((await brief())[0]).toEqual([id, "start", "a"]);
      });

      it("a server that came later, on the chain of the holder alone", async () => {
        const owner = await lease();
        const one = await enter(owner, entry({ origin: null }));
        const two = await enter(owner, entry({ origin: null }));
        for (const { id } of [one, two]) expect(await visit(owner, id, "d")).toBe("taken");
        for (const server of ["a", "b", "c", "d"]) await leave(owner, one.id, server);
        expect(await visit(owner, one.id, "d")).toBe("taken");
      });

      it("another owner, another fence, no chain: lost, and nothing is taken or given back", async () => {
        const [owner, other] = [await lease(), await lease("west")];
        const { id } = await enter(owner, entry());
        const plain = subscription();
        await h.run(h.east.subscriptions.insert(owner, plain, false));
        const before = await visited();
        expect(await visit(other, id, "d")).toBe("lost");
        expect(await visit(owner, id, "d", FIRST_FENCE + 1)).toBe("lost");
        expect(await visit(owner, "cdm-none", "d")).toBe("lost");
        expect(await visit(owner, plain.id, "d")).toBe("lost");
        await leave(other, id, "b");
        await leave(owner, id, "b", FIRST_FENCE + 1);
        expect(await visited()).toEqual(before);
      });

      it("two holders of one chain that want the same server: one has it", async () => {
        const [owner, other] = [await lease(), await lease("west")];
        for (let i = 0; i < 10; i++) {
          const pair = { watcher: `w${i}@example.com` };
          const first = await enter(owner, entry(), pair);
          await leave(owner, first.id, "c");
          await quiet();
          const second = await enter(other, entry({ origin: "b" }), pair);
          await h.run(h.east.unions.leave(other, second.id, FIRST_FENCE, "c"));
          const outcomes = await h.run(
            Promise.all([
              h.east.unions.visit(owner, first.id, FIRST_FENCE, "c", null),
              h.west.unions.visit(other, second.id, FIRST_FENCE, "c", null),
            ]),
          );
          expect(outcomes.sort(), String(i)).toEqual(["taken", "visited"]);
        }
      });
    });

    describe("visited rows go with their subscription, however it goes", () => {
      it("removed by its owner, and by nobody else", async () => {
        const [owner, other] = [await lease(), await lease("west")];
        const { id } = await enter(owner, entry());
        await h.run(h.west.subscriptions.remove(other, id, FIRST_FENCE));
        await h.run(h.east.subscriptions.remove(owner, id, FIRST_FENCE + 1));
        expect(await visited()).toHaveLength(3);
        await h.run(h.east.subscriptions.remove(owner, id, FIRST_FENCE));
        expect(await visited()).toEqual([]);
        await quiet();
        expect(await all()).toEqual([]);
        expect(await enter(owner, entry({ origin: "b" }))).toMatchObject({ outcome: "entered", servers: ["a", "c"] });
      });

      it("but for what its legs have set off, which is on its way still: that begins no chain of its own", async () => {
        const owner = await lease();
        const { id } = await enter(owner, entry({ evidence: "one", sent: "one" }));
        await h.advance(20_000);
        await leave(owner, id, "c");
        await h.run(h.east.subscriptions.remove(owner, id, FIRST_FENCE));
        expect(await gone()).toEqual([
          [id, "b"],
          [id, "c"],
        ]);
        for (const origin of ["b", "c"])
          for (const evidence of [null, "made up"])
            expect(await enter(owner, entry({ origin, evidence }))).toMatchObject({ outcome: "loop", lives: false });
        // The same watcher, from where he was, and again with what he had then.
        const again = await enter(owner, entry({ evidence: "one" }));
        expect(again).toMatchObject({ outcome: "entered", chain: again.id, servers: ["b", "c"] });
        await h.run(h.east.subscriptions.remove(owner, again.id, FIRST_FENCE));
        await h.advance(KEPT_MS - 19_000);
        expect((await gone()).map(([holder]) => holder)).toEqual([again.id, again.id]);
      });

      it("once something has come back of a leg it counts for a while only, whichever chain that was taken for", async () => {
        const owner = await lease();
        const first = await enter(owner, entry());
        const second = await enter(owner, entry({ origin: null }));
        for (const { id } of [first, second]) await h.run(h.east.subscriptions.remove(owner, id, FIRST_FENCE));
        const from = (origin: string) => enter(owner, entry({ origin, servers: ["a", "d"] }));
        // b has sent on what it was sent twice, c once.
        for (const origin of ["b", "b", "c"]) expect((await from(origin)).outcome).toBe("loop");
        await h.advance(RETURNED_MS / 2);
        expect((await from("b")).outcome).toBe("loop");
        await h.advance(RETURNED_MS / 2 + 1000);
        expect((await from("c")).outcome).toBe("loop");
        expect((await from("b")).outcome).toBe("entered");
      });

      it("a leg that lived longer than that leaves nothing", async () => {
        const owner = await lease();
        const { id } = await enter(owner, entry());
        await quiet();
        await leave(owner, id, "b");
        await h.run(h.east.subscriptions.remove(owner, id, FIRST_FENCE));
        expect(await all()).toEqual([]);
      });

      it("the chain lives on in what is left of it", async () => {
        const owner = await lease();
        const first = await enter(owner, entry());
        await leave(owner, first.id, "c");
        await quiet();
        const second = await enter(owner, entry({ origin: "b" }));
        await h.run(h.east.subscriptions.remove(owner, first.id, FIRST_FENCE));
        expect(await brief()).toEqual([
          [second.id, "start", "b"],
          [second.id, "leg", "c"],
        ]);
        expect(await enter(owner, entry({ origin: "c", servers: ["b"] }))).toMatchObject({
          outcome: "loop",
          chain: first.id,
        });
      });

      it("a take-over keeps them; they are the new owner's to change", async () => {
        const [owner, other] = [await lease(), await lease("west")];
        const { id } = await enter(owner, entry());
        const before = await visited();
        await h.run(h.east.leases.close(owner));
        const [taken] = await h.run(h.west.subscriptions.take(other, 10));
        expect(taken!.subscription).toMatchObject({ id, kind: "composed", fence: FIRST_FENCE + 1 });
        expect(await visited()).toEqual(before);
        expect(await visit(owner, id, "d")).toBe("lost");
        await leave(owner, id, "b");
        expect(await visited()).toEqual(before);
        expect(await visit(other, id, "d", FIRST_FENCE + 1)).toBe("taken");
        await leave(other, id, "b", FIRST_FENCE + 1);
        expect((await visited()).map((row) => row.server)).toEqual(["a", "c", "d"]);
        await quiet();
        expect((await enter(other, entry({ origin: "c" }), {}, "west")).outcome).toBe("entered");
      });

      it("expired when it would be taken over", async () => {
        const [owner, other] = [await lease(), await lease("west")];
        await enter(owner, entry(), { expiresAt: h.now() + HOUR / 2 });
        await h.run(h.east.leases.close(owner));
        await h.advance(HOUR / 2 + 1000);
        expect(await h.run(h.west.subscriptions.take(other, 10))).toEqual([]);
        expect(await visited()).toEqual([]);
      });

      it("cleared away, expired, of an owner that is over", async () => {
        const owner = await lease();
        const { id } = await enter(owner, entry(), { expiresAt: h.now() + HOUR / 2 });
        await h.run(h.east.leases.close(owner));
        expect(await visited()).toHaveLength(3);
        await h.advance(HOUR / 2 + 1000);
        let left: readonly string[] = [id];
        let rows = 3;
        await h.eventually(() => {
          void h.west.subscriptions.list({ limit: 10 }).then((each) => (left = each.map((row) => row.id)));
          void h.west.unions.visited(PAIR).then((each) => (rows = each.filter((row) => !row.gone).length));
          return left.length === 0 && rows === 0;
        });
      });
    });

    describe("credits", () => {
      const credit = { ...PAIR, digest: "", server: "b" };
      const grant = (id: string, more: Partial<Grant> = {}, until = h.now() + 32_000) =>
        h.run(h.east.unions.grant(id, [{ ...credit, count: 1, ...more }], until));
      const spend = (by: string, more: Partial<typeof credit> = {}) =>
        h.run(h.west.unions.spend({ ...credit, ...more }, by));

      it("each is spent once, on whichever proxy", async () => {
        expect(await spend("x")).toBe(false);
        await grant("g", { count: 2 });
        expect(await spend("x")).toBe(true);
        expect(await h.run(h.east.unions.spend(credit, "y"))).toBe(true);
        expect(await spend("z")).toBe(false);
      });

      it("of another pair, event, text or server it is none", async () => {
        await grant("g");
        for (const other of [{ watcher: BOB }, { aor: BOB }, { event: "MESSAGE" }, { digest: "d" }, { server: "c" }])
          expect(await spend("x", other)).toBe(false);
        expect(await spend("x")).toBe(true);
      });

      it("the same request again is the same spending", async () => {
        await grant("g", { count: 2 });
        for (let i = 0; i < 3; i++) expect(await spend("x")).toBe(true);
        expect(await spend("y")).toBe(true);
        expect(await spend("z")).toBe(false);
        expect(await spend("x")).toBe(true);
      });

      it("the same granting again grants nothing more, spent or not; another adds", async () => {
        await grant("g", { count: 1 });
        expect(await spend("x")).toBe(true);
        await grant("g", { count: 1 });
        expect(await spend("y")).toBe(false);
        await grant("h", { count: 1 });
        expect(await spend("y")).toBe(true);
      });

      it("what was not spent can be taken back, of that granting and server alone", async () => {
        await grant("g", { count: 3 });
        await grant("g2", {}, h.now() + 40_000);
        await grant("g", { server: "c" });
        expect(await spend("x")).toBe(true);
        for (let i = 0; i < 2; i++) await h.run(h.west.unions.revoke("g", "b"));
        // What was spent stays spent by whom it was.
        expect([await spend("x"), await spend("y"), await spend("z")]).toEqual([true, true, false]);
        expect(await spend("x", { server: "c" })).toBe(true);
        await h.run(h.east.unions.revoke("none", "b"));
      });

      it("of what was spent it is known whether that has come which the credit was granted for", async () => {
        const fate = (by: string) => h.run(h.west.unions.fate(credit, by));
        await grant("g", { count: 2, underWay: true });
        expect(await fate("x")).toBe("gone");
        expect(await spend("x")).toBe(true);
        expect(await fate("x")).toBe("under-way");
        await h.run(h.east.unions.arrived("other", "b"));
        await h.run(h.east.unions.arrived("g", "c"));
        expect(await fate("x")).toBe("under-way");
        await h.run(h.east.unions.arrived("g", "b"));
        expect(await fate("x")).toBe("arrived");
        expect(await spend("y")).toBe(true);
        await h.run(h.east.unions.revoke("g", "b"));
        for (const by of ["x", "y"]) expect(await fate(by)).toBe("arrived");
        // One that never comes was spent by somebody else's request.
        await grant("h", { underWay: true });
        expect(await spend("z")).toBe(true);
        await h.run(h.east.unions.revoke("h", "b"));
        expect([await fate("z"), await spend("z")]).toEqual(["gone", false]);
        await h.advance(33_000);
        expect(await fate("x")).toBe("gone");
      });

      it("what has come is sent on at once: what is left lapses", async () => {
        await grant("g", { count: 2, underWay: true });
        expect(await spend("x")).toBe(true);
        await h.run(h.east.unions.arrived("g", "b"));
        await h.advance(SENT_ON_MS);
        expect(await spend("y")).toBe(false);
        expect(await spend("x")).toBe(true);
      });

      it("many are granted and taken back at once, each by itself", async () => {
        const names = Array.from({ length: 80 }, (_, i) => `g${i}`);
        await h.run(
          Promise.all(
            names.map((id) => h.east.unions.grant(id, [{ ...credit, digest: id, count: 2 }], h.now() + 32_000)),
          ),
        );
        await h.run(Promise.all(names.filter((_, i) => i % 2 === 0).map((id) => h.west.unions.revoke(id, "b"))));
        const spent = await h.run(Promise.all(names.map((id) => h.west.unions.spend({ ...credit, digest: id }, id))));
        expect(spent).toEqual(names.map((_, i) => i % 2 === 1));
      });

      it("several servers and texts in one granting", async () => {
        const credits = ["b", "c"].map((server, i) => ({
          ...credit,
          server,
          digest: "d",
          event: "MESSAGE",
          count: i + 1,
        }));
        await h.run(h.east.unions.grant("g", credits, h.now() + 32_000));
        const of = (server: string, by: string) => spend(by, { server, digest: "d", event: "MESSAGE" });
        expect([await of("b", "1"), await of("b", "2")]).toEqual([true, false]);
        expect([await of("c", "1"), await of("c", "2"), await of("c", "3")]).toEqual([true, true, false]);
      });

      it("lapses", async () => {
        await grant("g", { count: 2 });
        await h.advance(16_000);
        expect(await spend("x")).toBe(true);
        await h.advance(17_000);
        expect(await spend("y")).toBe(false);
        expect(await spend("x")).toBe(false);
      });

      it("the one that lapses first is spent first", async () => {
        await grant("late", {}, h.now() + 60_000);
        await grant("soon", {}, h.now() + 10_000);
        expect(await spend("x")).toBe(true);
        await h.advance(11_000);
        expect(await spend("y")).toBe(true);
        expect(await spend("z")).toBe(false);
      });

      it("twenty requests at once spend five credits five times", async () => {
        await grant("g", { count: 5 });
        const asks = Array.from({ length: 20 }, (_, i) =>
          (i % 2 === 0 ? h.east : h.west).unions.spend(credit, `request ${i}`),
        );
        expect((await h.run(Promise.all(asks))).filter((each) => each)).toHaveLength(5);
      });

      it("one request by two ways at once spends one", async () => {
        for (let i = 0; i < 10; i++) {
          const more = { digest: `d${i}` };
          await grant(`g${i}`, { ...more, count: 2 });
          const asks = [h.east, h.west].map((each) => each.unions.spend({ ...credit, ...more }, "x"));
          expect(await h.run(Promise.all(asks))).toEqual([true, true]);
          expect([await spend("y", more), await spend("z", more)]).toEqual([true, false]);
        }
      });

      it("has bounds: no more than MOST_CREDITS of one, none for who cannot be stored, and what lapsed is cleared", async () => {
        await grant("g", { count: 10_000, server: "c" });
        await grant("h", { count: 0 });
        await grant("i", { watcher: "ann\0@example.com" });
        expect(await spend("x")).toBe(false);
        expect(await spend("x", { watcher: "ann\0@example.com" })).toBe(false);
        let spent = 0;
        for (let i = 0; i < MOST_CREDITS + 5; i++) if (await spend(`${i}`, { server: "c" })) spent++;
        expect(spent).toBe(MOST_CREDITS);
      });
    });
  });
}
