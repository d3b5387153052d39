import { afterEach, describe, expect, it } from "vitest";
import type { WatcherVerdict } from "../../src/policy/policy.ts";
import { ALICE, Exclusive } from "../support/exclusive.ts";
import { ALLOW, BLOCK, CONFIRM, POLITE_BLOCK, ScriptedPolicy, UNKNOWN, without } from "../support/scripted-policy.ts";
import { Watcher } from "../support/watcher.ts";
import { always, type WorldOptions } from "../support/world.ts";

/** models.md, "Identity and policy": what rules let a watcher see of an exclusive user, and when (RFC 5025 3.2.1, 3.3). */

let domain: Exclusive;
let policy: ScriptedPolicy;
let bob: Watcher;

afterEach(() => domain.world.stop());

const BOB = "bob@example.com";
const AS_BOB = { from: `sip:${BOB}` };

/** Bob's own server sends from where he is, so that he is believed. */
async function begin(options: WorldOptions = {}): Promise<void> {
  domain = new Exclusive();
  policy = new ScriptedPolicy();
  await domain.begin({
    servers: {
      east: { script: domain.east.script },
      west: { script: domain.west.script },
      home: { script: always(404) },
    },
    uris: { home: ["sip:127.0.0.50:5060", "sip:127.0.0.51:5060"] },
    policy: policy.of,
    ...options,
  });
  bob = new Watcher(domain.world, "127.0.0.50");
}

async function watching(): Promise<void> {
  await domain.bind("east");
  expect((await bob.subscribe(ALICE, 600, AS_BOB)).status).toBe(200);
  await domain.wait(1_000);
}

/** What bob was told since. */
function since(count: number): string[] {
  return bob.saw.slice(count);
}

describe("block", () => {
  it("is 403 at the door, and nothing is kept or asked (RFC 5025 3.2.1)", async () => {
    await begin();
    policy.rule(BOB, BLOCK);
    await domain.bind("east");
    expect((await bob.subscribe(ALICE, 600, AS_BOB)).status).toBe(403);
    expect((await bob.subscribe(ALICE, 0, AS_BOB)).status).toBe(403);
    await domain.wait(1_000);
    expect([bob.saw, await domain.rows(), domain.east.firsts.length]).toEqual([[], [], 0]);
  });

  it("later it is terminated;reason=rejected, without a document, and the leg ends", async () => {
    await begin();
    await watching();
    expect(bob.saw).toEqual(["pending", "active open"]);
    policy.rule(BOB, BLOCK);
    await domain.wait(1_000);
    expect(since(2)).toEqual(["terminated rejected"]);
    domain.east.notify(domain.east.served[0]!);
    await domain.wait(1_000);
    expect([since(3), await domain.rows(), domain.east.live.length]).toEqual([[], [], 0]);
  });
});

describe("confirm", () => {
  it("is 200 and pending; nothing is shown, and no server is asked", async () => {
    await begin();
    policy.rule(BOB, CONFIRM);
    await watching();
    expect([bob.saw, domain.east.firsts.length]).toEqual([["pending"], 0]);
  });

  it("a rule that allows makes it active, with the document", async () => {
    await begin();
    policy.rule(BOB, CONFIRM);
    await watching();
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    expect(bob.saw).toEqual(["pending", "active open"]);
  });

  it("he is refused while pending: terminated;reason=rejected", async () => {
    await begin();
    policy.rule(BOB, CONFIRM);
    await watching();
    policy.rule(BOB, BLOCK);
    await domain.wait(1_000);
    expect(bob.saw).toEqual(["pending", "terminated rejected"]);
  });

  it("who was active already is shown closed: no machine goes back to pending (RFC 6665 4.1.3)", async () => {
    await begin();
    await watching();
    policy.rule(BOB, CONFIRM);
    await domain.wait(1_000);
    expect(since(2)).toEqual(["active closed"]);
    expect(domain.east.live.length).toBe(0);
    await bob.refresh(600);
    await domain.wait(1_000);
    expect(since(3)).toEqual(["active closed"]);
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    expect(since(4)).toEqual(["active open"]);
  });

  it("a user who moves about meanwhile is seen nowhere", async () => {
    await begin();
    policy.rule(BOB, CONFIRM);
    await watching();
    await domain.bind("west");
    await domain.wait(1_000);
    await domain.unbind();
    await domain.wait(1_000);
    expect([bob.saw, domain.west.firsts.length]).toEqual([["pending"], 0]);
    await domain.bind("west");
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    expect(bob.saw).toEqual(["pending", "active open"]);
  });

  it("a fetch ends at once, without a document", async () => {
    await begin();
    policy.rule(BOB, CONFIRM);
    await domain.bind("east");
    await bob.subscribe(ALICE, 0, AS_BOB);
    await domain.wait(1_000);
    expect([bob.saw, domain.east.firsts.length]).toEqual([["terminated timeout"], 0]);
  });
});

