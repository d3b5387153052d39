import { describe, expect, it } from "vitest";
import type { StoredSubscription } from "../../src/directory/subscriptions.ts";
import { FRESH_MS } from "../../src/directory/unions.ts";
import { DOCUMENT_KINDS, etagOf, type Precondition } from "../../src/directory/user-documents.ts";
import type { Harness } from "../contract/harness.ts";
import { fc } from "../support/fast-check.ts";
import { twoInMemory } from "./two-in-memory.ts";
import { twoOnPostgres } from "./two-on-postgres.ts";

// Random histories through the twin and through PostgreSQL: everybody is told the same, and the same is left.

const AGE = `
with leases as (update codomain.proxies set lease_until = lease_until - $1 * interval '1 ms'),
visited as (update codomain.visited set kept_until = kept_until - $1 * interval '1 ms'),
credits as (update codomain.credits set until_at = until_at - $1 * interval '1 ms')
update codomain.subscriptions set expires_at = expires_at - $1 * interval '1 ms'`;
const RESET = `truncate codomain.slots, codomain.users, codomain.subscriptions, codomain.proxies, codomain.visited,
  codomain.credits, codomain.user_documents, codomain.audit`;

const postgres = twoOnPostgres({ age: AGE, reset: RESET, sweepMs: 3_600_000 });

const MINUTE = 60_000;
/** All that ever passes is a multiple of this, and no history takes half of it. */
const STEP = 0.2 * MINUTE;
const SERVERS = ["a", "b", "c", "d"];
const PAIRS = [
  { watcher: "ann@x", aor: "joe@x", event: "presence" },
  { watcher: "ann@x", aor: "bob@x", event: "presence" },
] as const;

const small = fc.nat(5);
// Most of it about one pair, by one owner, so that much of it meets.
const pair = fc.constantFrom(0, 0, 0, 1);
const owner = fc.constantFrom(0, 0, 0, 0, 1, 2);
const server = fc.constantFrom(...SERVERS);
const evidence = fc.constantFrom(null, null, "e1", "e2", "e3");
const texts = ["<a/>", "<b/>", "<c/>"];
const condition = fc.constantFrom<Precondition>(
  {},
  { match: "*" },
  { noneMatch: "*" },
  { match: [etagOf("<a/>")] },
  { match: [etagOf("<b/>"), etagOf("<c/>")] },
  { noneMatch: [etagOf("<a/>")] },
);

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("enter" as const),
      origin: fc.option(server, { nil: null, freq: 6 }),
      evidence,
      sent: evidence,
      within: fc.option(small, { nil: null, freq: 1 }),
      onward: fc.subarray(SERVERS),
      id: fc.nat(7),
      owner,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("visit" as const, "leave" as const),
      id: fc.nat(7),
      server,
      owner,
      fence: fc.constantFrom(1, 1, 1, 2),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), id: fc.nat(7), owner }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("takeOver" as const), from: fc.nat(2), to: fc.nat(2) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("grant" as const, "grant" as const, "spend" as const, "spend" as const, "revoke" as const),
      name: small,
      pair,
      server: fc.constantFrom("a", "b"),
      count: fc.nat(3),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("advance" as const), minutes: fc.constantFrom(0.4, 1, 2) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("put" as const, "drop" as const),
      pair,
      kind: fc.constantFrom(...DOCUMENT_KINDS),
      text: fc.constantFrom(...texts),
      when: condition,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("removeUser" as const), pair }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** Everything that anybody was told, and what is left. */
