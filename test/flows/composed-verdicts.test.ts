import { afterEach, describe, expect, it } from "vitest";
import type { WatcherVerdict } from "../../src/policy/policy.ts";
import { applyWinfo, NO_WATCHERS, parseWinfo, WINFO_TYPE } from "../../src/presence/winfo.ts";
import { ALLOW, BLOCK, CONFIRM, POLITE_BLOCK, ScriptedPolicy, without } from "../support/scripted-policy.ts";
import { ALICE, told, Unioned, type UnionedOptions } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";
import { always } from "../support/world.ts";

/** What rules let a watcher see of a user of several servers, and when (models.md, "Composition", "Identity and policy"). */

let domain: Unioned;
let policy: ScriptedPolicy;
let bob: Watcher;

afterEach(() => domain.world.stop());

const BOB = "bob@example.com";
const AS_BOB = { from: `sip:${BOB}` };

async function begin(options: UnionedOptions = {}): Promise<void> {
  domain = new Unioned();
  policy = new ScriptedPolicy();
  await domain.begin({
    uris: { home: ["sip:127.0.0.50:5060", "sip:127.0.0.51:5060"], south: "sip:127.0.0.52:5060" },
    policy: policy.of,
    ...options,
    servers: {
      east: { script: (transaction, self) => domain.east.script(transaction, self) },
      west: { script: (transaction, self) => domain.west.script(transaction, self) },
      home: { script: always(404) },
      ...(options.names?.includes("south") ? { south: { script: always(404) } } : {}),
    },
  });
  bob = new Watcher(domain.world, "127.0.0.50");
}

const seen = (from = 0): string[] => told(bob).slice(from);
const asked = (): number => domain.east.firsts.length + domain.west.firsts.length;
const live = (): number => domain.east.live.length + domain.west.live.length;

async function watching(): Promise<void> {
  expect((await bob.subscribe(ALICE, 600, AS_BOB)).status).toBe(200);
  await domain.wait(1_000);
}

it("block is 403 at the door, and no server is asked", async () => {
  await begin();
  policy.rule(BOB, BLOCK);
  expect((await bob.subscribe(ALICE, 600, AS_BOB)).status).toBe(403);
  await domain.wait(1_000);
  expect([bob.saw, asked(), await domain.rows()]).toEqual([[], 0, []]);
});

it("blocked later: terminated;reason=rejected, without a document, and every leg ends", async () => {
  await begin();
  await watching();
  policy.rule(BOB, BLOCK);
  await domain.wait(1_000);
  expect([seen(), live(), await domain.rows()]).toEqual([
    ["pending", "active east open, west open", "terminated rejected"],
    0,
    [],
  ]);
});

describe("confirm", () => {
  it("is pending, and no server is asked; allowed, it is active with the document of all", async () => {
    await begin();
    policy.rule(BOB, CONFIRM);
    await watching();
    await domain.wait(60_000);
    expect([seen(), asked()]).toEqual([["pending"], 0]);
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open, west open"]);
  });

  it("who was active already is shown closed, and the whole again once he is allowed", async () => {
    await begin();
    await watching();
    policy.rule(BOB, CONFIRM);
    await domain.wait(60_000);
    expect([bob.saw.slice(2), live()]).toEqual([["active closed"], 0]);
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    expect(seen(3)).toEqual(["active east open, west open"]);
  });
});

it("polite-block: active with a closed document, and nothing more is told", async () => {
  await begin();
  policy.rule(BOB, POLITE_BLOCK);
  await watching();
  await domain.wait(60_000);
  expect([bob.saw, asked()]).toEqual([["pending", "active closed"], 0]);
});

describe("allow, with pieces taken out", () => {
  it("they are taken out of the whole, and a change of nothing else is no NOTIFY", async () => {
    await begin();
    domain.west.more = "<note>at home</note>";
    policy.rule(BOB, without("note"));
    await watching();
    expect(seen()).toEqual(["pending", "active east open, west open"]);
    expect(bob.last!.body).not.toContain("home");
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    expect(bob.last!.body).toContain("home");
  });

  it("a watcher who takes differences gets whole documents, and differences of the whole once nothing is taken out", async () => {
    await begin();
    bob.accept = "application/pidf-diff+xml, application/pidf+xml;q=0.5";
    domain.west.more = "<note>at home</note>";
    policy.rule(BOB, without("note"));
    await watching();
    domain.east.notify(domain.east.live[0]!, undefined, "closed");
    await domain.wait(1_000);
    const types = () => bob.told.map((each) => each.request.header("Content-Type"));
    expect(types().slice(1)).toEqual(["application/pidf+xml", "application/pidf+xml"]);
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    expect(bob.last!.body).toMatch(/pidf-full/);
    domain.east.notify(domain.east.live[0]!, undefined, "open");
    await domain.wait(1_000);
    expect([types().at(-1), /pidf-diff:pidf-diff/.test(bob.last!.body)]).toEqual(["application/pidf-diff+xml", true]);
    policy.rule(BOB, without("note"));
    await domain.wait(1_000);
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    // What it would build on was not the last he got.
    expect(bob.last!.body).toMatch(/pidf-full/);
  });

  it.each([
    ["confirm", CONFIRM, "terminated timeout"],
    ["polite-block", POLITE_BLOCK, "terminated timeout closed"],
  ])("a fetch under %s", async (_, verdict, told) => {
    await begin();
    policy.rule(BOB, verdict);
    await bob.subscribe(ALICE, 0, AS_BOB);
    await domain.wait(1_000);
    expect([bob.saw, asked()]).toEqual([[told], 0]);
  });
});

