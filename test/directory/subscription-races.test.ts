import { describe, expect, it } from "vitest";
import { askOfClaim, CLAIM } from "../../src/directory/postgres/claim.ts";
import { END_LAPSED } from "../../src/directory/postgres/end-leases.ts";
import {
  askOfInsert,
  INSERT_SUBSCRIPTIONS,
  type InsertRow,
  outcomeOfInsert,
} from "../../src/directory/postgres/insert-subscriptions.ts";
import { askOfRemoval, REMOVE_SUBSCRIPTIONS } from "../../src/directory/postgres/remove-subscriptions.ts";
import { RENEW_LEASE } from "../../src/directory/postgres/renew-lease.ts";
import type { SlotRow, SubscriptionRow } from "../../src/directory/postgres/subscription-rows.ts";
import { type TakenRow, takeSubscriptions } from "../../src/directory/postgres/take-subscriptions.ts";
import { askOfUpdate, UPDATE_SUBSCRIPTIONS } from "../../src/directory/postgres/update-subscriptions.ts";
import { learning } from "../../src/directory/rows.ts";
import { RESERVE } from "../../src/directory/subscriptions.ts";
import { type Act, gated, ORDERS, TwoSessions } from "../support/stepped.ts";

// Two sessions, stepped statement by statement in every order, and where a statement never waits, with the other in whole
// between its snapshot and its locks. Each rule is then shown to be broken by the statement without its guard.

const JOE = "joe@example.com";
const ID = "cdm-1";
const FAR = 4_000_000_000_000;

const sessions = new TwoSessions();

/** `old` has what there is; its lease has lapsed, and is over or not. `new` and `next` live. */
async function begin(over: boolean, rows = 1): Promise<void> {
  await sessions.query(
    "truncate codomain.slots, codomain.changes, codomain.proxies, codomain.subscriptions, codomain.visited",
  );
  await sessions.query(
    `insert into codomain.proxies (owner, contact, lease_until, over) values
      ('old', 'sip:old', now() - interval '1 s', $1), ('new', 'sip:new', now() + interval '1 h', false),
      ('next', 'sip:next', now() + interval '1 h', false)`,
    [over],
  );
  for (let i = 1; i <= rows; i++) {
    const act = insert("old", `cdm-${i}`);
    await sessions.query("update codomain.proxies set over = false where owner = 'old'");
    await sessions.query(act.text, act.values);
    await sessions.query("update codomain.proxies set over = $1 where owner = 'old'", [over]);
  }
}

const state = { dialog: "first", expiresAt: FAR, notifyReserved: 16, leg: null, legServer: null, legReserved: 0 };

function insert(owner: string, id = ID): Act {
  const subscription = {
    ...state,
    id,
    kind: "presence" as const,
    aor: JOE,
    watcher: "ann@example.com",
    origin: null,
    event: "presence",
    extendedEpoch: 0,
  };
  return {
    text: INSERT_SUBSCRIPTIONS.text,
    values: [JSON.stringify([askOfInsert({ owner, subscription, known: false })])],
  };
}

function update(notifyReserved: number, revision = 1, text = UPDATE_SUBSCRIPTIONS.text): Act {
  const next = { ...state, dialog: `reserved ${notifyReserved}`, notifyReserved, extendedEpoch: 0 };
  return { text, values: [JSON.stringify([askOfUpdate({ owner: "old", id: ID, fence: 1, revision, state: next })])] };
}

const remove = (text = REMOVE_SUBSCRIPTIONS.text): Act => ({
  text,
  values: [JSON.stringify([askOfRemoval({ owner: "old", id: ID, fence: 1 })])],
});

const TAKE = takeSubscriptions(10).text;
const take = (owner = "new", text = TAKE): Act => ({ text, values: [owner, RESERVE] });
/** Stopped after its snapshot, before it locks anything. */
const slowly = (text: string) => gated(text, "exists (select from codomain.proxies p where p.owner = $1");
const renew = (text = RENEW_LEASE.text): Act => ({ text, values: ["old", 5000] });
const endLapsed = (text = END_LAPSED.text): Act => ({ text, values: [] });

/** What the claim may ask besides is of no matter here. */
const bind = (to: string): Act => {
  const asks = JSON.stringify([askOfClaim(learning(JOE, to, FAR, null, "t"))]);
  return { text: CLAIM.text, values: CLAIM.text.includes("$2") ? [asks, []] : [asks] };
};

interface Row {
  readonly owner: string;
  readonly fence: number;
  readonly dialog: string;
  readonly reserved: number;
}

async function row(): Promise<Row | undefined> {
  const { rows } = await sessions.query<Row>(
    `select owner, fence::int as fence, dialog, notify_reserved::int as reserved
    from codomain.subscriptions where id = $1`,
    [ID],
  );
  return rows[0];
}

const took = (rows: object[]) =>
  (rows as TakenRow[]).filter((each): each is SubscriptionRow & SlotRow => each.id !== null);

