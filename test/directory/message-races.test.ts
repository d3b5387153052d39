import { describe, expect, it } from "vitest";
import type { StoreAsk } from "../../src/directory/messages.ts";
import { askOfClaim, CLAIM } from "../../src/directory/postgres/claim.ts";
import { END_MESSAGE } from "../../src/directory/postgres/end-message.ts";
import { LOCK_SLOT, LOCK_SLOT_OF_MESSAGE } from "../../src/directory/postgres/lock-slot.ts";
import { STORE_MESSAGE, type StoreRow, valuesOfStore } from "../../src/directory/postgres/store-message.ts";
import { TAKE_QUEUES } from "../../src/directory/postgres/take-queues.ts";
import { WAKE_QUEUES } from "../../src/directory/postgres/wake-queues.ts";
import { movement } from "../../src/directory/rows.ts";
import { type Act, ordersOf, TwoSessions } from "../support/stepped.ts";

// Two sessions, stepped statement by statement in every order; each race is then shown to be lost without its guard.

const JOE = "joe@example.com";
const ANN = "ann@example.com";
const BOB = "bob@example.com";

const sessions = new TwoSessions();

function store(id: string, sender: string, more: Partial<StoreAsk> = {}, callId = id): Act {
  const ask: StoreAsk = {
    message: {
      id,
      recipient: JOE,
      sender,
      origin: null,
      callId,
      fromTag: "t",
      cseq: 1,
      requestUri: `sip:${JOE}`,
      request: "MESSAGE",
      receivedAt: 1_800_000_000_000,
      expiresAt: 4_000_000_000_000,
    },
    behindOthers: false,
    why: "",
    limits: { perRecipient: 3, octetsPerRecipient: 1_000, perSender: 100 },
    delayMs: null,
    underWay: null,
    ...more,
  };
  return {
    first: { text: LOCK_SLOT.text, values: [JOE] },
    text: STORE_MESSAGE.text,
    values: valuesOfStore(ask, "east"),
  };
}

function end(id: string): Act {
  return {
    first: { text: LOCK_SLOT_OF_MESSAGE.text, values: [id] },
    text: END_MESSAGE.text,
    values: [id, "delivered", "200", null, 40_000],
  };
}

const bind: Act = {
  text: CLAIM.text,
  values: [
    JSON.stringify([askOfClaim(movement({ aor: JOE, to: "a", actor: "t" }))]),
    ...(CLAIM.text.includes("$2") ? [[]] : []),
  ],
  // Whoever has bound him looks, once that is committed, whether anything waits.
  afterwards: { text: WAKE_QUEUES.text, values: [[JOE]] },
};

function unlocked({ text, values, afterwards }: Act): Act {
  return afterwards === undefined ? { text, values } : { text, values, afterwards };
}

async function run({ first, text, values }: Act): Promise<void> {
  await sessions.query("begin");
  if (first !== undefined) await sessions.query(first.text, first.values);
  await sessions.query(text, values);
  await sessions.query("commit");
}

async function begin(...before: Act[]): Promise<void> {
  // Small tables are emptied faster so than by truncating them.
  await sessions.query(
    "delete from codomain.message_queues; delete from codomain.messages; delete from codomain.slots; delete from codomain.changes",
  );
  for (const act of before) await run(act);
}

interface State {
  readonly waiting: string[];
  readonly queued: number;
  readonly flag: boolean;
  readonly due: boolean;
}

async function state(): Promise<State> {
  const { rows } = await sessions.query<State>(`
    select
      (select coalesce(array_agg(id order by place), '{}') from codomain.messages where state = 'stored') as waiting,
      (select coalesce(sum(count), 0)::int from codomain.message_queues) as queued,
      coalesce((select stored from codomain.slots), false) as flag,
      coalesce((select bool_and(due_at <= clock_timestamp()) from codomain.message_queues), true) as due`);
  return rows[0]!;
}

/** What is counted is what waits, and the flag says whether anything does. */
function isWhole({ waiting, queued, flag }: State): boolean {
  return queued === waiting.length && flag === waiting.length > 0;
}

const verdict = (rows: object[]) => (rows[0] as StoreRow).verdict;

