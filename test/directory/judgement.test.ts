import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BindingOrigin } from "../../src/directory/directory.ts";
import { type ClaimAsk, currentBinding, judgeClaim, judgeUnbind, type Slot } from "../../src/directory/judge.ts";
import { askOfClaim, CLAIM, type ClaimRow, outcomeOfClaim } from "../../src/directory/postgres/claim.ts";
import {
  CLAIM_FREE,
  type FreeRow,
  mayBeFree,
  outcomeOfFree,
  valuesOfFree,
} from "../../src/directory/postgres/claim-free.ts";
import { outcomeOfUnbind, UNBIND, type UnbindRow, valuesOfUnbind } from "../../src/directory/postgres/unbind.ts";
import { fc } from "../support/fast-check.ts";
import { startTestServer, type TestDatabase, type TestServer } from "../support/postgres.ts";

// The judgement is written twice, in TypeScript for the twin and in SQL for Postgres. Random histories go through both.

const LONG = 3_600_000;
const origin = fc.constantFrom<BindingOrigin>("learned", "published", "registered", "admin", "provisioned");
const server = fc.constantFrom("a", "b", "c");
const order = fc.option(
  fc.record({
    callId: fc.constantFrom("c1", "c2", "c3"),
    cseq: fc.integer({ min: 1, max: 5 }),
    grant: fc.constantFrom(-LONG * 2, -1, LONG),
  }),
  { nil: undefined },
);
/** Far in the past or the future, so that both clocks agree. */
const expiry = fc.constantFrom(null, -LONG, LONG, 2 * LONG);

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("claim" as const),
      server,
      origin,
      order,
      expiry,
      takeover: fc.boolean(),
      equalRank: fc.boolean(),
      onlyFrom: fc.option(server, { nil: null, freq: 8 }),
      // Windows of hours, so that the clocks of both need agree on the hour only.
      damping: fc.option(fc.record({ limit: fc.integer({ min: 1, max: 3 }), windowMs: fc.constant(6 * LONG) }), {
        nil: undefined,
      }),
      onlyEpoch: fc.option(fc.integer({ min: 0, max: 4 }), { nil: null, freq: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("unbind" as const),
      server: fc.option(server, { nil: undefined }),
      order: fc.option(fc.record({ callId: fc.constantFrom("c1", "c2"), cseq: fc.integer({ min: 1, max: 6 }) }), {
        nil: undefined,
      }),
      origins: fc.option(fc.uniqueArray(origin, { minLength: 1 }), { nil: undefined, freq: 5 }),
      epochBehind: fc.option(fc.integer({ min: 0, max: 1 }), { nil: undefined, freq: 5 }),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function askOf(aor: string, each: Step & { kind: "claim" }, base: number): ClaimAsk {
  const { order: given, expiry: ends } = each;
  return {
    aor,
    server: each.server,
    origin: each.origin,
    expiresAt: ends === null ? null : base + ends,
    conflict: each.takeover ? "takeover" : "refuse",
    equalRank: each.equalRank,
    actor: "t",
    onlyFrom: given === undefined ? each.onlyFrom : null,
    onlyEpoch: given === undefined && each.onlyFrom !== null ? each.onlyEpoch : null,
    fork: null,
    ...(each.damping === undefined ? {} : { damping: each.damping }),
    ...(given === undefined
      ? {}
      : { order: { callId: given.callId, cseq: given.cseq, expiresAt: base + given.grant } }),
  };
}

describe("the judgement of a claim in TypeScript and in SQL", () => {
  let postgres: TestServer;
  let database: TestDatabase;
  beforeAll(async () => {
    postgres = await startTestServer();
    database = await postgres.database();
  });
  afterAll(async () => {
    await database?.drop();
    await postgres?.stop();
  });

  it("agrees on outcome, slot and what is remembered, over random histories", async () => {
    const client = await database.connect();
    let run = 0;
    let uncontested = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
        const aor = `u${run++}@example.com`;
        const base = Date.now();
        let slot: Slot | undefined;
        for (const each of steps) {
          if (each.kind === "claim") {
            const ask = askOf(aor, each, base);
            const judged = judgeClaim(slot, ask, Date.now());
            const { outcome, tell, free } = await claimed(client, ask);
            expect(outcome).toEqual(judged.outcome);
            expect(tell).toBe(judged.tell);
            if (free) uncontested++;
            slot = judged.slot;
          } else {
            const epoch =
              each.epochBehind === undefined
                ? undefined
                : currentBinding(aor, slot, Date.now()).epoch - each.epochBehind;
            const { server: named, order: given, origins } = each;
            const ask = {
              aor,
              actor: "t",
              ...(named === undefined ? {} : { server: named }),
              ...(given === undefined ? {} : { order: given }),
              ...(origins === undefined ? {} : { origins }),
              ...(epoch === undefined ? {} : { epoch }),
            };
            const judged = judgeUnbind(slot, ask, Date.now());
            const { rows } = await client.query<UnbindRow>({
              name: "unbind",
              text: UNBIND.text,
              values: valuesOfUnbind(ask),
            });
            expect(outcomeOfUnbind(rows[0])).toEqual(judged.outcome);
            slot = judged.slot ?? slot;
          }
        }
        const { rows } = await client.query(
          "select server, origin, epoch::float8 as epoch, round(extract(epoch from expires_at)::float8 * 1000) as ends, claims, extract(epoch from calm_at)::float8 * 1000 as calm from codomain.slots where aor = $1",
          [aor],
        );
        const row = rows[0];
        const {
          claims = {},
          calmAt = null,
          ...rest
        } = slot ?? { server: null, origin: null, epoch: 0, expiresAt: null };
        if (row === undefined) {
          expect(slot).toBeUndefined();
          return;
        }
        expect({ server: row.server, origin: row.origin, epoch: row.epoch, expiresAt: row.ends }).toEqual(rest);
        expect([row.calm === null, Math.abs((row.calm ?? 0) - (calmAt ?? 0)) < 60_000]).toEqual([
          calmAt === null,
          true,
        ]);
        expect(withoutMoments(decoded(row.claims), base)).toEqual(withoutMoments(claims, base));
      }),
      { numRuns: 300 },
    );
    expect(uncontested).toBeGreaterThan(100);
  });
});

