import { afterEach, describe, expect, it } from "vitest";
import { ALICE, Exclusive } from "../support/exclusive.ts";
import type { Policy } from "../support/notifier.ts";
import { Watcher } from "../support/watcher.ts";
import type { WorldOptions } from "../support/world.ts";

/** models.md, "Exclusive": every answer of a leg, and what the watcher sees of it. */

let domain: Exclusive;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function begin(options: WorldOptions = {}): Promise<void> {
  domain = new Exclusive();
  await domain.begin(options);
  watcher = new Watcher(domain.world, "127.0.0.50");
}

/** A watcher who sees alice open at east. */
async function watching(options: WorldOptions = {}): Promise<void> {
  await begin(options);
  await domain.bind("east");
  await watcher.subscribe(ALICE);
  await domain.wait(500);
  expect(watcher.saw).toEqual(["pending", "active open"]);
}

/** The CSeqs of what he was told go up one by one, and nothing says `terminated`. */
function expectNoGap(): void {
  expect(watcher.told.map((each) => each.cseq)).toEqual(watcher.told.map((_, i) => i + 1));
  expect(watcher.saw.filter((each) => each.startsWith("terminated"))).toEqual([]);
}

describe("the leg", () => {
  it("is asked for on behalf of the watcher, with a tag that leads to the row", async () => {
    await watching();
    const [leg] = domain.east.firsts;
    expect(leg!.requestUri).toBe(ALICE);
    expect(leg!.from.uri.raw).toBe("sip:watcher@example.com");
    expect(leg!.from.tag).toMatch(/^cdm-[a-z0-9]{20}\.1$/);
    // Whoever he says he is, nobody has proved it (RFC 3325).
    expect(leg!.has("P-Asserted-Identity")).toBe(false);
    expect([leg!.event?.package, leg!.header("Accept")]).toEqual(["presence", "application/pidf+xml"]);
  });

  it("of a server's user carries his P-Asserted-Identity (RFC 3325)", async () => {
    await begin();
    const asserted = [["P-Asserted-Identity", "<sip:bob@example.com>"]] as const;
    await domain.bind("east");
    const from = domain.world.scripted["west"]!;
    const request = from.request("SUBSCRIBE", ALICE, { from: "sip:bob@example.com", headers: asserted });
    await from.all(from.beginRequest(request));
    await domain.wait(500);
    expect(domain.east.firsts[0]!.identities.map((each) => each.uri.raw)).toEqual(["sip:bob@example.com"]);
  });
});

describe("the leg of a watcher who has asked by a SIPS URI (RFC 3261 26.2.2)", () => {
  it("goes over TLS or nowhere: he stays pending, nobody sees it in the clear, and the server is not given up", async () => {
    await begin({ proxies: 2 });
    await domain.bind("east");
    await watcher.subscribe("sips:alice@example.com", 3600, { contacts: ["<sip:127.0.0.50:5060>"] });
    await domain.wait(60_000);
    expect([watcher.saw, domain.east.firsts]).toEqual([["pending"], []]);
    // It is known to whoever takes it over, too.
    domain.world.proxies[0]!.kill();
    await domain.wait(60_000);
    expect(domain.world.proxies[1]!.services.subscriptions.size).toBe(1);
    expect(domain.east.firsts).toEqual([]);
    const other = new Watcher(domain.world, "127.0.0.51");
    await other.subscribe(ALICE, 600, { proxy: "127.0.0.2" });
    await domain.wait(500);
    expect(other.saw).toEqual(["pending", "active open"]);
  });
});