describe("polite-block", () => {
  it("is active with a closed document, whatever the user does, and nothing more is told", async () => {
    await begin();
    policy.rule(BOB, POLITE_BLOCK);
    await watching();
    expect(bob.saw).toEqual(["pending", "active closed"]);
    await domain.bind("west");
    await domain.wait(1_000);
    await domain.unbind();
    await domain.wait(1_000);
    await domain.bind("east");
    await domain.wait(1_000);
    expect([since(2), domain.east.firsts.length, domain.west.firsts.length]).toEqual([[], 0, 0]);
  });

  it("looks as a user who was there and is nowhere: the same document", async () => {
    await begin();
    await watching();
    await domain.unbind();
    await domain.wait(1_000);
    const absent = bob.last!.body;
    const carol = new Watcher(domain.world, "127.0.0.51");
    policy.rule("carol@example.com", POLITE_BLOCK);
    await carol.subscribe(ALICE, 600, { from: "sip:carol@example.com" });
    await domain.wait(1_000);
    expect([carol.saw, carol.last!.body]).toEqual([["pending", "active closed"], absent]);
  });

  it("a refresh and a fetch are told the same", async () => {
    await begin();
    policy.rule(BOB, POLITE_BLOCK);
    await watching();
    await bob.refresh(600);
    await domain.wait(1_000);
    expect(since(2)).toEqual(["active closed"]);
    const other = new Watcher(domain.world, "127.0.0.51");
    await other.subscribe(ALICE, 0, AS_BOB);
    await domain.wait(1_000);
    expect(other.saw).toEqual(["terminated timeout closed"]);
  });

  it("who was shown the user is shown him closed, once", async () => {
    await begin();
    await watching();
    policy.rule(BOB, POLITE_BLOCK);
    await domain.wait(1_000);
    domain.east.notify(domain.east.served[0]!);
    await domain.wait(1_000);
    expect(since(2)).toEqual(["active closed"]);
  });
});

describe("allow, with pieces taken out (RFC 5025 3.3)", () => {
  const SECRET = "<note>at home</note>";

  it("the document is transformed, and what is left is all there is", async () => {
    await begin();
    domain.east.more = SECRET;
    policy.rule(BOB, without("note"));
    await watching();
    expect(bob.saw).toEqual(["pending", "active open"]);
    expect(bob.last!.body).not.toMatch(/note|home/);
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    expect(bob.last!.body).toContain("at home");
    policy.rule(BOB, without("note"));
    await domain.wait(1_000);
    expect(bob.last!.body).not.toMatch(/note|home/);
    expect(bob.told.every(({ body }, i) => i === 2 || !/home/.test(body))).toBe(true);
  });

  it("a change of nothing but what is taken out is no NOTIFY: its time would tell of it", async () => {
    await begin();
    const document = domain.east.document.bind(domain.east);
    let note = "at home";
    domain.east.document = (served, basic) =>
      document(served, basic)
        .replace(/id="east-\d+"/, 'id="t"')
        .replace("</tuple>", `$&<note>${note}</note>`);
    policy.rule(BOB, without("note"));
    await watching();
    note = "at work";
    domain.east.notify(domain.east.served[0]!);
    await domain.wait(1_000);
    expect(since(2)).toEqual([]);
    domain.east.notify(domain.east.served[0]!, undefined, "closed");
    await domain.wait(1_000);
    expect(since(2)).toEqual(["active closed"]);
  });

  it("a document that cannot be read is not shown: the user is closed", async () => {
    await begin();
    domain.east.more = "<unended>";
    policy.rule(BOB, without("note"));
    await watching();
    expect(bob.saw).toEqual(["pending", "active closed"]);
    expect(bob.last!.body).not.toContain("unended");
  });

  it("a fetch is transformed too", async () => {
    await begin();
    domain.east.more = SECRET;
    policy.rule(BOB, without("note"));
    await domain.bind("east");
    await bob.subscribe(ALICE, 0, AS_BOB);
    await domain.wait(1_000);
    expect(bob.saw).toEqual(["terminated timeout open"]);
    expect(bob.last!.body).not.toMatch(/note|home/);
  });
});

