import { afterEach, describe, expect, it } from "vitest";
import { Notifier } from "../support/notifier.ts";
import { ALLOW, BLOCK, CONFIRM, POLITE_BLOCK, ScriptedPolicy, UNKNOWN, without } from "../support/scripted-policy.ts";
import { Watcher } from "../support/watcher.ts";
import { always, type Client, createWorld, reply, type World, type WorldOptions } from "../support/world.ts";

/** models.md, "Identity and policy": who writes, calls and watches where the proxy passes requests on, in every model. */

let world: World;
let policy: ScriptedPolicy;

afterEach(() => world.stop());

const ALICE = "sip:alice@example.com";
const AOR = "alice@example.com";
const BOB = "bob@example.com";
const AS_BOB = { from: `sip:${BOB}` };
const PARTITIONED = { match: "*", model: { model: "partitioned" } } as const;
const EXCLUSIVE = { match: "*", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } } as const;
const PEERS = { match: "*", model: { model: "unioned", style: "peer", servers: ["east", "west"] } } as const;

const finish = <T>(promise: Promise<T>): Promise<T> => world.simulation.finish(promise);
const wait = (ms: number): Promise<void> => world.simulation.advance(ms);
const bind = (server: string) =>
  finish(world.proxies[0]!.directory.move({ aor: AOR, to: server, equalRank: true, actor: "test" }));

async function begin(model: NonNullable<WorldOptions["options"]>["models"], more: WorldOptions = {}): Promise<Client> {
  policy = new ScriptedPolicy();
  world = await createWorld({
    servers: {
      home: { script: always(404) },
      east: { script: (transaction, self) => reply(transaction, self, 200) },
      west: { script: always(404) },
    },
    policy: policy.of,
    ...more,
    options: { ...(model === undefined ? {} : { models: model }), ...more.options },
  });
  return world.scripted["home"]!;
}

const got = (method: string): number =>
  ["east", "west"].reduce((sum, name) => sum + world.scripted[name]!.seen(method).length, 0);

describe.each([
  ["partitioned, bound", PARTITIONED, true],
  ["partitioned, searched for", PARTITIONED, false],
  ["exclusive", EXCLUSIVE, true],
  ["exclusive, absent", EXCLUSIVE, false],
] as const)("a user, %s", (_, model, isBound) => {
  it.each(["MESSAGE", "INVITE"] as const)(
    "a %s of whom the rules refuse is 403, with a Warning that names nothing; no server sees it",
    async (method) => {
      const home = await begin([model]);
      if (isBound) await bind("east");
      policy.refuse(BOB, method);
      const answer = (await home.send(method, ALICE, AS_BOB)).at(-1)!;
      expect([answer.status, answer.header("Warning")]).toEqual([403, '399 example.com "not allowed by policy"']);
      expect(got(method)).toBe(0);
      const line = world.proxies[0]!.told.request!.at(-1)!;
      expect([line.plan, line.reasons.at(-1)]).toEqual(["reject 403 Forbidden", "decided by: the test"]);
    },
  );
});