describe("a move", () => {
  it("is seen as one more document: the new leg first, then the old one is ended (Expires 0)", async () => {
    await watching();
    domain.west.basic = "closed";
    await domain.bind("west");
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed"]);
    expectNoGap();
    const [east] = domain.east.served;
    expect(east!.subscribes.map((each) => each.expires)).toEqual([3600, 0]);
    expect(east!.notifies.every((each) => each.final === 200)).toBe(true);
    expect(domain.west.live).toHaveLength(1);
  });

  it("swallows what the old leg says meanwhile, and afterwards, and answers it 200", async () => {
    await watching();
    domain.west.policy = () => ({ status: 200, state: null });
    await domain.bind("west");
    await domain.wait(100);
    const late = domain.east.notify(domain.east.served[0]!);
    await domain.wait(100);
    expect([late.final, watcher.saw.length]).toEqual([200, 2]);
    domain.west.notify(domain.west.served[0]!, undefined, "closed");
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed"]);
    expectNoGap();
  });

  it.each(["deactivated", "timeout", "noresource", "giveup", "probation"])(
    "swallows the old leg's terminated;reason=%s",
    async (reason) => {
      await watching();
      domain.west.policy = () => ({ status: 200, state: null });
      await domain.bind("west");
      await domain.wait(100);
      domain.east.notify(domain.east.served[0]!, `terminated;reason=${reason}`, null);
      await domain.wait(100);
      expect(watcher.saw).toHaveLength(2);
      domain.west.notify(domain.west.served[0]!);
      await domain.wait(500);
      expect(watcher.saw).toEqual(["pending", "active open", "active open"]);
      expectNoGap();
    },
  );

  it("lets the old leg's `rejected` through (privacy)", async () => {
    await watching();
    domain.west.policy = () => ({ status: 200, state: null });
    await domain.bind("west");
    await domain.wait(100);
    domain.east.notify(domain.east.served[0]!, "terminated;reason=rejected", null);
    await domain.wait(500);
    expect(watcher.saw.at(-1)).toBe("terminated rejected");
    expect(domain.west.live).toEqual([]);
    expect(await domain.rows()).toEqual([]);
  });

  it("while the one before is not done: only the last server is shown", async () => {
    await watching();
    domain.west.policy = () => ({ status: 0 });
    await domain.bind("west");
    await domain.wait(200);
    domain.east.basic = "closed";
    await domain.bind("east");
    await domain.wait(1000);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed"]);
    expectNoGap();
    await domain.wait(120_000);
    expect([domain.east.live.length, domain.west.live.length]).toEqual([1, 0]);
  });

  it("a NOTIFY before the 200 is the confirmation (RFC 6665 4.1.2.4)", async () => {
    await watching();
    domain.west.policy = () => ({ status: 200, notifyFirst: true });
    await domain.bind("west");
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open", "active open"]);
    expect(domain.west.live).toHaveLength(1);
    expect(domain.east.live).toEqual([]);
  });

  it("a document older than the last shown is dropped: its NOTIFY was overtaken (RFC 3261 12.2.2)", async () => {
    await watching();
    const [east] = domain.east.served;
    east!.cseq = 10;
    domain.east.notify(east!, undefined, "closed");
    await domain.wait(100);
    east!.cseq = 5;
    const old = domain.east.notify(east!, undefined, "open");
    await domain.wait(500);
    expect(old.final).toBe(500);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed"]);
  });

  it("to a server whose dialogs cannot be moved: terminated;reason=deactivated", async () => {
    await watching({ each: { west: { repoint: false } } });
    await domain.bind("west");
    await domain.wait(500);
    expect(watcher.saw.at(-1)).toBe("terminated deactivated");
    expect([domain.west.firsts.length, domain.east.live.length]).toEqual([0, 0]);
  });

  it("unbinding leaves the dialog active: one full document without an open tuple, and held again", async () => {
    await watching();
    await domain.unbind();
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed"]);
    expect(watcher.last!.body).toContain('entity="sip:alice@example.com"');
    expect(domain.east.live).toEqual([]);
    expect(await domain.rows()).toMatchObject([{ leg: null }]);
    await domain.bind("west");
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed", "active open"]);
    expectNoGap();
  });
});

describe("a move to a server that has no document of his", () => {
  async function moved(): Promise<void> {
    await watching();
    domain.west.policy = () => ({ status: 200, state: null });
    await domain.bind("west");
    await domain.wait(100);
    domain.west.notify(domain.west.served[0]!, undefined, null);
    await domain.wait(1_000);
    expect(watcher.saw).toEqual(["pending", "active open", "active"]);
  }

  it("is shown closed after ten seconds, or what the old server has shown would stay true for ever", async () => {
    await moved();
    await domain.wait(20_000);
    expect(watcher.saw.slice(3)).toEqual(["active closed"]);
    domain.west.notify(domain.west.served[0]!, undefined, "open");
    await domain.wait(20_000);
    expect(watcher.saw.slice(4)).toEqual(["active open"]);
    expectNoGap();
  });

  it("is not, where one comes before that", async () => {
    await moved();
    domain.west.notify(domain.west.served[0]!, undefined, "open");
    await domain.wait(20_000);
    expect(watcher.saw.slice(3)).toEqual(["active open"]);
    expectNoGap();
  });

  it("and whose dialog ends within that time is asked again at once all the same", async () => {
    await moved();
    await domain.unbind();
    await domain.bind("east");
    await domain.wait(500);
    expect(watcher.saw.slice(3)).toEqual(["active closed", "active open"]);
    expectNoGap();
  });
});