describe("while a verdict is not known", () => {
  it("the SUBSCRIBE waits for it", async () => {
    await begin();
    policy.delayMs = 2_000;
    policy.rule(BOB, CONFIRM);
    await domain.bind("east");
    const outgoing = bob.begin(ALICE, 600, AS_BOB);
    await domain.wait(1_900);
    expect([outgoing.ended, bob.saw]).toEqual([false, []]);
    await domain.wait(1_000);
    expect([outgoing.final, bob.saw]).toEqual([200, ["pending"]]);
  });

  it("and no longer than within the time for a decision: 500 with Retry-After, nothing is kept", async () => {
    await begin();
    policy.delayMs = 60_000;
    await domain.bind("east");
    const refused = await bob.subscribe(ALICE, 600, AS_BOB);
    expect([refused.status, refused.header("Retry-After")]).toEqual([500, "10"]);
    await domain.wait(120_000);
    expect([bob.saw, await domain.rows()]).toEqual([[], []]);
  });

  it("nobody could be asked: 500, and who watches already is shown nothing, and not refused", async () => {
    await begin();
    policy.rule(BOB, UNKNOWN);
    await domain.bind("east");
    expect((await bob.subscribe(ALICE, 600, AS_BOB)).status).toBe(500);
    policy.rule(BOB, ALLOW);
    const again = new Watcher(domain.world, "127.0.0.51");
    await again.subscribe(ALICE, 600, AS_BOB);
    await domain.wait(1_000);
    policy.rule(BOB, UNKNOWN);
    await domain.wait(1_000);
    domain.east.notify(domain.east.live[0]!);
    await domain.wait(1_000);
    expect(again.saw).toEqual(["pending", "active open", "active closed"]);
    policy.rule(BOB, ALLOW);
    await domain.wait(1_000);
    expect(again.saw.slice(3)).toEqual(["active open"]);
  });

  it("a policy that fails is one that nobody can ask; a transformation that fails shows nothing", async () => {
    await begin();
    const fails = () => {
      throw new Error("planted");
    };
    policy.decide = fails;
    await domain.bind("east");
    expect((await bob.subscribe(ALICE, 600, AS_BOB)).status).toBe(500);
    policy.decide = () => ({ ...without("note"), transform: fails });
    await bob.subscribe(ALICE, 600, AS_BOB);
    await domain.wait(1_000);
    expect(bob.saw).toEqual(["pending", "active closed"]);
    policy.decide = fails;
    policy.tell("alice@example.com");
    await domain.wait(1_000);
    policy.decide = () => undefined;
    // It is asked again by itself.
    await domain.wait(20_000);
    expect(bob.saw.slice(2)).toEqual(["active open"]);
    expect(domain.world.proxies[0]!.told.warning!.length).toBeGreaterThan(1);
  });

  it("documents that come meanwhile are held back; the newest is shown once it is known", async () => {
    await begin();
    await watching();
    policy.delayMs = 3_000;
    policy.tell("alice@example.com");
    await domain.wait(1_000);
    domain.east.notify(domain.east.served[0]!, undefined, "closed");
    domain.east.notify(domain.east.served[0]!, undefined, "open");
    await domain.wait(1_000);
    expect(since(2)).toEqual([]);
    await domain.wait(2_000);
    expect(since(2)).toEqual(["active open"]);
    expect(domain.east.live.length).toBe(1);
  });

  it("not a byte of what was withdrawn meanwhile", async () => {
    await begin();
    await watching();
    policy.delayMs = 3_000;
    policy.rule(BOB, BLOCK);
    await domain.wait(1_000);
    domain.east.notify(domain.east.served[0]!);
    await domain.wait(10_000);
    expect(since(2)).toEqual(["terminated rejected"]);
  });

  it("of two answers that cross the one asked for later counts", async () => {
    await begin();
    await watching();
    policy.isEarly = true;
    policy.delayMs = 3_000;
    policy.rule(BOB, BLOCK);
    await domain.wait(10);
    policy.delayMs = 1_000;
    policy.rule(BOB, ALLOW);
    await domain.wait(10_000);
    expect(since(2)).toEqual([]);
    expect(domain.east.live.length).toBe(1);
  });

  it("a change while the SUBSCRIBE waits is not missed", async () => {
    await begin();
    policy.isEarly = true;
    policy.delayMs = 2_000;
    await domain.bind("east");
    const outgoing = bob.begin(ALICE, 600, AS_BOB);
    await domain.wait(1_999);
    policy.rule(BOB, CONFIRM);
    await domain.wait(20_000);
    expect([outgoing.final, bob.saw]).toEqual([200, ["pending"]]);
    expect(domain.east.firsts.length).toBe(0);
  });
});

