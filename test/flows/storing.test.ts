import { afterEach, describe, expect, it } from "vitest";
import type { ListedMessage, TraceEntry } from "../../src/directory/messages.ts";
import { DELIVERY_OPTIONS, MESSAGING_OPTIONS } from "../../src/messaging/options.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import type { Client, Script, World, WorldOptions } from "../support/world.ts";
import { createWorld, reply } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const ALICE = "sip:alice@example.com";
const AOR = "alice@example.com";
const EXCLUSIVE = {
  match: "*@example.com",
  model: { model: "exclusive", conflict: "takeover", refuseWith: 403 },
} as const;
const STORE = { models: [EXCLUSIVE], absentMessages: "store" as const };

const sim = <T>(promise: Promise<T>) => world.simulation.finish(promise);
const directory = () => world.proxies[0]!.directory;
const bind = (server: string, aor = AOR) => sim(directory().move({ aor, to: server, actor: "test" }));
const unbind = (aor = AOR) => sim(directory().unbind({ aor, actor: "test" }));
const messages = (): Promise<readonly ListedMessage[]> => sim(directory().messages.list({ limit: 1000 }));
const states = async () => (await messages()).map((each) => each.state);
const traceOf = async (): Promise<readonly TraceEntry[]> => sim(directory().messages.trace((await messages())[0]!.id));
const bodies = (client: Client) => client.seen("MESSAGE").map((request) => request.body);
const at = (name: string) => world.scripted[name]!;

/** Servers east and west; what each answers to MESSAGE can change. */
async function domain(
  answers: { east: number | Script; west: number | Script } = { east: 200, west: 200 },
  more: WorldOptions = {},
) {
  const script =
    (name: "east" | "west"): Script =>
    (t, s) => {
      const answer = answers[name];
      if (typeof answer === "function") answer(t, s);
      else if (answer > 0) reply(t, s, answer);
    };
  world = await createWorld({
    servers: { east: { script: script("east") }, west: { script: script("west") } },
    options: STORE,
    ...more,
  });
  // She was on a server once, so that she is known.
  await bind("east");
  await unbind();
  return answers;
}

/** From, To, Call-ID, CSeq and body: what receivers tell doubles by. */
function identityOf(request: SipRequest): string {
  return [request.header("From"), request.header("To"), request.callId, request.header("CSeq"), request.body].join("|");
}

