import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Change } from "../../src/directory/directory.ts";
import type { BatchHold, BatchSource, MoveBatch, Moves, NewStep } from "../../src/directory/moves.ts";
import type { Harness } from "./harness.ts";

const LEASE = 60_000;
const LIST: BatchSource = { kind: "list" };

export function movesContract(name: string, open: () => Promise<Harness>): void {
  describe(`the contract of the journal of moves: ${name}`, () => {
    let h: Harness;
    let made = 0;
    beforeEach(async () => {
      h = await open();
    });
    afterEach(async () => {
      await h.close();
    });

    const east = () => h.east.moves;
    const west = () => h.west.moves;
    const step = (position: number, over: Partial<NewStep> = {}): NewStep => ({
      position,
      aor: `u${position}@example.com`,
      from: "a",
      to: "b",
      ...over,
    });
    const create = (source: BatchSource = LIST, id = `batch-${++made}`) =>
      h.run(east().create({ id, source, rate: 50, makeBeforeBreak: false, actor: "root" }));
    const bind = (aor: string, server: string) =>
      h.run(
        h.east.claim({
          aor,
          server,
          origin: "registered",
          expiresAt: null,
          conflict: "takeover",
          equalRank: true,
          actor: "t",
        }),
      );
    /** A list of so many steps that runs, and its owner's hold. */
    async function running(count: number): Promise<BatchHold> {
      const batch = await created();
      await h.run(
        east().add(
          batch.id,
          Array.from({ length: count }, (_, i) => step(i + 1)),
        ),
      );
      await h.run(east().steer(batch.id, "start"));
      return (await h.run(east().take("east-1", [], LEASE)))!;
    }
    async function created(source?: BatchSource): Promise<MoveBatch> {
      const outcome = await create(source);
      if (outcome.outcome !== "done") throw new Error(outcome.outcome);
      return outcome.batch;
    }
    const batch = (id: string) => h.run(west().batch(id));
    const steps = (id: string) => h.run(west().steps(id, { limit: 1000 }));

    it("a list is filled by its maker, then started; both proxies see it", async () => {
      const { id, state } = await created();
      expect(state).toBe("filling");
      expect(await h.run(east().add(id, [step(1), step(2, { from: null })]))).toMatchObject({ batch: { total: 2 } });
      expect(await h.run(east().take("east-1", [], LEASE))).toBeNull();
      await h.run(east().steer(id, "start"));
      expect(await batch(id)).toMatchObject({
        state: "running",
        filled: true,
        total: 2,
        moved: 0,
        refused: 0,
        owner: null,
        endedAt: null,
      });
      expect((await steps(id)).map((each) => [each.position, each.aor, each.from, each.to, each.state])).toEqual([
        [1, "u1@example.com", "a", "b", "waiting"],
        [2, "u2@example.com", null, "b", "waiting"],
      ]);
      expect(await h.run(east().add(id, [step(3)]))).toMatchObject({ outcome: "refused" });
    });

    it("every write may be repeated: batches, steps, orders (concurrency.md 9)", async () => {
      const { id } = await created();
      await create(LIST, id);
      await h.run(east().add(id, [step(1)]));
      await h.run(west().add(id, [step(1), step(2)]));
      expect((await batch(id))?.total).toBe(2);
      for (const order of ["start", "start", "pause", "pause", "resume", "cancel", "cancel"] as const)
        expect(await h.run(east().steer(id, order)), order).toMatchObject({ outcome: "done" });
      for (const order of ["start", "pause", "resume"] as const)
        expect(await h.run(east().steer(id, order)), order).toMatchObject({ outcome: "refused" });
      expect(await h.run(east().steer("nothing", "start"))).toEqual({ outcome: "no-such-batch" });
    });

    it("one owner at a time; another takes it when the lease has lapsed, with a higher fence (concurrency.md 7)", async () => {
      const hold = await running(1);
      expect(await h.run(west().take("west-1", [], LEASE))).toBeNull();
      await h.advance(LEASE + 1);
      const taken = await h.run(west().take("west-1", [], LEASE));
      expect(taken).toMatchObject({ id: hold.id, owner: "west-1", fence: hold.fence + 1 });
      const begun = [{ position: 1, from: "a", epoch: 1 }];
      expect(await h.run(east().renew(hold, LEASE))).toBe("lost");
      expect(await h.run(east().begin(hold, begun, "moving"))).toBe("lost");
      expect(await h.run(east().end(hold, [{ position: 1, state: "moved", epoch: 2, reason: null }]))).toBe("lost");
      expect(await h.run(east().fill(hold, 10))).toBe("lost");
      expect(await h.run(east().complete(hold))).toBe("lost");
      expect((await steps(hold.id))[0]).toMatchObject({ state: "waiting", begunAt: null });
      await h.run(east().release(hold));
      expect(await h.run(east().take("east-2", [], LEASE))).toBeNull();
    });

    it("a renewal keeps it; a release gives it up at once; its own lost take is found again", async () => {
      const hold = await running(1);
      await h.advance(LEASE / 2 + 1000);
      expect(await h.run(east().renew(hold, LEASE))).toBe("running");
      await h.advance(LEASE / 2 + 1000);
      expect(await h.run(west().take("west-1", [], LEASE))).toBeNull();
      expect(await h.run(east().take("east-1", [hold.id], LEASE))).toBeNull();
      const again = await h.run(east().take("east-1", [], LEASE));
      expect(again?.fence).toBe(hold.fence + 1);
      await h.run(east().release(again!));
      expect(await h.run(west().take("west-1", [], LEASE))).toMatchObject({ id: hold.id });
    });

    it("two that take at once get different batches", async () => {
      for (let i = 0; i < 4; i++) {
        const { id } = await created();
        await h.run(east().steer(id, "start"));
      }
      const taken = await h.run(
        Promise.all([
          east().take("east-1", [], LEASE),
          west().take("west-1", [], LEASE),
          west().take("west-2", [], LEASE),
        ]),
      );
      const ids = taken.filter((each) => each !== null).map((each) => each.id);
      expect(ids.length).toBeGreaterThan(0);
      expect(new Set(ids).size).toBe(ids.length);
    });

    it("a step is begun at an epoch and ended once; the counts follow", async () => {
      const hold = await running(3);
      const { id } = hold;
      expect(await h.run(east().begin(hold, [{ position: 1, from: "a", epoch: 7 }], "preparing"))).toBe("running");
      expect((await steps(id))[0]).toMatchObject({ state: "preparing", epochBefore: 7, from: "a" });
      const ended = [
        { position: 1, state: "moved" as const, epoch: 8, reason: null },
        { position: 2, state: "refused" as const, epoch: null, reason: "gone" },
      ];
      await h.run(east().end(hold, ended));
      await h.run(east().end(hold, ended));
      expect(await batch(id)).toMatchObject({ moved: 1, refused: 1, total: 3 });
      expect(await h.run(east().steps(id, { states: ["refused"], limit: 10 }))).toMatchObject([
        { position: 2, reason: "gone", state: "refused" },
      ]);
      expect(await h.run(east().steps(id, { after: 1, limit: 1 }))).toMatchObject([{ position: 2 }]);
      expect(await h.run(east().complete(hold))).toBe("running");
      await h.run(east().end(hold, [{ position: 3, state: "moved", epoch: 2, reason: null }]));
      expect(await h.run(east().complete(hold))).toBe("done");
      expect(await h.run(east().complete(hold))).toBe("done");
      const done = await batch(id);
      expect([done?.state, done?.moved, done?.endedAt === null]).toEqual(["done", 2, false]);
    });

    it("of a paused batch the owner is told so, and what was begun may end", async () => {
      const hold = await running(1);
      await h.run(west().steer(hold.id, "pause"));
      expect(await h.run(east().renew(hold, LEASE))).toBe("paused");
      expect(await h.run(east().end(hold, [{ position: 1, state: "moved", epoch: 2, reason: null }]))).toBe("paused");
      expect(await h.run(east().complete(hold))).toBe("paused");
      expect(await h.run(west().take("west-1", [], LEASE))).toBeNull();
    });

    it("a server's users are filled in, page by page in order; those bound elsewhere or no more are not", async () => {
      for (const [aor, server] of [
        ["c@example.com", "a"],
        ["b@example.com", "a"],
        ["a@example.com", "a"],
        ["d@example.com", "b"],
        ["e@example.com", "a"],
      ] as const)
        await bind(aor, server);
      await h.run(h.east.unbind({ aor: "e@example.com", actor: "t" }));
      const { id, state } = await created({ kind: "server", from: "a", to: "b" });
      expect(state).toBe("running");
      const hold = (await h.run(east().take("east-1", [], LEASE)))!;
      expect(await h.run(east().fill(hold, 2))).toBe("more");
      expect(await h.run(east().complete(hold))).toBe("running");
      expect(await h.run(east().fill(hold, 2))).toBe("filled");
      expect(await h.run(east().fill(hold, 2))).toBe("filled");
      expect((await steps(id)).map((each) => [each.position, each.aor, each.from, each.to])).toEqual([
        [1, "a@example.com", "a", "b"],
        [2, "b@example.com", "a", "b"],
        [3, "c@example.com", "a", "b"],
      ]);
      expect(await batch(id)).toMatchObject({ total: 3, filled: true });
    });

    it("undo: only what was moved, the other way round, at the epoch the batch made; both batches count it", async () => {
      const hold = await running(4);
      const undo: BatchSource = { kind: "undo", of: hold.id };
      expect(await create(undo)).toMatchObject({ outcome: "refused" });
      expect(await create({ kind: "undo", of: "nothing" })).toEqual({ outcome: "no-such-batch" });
      await h.run(
        east().end(hold, [
          { position: 1, state: "moved", epoch: 5, reason: null },
          { position: 2, state: "refused", epoch: null, reason: "gone" },
          { position: 3, state: "moved", epoch: 9, reason: null },
        ]),
      );
      await h.run(east().steer(hold.id, "cancel"));
      const { id } = await created(undo);
      const back = (await h.run(west().take("west-1", [], LEASE)))!;
      expect(await h.run(west().fill(back, 1))).toBe("more");
      expect(await h.run(west().fill(back, 1))).toBe("more");
      expect(await h.run(west().fill(back, 1))).toBe("filled");
      expect((await steps(id)).map((each) => [each.position, each.aor, each.from, each.to, each.onlyEpoch])).toEqual([
        [1, "u1@example.com", "b", "a", 5],
        [3, "u3@example.com", "b", "a", 9],
      ]);
      const ended = [
        { position: 1, state: "moved" as const, epoch: 6, reason: null },
        { position: 3, state: "refused" as const, epoch: null, reason: "he moved since" },
      ];
      await h.run(west().end(back, ended));
      await h.run(west().end(back, ended));
      expect(await batch(hold.id)).toMatchObject({ moved: 2, undone: 1 });
      expect((await steps(hold.id)).map((each) => each.state)).toEqual(["undone", "refused", "moved", "waiting"]);
    });

    it("says in which batches a user's step is open", async () => {
      const hold = await running(2);
      expect(await h.run(west().openOf("u1@example.com"))).toMatchObject([
        { batch: hold.id, position: 1, from: "a", to: "b", state: "waiting" },
      ]);
      await h.run(east().end(hold, [{ position: 1, state: "refused", epoch: null, reason: "gone" }]));
      expect(await h.run(west().openOf("u1@example.com"))).toEqual([]);
      await h.run(west().steer(hold.id, "cancel"));
      expect(await h.run(west().openOf("u2@example.com"))).toEqual([]);
    });

    it("lists the newest first, page by page, open ones alone if asked", async () => {
      const ids: string[] = [];
      for (let i = 0; i < 3; i++) ids.push((await created()).id);
      await h.run(east().steer(ids[1]!, "cancel"));
      const list = async (query: Parameters<Moves["batches"]>[0]) =>
        (await h.run(west().batches(query))).map((each) => each.id);
      expect(await list({ limit: 2 })).toEqual([ids[2], ids[1]]);
      expect(await list({ limit: 2, before: ids[1]! })).toEqual([ids[0]]);
      expect(await list({ limit: 10, open: true })).toEqual([ids[2], ids[0]]);
      expect(await h.run(west().batch("nothing"))).toBeNull();
    });

    it("tells every proxy of users about to move", async () => {
      const heard: Change[] = [];
      const end = h.west.onChange((change) => heard.push(change));
      const until = h.now() + 5000;
      await h.run(east().prepare([{ aor: "u1@example.com", server: "b" }], until));
      await h.eventually(() => heard.some((change) => change.kind === "preparing"));
      expect(heard.filter((change) => change.kind === "preparing")).toEqual([
        { kind: "preparing", aor: "u1@example.com", server: "b", until },
      ]);
      end();
    });

    it("forgets batches that ended long ago, and those nobody started; not those that run", async () => {
      const hold = await running(2);
      const left = await created();
      const ended = await created();
      await h.run(east().add(ended.id, [step(1)]));
      await h.run(east().steer(ended.id, "cancel"));
      await h.advance(60_000);
      const young = await created();
      await h.run(east().clear(59_000));
      for (let i = 0; i < 3; i++) await h.run(east().clear(59_000));
      expect(await batch(hold.id)).not.toBeNull();
      expect(await batch(young.id)).not.toBeNull();
      expect([await batch(left.id), await batch(ended.id)]).toEqual([null, null]);
      expect(await steps(ended.id)).toEqual([]);
      expect(await steps(hold.id)).toHaveLength(2);
    });
  });
}