/** Every order; the orders in which `right` does not hold. */
async function wrong(
  before: Act[],
  a: Act,
  b: Act,
  right: (seen: { a: object[]; b: object[] }, left: State) => boolean,
): Promise<string[]> {
  const found: string[] = [];
  for (const order of ordersOf(a, b)) {
    await begin(...before);
    const seen = await sessions.play(order, a, b);
    const left = await state();
    if (!isWhole(left) || !right(seen, left)) found.push(`${order}: ${JSON.stringify([seen, left])}`);
  }
  return found;
}

describe("a message queued behind the last one, while that is removed", () => {
  const before = [store("m1", ANN)];
  const behind = store("m2", ANN, { behindOthers: true });
  /** It is stored and waits, or it is told that nothing waits, and goes its way. */
  const right = ({ a }: { a: object[] }, { waiting }: State) =>
    verdict(a) === "stored" ? waiting.join() === "m2" : verdict(a) === "empty" && waiting.length === 0;

  it("never stands in a queue that nobody knows of", async () => {
    expect(await wrong(before, behind, end("m1"), right)).toEqual([]);
  });

  it("does without the slot's lock", async () => {
    expect(await wrong(before, unlocked(behind), unlocked(end("m1")), right)).not.toEqual([]);
  });

  it("does with the lock in the same statement: its snapshot is older than the wait", async () => {
    const text = STORE_MESSAGE.text
      .replace(
        "with asked as materialized",
        `with locked as materialized (select from codomain.slots where aor = '${JOE}' for update), asked as materialized`,
      )
      .replace("server text, hold float8)", "server text, hold float8) where (select count(*) from locked) >= 0");
    expect(await wrong(before, { text, values: behind.values }, end("m1"), right)).not.toEqual([]);
  });
});

describe("the last messages of two senders, removed at once", () => {
  const before = [store("m1", ANN), store("m2", BOB)];
  const right = (_: unknown, { waiting }: State) => waiting.length === 0;

  it("the flag falls, whichever is the last", async () => {
    expect(await wrong(before, end("m1"), end("m2"), right)).toEqual([]);
  });

  it("without the slot's lock each leaves it to the other", async () => {
    expect(await wrong(before, unlocked(end("m1")), unlocked(end("m2")), right)).not.toEqual([]);
  });
});

describe("a message stored while its recipient is bound", () => {
  // Something of another sender waits, so that the flag stands already and need not be written.
  const before = [store("m1", BOB)];
  const right = (_: unknown, { due, waiting }: State) => due && waiting.length === 2;

  it("is due at once: it sees the binding, or the binding's look sees it", async () => {
    expect(await wrong(before, store("m2", ANN), bind, right)).toEqual([]);
  });

  it("without the slot's lock it is seen by nobody", async () => {
    expect(await wrong(before, unlocked(store("m2", ANN)), bind, right)).not.toEqual([]);
  });
});

describe("two messages stored at once", () => {
  it("one message twice, by two proxies: stored once, and known to the other", async () => {
    const right = ({ a, b }: { a: object[]; b: object[] }, { waiting }: State) =>
      waiting.length === 1 && [verdict(a), verdict(b)].sort().join() === "known,stored";
    expect(await wrong([], store("m1", ANN, {}, "c"), store("m2", ANN, {}, "c"), right)).toEqual([]);
  });

  const before = [store("m1", ANN), store("m2", ANN)];
  const right = ({ a, b }: { a: object[]; b: object[] }, { waiting }: State) =>
    waiting.length === 3 && [verdict(a), verdict(b)].sort().join() === "recipient,stored";

  it("the limit of a recipient holds", async () => {
    expect(await wrong(before, store("m3", ANN), store("m4", BOB), right)).toEqual([]);
  });

  it("it does not without the slot's lock", async () => {
    expect(await wrong(before, unlocked(store("m3", ANN)), unlocked(store("m4", BOB)), right)).not.toEqual([]);
  });
});

describe("two proxies taking", () => {
  const before = [bind, store("m1", ANN)];
  const take = (owner: string, text = TAKE_QUEUES.text): Act => ({ text, values: [10, owner, 40_000] });
  const right = ({ a, b }: { a: object[]; b: object[] }) => a.length + b.length === 1;

  it("one of them gets the queue", async () => {
    expect(await wrong(before, take("east"), take("west"), right)).toEqual([]);
  });

  it("both do where the row is not locked before it is judged", async () => {
    const text = TAKE_QUEUES.text.replace("  for update skip locked\n", "");
    expect(text).not.toBe(TAKE_QUEUES.text);
    expect(await wrong(before, take("east", text), take("west", text), right)).not.toEqual([]);
  });
});
