import { describe, expect, it } from "vitest";
import { judgeEntry } from "../../src/directory/judge-entry.ts";
import { askOfClaim, CLAIM } from "../../src/directory/postgres/claim.ts";
import { ARRIVED, GRANT, REVOKE, SPEND } from "../../src/directory/postgres/credits.ts";
import { askOfEnter, ENTER } from "../../src/directory/postgres/enter.ts";
import { LOCK_PAIR_OF_SUBSCRIPTION, LOCK_PAIRS } from "../../src/directory/postgres/lock-pair.ts";
import { askOfRemoval, REMOVE_SUBSCRIPTIONS } from "../../src/directory/postgres/remove-subscriptions.ts";
import { takeSubscriptions } from "../../src/directory/postgres/take-subscriptions.ts";
import { LEAVE, VISIT } from "../../src/directory/postgres/visit.ts";
import { ENTRY_STATES, type EntryRow, type VisitedRow, visitedOf } from "../../src/directory/postgres/visited-rows.ts";
import { learning } from "../../src/directory/rows.ts";
import { RESERVE } from "../../src/directory/subscriptions.ts";
import type { Entry } from "../../src/directory/unions.ts";
import { type Act, gated, ordersOf, TwoSessions } from "../support/stepped.ts";

// Two sessions, stepped statement by statement in every order; each race is then shown to be lost without its guard.

const PAIR = ["joe@example.com", "ann@example.com", "presence"] as const;
const [JOE, ANN, EVENT] = PAIR;
const FAR = 4_000_000_000_000;
const SERVERS = ["a", "b", "c"];

const sessions = new TwoSessions();

const PAIRS = PAIR.map((each) => [each]);
const locked = { text: LOCK_PAIRS.text, values: PAIRS };

/** A SUBSCRIBE from this server comes in, with nothing that tells it from others. */
function enter(id: string, origin: string, first: Act["first"] | null = locked, state = ENTRY_STATES.text): Act {
  const subscription = {
    id,
    kind: "composed" as const,
    aor: JOE,
    watcher: ANN,
    origin,
    event: EVENT,
    dialog: "",
    expiresAt: FAR,
    notifyReserved: 16,
    leg: null,
    legServer: null,
    legReserved: 16,
    extendedEpoch: 0,
  };
  const servers = SERVERS.filter((each) => each !== origin);
  const entry: Entry = { origin, evidence: null, sent: null, within: null, servers, onward: SERVERS, most: 3 };
  return {
    ...(first === null ? {} : { first }),
    text: state,
    values: [...PAIRS, [id]],
    next: (read) => {
      const rows = (read as EntryRow[]).filter((row): row is VisitedRow & EntryRow => row.chain !== null);
      const judged = judgeEntry(id, entry, rows.map(visitedOf));
      if (judged.outcome === "loop") return { text: "select 'loop' as id", values: [] };
      return {
        text: ENTER.text,
        values: [JSON.stringify([askOfEnter({ owner: "old", subscription, entry }, judged)])],
      };
    },
  };
}

const ofHolder = (holder: string) => ({ text: LOCK_PAIR_OF_SUBSCRIPTION.text, values: [holder] });

function visit(holder: string, server: string, first: Act["first"] | null = ofHolder(holder), text = VISIT.text): Act {
  return { ...(first === null ? {} : { first }), text, values: [holder, "old", 1, server, null] };
}

const leave = (holder: string, server: string, text = LEAVE.text): Act => ({
  text,
  values: [holder, "old", 1, server],
});

/** Nothing that has been set off can be coming back any more. */
const lapse: Act = { text: "update codomain.visited set kept_until = now() - interval '1 s'", values: [] };

const remove = (id: string): Act => ({
  text: REMOVE_SUBSCRIPTIONS.text,
  values: [JSON.stringify([askOfRemoval({ owner: "old", id, fence: 1 })])],
});

const take: Act = { text: takeSubscriptions(10).text, values: ["new", RESERVE] };

async function run({ first, text, values, next }: Act): Promise<void> {
  if (first !== undefined) await sessions.query(first.text, first.values);
  const { rows } = await sessions.query(text, values);
  const more = next?.(rows) ?? null;
  if (more !== null) await sessions.query(more.text, more.values);
}