/** What went wrong in which order; empty where nothing did. `check` says what did, or null. */
async function everyOrder(
  prepare: () => Promise<void>,
  a: Act,
  b: Act,
  check: (rows: { a: object[]; b: object[] }, order: string) => Promise<string | null>,
): Promise<string[]> {
  const wrong: string[] = [];
  for (const order of ORDERS) {
    await prepare();
    const said = await check(await sessions.play(order, a, b), order);
    if (said !== null) wrong.push(`${order}: ${said}`);
  }
  return wrong;
}

async function between(
  prepare: () => Promise<void>,
  a: Act,
  b: Act,
  check: (rows: { a: object[]; b: object[] }, order: string) => Promise<string | null>,
): Promise<string | null> {
  await prepare();
  return check(await sessions.between(a, b), "between");
}

describe("insert/claim: a user is never bound without the owner of a hold knowing (concurrency.md 4)", () => {
  /** What the owner knows at the end, who hears changes from his `from`-th step on. */
  const stranded = (from: number, looksAtAnswer = true) =>
    everyOrder(
      () => begin(false, 0),
      insert("new"),
      bind("a"),
      async ({ a }, order) => {
        const slot = outcomeOfInsert(a[0] as InsertRow);
        if (slot.outcome !== "inserted") return slot.outcome;
        const commit = order.lastIndexOf("B");
        const steps = [...order.slice(0, commit)].filter((each) => each === "A").length;
        const heard = steps >= from ? 1 : 0;
        const known = Math.max(looksAtAnswer ? slot.slot.epoch : 0, heard);
        const { rows } = await sessions.query<{ epoch: number }>("select epoch::int as epoch from codomain.slots");
        return known === rows[0]!.epoch ? null : `knows epoch ${known} of ${rows[0]!.epoch}`;
      },
    );

  it("with the index written before the insert, and the slot of the answer", async () => {
    // His first step is `begin`: a commit that comes later is told when the index has been written.
    expect(await stranded(1)).toEqual([]);
  });

  it("fails where the index is written when the insert is answered", async () => {
    expect((await stranded(3)).length).toBeGreaterThan(0);
  });

  it("fails where the slot of the answer is not looked at", async () => {
    expect((await stranded(1, false)).length).toBeGreaterThan(0);
  });
});

describe("endLapsed/renew: a lease is either renewed or over", () => {
  const check = async ({ b }: { b: object[] }) => {
    const { rows } = await sessions.query<{ over: boolean }>("select over from codomain.proxies where owner = 'old'");
    return b.length > 0 && rows[0]!.over ? "renewed, and over" : null;
  };

  it("in every order", async () => {
    expect(await everyOrder(() => begin(false), endLapsed(), renew(), check)).toEqual([]);
  });

  it("fails where the renewal does not ask whether it is over", async () => {
    const unguarded = renew(RENEW_LEASE.text.replace(" and not over", ""));
    expect((await everyOrder(() => begin(false), endLapsed(), unguarded, check)).length).toBeGreaterThan(0);
  });

  it("fails where endLapsed goes by leases as its snapshot shows them", async () => {
    const text = END_LAPSED.text.replace(
      "where not over and lease_until <= clock_timestamp()",
      "where owner in (select owner from codomain.proxies where not over and lease_until <= clock_timestamp())",
    );
    expect(text).not.toBe(END_LAPSED.text);
    expect((await everyOrder(() => begin(false), endLapsed(text), renew(), check)).length).toBeGreaterThan(0);
  });
});

describe("take/renew: nothing is taken from an owner that goes on", () => {
  const check = async ({ a, b }: { a: object[]; b: object[] }) =>
    took(a).length > 0 && b.length > 0 ? "renewed, and taken from" : null;

  it("in every order, whether the lapsed lease is over or not", async () => {
    for (const over of [false, true]) {
      expect(await everyOrder(() => begin(over), take(), renew(), check)).toEqual([]);
      expect(await between(() => begin(over), take("new", slowly(TAKE)), renew(), check)).toBeNull();
    }
  });

  it("fails where rows are taken by the clock, without declaring the lease over first", async () => {
    const text = TAKE.replace(
      "p.owner = o.owner and not p.over",
      "p.owner = o.owner and p.lease_until > clock_timestamp()",
    );
    expect(text).not.toBe(TAKE);
    expect((await everyOrder(() => begin(false), take("new", text), renew(), check)).length).toBeGreaterThan(0);
  });
});