async function play(h: Harness, history: readonly Step[]): Promise<unknown[]> {
  const owners: string[] = [];
  const name = (owner: string) => owners.indexOf(owner);
  const open = async () => owners.push(await h.run(h.east.leases.open("sip:x", 100 * MINUTE))) - 1;
  for (let i = 0; i < 3; i++) await open();
  /** Who stands for the three now. */
  const current = [0, 1, 2];
  const ownerAt = (i: number) => owners[current[i]!]!;
  const id = (i: number) => `cdm-${String(i).padStart(2, "0")}`;
  const began = h.now();
  /** By the clock of this database, which goes on by itself or is put back when time passes; without what the machine takes. */
  const now = () => began + Math.round((h.now() - began) / STEP) * STEP;
  const told: unknown[] = [];
  for (const [i, each] of history.entries()) {
    const proxy = i % 2 === 0 ? h.east : h.west;
    switch (each.do) {
      case "enter": {
        const { origin, onward, sent, within } = each;
        const row: Omit<StoredSubscription, "fence"> = {
          // An id is never used for two pairs.
          ...PAIRS[each.id % 4 === 3 ? 1 : 0]!,
          id: id(each.id),
          kind: "composed",
          origin,
          dialog: `at ${i}`,
          expiresAt: now() + (each.id % 3 === 0 ? 2.5 : 50) * MINUTE,
          notifyReserved: 16,
          leg: null,
          legServer: null,
          legReserved: 16,
          extendedEpoch: 0,
        };
        const servers = SERVERS.filter((one) => one !== origin);
        const entry = {
          origin,
          sent,
          servers,
          onward,
          most: 2,
          evidence: origin === null ? null : each.evidence,
          within: within === null ? null : id(within),
        };
        told.push(await h.run(proxy.unions.enter(ownerAt(each.owner), row, entry)));
        break;
      }
      case "visit":
        told.push(await h.run(proxy.unions.visit(ownerAt(each.owner), id(each.id), each.fence, each.server, "e9")));
        break;
      case "leave":
        await h.run(proxy.unions.leave(ownerAt(each.owner), id(each.id), each.fence, each.server));
        break;
      case "remove":
        await h.run(proxy.subscriptions.remove(ownerAt(each.owner), id(each.id), 1));
        break;
      case "takeOver": {
        await h.run(proxy.leases.close(ownerAt(each.from)));
        const to = each.to === each.from ? await open() : current[each.to]!;
        const taken = await h.run(proxy.subscriptions.take(owners[to]!, 100));
        told.push(taken.map(({ subscription }) => [subscription.id, subscription.fence]).sort());
        if (each.to === each.from) current[each.from] = to;
        else current[each.from] = await open();
        break;
      }
      case "grant": {
        const credit = { ...PAIRS[each.pair]!, digest: "", server: each.server, count: each.count };
        await h.run(proxy.unions.grant(`g${each.name}`, [credit], now() + 1.5 * MINUTE));
        break;
      }
      case "revoke":
        await h.run(proxy.unions.revoke(`g${each.name}`, each.server));
        break;
      case "spend":
        told.push(
          await h.run(proxy.unions.spend({ ...PAIRS[each.pair]!, digest: "", server: each.server }, `${each.name}`)),
        );
        break;
      case "advance":
        await h.advance(each.minutes * MINUTE);
        break;
      case "put":
        told.push(await h.run(proxy.documents.put(PAIRS[each.pair]!.aor, each.kind, each.text, each.when, "t")));
        break;
      case "drop":
        told.push(await h.run(proxy.documents.remove(PAIRS[each.pair]!.aor, each.kind, each.when, "t")));
        break;
      case "removeUser":
        told.push(await h.run(proxy.removeUser(PAIRS[each.pair]!.aor, "t")));
        break;
    }
    told.push(each.do);
  }
  for (const each of PAIRS) told.push(await h.run(h.west.unions.visited(each)));
  const rows = await h.run(h.west.subscriptions.list({ limit: 100 }));
  told.push(rows.map((row) => [row.id, row.dialog, row.fence, name(row.owner)]));
  for (const kind of DOCUMENT_KINDS) {
    const documents = await h.run(h.west.documents.list({ kind, limit: 100 }));
    told.push(documents.map(({ changedAt: _, ...document }) => document));
  }
  const audit = await h.run(h.west.audit({ limit: 100 }));
  told.push(audit.map(({ action, aor, before, after }) => ({ action, aor, before, after })));
  return told;
}

describe("the twin and PostgreSQL are alike", () => {
  it("in what enters, is visited, spent, written and told, over random histories", { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 50 }), async (history) => {
        const real = await postgres.harness();
        const twin = await twoInMemory([0, 0]);
        try {
          const begun = performance.now();
          const told = await play(real, history);
          // A real database that was slow takes a start for an older one.
          if (performance.now() - begun < FRESH_MS) expect(await play(twin, history)).toEqual(told);
        } finally {
          await real.close();
          await twin.close();
        }
      }),
      { numRuns: 40, endOnFailure: false },
    );
  });
});