describe("the new leg's answer", () => {
  const cases: ReadonlyArray<readonly [string, Policy, string | null]> = [
    ["403", { status: 403 }, "terminated rejected"],
    ["603", { status: 603 }, "terminated rejected"],
    ["600", { status: 600 }, "terminated rejected"],
    ["200 and terminated;reason=rejected", { status: 200, state: "terminated;reason=rejected" }, "terminated rejected"],
    ["489", { status: 489 }, "terminated noresource"],
    ["406", { status: 406 }, "terminated noresource"],
    [
      "200 and terminated;reason=noresource",
      { status: 200, state: "terminated;reason=noresource" },
      "terminated noresource",
    ],
    ["404", { status: 404 }, "active closed"],
    ["480", { status: 480 }, "active closed"],
    ["500", { status: 500 }, "active closed"],
    ["401", { status: 401 }, "active closed"],
    ["200 and pending", { status: 200, state: "pending;expires=600" }, "active closed"],
  ];

  it.each(cases)("%s", async (_, policy, seen) => {
    await watching();
    domain.west.policy = () => policy;
    await domain.bind("west");
    await domain.wait(500);
    expect(watcher.saw.slice(2)).toEqual([seen]);
    if (seen!.startsWith("terminated")) {
      expect([domain.east.live.length, domain.west.live.length]).toEqual([0, 0]);
      expect(watcher.last!.body).toBe("");
      expect(await domain.rows()).toEqual([]);
    }
  });

  it("none: a closed document once Timer F has fired, and tried again with back-off", async () => {
    await watching();
    domain.west.policy = () => ({ status: 0 });
    await domain.bind("west");
    await domain.wait(31_000);
    expect(watcher.saw).toHaveLength(2);
    await domain.wait(2_000);
    expect(watcher.saw.slice(2)).toEqual(["active closed"]);
    domain.west.policy = () => ({ status: 200 });
    await domain.wait(10_000);
    expect(watcher.saw.slice(2)).toEqual(["active closed", "active open"]);
    expectNoGap();
  });

  it("404 is asked again with back-off, and shown when he is there after all", async () => {
    await watching();
    domain.west.policy = () => ({ status: 404 });
    await domain.bind("west");
    await domain.wait(60_000);
    const tries = domain.west.firsts.length;
    expect(tries).toBeGreaterThan(3);
    expect(tries).toBeLessThan(8);
    expect(watcher.saw.slice(2)).toEqual(["active closed"]);
    domain.west.policy = () => ({ status: 200 });
    await domain.wait(60_000);
    expect(watcher.saw.slice(2)).toEqual(["active closed", "active open"]);
  });

  it("423: asked again with its Min-Expires", async () => {
    await watching();
    domain.west.policy = (request) =>
      request.expires! < 7200 ? { status: 423, headers: [["Min-Expires", "7200"]] } : { status: 200 };
    await domain.bind("west");
    await domain.wait(500);
    expect(domain.west.firsts.map((each) => [each.expires, each.cseq.number])).toEqual([
      [3600, 1],
      [7200, 2],
    ]);
    expect(watcher.saw.slice(2)).toEqual(["active open"]);
  });

  it("503 with Retry-After: not before that", async () => {
    await watching();
    domain.west.policy = () => ({ status: 503, headers: [["Retry-After", "50"]] });
    await domain.bind("west");
    await domain.wait(45_000);
    expect(domain.west.firsts).toHaveLength(1);
    await domain.wait(10_000);
    expect(domain.west.firsts).toHaveLength(2);
  });

  it("2xx and no NOTIFY until Timer N: tried again (RFC 6665 4.1.2.4)", async () => {
    await watching();
    domain.west.policy = () => ({ status: 200, state: null });
    await domain.bind("west");
    await domain.wait(31_000);
    expect(watcher.saw).toHaveLength(2);
    domain.west.policy = () => ({ status: 200 });
    await domain.wait(10_000);
    expect(watcher.saw.slice(2)).toEqual(["active closed", "active open"]);
  });

  it("of a watcher who has seen nothing yet stays unseen: he is pending still", async () => {
    await begin();
    domain.east.policy = () => ({ status: 480 });
    await watcher.subscribe(ALICE);
    await domain.bind("east");
    await domain.wait(1_000);
    expect(watcher.saw).toEqual(["pending"]);
    domain.east.policy = () => ({ status: 200 });
    await domain.wait(10_000);
    expect(watcher.saw).toEqual(["pending", "active open"]);
  });
});