/** Everything is `old`'s, whose lease is over or not; `new` lives. */
async function begin(acts: readonly Act[], over = false): Promise<void> {
  await sessions.query(
    "delete from codomain.subscriptions; delete from codomain.visited; delete from codomain.credits; delete from codomain.slots; delete from codomain.proxies",
  );
  await sessions.query(
    `insert into codomain.proxies (owner, contact, lease_until) values
      ('old', 'sip:old', now() + interval '1 h'), ('new', 'sip:new', now() + interval '1 h')`,
  );
  for (const act of acts) await run(act);
  if (over) await sessions.query("update codomain.proxies set over = true where owner = 'old'");
}

/** "holder role server", in order. */
async function visited(): Promise<string[]> {
  const { rows } = await sessions.query<{ is: string }>(
    "select holder || ' ' || role || ' ' || server as is from codomain.visited where subscription is not null order by 1",
  );
  return rows.map((row) => row.is);
}

interface Seen {
  readonly a: object[];
  readonly b: object[];
}

type Right = (seen: Seen, left: string[], order: string) => boolean | Promise<boolean>;

/** The orders in which `right` does not hold, or a statement failed. */
async function wrong(
  before: readonly Act[],
  a: Act,
  b: Act,
  right: Right,
  { over = false, most = Number.POSITIVE_INFINITY } = {},
): Promise<string[]> {
  const found: string[] = [];
  for (const order of ordersOf(a, b)) {
    await begin(before, over);
    try {
      const seen = await sessions.play(order, a, b);
      const left = await visited();
      if (!(await right(seen, left, order))) found.push(`${order}: ${JSON.stringify([seen, left])}`);
    } catch (error) {
      found.push(`${order}: ${(error as Error).message}`);
    }
    if (found.length >= most) break;
  }
  return found;
}

/** In some order it does not. */
async function isLost(before: readonly Act[], a: Act, b: Act, right: Right): Promise<boolean> {
  return (await wrong(before, a, b, right, { most: 1 })).length > 0;
}

const isLoop = (rows: object[]) => (rows[0] as { id: string } | undefined)?.id === "loop";
const told = (rows: object[]) => {
  const { held, taken } = rows[0] as { held: boolean; taken: boolean };
  return held ? (taken ? "taken" : "visited") : "lost";
};

describe("enter/enter of one pair on two proxies: one begins the chain, the other is on it", () => {
  const one = (a: Seen) => isLoop(a.a) !== isLoop(a.b);
  const right = (seen: Seen, left: string[]) => one(seen) && left.length === 3;

  it("in every order", async () => {
    expect(await wrong([], enter("one", "a"), enter("two", "b"), right)).toEqual([]);
  });

  it("both begin one without the lock of the pair", async () => {
    expect(await isLost([], enter("one", "a", null), enter("two", "b", null), right)).toBe(true);
  });

  it("and with the lock in the statement that reads: its snapshot is older than the wait", async () => {
    const text = ENTRY_STATES.text.replace(
      "from unnest($1",
      `from (${LOCK_PAIRS.text} offset 0) locked cross join unnest($1`,
    );
    expect(text).not.toBe(ENTRY_STATES.text);
    expect(await isLost([], enter("one", "a", null, text), enter("two", "b", null, text), right)).toBe(true);
  });
});

describe("enter/visit: a server of a chain that both want is taken once", () => {
  const before = [enter("one", "a"), leave("one", "c"), lapse];
  const right = ({ a, b }: Seen, left: string[]) =>
    left.filter((row) => row.endsWith("leg c")).length === 1 && isLoop(a) === (told(b) === "taken");

  it("in every order", async () => {
    expect(await wrong(before, enter("two", "b"), visit("one", "c"), right)).toEqual([]);
  });

  it("without the lock of the pair the second is told an error", async () => {
    expect(await isLost(before, enter("two", "b", null), visit("one", "c", null), right)).toBe(true);
  });
});

