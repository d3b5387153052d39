import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Push } from "../../src/directory/pushes.ts";
import type { Harness } from "./harness.ts";

const LEASE = 60_000;
const JOE = "joe@example.com";
const BOB = "bob@example.com";

export function pushesContract(name: string, open: () => Promise<Harness>): void {
  describe(`the contract of rules on their way to servers: ${name}`, () => {
    let h: Harness;
    beforeEach(async () => {
      h = await open();
    });
    afterEach(async () => {
      await h.close();
    });
    const east = () => h.east.pushes;
    const west = () => h.west.pushes;
    const take = (who = east()) => h.run(who.take(10, LEASE));
    const rows = async () =>
      (await h.run(west().list({ limit: 10 }))).map(
        ({ aor, server, state, wanted, pushed }) => `${aor.split("@")[0]} ${server} ${state} ${wanted} ${pushed}`,
      );
    const pushed = (push: Push, reductions: readonly string[] = []) =>
      h.run(east().end(push, { end: "pushed", reductions }));

    it("what is wanted is due once, for one of those who take", async () => {
      await h.run(east().want(JOE, ["a", "b"], "v1"));
      await h.run(west().want(JOE, ["a"], "v1"));
      const [one, two] = await Promise.all([take(east()), take(west())]);
      const taken = [...one, ...two];
      expect(taken.map((each) => each.server).sort()).toEqual(["a", "b"]);
      expect(taken[0]).toMatchObject({ aor: JOE, wanted: "v1", pushed: null, tries: 1 });
      for (const each of taken) await pushed(each);
      expect(await rows()).toEqual(["joe a pushed v1 v1", "joe b pushed v1 v1"]);
      await h.run(west().want(JOE, ["b"], "v1"));
      expect(await take()).toEqual([]);
    });

    it("a change goes to every server that had the rules once, named or not", async () => {
      await h.run(east().want(JOE, ["a"], "v1"));
      await pushed((await take())[0]!);
      await h.run(east().want(JOE, ["b"], "v2"));
      expect((await take()).map(({ server, pushed }) => [server, pushed]).sort()).toEqual([
        ["a", "v1"],
        ["b", null],
      ]);
    });

    it("what changes on the way is due when it has ended, not before: nobody overtakes", async () => {
      await h.run(east().want(JOE, ["a"], "v1"));
      const [first] = await take();
      await h.run(west().want(JOE, ["a"], "v2"));
      expect(await take(west())).toEqual([]);
      await pushed(first!);
      expect(await rows()).toEqual(["joe a waiting v2 v1"]);
      const [second] = await take(west());
      expect(second).toMatchObject({ wanted: "v2", pushed: "v1", tries: 1 });
    });

    it("what is taken by somebody who died is due again after the lease; his late end changes nothing", async () => {
      await h.run(east().want(JOE, ["a"], "v1"));
      const [first] = await take(east());
      expect(await take(west())).toEqual([]);
      await h.advance(LEASE + 1);
      const [second] = await take(west());
      expect(second).toMatchObject({ wanted: "v1", tries: 2 });
      await pushed(first!);
      expect(await rows()).toEqual(["joe a waiting v1 null"]);
      await h.run(west().end(second!, { end: "pushed", reductions: [] }));
      expect(await rows()).toEqual(["joe a pushed v1 v1"]);
    });

    it("a failure is told, and tried again when it is due", async () => {
      await h.run(east().want(JOE, ["a"], "v1"));
      const [first] = await take();
      await h.run(east().end(first!, { end: "failed", error: "a does not answer", retryMs: 5000 }));
      const [row] = await h.run(west().list({ state: "failed", limit: 10 }));
      expect(row).toMatchObject({ error: "a does not answer", tries: 1 });
      expect(await take()).toEqual([]);
      await h.advance(5001);
      const [again] = await take();
      expect(again?.tries).toBe(2);
      await pushed(again!);
      expect((await h.run(west().list({ limit: 10 })))[0]).toMatchObject({ state: "pushed", error: null, dueAt: null });
    });

    it("a failure that another change has overtaken is no failure of that", async () => {
      await h.run(east().want(JOE, ["a"], "v1"));
      const [first] = await take();
      await h.run(east().want(JOE, ["a"], "v2"));
      await h.run(east().end(first!, { end: "failed", error: "refused", retryMs: 500_000 }));
      expect((await take())[0]).toMatchObject({ wanted: "v2", tries: 1 });
    });

    it("no document: nothing where nothing was; a removal where something is, and then nothing is kept", async () => {
      await h.run(east().want(JOE, ["a"], ""));
      expect(await rows()).toEqual([]);
      await h.run(east().want(JOE, ["a"], "v1"));
      await pushed((await take())[0]!);
      await h.run(east().want(JOE, [], ""));
      const [gone] = await take();
      expect(gone).toMatchObject({ wanted: "", pushed: "v1" });
      await h.run(east().end(gone!, { end: "removed" }));
      expect(await rows()).toEqual([]);
    });

    it("rules that came back while they were removed are pushed anew", async () => {
      await h.run(east().want(JOE, ["a"], "v1"));
      await pushed((await take())[0]!);
      await h.run(east().want(JOE, [], ""));
      const [gone] = await take();
      await h.run(east().want(JOE, ["a"], "v1"));
      await h.run(east().end(gone!, { end: "removed" }));
      expect((await take())[0]).toMatchObject({ wanted: "v1", pushed: null });
    });

    it("a second end of one taking changes nothing", async () => {
      await h.run(east().want(JOE, ["a"], "v1"));
      const [push] = await take();
      await pushed(push!);
      await h.run(east().end(push!, { end: "failed", error: "late", retryMs: 0 }));
      await h.run(east().end({ ...push!, wanted: "v0" }, { end: "removed" }));
      expect(await rows()).toEqual(["joe a pushed v1 v1"]);
      expect(await take()).toEqual([]);
    });

    it("again: also what is there already", async () => {
      await h.run(east().want(JOE, ["a"], "v1"));
      await pushed((await take())[0]!);
      await h.run(east().want(JOE, ["a"], "v1", true));
      expect((await take())[0]).toMatchObject({ wanted: "v1", pushed: "v1" });
    });

    it("is listed in order, page by page, and counted by server and state", async () => {
      await h.run(east().want(JOE, ["a", "b"], "v1"));
      await h.run(east().want(BOB, ["b"], "v1"));
      for (const each of await take()) if (each.server === "b") await pushed(each, ["Rule x is left out."]);
      const page = await h.run(west().list({ limit: 2 }));
      expect(page.map(({ aor, server }) => [aor, server])).toEqual([
        [BOB, "b"],
        [JOE, "a"],
      ]);
      const rest = await h.run(west().list({ limit: 2, after: page[1]! }));
      expect(rest.map(({ aor, server }) => [aor, server])).toEqual([[JOE, "b"]]);
      expect((await h.run(west().list({ reduced: true, limit: 9 })))[0]?.reductions).toEqual(["Rule x is left out."]);
      expect(await h.run(west().list({ aor: JOE, server: "a", state: "waiting", limit: 9 }))).toHaveLength(1);
      expect(await h.run(west().counts())).toEqual([
        { server: "a", state: "waiting", count: 1, reduced: 0 },
        { server: "b", state: "pushed", count: 2, reduced: 2 },
      ]);
    });
  });
}
