import { describe, expect, it } from "vitest";
import { ADD_STEPS, STEER } from "../../src/directory/postgres/move-batches.ts";
import { END_STEPS, TAKE_BATCH } from "../../src/directory/postgres/move-run.ts";
import { type Act, gated, ORDERS, TwoSessions } from "../support/stepped.ts";

// The journal of moves, two sessions stepped statement by statement in every order, and one in whole between the other's
// snapshot and its locks. Each rule is then shown to be broken by the statement without its guard.

const sessions = new TwoSessions();

/** A batch of one step whose owner's lease has lapsed, or that nobody has had yet. */
async function begin(owner: string | null, state = "running"): Promise<void> {
  await sessions.query("truncate codomain.move_batches, codomain.move_steps");
  await sessions.query(
    `insert into codomain.move_batches (id, kind, state, filled, rate, make_before_break, actor, owner, fence, lease_until, total)
     values ('b', 'list', $2, true, 1, false, 't', $1, 1, now() - interval '1 s', 1)`,
    [owner, state],
  );
  await sessions.query(
    "insert into codomain.move_steps (batch, position, aor, to_server) values ('b', 1, 'joe@x', 'w')",
  );
}

const take = (owner: string, text = TAKE_BATCH.text): Act => ({ text, values: [owner, [], 15_000] });

function end(text = END_STEPS.text): Act {
  const steps = JSON.stringify([{ position: 1, state: "moved", epoch: 2, reason: null }]);
  return { text, values: ["b", "old", 1, steps, [1]] };
}

async function journal() {
  const { rows } = await sessions.query<{
    owner: string;
    fence: number;
    moved: number;
    total: number;
    states: string[];
  }>(
    `select b.owner, b.fence::int as fence, b.moved, b.total,
       (select array_agg(s.state order by s.position) from codomain.move_steps s where s.batch = b.id) as states
     from codomain.move_batches b where b.id = 'b'`,
  );
  return rows[0]!;
}

const without = (text: string, guard: string): string => {
  if (!text.includes(guard)) throw new Error(`"${guard}" does not stand in the statement.`);
  return text.replace(guard, "");
};

/** How many of the orders break a rule. */
async function broken(play: (order: string) => Promise<boolean>): Promise<number> {
  let count = 0;
  for (const order of ORDERS) if (!(await play(order))) count++;
  return count;
}

describe("two proxies take one batch", () => {
  async function exactlyOne(order: string, text?: string): Promise<boolean> {
    await begin(null);
    const { a, b } = await sessions.play(order, take("one", text), take("two", text));
    const { owner, fence } = await journal();
    const winner = a.length > 0 ? "one" : "two";
    return a.length + b.length === 1 && owner === winner && fence === 2;
  }

  it("in every order one of them has it, once", async () => {
    expect(await broken((order) => exactlyOne(order))).toBe(0);
  });

  it("without the lock both believe they have it", async () => {
    expect(
      await broken((order) => exactlyOne(order, without(TAKE_BATCH.text, "for update skip locked"))),
    ).toBeGreaterThan(0);
  });
});

describe("the old owner writes while the batch is taken from it (concurrency.md 7)", () => {
  const HELD = "id = $1 and owner = $2 and fence = $3";

  /** Either it was written before the taking and is counted, or nothing was. */
  async function fenced(a: object[], b: object[]): Promise<boolean> {
    const { owner, moved, states } = await journal();
    const wrote = a.length > 0;
    const tookIt = b.length > 0;
    return (
      moved === (wrote ? 1 : 0) && states[0] === (wrote ? "moved" : "waiting") && owner === (tookIt ? "new" : "old")
    );
  }

  it("in every order it has written and is counted, or has not and is told so", async () => {
    const play = async (order: string): Promise<boolean> => {
      await begin("old");
      const { a, b } = await sessions.play(order, end(), take("new"));
      return fenced(a, b);
    };
    expect(await broken(play)).toBe(0);
  });

  it("nor in the gap between its snapshot and its lock; without the lock it writes there", async () => {
    const between = async (text: string): Promise<boolean> => {
      await begin("old");
      const { a, b } = await sessions.between(end(gated(text, HELD)), take("new"));
      expect(b).toHaveLength(1);
      return a.length === 0 && (await fenced(a, b));
    };
    expect(await between(END_STEPS.text)).toBe(true);
    expect(await between(without(END_STEPS.text, "for update"))).toBe(false);
  });

  it("a step that ends twice, its answer lost, is counted once; without its condition twice", async () => {
    const counted = async (text: string): Promise<number> => {
      await begin("old");
      await sessions.query(text, end().values);
      await sessions.query(text, end().values);
      return (await journal()).moved;
    };
    expect(await counted(END_STEPS.text)).toBe(1);
    const open = " and s.state in ('waiting', 'preparing', 'moving')";
    expect(await counted(without(END_STEPS.text, open))).toBe(2);
    for (const order of ORDERS) {
      await begin("old");
      await sessions.play(order, end(), end());
      expect((await journal()).moved, order).toBe(1);
    }
  });
});

describe("a list is started while steps are added", () => {
  const rows = JSON.stringify([{ position: 2, aor: "ann@x", from: null, to: "w" }]);
  const add = (text = ADD_STEPS.text): Act => ({ text, values: ["b", rows] });
  const start: Act = { text: STEER.text, values: ["b", ["filling", "running"], "running", true] };

  it("in every order they are in it and counted, or refused", async () => {
    for (const order of ORDERS) {
      await begin(null, "filling");
      const { a } = await sessions.play(order, add(), start);
      const { total, states } = await journal();
      expect([total, states.length], order).toEqual(a.length > 0 ? [2, 2] : [1, 1]);
    }
  });

  it("none is added to one that was started between snapshot and lock; without the lock it is", async () => {
    const between = async (text: string): Promise<number> => {
      await begin(null, "filling");
      await sessions.between(add(gated(text, "id = $1 and state = 'filling'")), start);
      return (await journal()).states.length;
    };
    expect(await between(ADD_STEPS.text)).toBe(1);
    expect(await between(without(ADD_STEPS.text, "for update"))).toBe(2);
  });
});