describe("a MESSAGE for the absent user (models.md, Stored messages)", () => {
  it("is durable before its 202, and delivered at once when he is bound, as it was sent", async () => {
    await domain();
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", ALICE, {
      body: "hello",
      headers: [
        ["Content-Type", "text/plain"],
        ["X-Own", "kept"],
      ],
    });
    await client.all(sent);
    expect(sent.statuses).toEqual([202]);
    expect(await states()).toEqual(["stored"]);
    const before = world.simulation.now;
    await bind("west");
    await world.simulation.advance(200);
    expect(bodies(at("west"))).toEqual(["hello"]);
    expect(world.simulation.now - before).toBeLessThan(250);
    const [got] = at("west").seen("MESSAGE");
    expect(identityOf(got!)).toBe(identityOf(sent.request));
    expect(got!.header("X-Own")).toBe("kept");
    expect(got!.vias).toHaveLength(1);
    expect(got!.maxForwards).toBe(69);
    expect(got!.header("Date")).toMatch(/ GMT$/);
    expect(await states()).toEqual(["delivered"]);
    expect((await traceOf()).map((each) => each.event)).toEqual(["received", "stored", "delivered"]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("nobody ever heard of gets 480; so does everybody where it is not configured", async () => {
    await domain();
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", "sip:nobody@example.com")).toBe(480);
    expect(await messages()).toEqual([]);
    await world.stop();
    await domain(undefined, { options: { models: [EXCLUSIVE] } });
    expect(await world.client("127.0.0.50").status("MESSAGE", ALICE)).toBe(480);
  });

  it("to a SIPS URI whose server has no TLS: not kept, so that nothing waits behind it, and no sign of a server that is down", async () => {
    await domain();
    const client = world.client("127.0.0.50");
    const SIPS = "sips:alice@example.com";
    // Stored while she was away, it fails when she is on a server, and the next goes out.
    expect(await client.status("MESSAGE", SIPS, { body: "1" })).toBe(202);
    expect(await client.status("MESSAGE", ALICE, { body: "2" })).toBe(202);
    await bind("west");
    await world.simulation.advance(1_000);
    expect(bodies(at("west"))).toEqual(["2"]);
    expect(await states()).toEqual(["failed", "delivered"]);
    // And while she is there it is refused.
    for (const body of ["3", "4", "5"]) expect(await client.status("MESSAGE", SIPS, { body })).toBe(480);
    expect(await client.status("MESSAGE", ALICE, { body: "6" })).toBe(200);
    expect(await states()).toEqual(["failed", "delivered"]);
    const [west] = world.proxies[0]!.core.rotation.status().filter((each) => each.name === "west");
    expect(west?.nodes.map((each) => each.consecutiveFailures)).toEqual([0]);
  });

  it("order is kept per pair, one in flight, over servers that come and go", async () => {
    let open = 0;
    let most = 0;
    const slow: Script = (t, s) => {
      most = Math.max(most, ++open);
      s.stack.runtime.timers.after(300, () => {
        open--;
        reply(t, s, 200);
      });
    };
    await domain({ east: 200, west: slow });
    const client = world.client("127.0.0.50");
    const sent = ["1", "2", "3", "4"];
    for (const body of sent) expect(await client.status("MESSAGE", ALICE, { body })).toBe(202);
    await bind("west");
    await world.simulation.advance(450);
    // One that comes now is queued behind them.
    expect(await client.status("MESSAGE", ALICE, { body: "5" })).toBe(202);
    await world.simulation.advance(3_000);
    expect(bodies(at("west"))).toEqual([...sent, "5"]);
    expect(most).toBe(1);
    // Nothing waits any more: the next goes straight through, with the server's own answer.
    expect(await client.status("MESSAGE", ALICE, { body: "6" })).toBe(200);
    expect(bodies(at("west"))).toEqual([...sent, "5", "6"]);
  });

  it("another sender's message waits behind nobody", async () => {
    await domain({ east: 200, west: 503 });
    await bind("west");
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", ALICE, { body: "1", from: "sip:bob@example.com" })).toBe(202);
    const other = await client.status("MESSAGE", ALICE, { body: "2", from: "sip:carol@example.com" });
    // Its own try was made, and failed as well.
    expect(other).toBe(202);
    expect(bodies(at("west"))).toContain("2");
  });

  it("a second copy (From tag, Call-ID, CSeq, Request-URI) is stored once, also over the other proxy", async () => {
    await domain(undefined, { proxies: 2 });
    const client = world.client("127.0.0.50");
    const same = { body: "once", callId: "c1", fromTag: "t1", cseq: 5 };
    expect(await client.status("MESSAGE", ALICE, same)).toBe(202);
    expect(await client.status("MESSAGE", ALICE, { ...same, proxy: "127.0.0.2" })).toBe(202);
    expect(await messages()).toHaveLength(1);
    await bind("west");
    await world.simulation.advance(1_000);
    expect(await client.status("MESSAGE", ALICE, same)).not.toBe(0);
    expect(await states()).toEqual(["delivered"]);
  });

  it("a mapped user of whom nothing is stored is relayed to without a word to the database", async () => {
    await domain();
    await bind("west");
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", ALICE)).toBe(200);
    world.database.setAway(true);
    expect(await client.status("MESSAGE", ALICE)).toBe(200);
    world.database.setAway(false);
    expect(await messages()).toEqual([]);
  });
});

describe("a relayed MESSAGE that is not taken (models.md, Stored messages)", () => {
  for (const status of [404, 480, 500, 503, 429]) {
    it(`${status}: stored, answered 202, delivered when the server takes it`, async () => {
      const answers = await domain({ east: 200, west: status });
      await bind("west");
      const client = world.client("127.0.0.50");
      const sent = client.begin("MESSAGE", ALICE, { body: "x" });
      await client.all(sent);
      expect(sent.statuses).toEqual([202]);
      answers.west = 200;
      await world.simulation.advance(10_000);
      expect(await states()).toEqual(["delivered"]);
      const tries = at("west").seen("MESSAGE");
      expect(tries.length).toBeGreaterThanOrEqual(2);
      expect(new Set(tries.map(identityOf)).size).toBe(1);
      expect(new Set(tries.map((each) => each.via.branch)).size).toBe(tries.length);
      expect(await world.leftOver()).toEqual([]);
    });
  }

  for (const status of [403, 405, 415, 488, 513, 603]) {
    it(`${status} is final: it goes to the sender, and nothing is stored`, async () => {
      await domain({ east: 200, west: status });
      await bind("west");
      expect(await world.client("127.0.0.50").status("MESSAGE", ALICE)).toBe(status);
      expect(await messages()).toEqual([]);
    });
  }

  it("nothing in time: 202 before 8 s; a late 2xx on that first branch marks the copy delivered", async () => {
    const late: Script = (t, s) => void s.stack.runtime.timers.after(12_000, () => reply(t, s, 200));
    await domain({ east: 200, west: late });
    await bind("west");
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", ALICE, { body: "x" });
    await client.all(sent);
    expect(sent.final).toBe(202);
    expect(sent.tookMs).toBeLessThanOrEqual(8_000);
    expect(await states()).toEqual(["stored"]);
    await world.simulation.advance(6_000);
    expect(await states()).toEqual(["delivered"]);
    // One branch: the same request, never a second one.
    expect(
      new Set(
        at("west")
          .seen("MESSAGE")
          .map((each) => each.via.branch),
      ).size,
    ).toBe(1);
    expect(await world.leftOver()).toEqual([]);
  });

  it("while that first branch may still be answered, what follows is queued and nothing else is sent", async () => {
    const late: Script = (t, s) => void s.stack.runtime.timers.after(12_000, () => reply(t, s, 200));
    const answers = await domain({ east: 200, west: late });
    await bind("west");
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", ALICE, { body: "1" });
    answers.west = 200;
    expect(await client.status("MESSAGE", ALICE, { body: "2" })).toBe(202);
    await world.simulation.advance(3_000);
    expect(bodies(at("west"))).toEqual(["1"]);
    await world.simulation.advance(4_000);
    expect(bodies(at("west"))).toEqual(["1", "2"]);
    expect(await states()).toEqual(["delivered", "delivered"]);
  });

  it("her server claims her again after it has refused: what is stored goes out at once, though no binding has changed", async () => {
    const answers = await domain();
    const claim = (cseq: number) =>
      at("west").status("REGISTER", "sip:example.com", {
        toUser: ALICE,
        from: ALICE,
        callId: "west-alice",
        cseq,
        headers: [["Expires", "3600"]],
      });
    expect(await claim(1)).toBe(200);
    answers.west = 404;
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", ALICE, { body: "hello" })).toBe(202);
    // Long enough for the tries to be far apart.
    await world.simulation.advance(120_000);
    answers.west = 200;
    const tried = bodies(at("west")).length;
    expect(await claim(2)).toBe(200);
    await world.simulation.advance(1_500);
    expect(bodies(at("west"))).toHaveLength(tried + 1);
    expect(await states()).toEqual(["delivered"]);
  });

  it("a server that never answers: tried again with back-off, and at once when it is up again", async () => {
    const answers = await domain({ east: 200, west: 0 });
    await bind("west");
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", ALICE, { body: "x" })).toBe(202);
    await world.simulation.advance(200_000);
    const tries = at("west").seen("MESSAGE").length;
    expect(tries).toBeGreaterThan(1);
    expect(tries).toBeLessThan(20);
    answers.west = 200;
    await world.simulation.advance(120_000);
    expect(await states()).toEqual(["delivered"]);
  });

  it("INVITE and every other method are untouched; so is MESSAGE without the setting", async () => {
    await domain({ east: 200, west: 503 });
    await bind("west");
    const client = world.client("127.0.0.50");
    for (const method of ["INVITE", "OPTIONS"]) expect(await client.status(method, ALICE)).toBe(480);
    await world.stop();
    await domain({ east: 200, west: 503 }, { options: { models: [EXCLUSIVE] } });
    await bind("west");
    expect(await world.client("127.0.0.50").status("MESSAGE", ALICE)).toBe(480);
    expect(await messages()).toEqual([]);
  });
});

describe("delivering", () => {
  it("a permanent failure ends that message only: the queue goes on", async () => {
    const picky: Script = (t, s) => reply(t, s, t.request.body === "bad" ? 603 : 200);
    await domain({ east: 200, west: picky });
    const client = world.client("127.0.0.50");
    for (const body of ["1", "bad", "3"]) await client.status("MESSAGE", ALICE, { body });
    await bind("west");
    await world.simulation.advance(2_000);
    expect(bodies(at("west"))).toEqual(["1", "bad", "3"]);
    expect(await states()).toEqual(["delivered", "failed", "delivered"]);
    expect(world.proxies[0]!.told.request?.some((each) => each.plan.startsWith("store"))).toBe(true);
  });

  it("a user who moves gets it where he is; one who leaves gets it when he is back", async () => {
    const answers = await domain({ east: 480, west: 200 });
    await bind("east");
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", ALICE, { body: "x" });
    await world.simulation.advance(500);
    await bind("west");
    await world.simulation.advance(300);
    expect(bodies(at("west"))).toEqual(["x"]);
    await unbind();
    await client.status("MESSAGE", ALICE, { body: "y" });
    await world.simulation.advance(700_000);
    expect(await states()).toEqual(["delivered", "stored"]);
    answers.east = 200;
    await bind("east");
    await world.simulation.advance(300);
    expect(bodies(at("east")).at(-1)).toBe("y");
  });

  it("who is bound elsewhere while a try is under way gets it there as soon as that has failed", async () => {
    const slowly: Script = (t, s) =>
      void s.stack.runtime.timers.after(3_000, () => reply(t, s, 503, [["Retry-After", "200"]]));
    await domain({ east: slowly, west: 200 });
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", ALICE, { body: "x" });
    await bind("east");
    await world.simulation.advance(1_000);
    await bind("west");
    await world.simulation.advance(4_000);
    expect(bodies(at("west"))).toEqual(["x"]);
  });

  it("a server out of rotation: stored without a try, delivered when it is back", async () => {
    await domain();
    await bind("west");
    world.simulation.partition([["127.0.0.12"], ["127.0.0.1", "127.0.0.50"]]);
    await world.simulation.advance(40_000);
    const client = world.client("127.0.0.50");
    const sent = client.begin("MESSAGE", ALICE, { body: "x" });
    await client.all(sent);
    expect([sent.final, sent.tookMs! < 100]).toEqual([202, true]);
    await world.simulation.advance(1_000);
    world.simulation.heal();
    await world.simulation.advance(5_000);
    expect(bodies(at("west"))).toEqual(["x"]);
    expect(await states()).toEqual(["delivered"]);
  });

  it("a server that is silent takes no place of the others; one that answers is given all there is", async () => {
    let open = 0;
    let most = 0;
    const held: Array<() => void> = [];
    let silent = true;
    const moody: Script = (t, s) => {
      most = Math.max(most, ++open);
      const answer = (): void => {
        open--;
        reply(t, s, 200);
      };
      if (silent) held.push(answer);
      else s.stack.runtime.timers.after(50, answer);
    };
    await domain(
      { east: 200, west: moody },
      { services: { delivery: { ...DELIVERY_OPTIONS, maxInFlight: 12, maxPerServer: 5 } } },
    );
    const client = world.client("127.0.0.50");
    const from = (i: number) => ({ body: `${i}`, from: `sip:s${i}@example.com` });
    for (let i = 0; i < 40; i++) expect(await client.status("MESSAGE", ALICE, from(i))).toBe(202);
    await bind("west");
    await world.simulation.advance(5_000);
    expect(most).toBe(5);
    await bind("east", "bob@example.com");
    await unbind("bob@example.com");
    await client.status("MESSAGE", "sip:bob@example.com", { body: "for bob" });
    await bind("east", "bob@example.com");
    await world.simulation.advance(1_500);
    expect(bodies(at("east"))).toEqual(["for bob"]);
    silent = false;
    for (const answer of held) answer();
    await world.simulation.advance(4_000);
    expect(most).toBe(12);
    expect(new Set(await states())).toEqual(new Set(["delivered"]));
  });

  it("its Expires bounds its life (RFC 3428), and so does what is configured", async () => {
    await domain(undefined, {
      services: { messages: () => ({ ...MESSAGING_OPTIONS, keepMs: 120_000 }) },
    });
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", ALICE, { body: "short", headers: [["Expires", "30"]] });
    await client.status("MESSAGE", ALICE, { body: "long" });
    await world.simulation.advance(45_000);
    expect(await states()).toEqual(["expired", "stored"]);
    await bind("west");
    await world.simulation.advance(500);
    expect(bodies(at("west"))).toEqual(["long"]);
    await unbind();
    await client.status("MESSAGE", ALICE, { body: "kept too long" });
    await world.simulation.advance(140_000);
    expect((await messages()).find((each) => each.state === "stored")).toBeUndefined();
  });

  it("a partitioned user's server that is down: stored, and delivered when it is back", async () => {
    const answers = await domain({ east: 404, west: 200 }, { options: { absentMessages: "store" } });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", ALICE)).toBe(200);
    answers.west = 503;
    expect(await client.status("MESSAGE", ALICE, { body: "1" })).toBe(202);
    answers.west = 200;
    await world.simulation.advance(10_000);
    expect(bodies(at("west")).filter((body) => body === "1").length).toBeGreaterThanOrEqual(2);
    expect(await states()).toEqual(["delivered"]);
  });

  it("limits: what is too much for a recipient is refused, not stored", async () => {
    const limits = { perRecipient: 2, octetsPerRecipient: 1 << 20, perSender: 100 };
    await domain(undefined, {
      services: { messages: () => ({ ...MESSAGING_OPTIONS, limits }) },
    });
    const client = world.client("127.0.0.50");
    const statuses: number[] = [];
    for (const body of ["1", "2", "3"]) statuses.push(await client.status("MESSAGE", ALICE, { body }));
    expect(statuses).toEqual([202, 202, 480]);
  });
});

describe("what a server being asked sends back is its *not mine*", () => {
  /** It has no such user, and default-routes to the proxy: the same request, once `meanwhile` is done. */
  function back(meanwhile: () => Promise<unknown> = () => Promise.resolve()): Script {
    return (t, s) => {
      const { request } = t;
      const again = { callId: request.callId, fromTag: request.from.tag!, body: request.body };
      void meanwhile()
        .then(() => s.beginRequest(s.request("MESSAGE", ALICE, again)).done)
        .then((status) => reply(t, s, status));
    };
  }

  it("a copy from the server it is being sent to, while she leaves that server: 404, and it stays stored", async () => {
    const answers = await domain({ east: back(() => directory().unbind({ aor: AOR, actor: "t" })), west: 200 });
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", ALICE, { body: "x" });
    await bind("east");
    await world.simulation.advance(5_000);
    expect(bodies(at("east"))).toEqual(["x"]);
    expect(await states()).toEqual(["stored"]);
    expect((await traceOf()).map((each) => each.detail)).toContain("404 from east");
    answers.east = 200;
    await bind("west");
    await world.simulation.advance(1_000);
    expect(bodies(at("west"))).toEqual(["x"]);
  });

  it("a partitioned user whose server has lost him is searched, server by server; what one sends back is no delivery", async () => {
    const answers = await domain({ east: 404, west: 200 }, { options: { absentMessages: "store" } });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", ALICE, { body: "0" })).toBe(200);
    answers.west = 503;
    expect(await client.status("MESSAGE", ALICE, { body: "x" })).toBe(202);
    const { binding } = (await sim(directory().lookup(AOR))) as { binding: { epoch: number } };
    await sim(directory().unlearn(AOR, "west", binding.epoch));
    answers.east = back();
    answers.west = 200;
    await world.simulation.advance(20_000);
    expect(await states()).toEqual(["delivered"]);
    expect((await traceOf()).at(-1)!.detail).toBe("200 from west");
    // The search has taught where he is.
    expect(await sim(directory().lookup(AOR))).toMatchObject({ state: "bound", binding: { server: "west" } });
  });
});

describe("many proxies", () => {
  const slow: Script = (t, s) => void s.stack.runtime.timers.after(200, () => reply(t, s, 200));

  async function waiting(): Promise<void> {
    await domain({ east: 200, west: slow }, { proxies: 2 });
    const client = world.client("127.0.0.50");
    for (let i = 0; i < 5; i++) {
      const proxy = `127.0.0.${1 + (i % 2)}`;
      expect(await client.status("MESSAGE", ALICE, { body: `m${i}`, proxy })).toBe(202);
    }
    await bind("west");
  }

  it("one proxy at a time delivers a pair, in order, whichever of them stored what", async () => {
    await waiting();
    await world.simulation.advance(5_000);
    expect(bodies(at("west"))).toEqual(["m0", "m1", "m2", "m3", "m4"]);
  });

  it("one that stops lets go at once, after the message that is under way", async () => {
    await waiting();
    await world.simulation.advance(300);
    const before = bodies(at("west")).length;
    expect(before).toBeLessThan(5);
    await sim(world.proxies[0]!.stop());
    await world.simulation.advance(2_500);
    expect(bodies(at("west"))).toEqual(["m0", "m1", "m2", "m3", "m4"]);
  });

  it("one that dies between two messages, or in the middle of one: another goes on where it was, and nothing is lost", async () => {
    await waiting();
    await world.simulation.advance(500);
    const before = bodies(at("west"));
    expect(before.length).toBeGreaterThan(1);
    world.proxies[0]!.kill();
    await world.simulation.advance(60_000);
    const after = bodies(at("west")).slice(before.length);
    // The one that was under way comes again: once more, never less.
    expect([before.at(-1)!, ...before]).toContain(after[0]);
    expect([...before, ...after].filter((body, i, all) => all.indexOf(body) === i)).toEqual([
      "m0",
      "m1",
      "m2",
      "m3",
      "m4",
    ]);
    const listed = await sim(world.proxies[1]!.directory.messages.list({ limit: 10 }));
    expect(listed.map((each) => each.state)).toEqual(new Array(5).fill("delivered"));
  });
});

describe("the database away", () => {
  it("what must be stored gets 500 with Retry-After; what was delivered and not removed is at most sent again", async () => {
    const answers = await domain({ east: 200, west: 503 });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", ALICE, { body: "1" })).toBe(202);
    world.database.setAway(true);
    const refused = (await client.send("MESSAGE", ALICE, { body: "2" })).at(-1)!;
    expect([refused.status, refused.header("Retry-After")]).toEqual([500, "10"]);
    world.database.setAway(false);
    const slow: Script = (t, s) => void s.stack.runtime.timers.after(500, () => reply(t, s, 200));
    answers.west = slow;
    await bind("west");
    await world.simulation.advance(300);
    world.database.setAway(true);
    // Longer than the queue is in anybody's hands.
    await world.simulation.advance(60_000);
    world.database.setAway(false);
    await world.simulation.advance(60_000);
    expect(await states()).toEqual(["delivered"]);
    // The 2xx came while nothing could be written: this proxy remembered, and did not send it again.
    expect(bodies(at("west"))).toEqual(["1"]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("an answer to a commit that was lost is asked for again: 202, stored once", async () => {
    await domain();
    const client = world.client("127.0.0.50");
    // The next commit may be somebody else's, who looks around once a second.
    for (let i = 1; i <= 5; i++) {
      await world.simulation.advance(230);
      world.database.loseNextAnswers(1);
      expect(await client.status("MESSAGE", ALICE, { body: `${i}` })).toBe(202);
      expect(await messages()).toHaveLength(i);
    }
  });
});

describe("who has asserted his name", () => {
  it.each(["sip:pstn.example.net:5070", `sip:${"x".repeat(600)}@example.com`])(
    "%s is delivered as it was",
    async (uri) => {
      await domain();
      const headers = [["P-Asserted-Identity", `<${uri}>`] as const];
      expect(await at("west").status("MESSAGE", ALICE, { body: "hello", headers })).toBe(202);
      await bind("east");
      await world.simulation.advance(3_000);
      expect(
        at("east")
          .seen("MESSAGE")
          .map((each) => each.header("P-Asserted-Identity")),
      ).toEqual([`<${uri}>`]);
    },
  );
});

describe("telling the sender (RFC 5438)", () => {
  const cpim = (asks: string): string =>
    [
      "From: Bob <im:bob@example.com>",
      "To: Alice <im:alice@example.com>",
      "NS: imdn <urn:ietf:params:imdn>",
      "imdn.Message-ID: m-17",
      `imdn.Disposition-Notification: ${asks}`,
      "",
      "Content-type: text/plain",
      "",
      "hello",
    ].join("\r\n");
  const send = (client: Client, asks: string) =>
    client.status("MESSAGE", ALICE, {
      from: "sip:bob@example.com",
      body: cpim(asks),
      headers: [["Content-Type", "message/cpim"]],
    });

  it("12.2: a final answer to a stored message is told where negative-delivery was asked for, and once", async () => {
    await domain({ east: 200, west: 603 });
    await bind("east", "bob@example.com");
    const client = world.client("127.0.0.50");
    expect(await send(client, "positive-delivery, negative-delivery")).toBe(202);
    await bind("west");
    await world.simulation.advance(3_000);
    const told = at("east").seen("MESSAGE");
    expect(told).toHaveLength(1);
    const [imdn] = told;
    expect(imdn!.requestUri).toBe("sip:bob@example.com");
    expect(imdn!.header("Content-Type")).toBe("message/cpim");
    expect(imdn!.body).toContain("Content-type: message/imdn+xml");
    expect(imdn!.body).toContain("Content-Disposition: notification");
    expect(imdn!.body).toContain("<message-id>m-17</message-id>");
    expect(imdn!.body).toContain("<recipient-uri>im:alice@example.com</recipient-uri>");
    expect(imdn!.body).toContain("<delivery-notification><status><failed/></status></delivery-notification>");
    // 7.2.1: no notification is asked for a notification.
    expect(imdn!.body).not.toContain("Disposition-Notification");
    expect((await messages()).map((each) => each.state)).toEqual(["failed", "delivered"]);
  });

  it("nobody is told who did not ask, nor of a success", async () => {
    const answers = await domain({ east: 200, west: 603 });
    await bind("east", "bob@example.com");
    const client = world.client("127.0.0.50");
    await send(client, "positive-delivery");
    await bind("west");
    await world.simulation.advance(3_000);
    await unbind();
    answers.west = 200;
    await send(client, "negative-delivery");
    await bind("west");
    await world.simulation.advance(3_000);
    expect(at("east").seen("MESSAGE")).toEqual([]);
  });

  it("a client that names another as the sender of its CPIM message has nobody told", async () => {
    await domain({ east: 200, west: 603 });
    await bind("east", "bob@example.com");
    const client = world.client("127.0.0.50");
    const options = { body: cpim("negative-delivery"), headers: [["Content-Type", "message/cpim"]] as const };
    expect(await client.status("MESSAGE", ALICE, { ...options, from: "sip:mallory@example.com" })).toBe(202);
    await bind("west");
    await world.simulation.advance(3_000);
    expect(await states()).toEqual(["failed"]);
    expect(at("east").seen("MESSAGE")).toEqual([]);
  });

  it("a sender whom his server calls otherwise is told there, by that name", async () => {
    await domain({ east: 603, west: 200 }, { each: { west: { identities: { "bob@example.com": "robert" } } } });
    await bind("west", "bob@example.com");
    const sent = at("west").status("MESSAGE", ALICE, {
      from: "sip:robert@example.com",
      body: cpim("negative-delivery").replace("im:bob@", "im:robert@"),
      headers: [
        ["Content-Type", "message/cpim"],
        ["P-Asserted-Identity", "<sip:robert@example.com>"],
      ],
    });
    expect(await sent).toBe(202);
    await bind("east");
    await world.simulation.advance(3_000);
    expect((await messages()).map(({ recipient, state }) => [recipient, state])).toEqual([
      [AOR, "failed"],
      ["bob@example.com", "delivered"],
    ]);
    expect(at("west").seen("MESSAGE")[0]!.requestUri).toBe("sip:robert@example.com");
  });

  it("expiry is a failure too, and an absent sender is told when he is back", async () => {
    await domain();
    await bind("east", "bob@example.com");
    await unbind("bob@example.com");
    const client = world.client("127.0.0.50");
    await client.status("MESSAGE", ALICE, {
      from: "sip:bob@example.com",
      body: cpim("negative-delivery"),
      headers: [
        ["Content-Type", "message/cpim"],
        ["Expires", "20"],
      ],
    });
    await world.simulation.advance(40_000);
    expect(await states()).toEqual(["expired", "stored"]);
    await bind("east", "bob@example.com");
    await world.simulation.advance(500);
    expect(at("east").seen("MESSAGE")[0]!.body).toContain("<failed/>");
  });
});
