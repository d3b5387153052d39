import { afterEach, describe, expect, it } from "vitest";
import { House } from "./house.ts";

let house: House;
afterEach(async () => {
  await house.close();
});

async function open(...args: ConstructorParameters<typeof House>): Promise<House> {
  house = new House(...args);
  await house.open();
  return house;
}

describe("a batch of moves", () => {
  it("moves everybody from one server to another, each by one change of epoch, at no more than its rate", async () => {
    await open(1);
    const aors = await house.users(60, "east");
    await house.bind("elsewhere@example.com", "north");
    await house.mover("one");
    const id = await house.create({ rate: 20 });
    const begun = house.runtime.clock.now();
    const batch = await house.ended(id);
    expect(batch).toMatchObject({ state: "done", total: 60, moved: 60, refused: 0, owner: "one" });
    for (const aor of aors) expect(await house.where(aor)).toEqual({ server: "west", epoch: 2 });
    expect((await house.where("elsewhere@example.com")).server).toBe("north");
    const steps = await house.steps(id);
    const ends = steps.map((step) => step.endedAt!).sort((a, b) => a - b);
    for (let i = 25; i < ends.length; i++) expect(ends[i]! - ends[i - 25]!).toBeGreaterThanOrEqual(950);
    expect(house.runtime.clock.now() - begun).toBeLessThan(8000);
    expect(steps.every((step) => step.epochBefore === 1 && step.epoch === 2)).toBe(true);
  });

  it("reports who moved meanwhile, is pinned, unknown, unbound, there already or on several servers; overwrites nobody", async () => {
    await open(2);
    await house.bind("u-gone@example.com", "north");
    await house.bind("u-pinned@example.com", "east", "provisioned");
    await house.bind("u-there@example.com", "west");
    await house.bind("both@example.com", "east");
    await house.bind("u-absent@example.com", "east");
    await house.sure(() => house.hands.unbind({ aor: "u-absent@example.com", actor: "t" }));
    await house.bind("u-any@example.com", "north");
    await house.mover("one");
    const id = await house.create({ source: { kind: "list" } });
    const rows = ["u-gone", "u-pinned", "u-there", "both", "u-absent", "u-nobody"].map((name, i) => ({
      position: i + 1,
      aor: `${name}@example.com`,
      from: "east",
      to: "west",
    }));
    rows.push({ position: 7, aor: "u-any@example.com", from: null as unknown as string, to: "west" });
    await house.sure(() => house.hands.moves.add(id, rows));
    await house.sure(() => house.hands.moves.steer(id, "start"));
    expect(await house.ended(id)).toMatchObject({ total: 7, moved: 1, refused: 6 });
    expect((await house.steps(id)).map((step) => [step.aor.split("@")[0], step.state, step.reason])).toEqual([
      ["u-gone", "refused", "he is on north"],
      ["u-pinned", "refused", "he is provisioned on east"],
      ["u-there", "refused", "he is on west already"],
      ["both", "refused", "his model is unioned: he is on several servers"],
      ["u-absent", "refused", "he is on no server"],
      ["u-nobody", "refused", "there is no such user"],
      ["u-any", "moved", null],
    ]);
    expect((await house.steps(id))[6]?.from).toBe("north");
    expect(await house.where("u-gone@example.com")).toEqual({ server: "north", epoch: 1 });
    expect(await house.where("u-pinned@example.com")).toEqual({ server: "east", epoch: 1 });
  });

  it("a repeat after a lost answer recognises its own work: nobody is moved twice, or reported as gone (concurrency.md 9)", async () => {
    for (const seed of [3, 4, 5, 6]) {
      await open(seed, { lostAnswers: 80 });
      const aors = await house.users(80, "east");
      await house.mover("one");
      await house.mover("two");
      const id = await house.create();
      expect(await house.ended(id), `seed ${seed}`).toMatchObject({ total: 80, moved: 80, refused: 0 });
      for (const aor of aors) expect(await house.where(aor)).toEqual({ server: "west", epoch: 2 });
      if (seed !== 6) await house.close();
    }
  });

  it("its proxy killed as by kill -9: another goes on where the journal ends", async () => {
    for (const after of [300, 1000, 2500, 4000]) {
      await open(7 + after);
      const aors = await house.users(60, "east");
      const first = await house.mover("one");
      const id = await house.create({ rate: 15 });
      await house.runtime.advance(after);
      first.kill();
      await house.mover("two");
      expect(await house.ended(id)).toMatchObject({ state: "done", moved: 60, refused: 0, owner: "two" });
      for (const aor of aors) expect(await house.where(aor)).toEqual({ server: "west", epoch: 2 });
      if (after !== 4000) await house.close();
    }
  });

  it("its proxy stopped in order: another has it at once", async () => {
    await open(8);
    await house.users(40, "east");
    const first = await house.mover("one");
    const id = await house.create({ rate: 10 });
    await house.runtime.advance(1500);
    await house.run(first.mover.stop());
    await house.mover("two");
    await house.runtime.advance(1500);
    expect((await house.batch(id)).owner).toBe("two");
    expect(await house.ended(id)).toMatchObject({ moved: 40, refused: 0 });
  });

  it("the database away for ten seconds: the batch goes on by itself, and everybody is moved once", async () => {
    await open(9);
    const aors = await house.users(60, "east");
    await house.mover("one");
    const id = await house.create({ rate: 20 });
    await house.runtime.advance(1200);
    house.database.setAway(true);
    await house.runtime.advance(10_000);
    house.database.setAway(false);
    expect(await house.ended(id)).toMatchObject({ moved: 60, refused: 0 });
    for (const aor of aors) expect(await house.where(aor)).toEqual({ server: "west", epoch: 2 });
  });

  it("two proxies never work on the same batch, and share out many", async () => {
    await open(10);
    for (const server of ["a", "b", "c", "d", "e", "f"]) await house.bind(`u-${server}@example.com`, server);
    await house.mover("one");
    await house.mover("two");
    const ids: string[] = [];
    for (const from of ["a", "b", "c", "d", "e", "f"])
      ids.push(await house.create({ source: { kind: "server", from, to: "west" }, rate: 1 }));
    for (const id of ids) expect(await house.ended(id)).toMatchObject({ moved: 1 });
    const owners = await Promise.all(ids.map(async (id) => (await house.batch(id)).owner));
    expect(new Set(owners)).toEqual(new Set(["one", "two"]));
  });

  it("paused it begins nobody more; resumed it goes on; cancelled it leaves the rest where they are", async () => {
    await open(11);
    await house.users(100, "east");
    const { mover } = await house.mover("one");
    const id = await house.create({ rate: 10 });
    await house.runtime.advance(3000);
    await house.sure(() => house.hands.moves.steer(id, "pause"));
    mover.wake(id);
    await house.runtime.advance(500);
    const { moved } = await house.batch(id);
    expect(moved).toBeGreaterThan(5);
    await house.runtime.advance(20_000);
    expect((await house.batch(id)).moved).toBe(moved);
    await house.sure(() => house.hands.moves.steer(id, "resume"));
    mover.wake(id);
    await house.runtime.advance(2000);
    expect((await house.batch(id)).moved).toBeGreaterThan(moved);
    await house.sure(() => house.hands.moves.steer(id, "cancel"));
    await house.runtime.advance(5000);
    const cancelled = await house.batch(id);
    expect(cancelled.moved).toBeLessThan(80);
    const states = (await house.steps(id)).map((step) => step.state);
    expect(states.filter((state) => state === "moved")).toHaveLength(cancelled.moved);
    expect(states).not.toContain("moving");
    await house.runtime.advance(20_000);
    expect((await house.batch(id)).moved).toBe(cancelled.moved);
  });

  it("undone: everybody goes back but who has moved since, even where he came back to the very server", async () => {
    await open(12);
    const aors = await house.users(12, "east");
    await house.mover("one");
    const id = await house.create();
    await house.ended(id);
    await house.bind(aors[3]!, "north");
    await house.bind(aors[5]!, "north");
    await house.bind(aors[5]!, "west");
    const undo = await house.create({ source: { kind: "undo", of: id } });
    expect(await house.ended(undo)).toMatchObject({ total: 12, moved: 10, refused: 2 });
    for (const [i, aor] of aors.entries()) {
      const { server } = await house.where(aor);
      expect(server, aor).toBe(i === 3 ? "north" : i === 5 ? "west" : "east");
    }
    expect((await house.steps(undo)).filter((step) => step.state === "refused").map((step) => step.reason)).toEqual([
      "he is on north",
      "he was moved since, and is on west again",
    ]);
    expect(await house.batch(id)).toMatchObject({ moved: 12, undone: 10 });
    const again = await house.create({ source: { kind: "undo", of: id } });
    expect(await house.ended(again)).toMatchObject({ total: 2, moved: 0, refused: 2 });
  });
});