describe("visit/visit of two on one chain: one has the server", () => {
  const before = [enter("one", "a"), leave("one", "c"), lapse, enter("two", "b"), leave("two", "c")];
  const right = ({ a, b }: Seen, left: string[]) =>
    [told(a), told(b)].sort().join() === "taken,visited" && left.filter((row) => row.endsWith("leg c")).length === 1;

  it("in every order", async () => {
    expect(await wrong(before, visit("one", "c"), visit("two", "c"), right)).toEqual([]);
  });

  it("without the lock of the pair the second is told an error", async () => {
    expect(await isLost(before, visit("one", "c", null), visit("two", "c", null), right)).toBe(true);
  });
});

describe("enter/remove: a chain is there or it is not", () => {
  const right = ({ a }: Seen, left: string[]) =>
    isLoop(a) ? left.length === 0 : left.join() === "two leg a,two leg c,two start b";

  it("in every order; what it visited goes with it", async () => {
    expect(await wrong([enter("one", "a"), lapse], enter("two", "b"), remove("one"), right)).toEqual([]);
  });

  it("what may be coming back is a loop in every order", async () => {
    const loop = ({ a }: Seen, left: string[]) => isLoop(a) && left.length === 0;
    expect(await wrong([enter("one", "a")], enter("two", "b"), remove("one"), loop)).toEqual([]);
  });
});

describe("visit/remove: nothing is visited by who is gone, and who is gone is told so", () => {
  const before = [enter("one", "a")];
  const right = (_: Seen, left: string[]) => left.length === 0;

  it("in every order", async () => {
    expect(await wrong(before, visit("one", "d"), remove("one"), right)).toEqual([]);
  });

  it("without a lock on the subscription it is an error of the foreign key", async () => {
    const text = VISIT.text.replace(" for share", "");
    expect(text).not.toBe(VISIT.text);
    expect(await isLost(before, visit("one", "d", null, text), remove("one"), right)).toBe(true);
  });
});

describe("visit/take and leave/take: who has lost the subscription changes nothing of what it visits", () => {
  const before = [enter("one", "a")];
  const taken = (rows: object[]) => rows.length > 0 && (rows[0] as { id: string | null }).id !== null;
  /** Taken over while the old owner was at it is passed over; both only where he had ended before. */
  const right =
    (went: (seen: Seen) => boolean, isThere: boolean) =>
    (seen: Seen, left: string[], order: string): boolean => {
      const did = went(seen);
      const endedBefore = order.lastIndexOf("A") < order.indexOf("B", order.indexOf("B") + 1);
      return (
        left.includes("one leg b") === (did ? isThere : !isThere) &&
        (did ? !taken(seen.b) || endedBefore : taken(seen.b))
      );
    };

  it("in every order", async () => {
    const went = ({ a }: Seen) => told(a) === "taken";
    expect(
      await wrong([...before, leave("one", "b")], visit("one", "b"), take, right(went, true), { over: true }),
    ).toEqual([]);
    const gone = async ({ b }: Seen, left: string[], order: string) => {
      const did = !left.includes("one leg b");
      return right(() => did, false)({ a: [], b }, left, order);
    };
    expect(await wrong(before, leave("one", "b"), take, gone, { over: true })).toEqual([]);
  });

  /** He reads that it is his; another takes it; then he does what he was about to. */
  const late = async (change: (text: string) => string) => {
    const slowly = (text: string) => gated(change(text), "s.id = $1");
    await begin(before, true);
    const { a, b } = await sessions.between(visit("one", "d", null, slowly(VISIT.text)), take);
    await begin(before, true);
    const seen = await sessions.between(leave("one", "b", slowly(LEAVE.text)), take);
    expect([taken(b), taken(seen.b)]).toEqual([true, true]);
    return [told(a), (await visited()).includes("one leg b")];
  };

  it("and where another takes it between his snapshot and his locks", async () => {
    expect(await late((text) => text)).toEqual(["lost", true]);
  });

  it("without a lock on the subscription he visits, and gives up what another uses", async () => {
    expect(await late((text) => text.replace(" for share", ""))).toEqual(["taken", false]);
  });
});