describe("who writes and calls", () => {
  it("each method has rules of its own, and so has each sender", async () => {
    const home = await begin([EXCLUSIVE]);
    await bind("east");
    policy.refuse(BOB, "INVITE");
    expect(await home.status("MESSAGE", ALICE, AS_BOB)).toBe(200);
    expect(await home.status("MESSAGE", ALICE, { from: "sip:carol@example.com" })).toBe(200);
    expect(await home.status("INVITE", ALICE, AS_BOB)).toBe(403);
  });

  it("he is judged by the identity his server asserts, not by From (RFC 3325 5)", async () => {
    const home = await begin([EXCLUSIVE]);
    await bind("east");
    policy.refuse(BOB, "MESSAGE");
    const headers = [["P-Asserted-Identity", `<sip:${BOB}>`]] as const;
    expect(await home.status("MESSAGE", ALICE, { from: "sip:carol@example.com", headers })).toBe(403);
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", ALICE, { from: "sip:carol@example.com", headers })).toBe(200);
    expect(policy.asked.at(-1)).toMatchObject({ watcher: "carol@example.com", trusted: false });
  });

  it("of a user on several servers too", async () => {
    const home = await begin([PEERS]);
    policy.refuse(BOB, "MESSAGE");
    expect(await home.status("MESSAGE", ALICE, AS_BOB)).toBe(403);
    expect(got("MESSAGE")).toBe(0);
  });

  it("what is stored is judged when it comes in, and delivered whatever the rules say later", async () => {
    const home = await begin([EXCLUSIVE], { options: { absentMessages: "store" } });
    await bind("east");
    await finish(world.proxies[0]!.directory.unbind({ aor: AOR, actor: "test" }));
    expect(await home.status("MESSAGE", ALICE, { ...AS_BOB, body: "in time" })).toBe(202);
    policy.refuse(BOB, "MESSAGE");
    expect(await home.status("MESSAGE", ALICE, { ...AS_BOB, body: "too late" })).toBe(403);
    await bind("east");
    await wait(5_000);
    expect(world.scripted["east"]!.seen("MESSAGE").map(({ body }) => body)).toEqual(["in time"]);
  });

  it("a verdict that takes its time is waited for; one that does not come is 500 within the time for a decision", async () => {
    const home = await begin([EXCLUSIVE]);
    await bind("east");
    policy.delayMs = 3_000;
    const slow = home.begin("MESSAGE", ALICE, AS_BOB);
    await home.all(slow);
    expect([slow.final, slow.tookMs! >= 3_000]).toEqual([200, true]);
    policy.delayMs = 60_000;
    const never = home.begin("MESSAGE", ALICE, AS_BOB);
    await home.all(never);
    expect([never.final, never.tookMs! <= 8_100, never.responses.at(-1)!.header("Retry-After")]).toEqual([
      500,
      true,
      "10",
    ]);
    expect(got("MESSAGE")).toBe(1);
    await wait(60_000);
  });

  it("where nobody can be asked it is 500", async () => {
    const home = await begin([EXCLUSIVE]);
    await bind("east");
    policy.refuse(BOB, "MESSAGE", { known: false });
    expect(await home.status("MESSAGE", ALICE, AS_BOB)).toBe(500);
  });

  it("within a call nobody is asked: it was permitted", async () => {
    const home = await begin([EXCLUSIVE]);
    await bind("east");
    expect(await finish(home.call(ALICE, AS_BOB))).toEqual([200, 200]);
    expect(policy.asked.length).toBe(1);
  });

  it("an INVITE taken back while its verdict is awaited reaches nobody", async () => {
    const home = await begin([EXCLUSIVE]);
    await bind("east");
    policy.delayMs = 2_000;
    const invite = home.begin("INVITE", ALICE, AS_BOB);
    await wait(500);
    invite.cancel();
    await home.all(invite);
    await wait(10_000);
    expect([invite.final, got("ACK")]).toEqual([487, 0]);
  });

  it("of whom no rules are kept here nobody is asked about", async () => {
    const home = await begin([EXCLUSIVE]);
    await bind("east");
    policy.governs = () => false;
    policy.refuse(BOB, "MESSAGE");
    expect(await home.status("MESSAGE", ALICE, AS_BOB)).toBe(200);
    expect(policy.asked).toEqual([]);
  });

  it("where nobody decides, nobody is asked", async () => {
    const home = await begin([EXCLUSIVE]);
    await bind("east");
    policy.active = false;
    policy.refuse(BOB, "MESSAGE");
    expect(await home.status("MESSAGE", ALICE, AS_BOB)).toBe(200);
    expect(policy.asked).toEqual([]);
  });
});