/** As the directory does it: where it may be, by the statement for those that nobody contests, and else by the whole one. */
async function claimed(client: pg.Client, ask: ClaimAsk): Promise<{ outcome: object; tell: boolean; free: boolean }> {
  if (mayBeFree(ask)) {
    const { name, text } = CLAIM_FREE;
    const { rows } = await client.query<FreeRow>({ name, text, values: valuesOfFree([ask]) });
    const [row] = rows;
    if (row !== undefined) return { outcome: outcomeOfFree(ask, row), tell: row.verdict === "bound", free: true };
  }
  const { name, text } = CLAIM;
  const { rows } = await client.query<ClaimRow>({ name, text, values: [JSON.stringify([askOfClaim(ask)]), []] });
  const row = rows[0] as ClaimRow;
  return { outcome: outcomeOfClaim(row), tell: row.verdict === "bound" || row.verdict === "told", free: false };
}

/** A deregistration of an unknown Call-ID is stamped with the clock of whoever judges: only about the same in both. */
function withoutMoments(claims: Slot["claims"], base: number): object {
  return Object.fromEntries(
    Object.entries(claims).map(([key, known]) => [
      key,
      { ...known, until: Math.abs(known.until - base) < 60_000 && known.ended ? "now" : known.until },
    ]),
  );
}

/** As the row keeps them: cseq, until, flags and server, with tabs between. */
function decoded(claims: Record<string, string>): Slot["claims"] {
  return Object.fromEntries(
    Object.entries(claims).map(([key, text]) => {
      const [cseq, until, flags = "", server = null] = text.split("\t");
      return [
        key,
        { server, cseq: Number(cseq), until: Number(until), ended: flags[0] === "e", refused: flags[1] === "r" },
      ];
    }),
  );
}
