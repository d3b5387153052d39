import { describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import type { Lookup } from "../../src/directory/directory.ts";
import { GroupCommit } from "../../src/directory/group-commit.ts";
import { Lookups } from "../../src/directory/lookups.ts";

interface Ask {
  readonly aor: string;
  readonly n: number;
}

/** Statements that end when the test says so. */
function statements(maxBatch = 64, maxWaiting = 1000) {
  const running: Array<{ batch: readonly Ask[]; end: () => void; fail: (error: Error) => void }> = [];
  const group = new GroupCommit<Ask, string>({
    key: (ask) => ask.aor,
    run: (batch) =>
      new Promise((resolve, reject) => {
        running.push({ batch, end: () => resolve(batch.map((each) => `${each.aor} ${each.n}`)), fail: reject });
      }),
    maxBatch,
    lanes: 2,
    maxWaiting,
    splits: (error) => (error as Error).message === "one of them",
    soon: (run) => void Promise.resolve().then(run),
  });
  return { group, running };
}

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("group commit (concurrency.md 3)", () => {
  it("those who arrive together share one statement, sorted by key, each with his own answer", async () => {
    const { group, running } = statements();
    const answers = ["c", "a", "b"].map((aor, n) => group.submit({ aor, n }));
    await tick();
    expect(running.map((each) => each.batch.map((ask) => ask.aor))).toEqual([["a", "b", "c"]]);
    running[0]?.end();
    expect(await Promise.all(answers)).toEqual(["c 0", "a 1", "b 2"]);
  });

  it("each AoR once per batch; the second goes to a later one, in the order they came", async () => {
    const { group, running } = statements();
    const answers = [0, 1, 2].map((n) => group.submit({ aor: "a", n }));
    const other = group.submit({ aor: "b", n: 3 });
    await tick();
    expect(running.length).toBe(1);
    expect(running[0]?.batch.map((ask) => ask.n)).toEqual([0, 3]);
    running[0]?.end();
    await tick();
    expect(running[1]?.batch.map((ask) => ask.n)).toEqual([1]);
    running[1]?.end();
    await tick();
    running[2]?.end();
    expect(await Promise.all([...answers, other])).toEqual(["a 0", "a 1", "a 2", "b 3"]);
  });

  it("at most two statements in flight, at most so many in one", async () => {
    const { group, running } = statements(2);
    const answers = ["a", "b", "c", "d", "e", "f", "g"].map((aor, n) => group.submit({ aor, n }));
    await tick();
    expect(running.map((each) => each.batch.length)).toEqual([2, 2]);
    for (let i = 0; i < 4; i++) {
      running[i]?.end();
      await tick();
    }
    expect((await Promise.all(answers)).length).toBe(7);
    expect(running.length).toBe(4);
  });

  it("one whose answer comes later holds up nobody but the next of his key", async () => {
    let late: (answer: string) => void = () => undefined;
    const batches: string[][] = [];
    const group = new GroupCommit<Ask, string>({
      key: (ask) => ask.aor,
      run: async (batch) => {
        batches.push(batch.map((ask) => `${ask.aor} ${ask.n}`));
        return batch.map((ask) => (ask.n === 0 ? new Promise((resolve) => (late = resolve)) : `${ask.aor} ${ask.n}`));
      },
      maxBatch: 64,
      lanes: 1,
      maxWaiting: 10,
      splits: () => false,
      soon: (run) => void Promise.resolve().then(run),
    });
    const first = group.submit({ aor: "a", n: 0 });
    const second = group.submit({ aor: "a", n: 1 });
    expect(await group.submit({ aor: "b", n: 2 })).toBe("b 2");
    expect(await group.submit({ aor: "c", n: 3 })).toBe("c 3");
    expect(batches).toEqual([["a 0", "b 2"], ["c 3"]]);
    late("a at last");
    expect(await Promise.all([first, second])).toEqual(["a at last", "a 1"]);
    expect(batches.at(-1)).toEqual(["a 1"]);
  });

  it("where one of them is at fault the others get their answers", async () => {
    const { group, running } = statements();
    const answers = ["a", "b"].map((aor, n) => group.submit({ aor, n }));
    await tick();
    running[0]?.fail(new Error("one of them"));
    await tick();
    running[1]?.end();
    await tick();
    running[2]?.fail(new Error("one of them"));
    const settled = await Promise.allSettled(answers);
    expect(settled.map((each) => each.status)).toEqual(["fulfilled", "rejected"]);
    expect(running.map((each) => each.batch.length)).toEqual([2, 1, 1]);
  });

  it("where the database is away all of them hear it, and who comes beyond the limit is turned away", async () => {
    const { group, running } = statements(2, 2);
    const answers = ["a", "b", "c"].map((aor, n) => group.submit({ aor, n }));
    const settling = Promise.allSettled(answers);
    await tick();
    running[0]?.fail(new DirectoryUnavailable("away"));
    const settled = await settling;
    expect(settled.map((each) => (each.status === "rejected" ? (each.reason as Error).message : ""))).toEqual([
      "away",
      "away",
      "The database does not keep up with the requests; try again later.",
    ]);
    expect(running.length).toBe(1);
  });
});

describe("lookups that share statements", () => {
  it("many users in one statement, one user asked for by many in one row; who comes later asks anew", async () => {
    const asked: Array<readonly string[]> = [];
    const lookups = new Lookups({
      run: async (aors) => {
        asked.push(aors);
        return aors.map((_, epoch): Lookup => ({ state: "no-binding", epoch, user: null }));
      },
      maxBatch: 2,
      lanes: 1,
      maxWaiting: 4,
      soon: (run) => void Promise.resolve().then(run),
    });
    const first = ["a", "b", "a", "c"].map((aor) => lookups.submit(aor));
    await expect(lookups.submit("d")).rejects.toBeInstanceOf(DirectoryUnavailable);
    expect((await Promise.all(first)).map((each) => each.epoch)).toEqual([0, 1, 0, 0]);
    expect(asked).toEqual([["a", "b"], ["c"]]);
    await lookups.submit("a");
    expect(asked.length).toBe(3);
  });
});