describe("who watches a partitioned user", () => {
  let east: Notifier;
  let west: Notifier;
  let bob: Watcher;

  async function partitioned(more: WorldOptions = {}): Promise<void> {
    east = new Notifier("east");
    west = new Notifier("west");
    await begin([PARTITIONED], {
      servers: { home: { script: always(404) }, east: { script: east.script }, west: { script: west.script } },
      uris: { home: ["sip:127.0.0.50:5060", "sip:127.0.0.51:5060"] },
      ...more,
    });
    west.policy = () => ({ status: 404 });
    bob = new Watcher(world, "127.0.0.50");
  }
  const subscribe = async () => (await bob.subscribe(ALICE, 600, AS_BOB)).status;

  it.each(["bound", "searched for"])("block is 403, and no server is asked (%s)", async (where) => {
    await partitioned();
    if (where === "bound") await bind("east");
    policy.rule(BOB, BLOCK);
    expect(await subscribe()).toBe(403);
    expect([east.firsts.length, west.firsts.length]).toEqual([0, 0]);
  });

  it("bound, and allowed: back-to-back, so that what is withdrawn is withdrawn at once", async () => {
    await partitioned();
    await bind("east");
    await subscribe();
    await wait(1_000);
    expect(bob.saw).toEqual(["pending", "active open"]);
    policy.rule(BOB, BLOCK);
    await wait(1_000);
    expect([bob.saw.at(-1), east.live.length]).toEqual(["terminated rejected", 0]);
  });

  it("bound, with pieces taken out: back-to-back", async () => {
    await partitioned();
    await bind("east");
    east.more = "<note>at home</note>";
    policy.rule(BOB, without("note"));
    await subscribe();
    await wait(1_000);
    expect([bob.saw.at(-1), bob.last!.body.includes("home")]).toEqual(["active open", false]);
  });

  it.each([
    ["confirm", CONFIRM, "pending"],
    ["polite-block", POLITE_BLOCK, "active closed"],
  ])("%s: answered here, and no server is asked", async (_, verdict, last) => {
    await partitioned();
    await bind("east");
    policy.rule(BOB, verdict);
    expect(await subscribe()).toBe(200);
    await wait(1_000);
    expect([bob.saw.at(-1), east.firsts.length]).toEqual([last, 0]);
    policy.rule(BOB, ALLOW);
    await wait(1_000);
    expect(bob.saw.at(-1)).toBe("active open");
  });

  it("searched for, and allowed: it forks as ever; withdrawn, the next NOTIFY and SUBSCRIBE of the dialog are 481", async () => {
    await partitioned();
    expect(await subscribe()).toBe(200);
    await wait(1_000);
    expect(bob.saw).toEqual(["active open"]);
    policy.rule(BOB, BLOCK);
    await wait(1_000);
    const late = east.notify(east.served[0]!);
    await wait(1_000);
    expect([late.final, bob.saw]).toEqual([481, ["active open"]]);
    expect((await bob.refresh(600)).status).toBe(481);
    expect(await subscribe()).toBe(403);
  });

  it("searched for, and to be held back: held, and shown once another request has found the user", async () => {
    await partitioned({ options: { hold: { users: "any", events: ["presence"] } } });
    policy.rule(BOB, without("note"));
    expect(await subscribe()).toBe(200);
    await wait(1_000);
    expect([bob.saw, east.firsts.length]).toEqual([["pending"], 0]);
    const carol = new Watcher(world, "127.0.0.51");
    await carol.subscribe(ALICE, 600, { from: "sip:carol@example.com" });
    await wait(2_000);
    expect([carol.saw, bob.saw.at(-1)]).toEqual([["active open"], "active open"]);
  });

  it("searched for, to be held back, and unknown: 404 (hold: known)", async () => {
    await partitioned();
    policy.rule(BOB, CONFIRM);
    expect(await subscribe()).toBe(404);
  });

  it("a server that cannot be a leg (repoint: no): passed on where all may be seen, 403 where pieces are to be taken out", async () => {
    await partitioned({ each: { east: { repoint: false } } });
    await bind("east");
    await subscribe();
    await wait(1_000);
    expect(bob.saw).toEqual(["active open"]);
    policy.rule(BOB, without("note"));
    expect(await subscribe()).toBe(403);
    expect((await bob.refresh(600)).status).toBe(481);
  });

  it("what was learned is renewed by the legs it has led to", async () => {
    await partitioned({ options: { learnedMs: 600_000 } });
    await finish(world.proxies[0]!.directory.learn(AOR, "east", world.proxies[0]!.runtime.clock.wall() + 600_000));
    await bob.subscribe(ALICE, 3600, AS_BOB);
    for (let i = 0; i < 8; i++) {
      await wait(240_000);
      east.notify(east.live[0]!);
    }
    await wait(1_000);
    expect([bob.saw.at(-1), bob.saw.includes("active closed")]).toEqual(["active open", false]);
  });

  it("what was learned and is wrong is dropped by a leg's 404: he subscribes anew, and the user is searched for", async () => {
    await partitioned();
    east.policy = () => ({ status: 404 });
    west.policy = () => ({ status: 200 });
    await finish(world.proxies[0]!.directory.learn(AOR, "east", world.proxies[0]!.runtime.clock.wall() + 600_000));
    expect(await subscribe()).toBe(200);
    await wait(2_000);
    expect(bob.saw).toEqual(["pending", "terminated deactivated"]);
    expect(await subscribe()).toBe(200);
    await wait(2_000);
    expect(bob.saw.slice(2)).toEqual(["active open"]);
    expect(world.proxies[0]!.told.unlearned).toMatchObject([{ aor: AOR, server: "east" }]);
  });

  it("and who may not see all there is waits until he is found", async () => {
    await partitioned();
    east.policy = () => ({ status: 404 });
    west.policy = () => ({ status: 200 });
    policy.rule(BOB, without("note"));
    await finish(world.proxies[0]!.directory.learn(AOR, "east", world.proxies[0]!.runtime.clock.wall() + 600_000));
    await subscribe();
    await wait(2_000);
    expect(bob.saw).toEqual(["pending"]);
    await bind("west");
    await wait(2_000);
    expect(bob.saw).toEqual(["pending", "active open"]);
  });

  it("where nobody can be asked it is 500", async () => {
    await partitioned();
    policy.rule(BOB, UNKNOWN);
    expect(await subscribe()).toBe(500);
  });
});
