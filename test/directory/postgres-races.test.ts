import { beforeEach, describe, expect, it } from "vitest";
import type { Claim, ClaimOutcome, Unbind, UnbindOutcome } from "../../src/directory/directory.ts";
import { type ClaimAsk, judgeClaim, judgeUnbind, type Slot } from "../../src/directory/judge.ts";
import { askOfClaim, CLAIM, type ClaimRow, outcomeOfClaim } from "../../src/directory/postgres/claim.ts";
import { CLAIM_FREE, type FreeRow, outcomeOfFree, valuesOfFree } from "../../src/directory/postgres/claim-free.ts";
import { digestOf, OPEN_FORK, valuesOfForks } from "../../src/directory/postgres/open-fork.ts";
import { outcomeOfUnbind, UNBIND, type UnbindRow, valuesOfUnbind } from "../../src/directory/postgres/unbind.ts";
import { learning, movement } from "../../src/directory/rows.ts";
import { type Act, ORDERS, TwoSessions } from "../support/stepped.ts";

// Two sessions, stepped statement by statement in every order. A right outcome is what one of the two serial orders
// gives, told by the pure judgement. Then the same with the lock taken away, where wrong outcomes must be seen.

const JOE = "joe@example.com";
const FAR = 4_000_000_000_000;

/** `contested`: not done, and to be judged by CLAIM. */
type Outcome = ClaimOutcome | UnbindOutcome | { readonly outcome: "contested"; readonly binding: null };

interface Verb extends Act {
  outcome(rows: object[]): Outcome;
  judge(slot: Slot | undefined): { slot: Slot | undefined; outcome: Outcome };
}

function claimVerb(ask: ClaimAsk, text = CLAIM.text): Verb {
  return {
    text,
    values: [JSON.stringify([askOfClaim(ask)]), []],
    outcome: (rows) => outcomeOfClaim(rows[0] as ClaimRow),
    judge: (slot) => judgeClaim(slot, ask, Date.now()),
  };
}

function claim(server: string, more: Partial<Claim> = {}, text = CLAIM.text): Verb {
  const ask = {
    aor: JOE,
    server,
    origin: "registered",
    expiresAt: FAR,
    conflict: "takeover",
    equalRank: true,
    actor: "t",
  } as const;
  return claimVerb({ ...ask, ...more, onlyFrom: null, onlyEpoch: null, fork: null }, text);
}

function unbind(more: Partial<Unbind> = {}): Verb {
  const ask: Unbind = { aor: JOE, actor: "t", ...more };
  return {
    text: UNBIND.text,
    values: valuesOfUnbind(ask),
    outcome: (rows) => outcomeOfUnbind(rows[0] as UnbindRow | undefined),
    judge(slot) {
      const judged = judgeUnbind(slot, ask, Date.now());
      return { slot: judged.slot ?? undefined, outcome: judged.outcome };
    },
  };
}

/** A claim as it is tried first. */
function free(server: string, cseq: number, text = CLAIM_FREE.text): Verb {
  const order = { callId: `call-${server}`, cseq, expiresAt: FAR };
  const ask: ClaimAsk = {
    aor: JOE,
    server,
    origin: "registered",
    expiresAt: FAR,
    conflict: "takeover",
    equalRank: true,
    actor: "t",
    order,
    onlyFrom: null,
    onlyEpoch: null,
    fork: null,
  };
  return {
    text,
    values: valuesOfFree([ask]),
    outcome: ([row]) => (row === undefined ? CONTESTED : outcomeOfFree(ask, row as FreeRow)),
    judge(slot) {
      const isNewer = (slot?.claims[order.callId]?.cseq ?? -1) < cseq;
      const isFree = isNewer && (slot?.server ?? server) === server && (slot?.origin ?? "registered") === "registered";
      return isFree ? judgeClaim(slot, ask, Date.now()) : { slot, outcome: CONTESTED };
    },
  };
}

const CONTESTED = { outcome: "contested", binding: null } as const;

const learn = (server: string) => claimVerb(learning(JOE, server, FAR, null, "t"));
const move = (to: string, from?: string) =>
  claimVerb(movement({ aor: JOE, to, ...(from === undefined ? {} : { from }), actor: "t" }));
const unlearn = (server: string, epoch: number) => unbind({ server, epoch, origins: ["learned"] });
const refresh = (server: string, cseq: number) =>
  claim(server, { order: { callId: `call-${server}`, cseq, expiresAt: FAR } });

/** Of one user two takings fit. */
const FLAPPING: Partial<Claim> = { damping: { limit: 2, windowMs: 3_600_000 } };

/** Was on a server, and is on none. */
const LEFT = [refresh("a", 1), unbind()];

