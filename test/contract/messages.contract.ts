import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  IDLE_MS,
  type MessageLimits,
  type MessageStore,
  type NewMessage,
  type StoreAsk,
  type StoreOutcome,
  type TakenQueue,
  TRIES_TRACED,
} from "../../src/directory/messages.ts";
import type { Harness } from "./harness.ts";

const JOE = "joe@example.com";
const ANN = "ann@example.com";
const BOB = "bob@example.com";
const HOUR = 3_600_000;
const HOLD = 40_000;
const LIMITS: MessageLimits = { perRecipient: 100, octetsPerRecipient: 100_000, perSender: 100 };

export function messagesContract(name: string, open: () => Promise<Harness>): void {
  describe(`the contract of stored messages: ${name}`, () => {
    let h: Harness;
    let east: MessageStore;
    let west: MessageStore;
    let made = 0;
    beforeEach(async () => {
      h = await open();
      east = h.east.messages;
      west = h.west.messages;
    });
    afterEach(async () => {
      await h.close();
    });

    const message = (more: Partial<NewMessage> = {}): NewMessage => {
      made++;
      return {
        id: `id-${made}`,
        recipient: JOE,
        sender: ANN,
        origin: "o",
        callId: `call-${made}`,
        fromTag: "tag",
        cseq: 1,
        requestUri: `sip:${JOE}`,
        request: `MESSAGE ${made} \u00e9`,
        receivedAt: h.now(),
        expiresAt: h.now() + HOUR,
        ...more,
      };
    };
    const ask = (given: NewMessage, more: Partial<StoreAsk> = {}): StoreAsk => ({
      message: given,
      behindOthers: false,
      why: "nobody has him",
      limits: LIMITS,
      delayMs: null,
      underWay: null,
      ...more,
    });
    const store = async (given: NewMessage, more: Partial<StoreAsk> = {}): Promise<StoreOutcome> =>
      h.run(east.store(ask(given, more)));
    const take = (limit = 10) => h.run(east.take(limit, HOLD));
    const due = async (): Promise<TakenQueue> => {
      const taken = await take();
      expect(taken).toHaveLength(1);
      return taken[0]!;
    };
    const bind = (aor: string, server: string) => h.run(h.east.move({ aor, to: server, actor: "test" }));
    const flag = async (aor = JOE) => (await h.run(h.west.lookup(aor))).stored ?? false;
    const events = async (id: string) => (await h.run(east.trace(id))).map((each) => each.event);
    const delivered = { state: "delivered", detail: "200 from a" } as const;

    describe("storing", () => {
      it("a message is stored whole, octet by octet, and the slot says so until the last is gone", async () => {
        await bind(JOE, "a");
        expect(await flag()).toBe(false);
        const first = message();
        expect(await store(first)).toEqual({ outcome: "stored", queue: null, bound: "a" });
        expect(await flag()).toBe(true);
        const queue = await due();
        expect(queue).toMatchObject({ recipient: JOE, sender: ANN, server: "a", message: { ...first, tries: 0 } });
        expect(await h.run(east.count())).toEqual({ messages: 1, queues: 1, octets: first.request.length });
        expect(await h.run(east.end(first.id, delivered, queue, HOLD))).toEqual({ ended: true, next: null });
        expect(await flag()).toBe(false);
        expect(await h.run(east.count())).toEqual({ messages: 0, queues: 0, octets: 0 });
      });

      it("a user without a slot gets one, and is as unknown as before", async () => {
        expect(await store(message())).toEqual({ outcome: "stored", queue: null, bound: null });
        expect(await h.run(h.east.lookup(JOE))).toEqual({ state: "no-record", epoch: 0, stored: true });
        await bind(JOE, "a");
        expect(await h.run(h.east.lookup(JOE))).toMatchObject({ state: "bound", epoch: 1, stored: true });
        for (const cseq of [1, 2]) {
          const order = { callId: "c", cseq, expiresAt: h.now() + 60_000 };
          const again = {
            aor: JOE,
            server: "a",
            origin: "registered",
            expiresAt: order.expiresAt,
            actor: "t",
          } as const;
          const asked = { ...again, conflict: "takeover", equalRank: true, order } as const;
          expect(await h.run(h.east.claimUnread(asked))).toMatchObject({ outcome: { outcome: "bound" }, stored: true });
        }
      });

      it("a second copy (From tag, Call-ID, CSeq, Request-URI) is stored once, on whichever proxy it comes", async () => {
        const first = message();
        await store(first);
        expect(await h.run(west.store(ask({ ...first, id: "other" })))).toEqual({ outcome: "known", queue: null });
        expect(await h.run(east.count())).toMatchObject({ messages: 1 });
        for (const differs of [{ fromTag: "x" }, { callId: "x" }, { cseq: 2 }, { requestUri: "sip:x@example.com" }]) {
          expect((await store(message({ ...first, id: `d${made++}`, ...differs }))).outcome).toBe("stored");
        }
      });

      it("a copy of one that was delivered is known as long as it is remembered", async () => {
        await bind(JOE, "a");
        const first = message();
        await store(first);
        await h.run(east.end(first.id, delivered, null, HOLD));
        expect(await store({ ...first, id: "again" })).toEqual({ outcome: "known", queue: null });
        expect(await store({ ...first, id: "again" }, { behindOthers: true })).toEqual({
          outcome: "known",
          queue: null,
        });
        await h.advance(1000);
        expect(await h.run(east.sweep(500, 100))).toBe(1);
        expect((await store({ ...first, id: "again" })).outcome).toBe("stored");
      });

      it("behind others: only where something of this pair waits", async () => {
        expect(await store(message(), { behindOthers: true })).toEqual({ outcome: "empty" });
        await store(message({ sender: BOB }));
        expect(await store(message(), { behindOthers: true })).toEqual({ outcome: "empty" });
        await store(message());
        expect(await store(message(), { behindOthers: true })).toMatchObject({ outcome: "stored" });
      });

      it("limits: messages and octets of a recipient, messages of a sender", async () => {
        const limits = { perRecipient: 2, octetsPerRecipient: 50, perSender: 3 };
        const with_ = (more: Partial<NewMessage>) => store(message(more), { limits });
        await with_({ request: "x".repeat(30) });
        expect(await with_({ request: "x".repeat(30) })).toEqual({ outcome: "full", what: "recipient" });
        await with_({ sender: BOB });
        expect(await with_({ sender: BOB })).toEqual({ outcome: "full", what: "recipient" });
        for (const recipient of ["r1@example.com", "r2@example.com"]) {
          expect((await with_({ recipient })).outcome).toBe("stored");
        }
        expect(await with_({ recipient: "r3@example.com" })).toEqual({ outcome: "full", what: "sender" });
      });

      it("the feed tells every proxy when the first comes and when the last goes", async () => {
        const heard: string[] = [];
        const end = h.west.onChange((change) => void ("aor" in change && heard.push(`${change.kind} ${change.aor}`)));
        const first = message();
        await store(first);
        await h.eventually(() => heard.length === 1);
        await store(message());
        await h.run(east.end(first.id, delivered, null, HOLD));
        const rest = await h.run(west.list({ recipient: JOE, state: "stored", limit: 10 }));
        await h.run(east.end(rest[0]!.id, delivered, null, HOLD));
        await h.eventually(() => heard.length >= 2);
        expect(heard).toEqual([`user ${JOE}`, `user ${JOE}`]);
        end();
      });
    });

    describe("taking", () => {
      it("a queue is due at once where the user is bound, else when he is, else after a long while", async () => {
        await store(message());
        expect(await take()).toEqual([]);
        await bind(JOE, "a");
        expect(await h.run(west.wake([JOE, BOB]))).toBe(1);
        expect((await due()).recipient).toBe(JOE);
        await bind(BOB, "a");
        await store(message({ recipient: BOB }));
        expect((await due()).recipient).toBe(BOB);
        await store(message({ recipient: "far@example.com" }));
        await h.advance(IDLE_MS + 1);
        expect((await take()).map((queue) => queue.recipient)).toContain("far@example.com");
      });

      it("the head is the oldest of the pair; pairs do not wait for each other", async () => {
        await bind(JOE, "a");
        const [first, second, other] = [message(), message(), message({ sender: BOB })];
        for (const each of [first, second, other]) await store(each);
        expect((await take()).map((queue) => queue.message.id).sort()).toEqual([first.id, other.id].sort());
      });

      it("two proxies never have one queue at once", async () => {
        await bind(JOE, "a");
        for (let i = 0; i < 12; i++) await store(message({ sender: `s${i}@example.com` }));
        const [a, b, c] = await h.run(Promise.all([east.take(5, HOLD), west.take(5, HOLD), east.take(5, HOLD)]));
        const senders = [...a, ...b, ...c].map((queue) => queue.sender);
        expect(new Set(senders).size).toBe(senders.length);
        await h.run(west.take(20, HOLD));
        expect(await take(20)).toEqual([]);
      });

      it("what nobody gave back is due again when its while is over, under a higher fence; the old one can do nothing", async () => {
        await bind(JOE, "a");
        await store(message());
        await store(message());
        const old = await due();
        await h.advance(HOLD + 1);
        const [now] = await h.run(west.take(10, HOLD));
        expect(now!.fence).toBeGreaterThan(old.fence);
        expect(await h.run(east.asking(old, ["b"]))).toBe(false);
        expect(await h.run(east.defer(old, 0, "408"))).toBe(false);
        // What was delivered is, whoever says so; but the next message is not his to send.
        expect(await h.run(east.end(old.message.id, delivered, old, HOLD))).toEqual({ ended: true, next: null });
        expect(await h.run(west.defer(now!, 0, null))).toBe(true);
        expect((await due()).message.id).not.toBe(old.message.id);
      });

      it("a fence is never given twice, though the queue was empty in between", async () => {
        await bind(JOE, "a");
        const first = message();
        await store(first);
        const old = await due();
        await h.run(east.end(first.id, delivered, old, HOLD));
        await store(message());
        expect((await due()).fence).toBeGreaterThan(old.fence);
      });

      it("deferred: due again after the delay, with the try in its trace; awake at once when the user is bound", async () => {
        await bind(JOE, "a");
        const first = message();
        await store(first);
        expect(await h.run(east.defer(await due(), 5000, "503 from a"))).toBe(true);
        expect(await take()).toEqual([]);
        await h.advance(5001);
        const again = await due();
        expect(again.message.tries).toBe(1);
        expect(await h.run(west.wake([JOE]))).toBe(0);
        await h.run(east.defer(again, 5000, null));
        expect(await h.run(west.wake([JOE]))).toBe(1);
        expect((await due()).message.tries).toBe(1);
        expect(await events(first.id)).toEqual(["received", "stored", "tried"]);
      });

      it("under way: the first message is taken for who stores it; one behind others is not", async () => {
        await bind(JOE, "a");
        const underWay = { server: "a", holdMs: 24_000 };
        const stored = await store(message(), { underWay });
        expect(stored).toMatchObject({ outcome: "stored", queue: { recipient: JOE, sender: ANN } });
        expect(await take()).toEqual([]);
        expect(await store(message(), { underWay })).toMatchObject({ outcome: "stored", queue: null });
        await h.advance(24_001);
        expect((await due()).message.tries).toBe(0);
      });

      it("a server that is being asked and sends a message of the pair back says: not mine", async () => {
        await bind(JOE, "a");
        const first = message({ origin: "b" });
        await store(first);
        const queue = await due();
        expect(await h.run(west.store(ask({ ...first, id: "back", origin: "a" })))).toEqual({ outcome: "returned" });
        expect(await h.run(west.store(ask(message({ origin: "a" }), { behindOthers: true })))).toEqual({
          outcome: "returned",
        });
        expect(await h.run(east.asking(queue, ["c", "d"]))).toBe(true);
        expect(await h.run(west.store(ask({ ...first, id: "back", origin: "d" })))).toEqual({ outcome: "returned" });
        expect(await h.run(west.store(ask({ ...first, id: "back", origin: "b" })))).toMatchObject({ outcome: "known" });
        await h.run(east.defer(queue, 1000, null));
        expect((await h.run(west.store(ask(message({ origin: "d" }))))).outcome).toBe("stored");
      });

      it("a server that comes back wakes those who are bound to it, a few at a time", async () => {
        for (const aor of [JOE, BOB, ANN]) {
          await bind(aor, aor === ANN ? "b" : "a");
          await store(message({ recipient: aor, sender: "x@example.com" }), { delayMs: HOUR });
        }
        expect(await h.run(east.wakeBound("a", 1, 0))).toBe(1);
        expect(await h.run(east.wakeBound("a", 5, 0))).toBe(1);
        expect(await h.run(east.wakeBound("a", 5, 0))).toBe(0);
        expect((await take()).map((queue) => queue.recipient).sort()).toEqual([BOB, JOE]);
        expect(await h.run(east.wakeBound(null, 5, 0))).toBe(1);
      });
    });

    describe("ending", () => {
      it("hands out the next of the pair under the same fence, in order", async () => {
        await bind(JOE, "a");
        const all = [message(), message(), message()];
        for (const each of all) await store(each);
        const queue = await due();
        for (const [i, each] of all.entries()) {
          const { next } = await h.run(east.end(each.id, delivered, queue, HOLD));
          expect(next?.id).toBe(all[i + 1]?.id);
        }
        expect(await take()).toEqual([]);
      });

      it("is repeated with the same outcome, where the answer was lost", async () => {
        await bind(JOE, "a");
        const [first, second] = [message(), message()];
        await store(first);
        await store(second);
        const queue = await due();
        await h.run(east.end(first.id, delivered, queue, HOLD));
        const again = await h.run(east.end(first.id, { state: "failed", detail: "" }, queue, HOLD));
        expect(again).toMatchObject({ ended: false, next: { id: second.id } });
        expect(await h.run(east.count())).toMatchObject({ messages: 1 });
        expect(await events(first.id)).toEqual(["received", "stored", "delivered"]);
        expect(await h.run(east.end("never", delivered, null, HOLD))).toEqual({ ended: false, next: null });
      });

      it("a late 2xx for one in the middle takes just that one", async () => {
        await bind(JOE, "a");
        const all = [message(), message(), message()];
        for (const each of all) await store(each);
        await h.run(west.end(all[1]!.id, delivered, null, HOLD));
        const queue = await due();
        expect(queue.message.id).toBe(all[0]!.id);
        expect((await h.run(east.end(all[0]!.id, delivered, queue, HOLD))).next?.id).toBe(all[2]!.id);
      });

      it("the flag stays while another sender's message waits", async () => {
        const [first, other] = [message(), message({ sender: BOB })];
        await store(first);
        await store(other);
        await h.run(east.end(first.id, { state: "failed", detail: "603 from a" }, null, HOLD));
        expect(await flag()).toBe(true);
        await h.run(east.end(other.id, { state: "expired", detail: "" }, null, HOLD));
        expect(await flag()).toBe(false);
        expect(await events(first.id)).toEqual(["received", "stored", "failed"]);
        expect(await events(other.id)).toEqual(["received", "stored", "failed"]);
      });

      it("names those that have outlived their time, the head of a queue in somebody's hands excepted", async () => {
        await bind(JOE, "a");
        const [short, long] = [message({ sender: BOB, expiresAt: h.now() + HOUR / 2 }), message()];
        await store(short);
        await store(long);
        expect(await h.run(east.overdue(10))).toEqual([]);
        await h.advance(HOUR / 2 + 1000);
        expect((await h.run(east.overdue(10))).map((each) => each.id)).toEqual([short.id]);
        await take();
        expect(await h.run(east.overdue(10))).toEqual([]);
      });
    });

    describe("what an admin sees", () => {
      it("where it came from, why it was stored, and what became of it", async () => {
        const first = message();
        await store(first);
        await h.run(east.end(first.id, delivered, null, HOLD));
        const trace = await h.run(east.trace(first.id));
        expect(trace.map(({ event, detail }) => `${event}: ${detail}`)).toEqual([
          "received: o",
          "stored: nobody has him",
          "delivered: 200 from a",
        ]);
        expect(trace[0]!.at).toBe(first.receivedAt);
      });

      it("lists without bodies, by recipient, sender and state, in pages", async () => {
        const all = [message(), message({ sender: BOB }), message({ recipient: BOB })];
        for (const each of all) await store(each);
        await h.run(east.end(all[0]!.id, delivered, null, HOLD));
        const ids = async (query: Parameters<MessageStore["list"]>[0]) =>
          (await h.run(west.list(query))).map((each) => each.id);
        expect(await ids({ limit: 10 })).toEqual(all.map((each) => each.id));
        expect(await ids({ recipient: JOE, limit: 10 })).toEqual([all[0]!.id, all[1]!.id]);
        expect(await ids({ sender: BOB, limit: 10 })).toEqual([all[1]!.id]);
        expect(await ids({ recipient: JOE, sender: ANN, limit: 10 })).toEqual([all[0]!.id]);
        expect(await ids({ state: "delivered", limit: 10 })).toEqual([all[0]!.id]);
        const [head] = await h.run(west.list({ limit: 1 }));
        expect(head).toMatchObject({ recipient: JOE, sender: ANN, origin: "o", state: "delivered", tries: 0 });
        expect(JSON.stringify(head)).not.toContain("MESSAGE");
        expect(head!.endedAt).not.toBeNull();
        expect(await ids({ after: head!.place, limit: 1 })).toEqual([all[1]!.id]);
      });

      it("the trace is bounded: of very many tries the first ones and the last", async () => {
        await bind(JOE, "a");
        const first = message();
        await store(first);
        for (let i = 1; i <= TRIES_TRACED + 3; i++) await h.run(east.defer(await due(), 0, `try ${i}`));
        const trace = await h.run(east.trace(first.id));
        expect(trace).toHaveLength(TRIES_TRACED + 2);
        expect(trace[2]).toMatchObject({ event: "tried", detail: "try 1" });
        expect(trace.at(-1)).toMatchObject({ event: "tried", detail: `try ${TRIES_TRACED + 3}` });
        expect((await due()).message.tries).toBe(TRIES_TRACED + 3);
        await h.run(east.end(first.id, delivered, null, HOLD));
        expect((await h.run(east.trace(first.id))).at(-1)).toMatchObject({ event: "delivered", detail: "200 from a" });
      });

      it("what ended is forgotten after its while, what waits never is", async () => {
        const [gone, waits] = [message(), message()];
        await store(gone);
        await store(waits);
        await h.run(east.end(gone.id, delivered, null, HOLD));
        expect(await h.run(east.sweep(HOUR, 10))).toBe(0);
        await h.advance(HOUR + 1000);
        expect(await h.run(east.sweep(HOUR, 10))).toBe(1);
        expect(await h.run(east.trace(gone.id))).toEqual([]);
        expect((await h.run(east.list({ limit: 10 }))).map((each) => each.id)).toEqual([waits.id]);
      });
    });
  });
}