describe("rules change", () => {
  it("at its `until` a verdict is asked for again", async () => {
    await begin();
    const wall = domain.world.proxies[0]!.runtime.clock.wall();
    policy.rule(BOB, { ...ALLOW, until: wall + 60_000 });
    await watching();
    policy.rule(BOB, { ...ALLOW, until: wall + 60_000 }, "someone-else@example.com");
    await domain.wait(50_000);
    const asked = policy.asked.length;
    await domain.wait(20_000);
    expect(policy.asked.length).toBeGreaterThan(asked);
    expect(since(2)).toEqual([]);
  });

  it("about everybody: all are judged anew, and whoever nothing changes for is told nothing", async () => {
    await begin();
    await watching();
    const carol = new Watcher(domain.world, "127.0.0.51");
    await carol.subscribe(ALICE, 600, { from: "sip:carol@example.com" });
    await domain.wait(1_000);
    policy.rule(BOB, BLOCK, null);
    await domain.wait(1_000);
    expect([since(2), carol.saw]).toEqual([["terminated rejected"], ["pending", "active open"]]);
  });

  it("nobody decides here any more: what was held back is shown", async () => {
    await begin();
    policy.rule(BOB, CONFIRM);
    await watching();
    policy.active = false;
    policy.tell(null);
    await domain.wait(1_000);
    expect(bob.saw).toEqual(["pending", "active open"]);
  });

  it("somebody decides here from now on: all who watch are judged", async () => {
    await begin();
    policy.active = false;
    policy.rule(BOB, BLOCK);
    await watching();
    expect(bob.saw).toEqual(["pending", "active open"]);
    policy.active = true;
    policy.tell(null);
    await domain.wait(1_000);
    expect(since(2)).toEqual(["terminated rejected"]);
  });
});

describe("rules by the sphere the user is in (RFC 5025 3.1.2)", () => {
  const inSphere = (sphere: string): string =>
    '<person xmlns="urn:ietf:params:xml:ns:pidf:data-model" id="p">' +
    `<sphere xmlns="urn:ietf:params:xml:ns:pidf:rpid">${sphere}</sphere></person>`;

  async function atWork(elsewhere: WatcherVerdict): Promise<void> {
    await begin();
    policy.decide = ({ sphere }) => ({ ...(sphere === "work" ? ALLOW : elsewhere), bySphere: true });
    domain.east.more = inSphere("work");
    await watching();
  }
  const goes = async (sphere: string) => {
    domain.east.more = inSphere(sphere);
    domain.east.notify(domain.east.live[0]!);
    await domain.wait(1_000);
  };

  it("nobody is turned away before it is known; who may see her there sees her there, and nowhere else", async () => {
    await atWork(CONFIRM);
    expect(bob.saw).toEqual(["pending", "active open"]);
    await goes("home");
    expect(since(2)).toEqual(["active closed"]);
    await goes("home");
    await goes("work");
    expect(since(3)).toEqual(["active open"]);
  });

  it("blocked elsewhere: at work he sees her, and is refused when she goes home", async () => {
    await atWork(BLOCK);
    expect(bob.saw).toEqual(["pending", "active open"]);
    await goes("home");
    expect(since(2)).toEqual(["terminated rejected"]);
  });

  it("in another sphere he is pending, and sees nothing of it", async () => {
    await begin();
    policy.decide = ({ sphere }) => ({ ...(sphere === "work" ? ALLOW : CONFIRM), bySphere: true });
    domain.east.more = inSphere("home");
    await watching();
    expect(bob.saw).toEqual(["pending"]);
    await goes("work");
    expect(since(1)).toEqual(["active open"]);
  });

  it("blocked elsewhere: he is refused once it is known where she is", async () => {
    await begin();
    policy.decide = ({ sphere }) => ({ ...(sphere === "work" ? ALLOW : BLOCK), bySphere: true });
    domain.east.more = inSphere("home");
    await watching();
    expect(bob.saw).toEqual(["pending", "terminated rejected"]);
  });
});