describe("take/update: the new owner begins from what was written last, and the old writes nothing after", () => {
  const check = async ({ a, b }: { a: object[]; b: object[] }) => {
    const written = b.length > 0;
    const taken = took(a)[0];
    const now = await row();
    // Passed over while it was locked: still the old owner's, and found at the next call.
    if (taken === undefined) return now?.owner === "old" && written ? null : `not taken: ${JSON.stringify(now)}`;
    const reserved = (written ? 100 : 16) + RESERVE;
    const told = {
      owner: taken.owner,
      fence: taken.fence,
      dialog: taken.dialog,
      reserved: taken.notify_reserved,
    };
    const right = { owner: "new", fence: 2, dialog: written ? "reserved 100" : "first", reserved };
    if (JSON.stringify(told) !== JSON.stringify(right)) return `taken: ${JSON.stringify(told)}`;
    return JSON.stringify(now) === JSON.stringify(right) ? null : `stored: ${JSON.stringify(now)}`;
  };
  const over = () => begin(true);

  it("in every order", async () => {
    expect(await everyOrder(over, take(), update(100), check)).toEqual([]);
    expect(await between(over, take("new", slowly(TAKE)), update(100), check)).toBeNull();
  });

  it("fails where update does not ask for owner and fence: CSeqs go back", async () => {
    const text = UPDATE_SUBSCRIPTIONS.text.replace(" and s.owner = a.owner and s.fence = a.fence", "");
    const wrong = await everyOrder(over, take(), update(20, 1, text), async () =>
      ((await row())?.reserved ?? 0) < 16 + RESERVE && (await row())?.owner === "new" ? "went back" : null,
    );
    expect(wrong.length).toBeGreaterThan(0);
  });

  it("fails where take raises what its snapshot shows", async () => {
    const text = slowly(TAKE)
      .replace("picked as materialized (\n  select s.id", "picked as materialized (\n  select n.notify_reserved, s.id")
      .replace(") s\n  where", ") s join codomain.subscriptions n on n.id = s.id\n  where")
      .replace("s.notify_reserved + $2", "p.notify_reserved + $2");
    expect(text.match(/p\.notify_reserved|n\.notify_reserved/g)).toHaveLength(2);
    expect(await between(over, take("new", text), update(100), check)).not.toBeNull();
  });
});

describe("take/take: a row has one new owner", () => {
  const twice = async ({ a, b }: { a: object[]; b: object[] }) => {
    const ids = [...took(a), ...took(b)].map((each) => each.id);
    return new Set(ids).size === ids.length && ids.length === 3 ? null : `taken: ${ids.join(" ")}`;
  };
  const three = () => begin(true, 3);

  it("in every order", async () => {
    expect(await everyOrder(three, take("new"), take("next"), twice)).toEqual([]);
    expect(await between(three, take("new", slowly(TAKE)), take("next"), twice)).toBeNull();
  });

  it("fails where the rows are not locked first", async () => {
    const text = TAKE.replace("for update skip locked", "");
    expect((await everyOrder(three, take("new", text), take("next", text), twice)).length).toBeGreaterThan(0);
  });
});

describe("remove/take: removed or taken, never both", () => {
  const check = async ({ a }: { a: object[] }) => {
    const now = await row();
    const taken = took(a).length > 0;
    return taken === (now?.owner === "new") ? null : `taken: ${taken}, stored: ${JSON.stringify(now)}`;
  };
  const over = () => begin(true);

  it("in every order", async () => {
    expect(await everyOrder(over, take(), remove(), check)).toEqual([]);
    expect(await between(over, take("new", slowly(TAKE)), remove(), check)).toBeNull();
  });

  it("fails where remove does not ask for owner and fence", async () => {
    const text = REMOVE_SUBSCRIPTIONS.text.replace(" and s.owner = a.owner and s.fence = a.fence", "");
    expect((await everyOrder(over, take(), remove(text), check)).length).toBeGreaterThan(0);
  });
});

describe("update/update of one owner, the older over a connection that was given up", () => {
  const check = async () => ((await row())?.reserved === 48 ? null : `reserved ${(await row())?.reserved}`);

  it("the newer one stands, in every order", async () => {
    expect(await everyOrder(() => begin(false), update(32, 1), update(48, 2), check)).toEqual([]);
  });

  it("fails without the revision: a reserve that was told as done is taken back", async () => {
    const text = UPDATE_SUBSCRIPTIONS.text.replace(" and s.revision < a.revision", "");
    const wrong = await everyOrder(() => begin(false), update(32, 1, text), update(48, 2, text), check);
    expect(wrong.length).toBeGreaterThan(0);
  });
});

describe("insert/endLapsed: refused, or found by the next call", () => {
  const found =
    (text: string) =>
    async ({ a }: { a: object[] }) => {
      const inserted = (a[0] as InsertRow).live;
      const { rows } = await sessions.query(text);
      return inserted === rows.length > 0 ? null : `inserted: ${inserted}, named: ${JSON.stringify(rows)}`;
    };
  const none = () => begin(false, 0);

  it("in every order", async () => {
    expect(await everyOrder(none, insert("old"), endLapsed(), found(END_LAPSED.text))).toEqual([]);
  });

  it("fails where only those are named whose lease this very call has ended", async () => {
    const text = END_LAPSED.text.replace("select owner from dead\nunion\n", "");
    expect(text).not.toBe(END_LAPSED.text);
    expect((await everyOrder(none, insert("old"), endLapsed(text), found(text))).length).toBeGreaterThan(0);
  });
});