describe("a leg in place", () => {
  it.each(["deactivated", "timeout"])(
    "terminated;reason=%s: another at once, the watcher undisturbed",
    async (reason) => {
      await watching();
      await domain.wait(20_000);
      domain.east.notify(domain.east.served[0]!, `terminated;reason=${reason}`, null);
      await domain.wait(500);
      expect([domain.east.firsts.length, domain.east.live.length]).toEqual([2, 1]);
      expect(watcher.saw).toEqual(["pending", "active open", "active open"]);
      expectNoGap();
    },
  );

  it("terminated;reason=probation;retry-after=20: another then", async () => {
    await watching();
    domain.east.notify(domain.east.served[0]!, "terminated;reason=probation;retry-after=20", null);
    await domain.wait(19_000);
    expect(domain.east.firsts).toHaveLength(1);
    await domain.wait(2_000);
    expect(domain.east.firsts).toHaveLength(2);
    expect(watcher.saw).toEqual(["pending", "active open", "active open"]);
  });

  it("terminated;reason=giveup;retry-after=600: nobody is shown open for that long", async () => {
    await watching();
    domain.east.notify(domain.east.served[0]!, "terminated;reason=giveup;retry-after=600", null);
    await domain.wait(500);
    expect(watcher.saw.slice(2)).toEqual(["active closed"]);
  });

  it("terminated;reason=noresource is the watcher's end too", async () => {
    await watching();
    domain.east.notify(domain.east.served[0]!, "terminated;reason=noresource", null);
    await domain.wait(500);
    expect(watcher.saw.slice(2)).toEqual(["terminated noresource"]);
  });

  it("a server that ends what it has just accepted is not asked in a circle", async () => {
    await begin();
    domain.east.policy = () => ({ status: 200, state: "terminated;reason=deactivated" });
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(30_000);
    expect(domain.east.firsts.length).toBeLessThan(7);
    expect(watcher.saw).toEqual(["pending"]);
  });

  it("is refreshed before it ends, in its dialog (RFC 6665 4.1.2.2)", async () => {
    await begin();
    domain.east.policy = () => ({ status: 200, expires: 60 });
    domain.east.refreshPolicy = () => ({ status: 200, expires: 60 });
    await domain.bind("east");
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(200_000);
    const [leg] = domain.east.served;
    expect([domain.east.firsts.length, domain.east.live.length]).toEqual([1, 1]);
    expect(leg!.subscribes.length).toBeGreaterThan(4);
    expect(leg!.subscribes.map((each) => each.cseq.number)).toEqual(leg!.subscribes.map((_, i) => i + 1));
  });

  it("481 to a refresh: a new leg, the watcher undisturbed", async () => {
    await begin();
    domain.east.policy = () => ({ status: 200, expires: 60 });
    domain.east.refreshPolicy = () => ({ status: 481 });
    await domain.bind("east");
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(40_000);
    expect([domain.east.firsts.length, domain.east.live.length]).toEqual([2, 1]);
    expect(new Set(domain.east.firsts.map((each) => each.callId)).size).toBe(2);
    expect(watcher.saw).toEqual(["pending", "active open", "active open"]);
    expectNoGap();
  });

  it("a refresh without answer or NOTIFY in 64*T1 ends it (RFC 6665 4.1.2.2): a new leg, the watcher undisturbed", async () => {
    await begin();
    domain.east.policy = () => ({ status: 200, expires: 200 });
    domain.east.refreshPolicy = () => ({ status: 0 });
    await domain.bind("east");
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(190_000);
    expect(domain.east.firsts).toHaveLength(2);
    expect(watcher.saw).toEqual(["pending", "active open", "active open"]);
    expectNoGap();
  });
});