describe("make before break (the draft's unioned transition)", () => {
  it("every proxy is told of each user a while before he is moved, and for how long to wait for it", async () => {
    await open(20);
    const aors = await house.users(5, "east");
    await house.mover("one");
    const heard: { aor: string; kind: string; at: number; until: number }[] = [];
    house.hands.onChange((change) => {
      if (change.kind !== "preparing" && change.kind !== "binding") return;
      const until = change.kind === "preparing" ? change.until : 0;
      heard.push({ aor: change.aor, kind: change.kind, at: house.runtime.clock.wall(), until });
    });
    const id = await house.create({ makeBeforeBreak: true });
    expect(await house.ended(id)).toMatchObject({ moved: 5 });
    for (const aor of aors) {
      const mine = heard.filter((each) => each.aor === aor);
      expect(mine.map((each) => each.kind)).toEqual(["preparing", "binding"]);
      expect(mine[1]!.at - mine[0]!.at).toBeGreaterThanOrEqual(1900);
      expect(mine[0]!.until).toBeGreaterThan(mine[1]!.at);
    }
  });

  it("who moves while he is being prepared stays where he went, also where he came back", async () => {
    await open(22);
    const aors = await house.users(6, "east");
    await house.mover("one");
    const id = await house.create({ makeBeforeBreak: true });
    await house.runtime.advance(1500);
    await house.bind(aors[1]!, "north");
    await house.bind(aors[2]!, "north");
    await house.bind(aors[2]!, "east");
    await house.sure(() => house.hands.unbind({ aor: aors[3]!, actor: "t" }));
    await house.bind(aors[4]!, "west");
    expect(await house.ended(id)).toMatchObject({ moved: 2, refused: 4 });
    expect((await house.steps(id)).map((step) => step.reason)).toEqual([
      null,
      "he moved to north meanwhile",
      "he was moved meanwhile, and is on east again",
      "he was unbound meanwhile",
      "he is on west already",
      null,
    ]);
    expect((await house.where(aors[1]!)).server).toBe("north");
    expect((await house.where(aors[2]!)).server).toBe("east");
    expect((await house.where(aors[3]!)).server).toBeNull();
  });

  it("cancelled while it prepares: nobody of them is moved any more, and they are reported", async () => {
    await open(21);
    const aors = await house.users(5, "east");
    const { mover } = await house.mover("one");
    const id = await house.create({ makeBeforeBreak: true });
    await house.runtime.advance(1500);
    expect((await house.steps(id)).map((step) => step.state)).toContain("preparing");
    await house.sure(() => house.hands.moves.steer(id, "cancel"));
    mover.wake(id);
    await house.runtime.advance(10_000);
    for (const aor of aors) expect((await house.where(aor)).server).toBe("east");
    const steps = await house.steps(id);
    expect(steps.filter((step) => step.reason === "the batch was cancelled before his turn").length).toBeGreaterThan(0);
    expect(steps.every((step) => step.state === "refused" || step.state === "waiting")).toBe(true);
  });
});