describe("enter/claim: where a user is bound is known to who lets his watcher in (concurrency.md 4)", () => {
  const bind: Act = {
    text: CLAIM.text,
    values: [JSON.stringify([askOfClaim(learning(JOE, "a", FAR, null, "t"))]), []],
  };
  /** What the owner knows at the end, who hears changes from his `from`-th step on. */
  const stranded = (from: number) =>
    wrong([], { ...enter("one", "a"), next: () => null }, bind, async ({ a }, _, order) => {
      const steps = [...order.slice(0, order.lastIndexOf("B"))].filter((each) => each === "A").length;
      const known = Math.max((a[0] as EntryRow).epoch, steps >= from ? 1 : 0);
      const { rows } = await sessions.query<{ epoch: number }>("select epoch::int as epoch from codomain.slots");
      return known === rows[0]!.epoch;
    });

  it("with the index written before, in every order", async () => {
    expect(await stranded(1)).toEqual([]);
  });

  it("not where it is written when the answer is there", async () => {
    expect(await stranded(5)).not.toEqual([]);
  });
});

describe("credits: each is spent once", () => {
  const credit = { aor: JOE, watcher: ANN, event: EVENT, digest: "", server: "b" };
  const grant = (count: number, id = "g", underWay = false): Act => ({
    text: GRANT.text,
    values: [JSON.stringify([{ ...credit, id, count, until: FAR, underWay }])],
  });
  const spend = (by: string, text = SPEND.text): Act => ({ text, values: [JOE, ANN, "b", EVENT, "", by] });
  const spent = (rows: object[]) => rows.length > 0;
  const left = async () => (await sessions.query("select from codomain.credits where spent_by is null")).rows.length;

  it("one for two requests: one of them has it, in every order", async () => {
    const right = ({ a, b }: Seen) => spent(a) !== spent(b);
    expect(await wrong([grant(1)], spend("x"), spend("y"), right)).toEqual([]);
  });

  it("both have it without the lock", async () => {
    const text = SPEND.text.replace("for update", "");
    expect(text).not.toBe(SPEND.text);
    const right = ({ a, b }: Seen) => spent(a) !== spent(b);
    expect(await isLost([grant(1)], spend("x", text), spend("y", text), right)).toBe(true);
  });

  it("two for two requests: each has one, in every order", async () => {
    const right = async ({ a, b }: Seen) => spent(a) && spent(b) && (await left()) === 0;
    expect(await wrong([grant(2)], spend("x"), spend("y"), right)).toEqual([]);
  });

  it("one request by two ways spends one, in every order; not where locked ones are skipped", async () => {
    const right = async ({ a, b }: Seen) => spent(a) && spent(b) && (await left()) === 1;
    expect(await wrong([grant(2)], spend("x"), spend("x"), right)).toEqual([]);
    const text = SPEND.text.replace("for update", "for update skip locked");
    expect(await isLost([grant(2)], spend("x", text), spend("x", text), right)).toBe(true);
  });

  it("granted twice under one name is granted once, in every order", async () => {
    const right = async () => (await left()) === 2;
    expect(await wrong([], grant(2), grant(2), right)).toEqual([]);
    expect(await isLost([], grant(2, "g"), grant(2, "h"), right)).toBe(true);
  });

  it("taken back or spent, never both, in every order", async () => {
    const revoke: Act = { text: REVOKE.text, values: [JSON.stringify([{ id: "g", server: "b", one: 1 }])] };
    const rows = async () => (await sessions.query("select from codomain.credits")).rows.length;
    const right = async ({ b }: Seen) => (await rows()) === (spent(b) ? 1 : 0);
    expect(await wrong([grant(1)], revoke, spend("x"), right)).toEqual([]);
  });

  it("spent while what it is for comes: it has come, in every order", async () => {
    const arrived: Act = { text: ARRIVED.text, values: [JSON.stringify([{ id: "g", server: "b", one: 1 }])] };
    const come = async () => (await sessions.query("select from codomain.credits where not under_way")).rows.length;
    const right = async ({ b }: Seen) => spent(b) && (await come()) === 1;
    expect(await wrong([grant(1, "g", true)], arrived, spend("x"), right)).toEqual([]);
  });

  it("spent while it is granted: before or after", async () => {
    const right = async ({ b }: Seen) => (await left()) === (spent(b) ? 0 : 1);
    expect(await wrong([], grant(1), spend("x"), right)).toEqual([]);
  });
});