const PAIRS: Array<{ title: string; before: Verb[]; a: Verb; b: Verb }> = [
  {
    title: "claim/claim of a free user, refuse",
    before: [],
    a: claim("a", { conflict: "refuse" }),
    b: claim("b", { conflict: "refuse" }),
  },
  { title: "claim/claim of a held user, takeover", before: [claim("x")], a: claim("a"), b: claim("b") },
  { title: "claim/unbind", before: [claim("a")], a: claim("b"), b: unbind({ server: "a", epoch: 1 }) },
  {
    title: "claim/unbind by deregistration",
    before: [refresh("a", 1)],
    a: refresh("a", 3),
    b: unbind({ server: "a", order: { callId: "call-a", cseq: 2 } }),
  },
  { title: "move/claim", before: [claim("a")], a: move("b", "a"), b: claim("c") },
  { title: "learn/claim", before: [], a: learn("a"), b: claim("b", { conflict: "refuse" }) },
  { title: "learn/learn", before: [], a: learn("a"), b: learn("b") },
  { title: "unlearn/learn", before: [learn("a")], a: unlearn("a", 1), b: learn("b") },
  { title: "unlearn/claim", before: [learn("a")], a: unlearn("a", 1), b: claim("b") },
  {
    title: "takeover/takeover where one more is one too many",
    before: [claim("x"), claim("y", FLAPPING)],
    a: claim("a", FLAPPING),
    b: claim("b", FLAPPING),
  },
  { title: "late refresh/takeover", before: [refresh("a", 1)], a: refresh("a", 2), b: refresh("b", 1) },
  { title: "first claims of two servers", before: [], a: free("a", 1), b: free("b", 1) },
  { title: "first claims of one who was bound before", before: LEFT, a: free("a", 2), b: free("b", 1) },
  { title: "refresh/takeover", before: [refresh("a", 1)], a: free("a", 2), b: refresh("b", 1) },
  { title: "refresh/refresh of one Call-ID", before: [refresh("a", 1)], a: free("a", 2), b: free("a", 3) },
  {
    title: "refresh/deregistration",
    before: [refresh("a", 1)],
    a: free("a", 3),
    b: unbind({ server: "a", order: { callId: "call-a", cseq: 2 } }),
  },
];

const sessions = new TwoSessions();
beforeEach(async () => {
  await sessions.query("truncate codomain.slots, codomain.open_forks, codomain.changes, codomain.audit");
});

async function stored(): Promise<Seen["slot"]> {
  const { rows } = await sessions.query<Seen["slot"]>(
    "select server, epoch::float8 as epoch from codomain.slots where aor = $1",
    [JOE],
  );
  return rows[0] ?? { server: null, epoch: 0 };
}

interface Seen {
  readonly a: unknown;
  readonly b: unknown;
  readonly slot: { server: string | null; epoch: number };
}

async function race(order: string, before: Verb[], a: Verb, b: Verb): Promise<Seen> {
  await sessions.query("truncate codomain.slots");
  for (const act of before) await sessions.query(act.text, act.values);
  const rows = await sessions.play(order, a, b);
  return { a: brief(a.outcome(rows.a)), b: brief(b.outcome(rows.b)), slot: await stored() };
}

function serial(before: Verb[], first: Verb, second: Verb): [unknown, unknown, Seen["slot"]] {
  let slot: Slot | undefined;
  for (const act of before) slot = act.judge(slot).slot;
  const one = first.judge(slot);
  const two = second.judge(one.slot);
  return [brief(one.outcome), brief(two.outcome), { server: two.slot?.server ?? null, epoch: two.slot?.epoch ?? 0 }];
}

function brief(outcome: Outcome): unknown {
  if (outcome.outcome === "unbound")
    return { outcome: "unbound", epoch: outcome.epoch, server: outcome.previous.server };
  const { server = null, epoch = null } = outcome.binding ?? {};
  return {
    outcome: outcome.outcome,
    server,
    epoch,
    ...(outcome.outcome === "bound" ? { changed: outcome.changed, previous: outcome.previous } : {}),
  };
}

function isSerial(seen: Seen, before: Verb[], a: Verb, b: Verb): boolean {
  const [a1, b1, slot1] = serial(before, a, b);
  const [b2, a2, slot2] = serial(before, b, a);
  const got = JSON.stringify(seen);
  return got === JSON.stringify({ a: a1, b: b1, slot: slot1 }) || got === JSON.stringify({ a: a2, b: b2, slot: slot2 });
}

