import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type {
  Binding,
  Change,
  Claim,
  ClaimOrder,
  ClaimOutcome,
  Directory,
  ForkKey,
  Lookup,
} from "../../src/directory/directory.ts";
import type { Harness } from "./harness.ts";

const HOUR = 3_600_000;
const JOE = "joe@example.com";

export function directoryContract(name: string, open: () => Promise<Harness>): void {
  describe(`the contract of a directory: ${name}`, () => {
    let h: Harness;
    beforeEach(async () => {
      h = await open();
    });
    afterEach(async () => {
      await h.close();
    });

    const registered = (server: string, order?: Partial<ClaimOrder>, more: Partial<Claim> = {}): Claim => ({
      aor: JOE,
      server,
      origin: "registered",
      expiresAt: h.now() + HOUR,
      conflict: "takeover",
      equalRank: true,
      actor: server,
      ...(order === undefined
        ? {}
        : { order: { callId: `call-${server}`, cseq: 1, expiresAt: h.now() + HOUR, ...order } }),
      ...more,
    });
    const claim = (...args: Parameters<typeof registered>) => h.run(h.east.claim(registered(...args)));
    const bind = (server: string, origin: Claim["origin"], more: Partial<Claim> = {}) =>
      h.run(h.east.claim({ ...registered(server), origin, expiresAt: null, equalRank: false, ...more }));
    const lookup = (aor = JOE) => h.run(h.east.lookup(aor));
    const fork = (
      sender = "ann@example.com",
      method = "MESSAGE",
      event = "",
    ): ForkKey & { asked: string[]; expiresAt: number } => ({
      sender,
      recipient: JOE,
      method,
      event,
      asked: ["a", "b"],
      expiresAt: h.now() + 60_000,
    });

    describe("slots and epochs (models.md, Words; concurrency.md 1, 2)", () => {
      it("a user nobody ever spoke of has no record, and epoch 0", async () => {
        expect(await lookup()).toEqual({ state: "no-record", epoch: 0 });
      });

      it("the first claim binds with epoch 1", async () => {
        const outcome = await claim("a");
        expect(outcome).toMatchObject({
          outcome: "bound",
          changed: true,
          previous: null,
          binding: { server: "a", epoch: 1 },
        });
        expect(await lookup()).toMatchObject({
          state: "bound",
          epoch: 1,
          user: null,
          binding: { origin: "registered" },
        });
      });

      it("the epoch rises when the server changes, and only then", async () => {
        expect(epochOf(await claim("a"))).toBe(1);
        expect(epochOf(await claim("a"))).toBe(1);
        expect(epochOf(await claim("b"))).toBe(2);
        expect(epochOf(await bind("b", "provisioned"))).toBe(2);
      });

      it("unbinding raises the epoch, and so does binding again to the same server", async () => {
        await claim("a");
        expect(await h.run(h.east.unbind({ aor: JOE, actor: "t" }))).toMatchObject({ outcome: "unbound", epoch: 2 });
        expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 2 });
        expect(epochOf(await claim("a"))).toBe(3);
      });

      it("an expired binding is unbound, one epoch later, swept or not", async () => {
        await claim("a");
        await h.advance(HOUR + 1);
        expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 2 });
        expect(epochOf(await claim("a"))).toBe(3);
      });

      it("an expired binding is free for anyone, whatever its origin", async () => {
        await bind("a", "provisioned", { expiresAt: h.now() + 1000 });
        await h.advance(1001);
        expect(await bind("b", "learned", { conflict: "refuse" })).toMatchObject({ outcome: "bound", previous: null });
      });

      it("removing a user keeps the slot with its epoch", async () => {
        await claim("a");
        expect(await h.run(h.east.removeUser(JOE, "t"))).toBe(true);
        expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 2, user: null });
        expect(epochOf(await claim("a"))).toBe(3);
      });
    });

    describe("precedence among live bindings (models.md, Words)", () => {
      const ORDER = ["learned", "registered", "admin"] as const;
      for (const [i, held] of ORDER.entries()) {
        for (const [j, asked] of ORDER.entries()) {
          const wins = j >= i;
          it(`${asked} ${wins ? "replaces" : "never replaces"} a live ${held} binding`, async () => {
            await bind("a", held);
            const outcome = await bind("b", asked);
            if (wins)
              expect(outcome).toMatchObject({
                outcome: "bound",
                previous: "a",
                binding: { server: "b", origin: asked },
              });
            else
              expect(outcome).toMatchObject({ outcome: "held-by", binding: { server: "a", origin: held, epoch: 1 } });
          });
        }
      }

      it("registered and published rank equal, and so do admin and provisioned", async () => {
        await bind("a", "registered");
        expect(await bind("b", "published")).toMatchObject({ outcome: "bound" });
        expect(await bind("c", "provisioned")).toMatchObject({ outcome: "bound" });
        expect(await bind("d", "admin")).toMatchObject({ outcome: "bound" });
      });

      it("refuse: of equals the holder stays; a higher origin wins all the same", async () => {
        await bind("a", "registered", { conflict: "refuse" });
        expect(await bind("b", "registered", { conflict: "refuse" })).toMatchObject({
          outcome: "held-by",
          binding: { server: "a" },
        });
        expect(await bind("b", "admin", { conflict: "refuse" })).toMatchObject({ outcome: "bound" });
      });

      it("exclusive: admin, registered and published rank equal, judged by conflict alone", async () => {
        await bind("a", "admin", { equalRank: true });
        expect(await bind("b", "registered", { equalRank: true, conflict: "refuse" })).toMatchObject({
          outcome: "held-by",
        });
        expect(await bind("b", "registered", { equalRank: true })).toMatchObject({ outcome: "bound", previous: "a" });
      });

      it("exclusive: only provisioned pins a user", async () => {
        await bind("a", "provisioned");
        expect(await bind("b", "admin", { equalRank: true })).toMatchObject({ outcome: "held-by" });
        expect(await bind("b", "registered", { equalRank: true })).toMatchObject({ outcome: "held-by" });
      });

      it("a lower origin on the same server leaves the higher one and its expiry", async () => {
        await bind("a", "provisioned");
        expect(await claim("a")).toMatchObject({
          outcome: "bound",
          changed: false,
          binding: { origin: "provisioned", expiresAt: null },
        });
      });

      it("an equal origin on the same server renews the expiry", async () => {
        await claim("a");
        const outcome = await claim("a", undefined, { expiresAt: h.now() + 2 * HOUR });
        expect(outcome).toMatchObject({ outcome: "bound", changed: false });
        expect(bindingOf(outcome).expiresAt).toBeGreaterThan(h.now() + HOUR);
      });
    });

    describe("what orders claims (RFC 3261 10.3 step 7; models.md, Exclusive)", () => {
      it("a repeated (Call-ID, CSeq) of the holder is told bound, unchanged (concurrency.md 9)", async () => {
        await claim("a", {});
        expect(await claim("a", {})).toMatchObject({ outcome: "bound", changed: false, binding: { epoch: 1 } });
      });

      it("a repeated (Call-ID, CSeq) never claims", async () => {
        await claim("a", {});
        await h.run(h.east.unbind({ aor: JOE, actor: "t" }));
        expect(await claim("a", {})).toEqual({ outcome: "stale", binding: null });
        expect(await lookup()).toMatchObject({ state: "no-binding" });
      });

      it("a lower CSeq with the same Call-ID is stale", async () => {
        await claim("a", { cseq: 5 });
        expect(await claim("a", { cseq: 4 })).toMatchObject({ outcome: "stale", binding: { server: "a" } });
      });

      it("a higher CSeq with the same Call-ID refreshes", async () => {
        await claim("a", { cseq: 5 });
        expect(await claim("a", { cseq: 6 })).toMatchObject({ outcome: "bound", changed: false });
      });

      it("a late refresh of a superseded claim is no claim", async () => {
        await claim("a", { cseq: 1 });
        await claim("b", {});
        expect(await claim("a", { cseq: 2 })).toMatchObject({ outcome: "stale", binding: { server: "b", epoch: 2 } });
      });

      it("a superseded claim that was deregistered may claim again", async () => {
        await claim("a", { cseq: 1 });
        await claim("b", {});
        const order = { callId: "call-a", cseq: 2 };
        expect(await h.run(h.east.unbind({ aor: JOE, server: "a", order, actor: "a" }))).toMatchObject({
          outcome: "stale",
          binding: { server: "b" },
        });
        expect(await claim("a", { cseq: 3 })).toMatchObject({ outcome: "bound", previous: "b" });
      });

      it("a superseded claim that outlived its granted Expires may claim again", async () => {
        await claim("a", { cseq: 1, expiresAt: h.now() + 60_000 });
        await claim("b", {});
        await h.advance(60_001);
        expect(await claim("a", { cseq: 2 })).toMatchObject({ outcome: "bound", previous: "b" });
      });

      it("with nobody bound, a superseded claim's next refresh is a new claim", async () => {
        await claim("a", { cseq: 1 });
        await claim("b", {});
        await h.run(h.east.unbind({ aor: JOE, actor: "t" }));
        expect(await claim("a", { cseq: 2 })).toMatchObject({ outcome: "bound", binding: { server: "a", epoch: 4 } });
      });

      it("one Call-ID may move between servers: UAs keep one for all their registrations (RFC 3261 10.2)", async () => {
        await claim("a", { callId: "ua", cseq: 1 });
        expect(await claim("b", { callId: "ua", cseq: 2 })).toMatchObject({ outcome: "bound", previous: "a" });
        expect(await claim("a", { callId: "ua", cseq: 3 })).toMatchObject({ outcome: "bound", previous: "b" });
      });

      it("each binding keeps a set: a second Call-ID on the same server leaves the first one's CSeq", async () => {
        await claim("a", { callId: "phone-1", cseq: 7 });
        await claim("a", { callId: "phone-2", cseq: 1 });
        expect(await claim("a", { callId: "phone-1", cseq: 7 })).toMatchObject({ outcome: "bound", changed: false });
        expect(await claim("a", { callId: "phone-1", cseq: 6 })).toMatchObject({ outcome: "stale" });
      });

      it("a refused claim, repeated, is refused again, and does not claim once he is free", async () => {
        await bind("a", "registered");
        const refused = { conflict: "refuse" } as const;
        expect(await claim("b", { cseq: 1 }, refused)).toMatchObject({ outcome: "held-by", binding: { server: "a" } });
        expect(await claim("b", { cseq: 1 }, refused)).toMatchObject({ outcome: "held-by", binding: { server: "a" } });
        await h.run(h.east.unbind({ aor: JOE, actor: "t" }));
        expect(await claim("b", { cseq: 1 }, refused)).toEqual({ outcome: "stale", binding: null });
        expect(await claim("b", { cseq: 2 }, refused)).toMatchObject({ outcome: "bound" });
      });

      it("an enormous Call-ID orders claims like any other", async () => {
        const callId = "x".repeat(9000);
        await claim("a", { callId, cseq: 2 });
        expect(await claim("a", { callId, cseq: 1 })).toMatchObject({ outcome: "stale" });
      });

      it("a hundred Call-IDs are bounded in number, the newest of them remembered", async () => {
        for (let i = 0; i < 100; i++)
          await claim("a", { callId: `c${i}`, cseq: 2, expiresAt: h.now() + HOUR + i * 1000 });
        expect(await claim("a", { callId: "c99", cseq: 1 })).toMatchObject({ outcome: "stale" });
        expect(await claim("a", { callId: "c0", cseq: 1 })).toMatchObject({ outcome: "bound" });
      });
    });

    describe("flap damping (models.md, Exclusive: it counts claims, never admin moves)", () => {
      const WINDOW = 600_000;
      const damped = { damping: { limit: 3, windowMs: WINDOW } } as const;
      let calls = 0;
      const take = (server: string, more: Partial<Claim> = {}) =>
        claim(server, { callId: `flap-${++calls}` }, { ...damped, ...more });
      const fight = async (): Promise<void> => {
        await take("a");
        for (const server of ["b", "a", "b"]) {
          expect(await take(server)).toMatchObject({ outcome: "bound", changed: true });
        }
      };

      it("one taking over the limit is refused, and the holder keeps him", async () => {
        await fight();
        expect(await take("a")).toMatchObject({ outcome: "damped", binding: { server: "b", epoch: 4 } });
        expect(await lookup()).toMatchObject({ state: "bound", binding: { server: "b", epoch: 4 } });
        // The holder's own refreshes are no takings.
        expect(await take("b")).toMatchObject({ outcome: "bound", changed: false });
      });

      it("who tries again and again gets him never; after a window of quiet the next one does", async () => {
        await fight();
        for (let i = 0; i < 4; i++) {
          expect(await take("a")).toMatchObject({ outcome: "damped" });
          await h.advance(WINDOW * 0.9);
        }
        expect(await take("a")).toMatchObject({ outcome: "damped" });
        await h.advance(WINDOW + 1_000);
        expect(await take("a")).toMatchObject({ outcome: "bound", binding: { server: "a", epoch: 5 } });
        expect(await take("b")).toMatchObject({ outcome: "damped" });
      });

      it("as many as the window has room for are never refused", async () => {
        await take("a");
        for (let i = 0; i < 12; i++) {
          expect(await take(i % 2 === 0 ? "b" : "a")).toMatchObject({ outcome: "bound" });
          await h.advance(WINDOW / 3);
        }
      });

      it("neither an admin's moves nor logging out and in again are counted, and a damped user can be moved", async () => {
        await take("a");
        for (let i = 0; i < 8; i++) {
          const to = i % 2 === 0 ? "b" : "a";
          expect(await h.run(h.east.move({ aor: JOE, to, equalRank: true, actor: "admin" }))).toMatchObject({
            outcome: "bound",
          });
        }
        for (let i = 0; i < 8; i++) {
          await h.run(h.east.unbind({ aor: JOE, actor: "t" }));
          expect(await take(i % 2 === 0 ? "b" : "a")).toMatchObject({ outcome: "bound" });
        }
        await fight();
        expect(await take("a")).toMatchObject({ outcome: "damped" });
        expect(await h.run(h.east.move({ aor: JOE, to: "a", equalRank: true, actor: "admin" }))).toMatchObject({
          outcome: "bound",
        });
      });

      it("a claim refused for another reason is not counted", async () => {
        await take("a");
        for (let i = 0; i < 8; i++)
          expect(await take("b", { conflict: "refuse" })).toMatchObject({ outcome: "held-by" });
        expect(await take("b")).toMatchObject({ outcome: "bound" });
      });

      it("one damped, repeated, is refused again (concurrency.md 9)", async () => {
        await fight();
        const again = { callId: "once", cseq: 1 };
        expect(await claim("a", again, damped)).toMatchObject({ outcome: "damped" });
        expect(await claim("a", again, damped)).toMatchObject({ outcome: "held-by", binding: { server: "b" } });
      });

      it("two proxies' takings are counted together", async () => {
        await take("a");
        const outcomes = [];
        for (let i = 0; i < 4; i++) {
          const server = i % 2 === 0 ? "b" : "a";
          const ask = registered(server, { callId: `two-${i}` }, damped);
          outcomes.push((await h.run((i % 2 === 0 ? h.east : h.west).claim(ask))).outcome);
        }
        expect(outcomes).toEqual(["bound", "bound", "bound", "damped"]);
      });
    });

    describe("a refresh only (RFC 3903: a conditional PUBLISH claims nobody)", () => {
      const refresh = (server: string) =>
        claim(server, undefined, { refreshOnly: true, expiresAt: h.now() + 2 * HOUR });

      it("renews what this server has; binds nobody else's user, and nobody who is bound nowhere", async () => {
        expect(await refresh("a")).toEqual({ outcome: "stale", binding: null });
        await claim("a");
        expect(await refresh("a")).toMatchObject({ outcome: "bound", changed: false, binding: { epoch: 1 } });
        expect(await refresh("b")).toMatchObject({ outcome: "held-by", binding: { server: "a" } });
        await h.advance(HOUR + 1);
        expect(await lookup()).toMatchObject({ state: "bound", epoch: 1 });
        await h.run(h.east.unbind({ aor: JOE, actor: "t" }));
        expect(await refresh("a")).toEqual({ outcome: "stale", binding: null });
      });
    });

    describe("a claim of a user who was not looked up", () => {
      const unread = (server: string, cseq: number) => h.run(h.east.claimUnread(registered(server, { cseq })));

      it("is any other claim, where he has no record: first, refreshed, taken over, late", async () => {
        const outcomes: unknown[] = [];
        for (const [server, cseq] of [["a", 1] as const, ["a", 2] as const, ["b", 1] as const, ["a", 3] as const]) {
          const claimed = await unread(server, cseq);
          expect(claimed?.stored).toBe(false);
          const { outcome, binding } = claimed!.outcome;
          outcomes.push([outcome, binding?.server, binding?.epoch]);
        }
        expect(outcomes).toEqual([
          ["bound", "a", 1],
          ["bound", "a", 1],
          ["bound", "b", 2],
          ["stale", "b", 2],
        ]);
      });

      it("does nothing where he has one, bound or not", async () => {
        await h.run(h.west.putUser({ aor: JOE, model: null, settings: {}, identities: {} }, "ops"));
        expect(await unread("a", 1)).toBeNull();
        expect(await lookup()).toMatchObject({ state: "no-binding", epoch: 0 });
        await claim("a", { cseq: 1 });
        expect(await unread("b", 1)).toBeNull();
        expect(await unread("a", 2)).toBeNull();
        expect(await lookup()).toMatchObject({ binding: { server: "a", epoch: 1 } });
      });
    });

    describe("evictions: a server that lost a user is told, once it is sure that it will be (models.md, Eviction)", () => {
      const take = (proxy = h.east, limit = 10) => h.run(proxy.evictions.take(limit));
      beforeEach(() => {
        for (const proxy of [h.east, h.west]) proxy.evictions.configure(["a"]);
      });

      it("a takeover and a move write it down; other servers' losses, and who lost nobody, do not", async () => {
        await claim("a");
        await claim("b", { callId: "1" });
        expect((await take()).taken).toEqual([{ aor: JOE, server: "a", epoch: 2, tries: 1 }]);
        await claim("c", { callId: "2" });
        expect((await take()).taken).toEqual([]);
        await claim("a", { callId: "3" });
        await h.run(h.east.move({ aor: JOE, to: "b", equalRank: true, actor: "admin" }));
        expect((await take()).taken).toEqual([{ aor: JOE, server: "a", epoch: 5, tries: 1 }]);
      });

      it("in the exclusive model only", async () => {
        await bind("a", "admin");
        await bind("b", "admin");
        expect(await take()).toEqual({ taken: [], givenUp: [] });
      });

      it("one proxy has it; it is due again when that one cannot have finished, and later and later", async () => {
        await claim("a");
        await claim("b", { callId: "1" });
        const both = await h.run(Promise.all([h.east.evictions.take(10), h.west.evictions.take(10)]));
        expect(both.map((each) => each.taken.length).sort()).toEqual([0, 1]);
        expect((await take(h.west)).taken).toEqual([]);
        await h.advance(41_000);
        expect((await take(h.west)).taken).toMatchObject([{ server: "a", tries: 2 }]);
        await h.advance(41_000);
        expect((await take()).taken).toEqual([]);
        await h.advance(41_000);
        expect((await take()).taken).toMatchObject([{ server: "a", tries: 3 }]);
      });

      it("is over when the server has answered, unless he was lost once more meanwhile", async () => {
        await claim("a");
        await claim("b", { callId: "1" });
        const [first] = (await take()).taken;
        await claim("a", { callId: "2" });
        await claim("b", { callId: "3" });
        await h.run(h.east.evictions.end(first!));
        const [second] = (await take()).taken;
        expect(second).toMatchObject({ epoch: 4, tries: 1 });
        await h.run(h.east.evictions.end(second!));
        await h.run(h.east.evictions.end(second!));
        await h.advance(200_000);
        expect(await take()).toEqual({ taken: [], givenUp: [] });
      });

      it("whom a server has lost lately is known, whoever has him now, and whatever becomes of it", async () => {
        // Names of this test alone: what has changed is not forgotten between tests.
        const [one, two] = ["first-to-lose", "next-to-lose"] as const;
        const lately = (server: string, limit = 10) => h.run(h.east.evictions.lostLately(server, limit));
        expect(await lately(one)).toEqual([]);
        await claim(one);
        await claim(two, { callId: "1" });
        await h.run(h.west.unbind({ aor: JOE, actor: "t" }));
        expect([await lately(one), await lately(two), await lately("no-such")]).toEqual([[JOE], [JOE], []]);
        await claim(one, { callId: "2" });
        await bind(one, "admin", { aor: "ann@example.com" });
        await h.run(h.east.move({ aor: "ann@example.com", to: two, actor: "t" }));
        expect(await lately(one)).toEqual(["ann@example.com", JOE]);
        expect(await lately(one, 1)).toEqual(["ann@example.com"]);
      });

      it("is given up where he is bound again, and after a day", async () => {
        await claim("a");
        await claim("b", { callId: "1" });
        await claim("a", { callId: "2" });
        expect(await take()).toEqual({ taken: [], givenUp: [{ aor: JOE, server: "a", reason: "back" }] });
        await claim("b", { callId: "3" });
        await h.advance(25 * HOUR);
        expect(await take()).toEqual({ taken: [], givenUp: [{ aor: JOE, server: "a", reason: "too-old" }] });
        expect(await take()).toEqual({ taken: [], givenUp: [] });
      });
    });

    describe("unbind", () => {
      it("acts only while server and epoch still hold", async () => {
        await claim("a");
        expect(await h.run(h.east.unbind({ aor: JOE, server: "b", actor: "t" }))).toMatchObject({ outcome: "stale" });
        expect(await h.run(h.east.unbind({ aor: JOE, server: "a", epoch: 9, actor: "t" }))).toMatchObject({
          outcome: "stale",
        });
        expect(await h.run(h.east.unbind({ aor: JOE, server: "a", epoch: 1, actor: "t" }))).toMatchObject({
          outcome: "unbound",
          epoch: 2,
          previous: { server: "a", origin: "registered" },
        });
      });

      it("acts only on the origins named", async () => {
        await bind("a", "provisioned");
        expect(await h.run(h.east.unbind({ aor: JOE, origins: ["registered", "learned"], actor: "t" }))).toMatchObject({
          outcome: "stale",
          binding: { server: "a" },
        });
      });

      it("of a user who was never bound is stale", async () => {
        expect(await h.run(h.east.unbind({ aor: JOE, actor: "t" }))).toEqual({ outcome: "stale", binding: null });
      });

      it("a deregistration overtaken by a later REGISTER does nothing (RFC 3261 10.3 step 7)", async () => {
        await claim("a", { cseq: 5 });
        const order = { callId: "call-a", cseq: 4 };
        expect(await h.run(h.east.unbind({ aor: JOE, server: "a", order, actor: "a" }))).toMatchObject({
          outcome: "overtaken",
          binding: { server: "a" },
        });
        expect(await lookup()).toMatchObject({ state: "bound", epoch: 1 });
      });

      it("one repeated is told that nothing is bound any more, and fails not (concurrency.md 9)", async () => {
        await claim("a", { cseq: 1 });
        const ask = { aor: JOE, server: "a", order: { callId: "call-a", cseq: 2 }, actor: "a" };
        expect(await h.run(h.east.unbind(ask))).toMatchObject({ outcome: "unbound" });
        expect(await h.run(h.east.unbind(ask))).toEqual({ outcome: "stale", binding: null });
        const older = { ...ask, order: { callId: "call-a", cseq: 1 } };
        expect(await h.run(h.east.unbind(older))).toEqual({ outcome: "overtaken", binding: null });
      });

      it("a REGISTER overtaken by its own deregistration does not bind again", async () => {
        await claim("a", { cseq: 1 });
        const order = { callId: "call-a", cseq: 3 };
        expect(await h.run(h.east.unbind({ aor: JOE, server: "a", order, actor: "a" }))).toMatchObject({
          outcome: "unbound",
        });
        expect(await claim("a", { cseq: 2 })).toEqual({ outcome: "stale", binding: null });
        expect(await claim("a", { cseq: 4 })).toMatchObject({ outcome: "bound" });
      });

      it("ends every claim made for that server: his last contact there is gone", async () => {
        await claim("a", { callId: "phone-1", cseq: 1 });
        await claim("a", { callId: "phone-2", cseq: 1 });
        await h.run(h.east.unbind({ aor: JOE, server: "a", order: { callId: "phone-2", cseq: 2 }, actor: "a" }));
        await claim("b", {});
        expect(await claim("a", { callId: "phone-1", cseq: 2 })).toMatchObject({ outcome: "bound", previous: "b" });
      });
    });

    describe("move, learn, unlearn", () => {
      it("move: an admin's binding on the new server, one epoch on", async () => {
        await claim("a");
        expect(await h.run(h.east.move({ aor: JOE, to: "b", from: "a", actor: "root" }))).toMatchObject({
          outcome: "bound",
          previous: "a",
          binding: { server: "b", origin: "admin", epoch: 2, expiresAt: null },
        });
      });

      it("move: repeated, the same outcome; from elsewhere, nothing", async () => {
        await claim("a");
        await h.run(h.east.move({ aor: JOE, to: "b", from: "a", actor: "root" }));
        expect(await h.run(h.east.move({ aor: JOE, to: "b", from: "a", actor: "root" }))).toMatchObject({
          outcome: "bound",
          changed: false,
        });
        expect(await h.run(h.east.move({ aor: JOE, to: "c", from: "a", actor: "root" }))).toMatchObject({
          outcome: "held-by",
          binding: { server: "b" },
        });
      });

      it("move: from a server, of one who has registered where it leads: nothing is changed", async () => {
        await claim("a");
        await claim("b");
        const outcome = await h.run(h.east.move({ aor: JOE, to: "b", from: "a", actor: "root" }));
        expect(outcome).toMatchObject({ outcome: "bound", changed: false });
        const found = await lookup();
        expect(found).toMatchObject({ state: "bound", epoch: 2, binding: { server: "b", origin: "registered" } });
      });

      it("move: at an epoch that is gone, nothing, although he is on that server again; at his own, done", async () => {
        await claim("a");
        await bind("b", "admin");
        await h.run(h.east.move({ aor: JOE, to: "a", actor: "root" }));
        const move = (epoch: number) => h.run(h.east.move({ aor: JOE, to: "b", from: "a", epoch, actor: "root" }));
        expect(await move(1)).toMatchObject({ outcome: "held-by", binding: { server: "a", epoch: 3 } });
        expect(await move(3)).toMatchObject({ outcome: "bound", changed: true, binding: { server: "b", epoch: 4 } });
        expect(await move(3)).toMatchObject({ outcome: "bound", changed: false, binding: { server: "b", epoch: 4 } });
      });

      it("move: from a server, of a user bound nowhere, is stale and leaves no trace", async () => {
        expect(await h.run(h.east.move({ aor: JOE, to: "b", from: "a", actor: "root" }))).toEqual({
          outcome: "stale",
          binding: null,
        });
        expect(await lookup()).toEqual({ state: "no-record", epoch: 0 });
      });

      it("move: in the exclusive model a provisioned user stays", async () => {
        await bind("a", "provisioned");
        expect(await h.run(h.east.move({ aor: JOE, to: "b", equalRank: true, actor: "root" }))).toMatchObject({
          outcome: "held-by",
        });
        expect(await h.run(h.east.move({ aor: JOE, to: "b", actor: "root" }))).toMatchObject({ outcome: "bound" });
      });

      it("learn: test-and-set; the first one stays, and renews", async () => {
        const later = h.now() + 24 * HOUR;
        expect(await h.run(h.east.learn(JOE, "a", later))).toMatchObject({
          outcome: "bound",
          binding: { origin: "learned" },
        });
        expect(await h.run(h.west.learn(JOE, "b", later))).toMatchObject({
          outcome: "held-by",
          binding: { server: "a" },
        });
        expect(await h.run(h.west.learn(JOE, "a", later + 1000))).toMatchObject({ outcome: "bound", changed: false });
      });

      it("learn: never replaces a live binding of a higher origin, nor shortens it", async () => {
        await bind("a", "registered");
        expect(await h.run(h.east.learn(JOE, "b", h.now() + HOUR))).toMatchObject({ outcome: "held-by" });
        expect(await h.run(h.east.learn(JOE, "a", h.now() + HOUR))).toMatchObject({
          outcome: "bound",
          binding: { origin: "registered", expiresAt: null },
        });
      });

      it("unlearn: only a learned binding, only while server and epoch hold", async () => {
        await h.run(h.east.learn(JOE, "a", h.now() + HOUR));
        expect(await h.run(h.east.unlearn(JOE, "a", 2))).toMatchObject({ outcome: "stale" });
        expect(await h.run(h.east.unlearn(JOE, "b", 1))).toMatchObject({ outcome: "stale" });
        expect(await h.run(h.east.unlearn(JOE, "a", 1))).toMatchObject({ outcome: "unbound", epoch: 2 });
        await bind("a", "registered");
        expect(await h.run(h.east.unlearn(JOE, "a", 3))).toMatchObject({ outcome: "stale" });
      });
    });

    describe("open forks (concurrency.md 8)", () => {
      it("one joinable fork per recipient, whoever asks", async () => {
        const opened = await h.run(h.east.openFork(fork(), true));
        expect(opened.outcome).toBe("opened");
        const second = await h.run(h.west.openFork(fork("bob@example.com"), true));
        expect(second).toMatchObject({
          outcome: "open-elsewhere",
          forks: [
            {
              sender: "ann@example.com",
              recipient: JOE,
              method: "MESSAGE",
              event: "",
              asked: ["a", "b"],
              owner: "east",
            },
          ],
        });
      });

      it("many at once, for one recipient and for others, each with its own answer", async () => {
        const asked = Array.from({ length: 60 }, (_, i) => ({ ...fork(), recipient: `user${i % 20}@example.com` }));
        const opened = await h.run(
          Promise.all(asked.map((each, i) => (i % 2 === 0 ? h.east : h.west).openFork(each, i < 40))),
        );
        const winners = asked.filter((_, i) => opened[i]?.outcome === "opened").map((each) => each.recipient);
        expect([...new Set(winners)].length).toBe(20);
        expect(winners.length).toBe(20);
        for (const { recipient } of asked.slice(0, 20)) {
          expect((await h.run(h.west.openForksFor(recipient))).map((each) => each.asked)).toEqual([["a", "b"]]);
        }
      });

      it("two proxies at once: one opens", async () => {
        const outcomes = await h.run(
          Promise.all([h.east.openFork(fork(), true), h.west.openFork(fork("bob@example.com"), true)]),
        );
        expect(outcomes.map((each) => each.outcome).sort()).toEqual(["open-elsewhere", "opened"]);
      });

      it("join false opens beside another fork, but the very same key only once", async () => {
        await h.run(h.east.openFork(fork(), true));
        expect(await h.run(h.west.openFork(fork("bob@example.com"), false))).toMatchObject({ outcome: "opened" });
        const same = await h.run(h.west.openFork(fork("bob@example.com"), false));
        expect(same.outcome).toBe("open-elsewhere");
        expect(same.outcome === "open-elsewhere" && same.forks.length).toBe(2);
        expect(await h.run(h.west.openFork(fork(), false))).toMatchObject({ outcome: "open-elsewhere" });
        expect(await h.run(h.west.openFork(fork("bob@example.com", "SUBSCRIBE", "presence"), false))).toMatchObject({
          outcome: "opened",
        });
      });

      it("the open forks for a recipient are seen by every proxy, until they are closed or expire", async () => {
        expect(await h.run(h.west.openForksFor(JOE))).toEqual([]);
        const opened = await h.run(h.east.openFork(fork(), true));
        await h.run(h.east.openFork(fork("bob@example.com"), false));
        const seen = await h.run(h.west.openForksFor(JOE));
        expect(seen.map((each) => each.sender).sort()).toEqual(["ann@example.com", "bob@example.com"]);
        expect(seen.find((each) => each.sender === "ann@example.com")).toMatchObject({
          recipient: JOE,
          method: "MESSAGE",
          asked: ["a", "b"],
          owner: "east",
        });
        expect(await h.run(h.west.openForksFor("nobody@example.com"))).toEqual([]);
        await h.run(h.east.closeFork(opened.outcome === "opened" ? opened.id : "", JOE, { result: "inconclusive" }, 0));
        expect((await h.run(h.west.openForksFor(JOE))).map((each) => each.sender)).toEqual(["bob@example.com"]);
        await h.advance(60_001);
        expect(await h.run(h.west.openForksFor(JOE))).toEqual([]);
      });

      it("an expired fork is taken over", async () => {
        await h.run(h.east.openFork(fork(), true));
        await h.advance(60_001);
        expect(await h.run(h.west.openFork(fork(), true))).toMatchObject({ outcome: "opened" });
      });

      it("closing makes room and tells every proxy; all-said-404 is no row of the directory", async () => {
        const heard = listen(h.west);
        const opened = await h.run(h.east.openFork(fork(), true));
        const id = opened.outcome === "opened" ? opened.id : "";
        await h.run(h.east.closeFork(id, JOE, { result: "all-said-404" }, 0));
        await h.eventually(() => heard.some((each) => each.kind === "fork-closed"));
        expect(heard).toContainEqual({ kind: "fork-closed", aor: JOE, fork: id, result: { result: "all-said-404" } });
        expect(await lookup()).toEqual({ state: "no-record", epoch: 0 });
        expect(await h.run(h.west.openFork(fork(), true))).toMatchObject({ outcome: "opened" });
      });

      it("closing with a server learned binds in the same breath, the binding told first", async () => {
        const heard = listen(h.west);
        const opened = await h.run(h.east.openFork(fork(), true));
        const id = opened.outcome === "opened" ? opened.id : "";
        await h.run(h.east.closeFork(id, JOE, { result: "learned", server: "b" }, h.now() + HOUR));
        expect(await lookup()).toMatchObject({ state: "bound", binding: { server: "b", origin: "learned" } });
        await h.eventually(() => heard.some((each) => each.kind === "fork-closed"));
        const kinds = heard.map((each) => each.kind).filter((kind) => kind !== "reset");
        expect(kinds.indexOf("binding")).toBeLessThan(kinds.indexOf("fork-closed"));
        expect(heard).toContainEqual({
          kind: "fork-closed",
          aor: JOE,
          fork: id,
          result: { result: "learned", server: "b" },
        });
        expect(await h.run(h.west.openFork(fork(), true))).toMatchObject({ outcome: "opened" });
      });

      it("closing with a server learned tells the server that really holds him", async () => {
        await bind("a", "provisioned");
        const heard = listen(h.west);
        await h.run(h.east.closeFork("none", JOE, { result: "learned", server: "b" }, h.now() + HOUR));
        await h.eventually(() => heard.some((each) => each.kind === "fork-closed"));
        expect(heard).toContainEqual({
          kind: "fork-closed",
          aor: JOE,
          fork: "none",
          result: { result: "learned", server: "a" },
        });
      });
    });

    describe("the change feed (concurrency.md 5)", () => {
      it("every proxy hears of a change of server, with the server before", async () => {
        const heard = listen(h.west);
        await claim("a");
        await claim("b");
        await h.eventually(() => heard.filter((each) => each.kind === "binding").length >= 2);
        expect(heard.filter((each) => each.kind === "binding")).toEqual([
          { kind: "binding", aor: JOE, server: "a", previous: null, epoch: 1 },
          { kind: "binding", aor: JOE, server: "b", previous: "a", epoch: 2 },
        ]);
      });

      it("one's own change is told before its promise resolves", async () => {
        const heard = listen(h.east);
        await claim("a");
        expect(heard).toContainEqual({ kind: "binding", aor: JOE, server: "a", previous: null, epoch: 1 });
      });

      it("an expiry is told", async () => {
        await claim("a");
        const heard = listen(h.west);
        await h.advance(HOUR + 2000);
        await h.eventually(() => heard.some((each) => each.kind === "binding" && each.server === null));
        expect(heard).toContainEqual({ kind: "binding", aor: JOE, server: null, previous: "a", epoch: 2 });
      });

      it("a record that changes is told", async () => {
        const heard = listen(h.west);
        await h.run(h.east.putUser({ aor: JOE, model: "exclusive", settings: {}, identities: {} }, "root"));
        await h.eventually(() => heard.some((each) => each.kind === "user"));
        expect(heard).toContainEqual({ kind: "user", aor: JOE });
      });

      it("a listener that was ended hears nothing more", async () => {
        let count = 0;
        const end = h.east.onChange(() => count++);
        end();
        await claim("a");
        expect(count).toBe(0);
      });
    });

    describe("users, credentials, audit", () => {
      const record = (aor: string) => ({
        aor,
        model: "exclusive" as const,
        settings: { conflict: "refuse" },
        identities: { north: "j.smith" },
      });

      it("a record comes back as it was put, with the binding in lookup", async () => {
        await h.run(h.east.putUser(record(JOE), "root"));
        expect(await lookup()).toEqual({ state: "no-binding", epoch: 0, user: record(JOE) });
        await claim("a");
        expect(await lookup()).toMatchObject({ state: "bound", user: record(JOE) });
        expect(await h.run(h.east.user(JOE))).toMatchObject({
          aor: JOE,
          record: record(JOE),
          binding: { server: "a" },
          epoch: 1,
        });
        expect(await h.run(h.east.user("nobody@example.com"))).toBeNull();
      });

      it("users are listed in order, by prefix, by server, page by page", async () => {
        for (const name of ["ann", "bob", "joe", "joy"])
          await h.run(h.east.putUser(record(`${name}@example.com`), "root"));
        await claim("a");
        await h.run(h.east.learn("zoe@example.com", "b", h.now() + HOUR));
        const names = async (query: Parameters<Directory["users"]>[0]) =>
          (await h.run(h.east.users(query))).map((row) => row.aor.split("@")[0]);
        expect(await names({ limit: 10 })).toEqual(["ann", "bob", "joe", "joy", "zoe"]);
        expect(await names({ limit: 10, prefix: "jo" })).toEqual(["joe", "joy"]);
        expect(await names({ limit: 2 })).toEqual(["ann", "bob"]);
        expect(await names({ limit: 2, after: "bob@example.com" })).toEqual(["joe", "joy"]);
        expect(await names({ limit: 10, server: "a" })).toEqual(["joe"]);
        expect(await names({ limit: 10, prefix: "%" })).toEqual([]);
      });

      it("those whom servers call otherwise are listed in order, page by page, and nobody else", async () => {
        for (const [name, identities] of [
          ["bob", { a: "bobby" }],
          ["ann", {}],
          ["joe", { a: "joe.smith", b: "j@b.example" }],
        ] as const)
          await h.run(h.east.putUser({ ...record(`${name}@example.com`), identities }, "root"));
        const bob = { aor: "bob@example.com", identities: { a: "bobby" } };
        const joe = { aor: "joe@example.com", identities: { a: "joe.smith", b: "j@b.example" } };
        expect(await h.run(h.west.namedUsers("", 10))).toEqual([bob, joe]);
        expect(await h.run(h.west.namedUsers("", 1))).toEqual([bob]);
        expect(await h.run(h.west.namedUsers(bob.aor, 10))).toEqual([joe]);
        await h.run(h.east.removeUser(joe.aor, "root"));
        expect(await h.run(h.west.namedUsers("", 10))).toEqual([bob]);
      });

      it("credentials for both ways to write a user name are kept and replaced together", async () => {
        const base = { aor: JOE, realm: "example.com", md5: "00", sha256: "01" };
        await h.run(h.east.putCredentials({ ...base, whole: { md5: "02", sha256: null } }, "root"));
        expect(await h.run(h.west.credentials(JOE))).toEqual({ ...base, whole: { md5: "02", sha256: null } });
        await h.run(h.east.putCredentials(base, "root"));
        expect(await h.run(h.west.credentials(JOE))).toEqual(base);
      });

      it("removing takes record, binding and credentials; a second time there was none", async () => {
        await h.run(h.east.putUser(record(JOE), "root"));
        await h.run(h.east.putCredentials({ aor: JOE, realm: "example.com", md5: "00", sha256: null }, "root"));
        expect(await h.run(h.east.credentials(JOE))).toEqual({
          aor: JOE,
          realm: "example.com",
          md5: "00",
          sha256: null,
        });
        expect(await h.run(h.east.removeUser(JOE, "root"))).toBe(true);
        expect(await h.run(h.east.credentials(JOE))).toBeNull();
        expect(await h.run(h.east.user(JOE))).toBeNull();
        expect(await h.run(h.east.removeUser(JOE, "root"))).toBe(false);
      });

      it("who did what is on record, the newest first, secrets left out", async () => {
        await h.run(h.east.putUser(record(JOE), "root"));
        await h.run(h.east.putCredentials({ aor: JOE, realm: "example.com", md5: "5ecre7", sha256: null }, "root"));
        await h.run(h.east.move({ aor: JOE, to: "b", actor: "root" }));
        await h.run(
          h.east.recordAudit({ actor: "ops", action: "drain", aor: null, before: null, after: { server: "a" } }),
        );
        const all = await h.run(h.east.audit({ limit: 10 }));
        expect(all.map((each) => each.action)).toEqual(["drain", "bind", "set-credentials", "add-user"]);
        expect(JSON.stringify(all)).not.toContain("5ecre7");
        expect((await h.run(h.east.audit({ aor: JOE, limit: 10 }))).length).toBe(3);
        const older = await h.run(h.east.audit({ limit: 10, before: all[1]?.id ?? "" }));
        expect(older.map((each) => each.action)).toEqual(["set-credentials", "add-user"]);
      });

      it("the newest comes first on record, also where ids have one digit more than those before", async () => {
        const actions = Array.from({ length: 12 }, (_, i) => `drain-${i}`);
        for (const action of actions)
          await h.run(h.east.recordAudit({ actor: "ops", action, aor: null, before: null, after: null }));
        const all = await h.run(h.east.audit({ limit: 20 }));
        expect(all.map((each) => each.action)).toEqual(actions.toReversed());
      });

      it("an import takes what is right and says why it refuses the rest", async () => {
        const rows = [
          { aor: JOE, model: "exclusive" as const, server: "a" },
          { aor: "no-domain", model: null, server: null },
          { aor: "ann@example.com", model: null, server: null, identities: { north: "a.n" } },
          { aor: JOE, model: null, server: "b" },
          { aor: "bob@example.com", model: null, server: "not a name" },
        ];
        const report = await h.run(h.east.importUsers(rows, "root"));
        expect(report.imported).toBe(2);
        expect(report.refused.map((each) => [each.index, each.aor])).toEqual([
          [1, "no-domain"],
          [3, JOE],
          [4, "bob@example.com"],
        ]);
        expect(await lookup()).toMatchObject({
          state: "bound",
          binding: { origin: "provisioned", server: "a", expiresAt: null },
        });
        expect(await lookup("ann@example.com")).toMatchObject({
          state: "no-binding",
          user: { identities: { north: "a.n" } },
        });
        expect(await h.run(h.east.importUsers(rows.slice(0, 1), "root"))).toMatchObject({ imported: 1, refused: [] });
        expect(await lookup()).toMatchObject({ epoch: 1 });
      });
    });

    describe("two proxies at once", () => {
      it("two servers claim the same 1,000 users under refuse: exactly one wins each, and both proxies see him", async () => {
        const users = Array.from({ length: 1000 }, (_, i) => `u${i}@example.com`);
        const ask = (directory: Directory, server: string) =>
          users.map((aor) => directory.claim({ ...registered(server, undefined, { conflict: "refuse" }), aor }));
        const [a, b] = await h.run(Promise.all([Promise.all(ask(h.east, "a")), Promise.all(ask(h.west, "b"))]));
        const seen = await h.run(Promise.all(users.map((aor) => h.west.lookup(aor))));
        for (const i of users.keys()) {
          const outcomes = [a[i], b[i]] as [ClaimOutcome, ClaimOutcome];
          expect(outcomes.map((each) => each.outcome).sort()).toEqual(["bound", "held-by"]);
          const holder = holderOf(seen[i] as Lookup);
          expect(outcomes.map(bindingOf).map((binding) => binding.server)).toEqual([holder, holder]);
        }
      });

      it("a claim and an unbind of the same user: the epoch counts both or one, never neither", async () => {
        await claim("a");
        const outcomes = await h.run(
          Promise.all([h.east.claim(registered("b")), h.west.unbind({ aor: JOE, server: "a", actor: "t" })]),
        );
        const unbound = outcomes[1].outcome === "unbound";
        expect(await lookup()).toMatchObject({ state: "bound", binding: { server: "b" }, epoch: unbound ? 3 : 2 });
      });
    });
  });
}

function listen(directory: Directory): Change[] {
  const heard: Change[] = [];
  directory.onChange((change) => heard.push(change));
  return heard;
}

function bindingOf(outcome: ClaimOutcome): Binding {
  if (outcome.binding === null) throw new Error(`no binding in ${JSON.stringify(outcome)}`);
  return outcome.binding;
}

const epochOf = (outcome: ClaimOutcome) => bindingOf(outcome).epoch;

function holderOf(lookup: Lookup): string | null {
  return lookup.state === "bound" ? lookup.binding.server : null;
}