describe("a user of whom no rules are kept here (way: distributed in his domain)", () => {
  it("is watched as if there were none, and tells his servers who may", async () => {
    await begin();
    policy.governs = () => false;
    policy.rule(BOB, BLOCK);
    await watching();
    expect([bob.saw, policy.asked]).toEqual([["pending", "active open"], []]);
  });

  it("rules are kept from now on, and no more", async () => {
    await begin();
    policy.governs = () => false;
    policy.rule(BOB, CONFIRM);
    await watching();
    policy.governs = () => true;
    policy.tell(null);
    await domain.wait(1_000);
    expect(since(2)).toEqual(["active closed"]);
    policy.governs = () => false;
    policy.tell(null);
    await domain.wait(1_000);
    expect(since(3)).toEqual(["active open"]);
  });
});

describe("who is asked about", () => {
  it("a watcher who only says who he is is not believed: rules that name him do not match", async () => {
    await begin();
    policy.otherwise = CONFIRM;
    policy.rule(BOB, ALLOW);
    await domain.bind("east");
    const liar = new Watcher(domain.world, "127.0.0.60");
    await liar.subscribe(ALICE, 600, AS_BOB);
    await domain.wait(1_000);
    expect(liar.saw).toEqual(["pending"]);
    expect(policy.asked.at(-1)).toMatchObject({
      watcher: BOB,
      trusted: false,
      aor: "alice@example.com",
      event: "presence",
    });
  });
});

describe("another proxy takes over (concurrency.md 7)", () => {
  const TWO: WorldOptions = { proxies: 2 };

  it.each([
    ["allow", ALLOW, "active open"],
    ["confirm, pending", CONFIRM, "pending"],
    ["polite-block", POLITE_BLOCK, "active closed"],
  ])("%s: it is as it was", async (_, verdict, last) => {
    await begin(TWO);
    // Nobody is told of it: whoever takes over has to ask by himself.
    policy.otherwise = verdict;
    await watching();
    const before = bob.told.length;
    domain.world.proxies[0]!.kill();
    await domain.wait(60_000);
    expect(since(before).length).toBeGreaterThan(0);
    expect(since(before).every((each) => each === last || each === "active")).toBe(true);
    expect(bob.saw.at(-1)).toBe(last);
  });

  it("what was withdrawn while nobody owned it is not shown once more", async () => {
    await begin(TWO);
    await watching();
    domain.world.proxies[0]!.kill();
    policy.rule(BOB, BLOCK);
    await domain.wait(60_000);
    expect(since(2).at(-1)).toBe("terminated rejected");
    expect(since(2).some((each) => each.includes("open"))).toBe(false);
  });

  it("it judges before it shows anything, however long that takes", async () => {
    await begin(TWO);
    domain.east.more = "<note>at home</note>";
    policy.rule(BOB, without("note"));
    await watching();
    policy.delayMs = 4_000;
    domain.world.proxies[0]!.kill();
    await domain.wait(60_000);
    expect(bob.saw.at(-1)).toBe("active open");
    expect(bob.told.some(({ body }) => body.includes("home"))).toBe(false);
  });
});