describe("racing verbs, stepped in every order: the outcome is that of one of the two serial orders", () => {
  for (const { title, before, a, b } of PAIRS) {
    it(title, async () => {
      for (const order of ORDERS) {
        const seen = await race(order, before, a, b);
        expect(isSerial(seen, before, a, b), `${order}: ${JSON.stringify(seen)}`).toBe(true);
      }
    });
  }

  it("the two serial orders do differ, so the check above can fail", () => {
    for (const { title, before, a, b } of PAIRS) {
      const [a1, b1] = serial(before, a, b);
      const [b2, a2] = serial(before, b, a);
      expect(JSON.stringify([a1, b1]), title).not.toBe(JSON.stringify([a2, b2]));
    }
  });
});

describe("without the lock the races are lost", () => {
  /** The same statement, but judging what its snapshot shows in place of the row it has locked. */
  const UNLOCKED = CLAIM.text
    .replace(
      "with asked as materialized",
      "with old as materialized (select * from codomain.slots), asked as materialized",
    )
    .replace(
      /from asked a\n(\s+)cross join lateral \(select t\.at/,
      "from asked a join old s on s.aor = a.aor\n$1cross join lateral (select t.at",
    )
    .replace("where a.aor = s.aor\n  )\n  returning", "where a.aor = excluded.aor\n  )\n  returning");

  it("claim/claim on the snapshot: two servers are bound in one epoch", async () => {
    expect(UNLOCKED.match(/\bold\b/g)?.length).toBe(2);
    const before = [claim("x")];
    const [a, b] = [claim("a", {}, UNLOCKED), claim("b", {}, UNLOCKED)];
    const wrong: Seen[] = [];
    for (const order of ORDERS) {
      const seen = await race(order, before, a, b);
      if (!isSerial(seen, before, a, b)) wrong.push(seen);
    }
    expect(wrong.length).toBeGreaterThan(0);
    expect(wrong[0]).toMatchObject({ a: { outcome: "bound", epoch: 2 }, b: { outcome: "bound", epoch: 2 } });
  });

  it("late refresh/takeover on the snapshot: the superseded server takes him back", async () => {
    const order = { callId: "call-a", cseq: 2, expiresAt: FAR };
    const before = [refresh("a", 1)];
    const [a, b] = [claim("a", { order }, UNLOCKED), refresh("b", 1)];
    const wrong: Seen[] = [];
    for (const each of ORDERS) {
      const seen = await race(each, before, a, b);
      if (!isSerial(seen, before, a, b)) wrong.push(seen);
    }
    expect(wrong.length).toBeGreaterThan(0);
  });

  it("first claims on the snapshot: both servers are bound in one epoch", async () => {
    const unlocked = CLAIM_FREE.text
      .replace("with free as", "with old as materialized (select * from codomain.slots), free as")
      .replace("where (s.server is null or", "where ((select server from old) is null or");
    expect(unlocked.match(/\bold\b/g)?.length).toBe(2);
    const [a, b] = [free("a", 2, unlocked), free("b", 1, unlocked)];
    const wrong: Seen[] = [];
    for (const order of ORDERS) {
      const seen = await race(order, LEFT, a, b);
      if (!isSerial(seen, LEFT, a, b)) wrong.push(seen);
    }
    expect(wrong.length).toBeGreaterThan(0);
    expect([wrong[0]?.a, wrong[0]?.b]).toMatchObject([
      { outcome: "bound", epoch: 3 },
      { outcome: "bound", epoch: 3 },
    ]);
  });

  it("openFork/openFork without the unique key: both open", async () => {
    const [first, second] = [fork("ann@example.com"), fork("bob@example.com")];
    expect(await openedIn(first, second)).toEqual(ORDERS.map(() => 1));
    await sessions.query("drop index codomain.open_forks_one_joinable");
    try {
      expect(Math.max(...(await openedIn(first, second)))).toBe(2);
    } finally {
      await sessions.query("truncate codomain.open_forks");
      await sessions.query(
        "create unique index open_forks_one_joinable on codomain.open_forks (recipient) where joinable",
      );
    }
  });
});

function fork(sender: string): Act {
  const key = { sender, recipient: JOE, method: "MESSAGE", event: "" };
  return {
    text: OPEN_FORK.text,
    values: valuesOfForks(
      [{ ...key, id: sender, key: digestOf(key), asked: ["a"], joinable: true, expiresAt: FAR }],
      "east",
    ),
  };
}

async function openedIn(a: Act, b: Act): Promise<number[]> {
  const opened: number[] = [];
  for (const order of ORDERS) {
    await sessions.query("truncate codomain.open_forks");
    const rows = await sessions.play(order, a, b);
    opened.push(rows.a.length + rows.b.length);
  }
  return opened;
}