describe("a watcher that is one of the user's own servers (draft, Distributed Provisioning: confirmed is consent)", () => {
  let south: Watcher;

  async function asMember(verdict: WatcherVerdict): Promise<void> {
    await begin({ names: ["east", "west", "south"] });
    south = new Watcher(domain.world, "127.0.0.52");
    policy.rule(BOB, verdict);
    expect((await south.subscribe(ALICE, 600, AS_BOB)).status).toBe(200);
    await domain.wait(1_000);
  }

  it.each([
    ["confirm", CONFIRM],
    ["polite-block", POLITE_BLOCK],
  ])("%s: it is pending, and shows nothing of its own", async (_, verdict) => {
    await asMember(verdict);
    await domain.wait(40_000);
    expect([south.saw, asked()]).toEqual([["pending"], 0]);
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    expect(south.saw).toEqual(["pending", "active open"]);
  });

  it.each([
    ["confirm", CONFIRM],
    ["polite-block", POLITE_BLOCK],
  ])(
    "%s later: deactivated, so that it asks again and waits; it is never told `active` without a yes",
    async (_, verdict) => {
      await asMember(ALLOW);
      expect(south.saw).toEqual(["pending", "active open"]);
      policy.rule(BOB, verdict);
      await domain.wait(1_000);
      expect([south.saw.slice(2), live(), await domain.rows()]).toEqual([["terminated deactivated"], 0, []]);
      expect((await south.subscribe(ALICE, 600, AS_BOB)).status).toBe(200);
      await domain.wait(1_000);
      expect(south.saw.slice(3)).toEqual(["pending"]);
    },
  );

  it("what was withdrawn while nobody owned it", async () => {
    await begin({ names: ["east", "west", "south"], proxies: 2 });
    south = new Watcher(domain.world, "127.0.0.52");
    await south.subscribe(ALICE, 600, AS_BOB);
    await domain.wait(1_000);
    domain.world.proxies[0]!.kill();
    policy.rule(BOB, POLITE_BLOCK);
    await domain.wait(60_000);
    expect(south.saw.at(-1)).toBe("terminated deactivated");
    expect(south.saw.slice(2).some((each) => /open|closed/.test(each))).toBe(false);
  });
});

it("a server's denial denies all the same (privacy safety)", async () => {
  await begin();
  domain.west.policy = () => ({ status: 403 });
  policy.rule(BOB, without("note"));
  await watching();
  expect(seen()).toEqual(["pending", "terminated rejected"]);
});

it("while a verdict is not known documents are held back, and legs stay", async () => {
  await begin();
  await watching();
  policy.delayMs = 3_000;
  policy.tell("alice@example.com");
  await domain.wait(500);
  domain.east.notify(domain.east.live[0]!, undefined, "closed");
  await domain.wait(1_000);
  expect([seen(2), live()]).toEqual([[], 2]);
  await domain.wait(3_000);
  expect(seen(2)).toEqual(["active east closed, west open"]);
});

it("over two proxies and a death: pending, seen by alice, allowed with pieces taken out, refused", async () => {
  await begin({ proxies: 2 });
  policy.otherwise = CONFIRM;
  domain.west.more = "<note>at home</note>";
  const alice = new Watcher(domain.world, "127.0.0.51");
  alice.event = "presence.winfo";
  alice.accept = WINFO_TYPE;
  await alice.subscribe(ALICE, 3600, { from: ALICE });
  const watchers = (): string[] => {
    const documents = alice.told.filter((each) => each.body !== "").map((each) => parseWinfo(each.body));
    const table = documents.reduce((known, document) => {
      const applied = applyWinfo(known, document);
      return applied.outcome === "applied" ? applied.table : known;
    }, NO_WATCHERS);
    return [...(table.lists.get(ALICE)?.values() ?? [])].map(({ uri, status }) => `${uri} ${status}`);
  };
  await bob.subscribe(ALICE, 3600, { ...AS_BOB, proxy: "127.0.0.2" });
  await domain.wait(6_000);
  expect([watchers(), seen()]).toEqual([[`sip:${BOB} pending`], ["pending"]]);
  domain.world.proxies[1]!.kill();
  await domain.wait(60_000);
  expect([watchers(), new Set(seen()), asked()]).toEqual([[`sip:${BOB} pending`], new Set(["pending"]), 0]);
  policy.rule(BOB, without("note"));
  await domain.wait(6_000);
  expect([watchers(), seen().at(-1)]).toEqual([[`sip:${BOB} active`], "active east open, west open"]);
  policy.rule(BOB, BLOCK);
  await domain.wait(6_000);
  expect([watchers(), seen().at(-1)]).toEqual([[], "terminated rejected"]);
  expect(bob.told.some(({ body }) => body.includes("home"))).toBe(false);
});

it("what is left of a document that is larger than any server's is shown, not nobody", async () => {
  await begin();
  policy.rule(BOB, without("note"));
  domain.east.more = `<note>${"x".repeat(33_000)}</note>`;
  domain.west.more = `<note>${"y".repeat(33_000)}</note>`;
  await watching();
  expect(seen()).toEqual(["pending", "active east open, west open"]);
});
