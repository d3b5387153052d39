import { afterEach, describe, expect, it } from "vitest";
import { ALICE, AOR, Exclusive } from "../support/exclusive.ts";
import { Watcher } from "../support/watcher.ts";
import type { WorldOptions } from "../support/world.ts";

/** models.md, "Exclusive": SUBSCRIBE to a user who is on no server; the watcher's side of it by RFC 6665 4.2. */

let domain: Exclusive;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function begin(options: WorldOptions = {}): Promise<void> {
  domain = new Exclusive();
  await domain.begin(options);
  watcher = new Watcher(domain.world, "127.0.0.50");
}

/** What is left of it anywhere, once the last NOTIFY was answered. */
async function expectNothingLeft(): Promise<void> {
  await domain.wait(100_000);
  expect(await domain.rows()).toEqual([]);
  for (const { services } of domain.world.proxies) {
    expect([services.subscriptions.size, services.subscriptions.leftovers]).toEqual([0, 0]);
  }
}

describe("a SUBSCRIBE to a user on no server", () => {
  it("gets 200 and a NOTIFY `pending` at once (RFC 6665 4.2.1.2), and is kept in the database", async () => {
    await begin();
    const ok = await watcher.subscribe(ALICE);
    await domain.wait(100);
    expect([ok.status, ok.expires, watcher.saw]).toEqual([200, 600, ["pending"]]);
    expect(watcher.last).toMatchObject({ expires: 600, body: "" });
    expect(await domain.rows()).toMatchObject([
      { aor: AOR, watcher: "watcher@example.com", leg: null, event: "presence" },
    ]);
  });

  it("is in the database before it is answered", async () => {
    await begin({ wireMs: [50, 50] });
    const outgoing = watcher.begin(ALICE);
    await domain.world.simulation.run(() => outgoing.ended);
    expect((await domain.world.database.directory("reader").subscriptions.list({ limit: 1 })).length).toBe(1);
  });

  it("is refused with 404 where he has no record and was never bound", async () => {
    await begin();
    expect((await watcher.subscribe("sip:nobody@example.com")).status).toBe(404);
    await domain.wait(1_000);
    expect(watcher.saw).toEqual([]);
    await expectNothingLeft();
  });

  it("of another event package is not held: 480", async () => {
    await begin();
    const request = watcher.client.request("SUBSCRIBE", ALICE).edit().set("Event", "dialog").build();
    const outgoing = watcher.client.beginRequest(request);
    expect(await watcher.client.all(outgoing)).toEqual([480]);
  });

  it("may be for 3600 s at most, and by default (RFC 3856 6.4)", async () => {
    await begin();
    expect((await watcher.subscribe(ALICE, 90_000)).expires).toBe(3600);
    const request = watcher.client.request("SUBSCRIBE", ALICE).edit().remove("Expires").build();
    const outgoing = watcher.client.beginRequest(request);
    await watcher.client.all(outgoing);
    expect(outgoing.responses.at(-1)!.expires).toBe(3600);
  });

  it("for too short a time gets 423 with Min-Expires (RFC 6665 4.2.1.1)", async () => {
    await begin();
    const refused = await watcher.subscribe(ALICE, 5);
    expect([refused.status, refused.header("Min-Expires")]).toEqual([423, "30"]);
    await expectNothingLeft();
  });

  it("without a Contact is no SUBSCRIBE: 400", async () => {
    await begin();
    expect((await watcher.subscribe(ALICE, 600, { contacts: [] })).status).toBe(400);
    await expectNothingLeft();
  });

  it("that requires an extension gets 420 with Unsupported (RFC 3261 8.2.2.3): we are its server", async () => {
    await begin();
    const refused = await watcher.subscribe(ALICE, 600, { headers: [["Require", "eventlist, foo"]] });
    expect([refused.status, refused.header("Unsupported")]).toEqual([420, "eventlist, foo"]);
    await expectNothingLeft();
  });

  it("with a filter gets 415, unless it is said to be optional (RFC 3261 8.2.3, RFC 4660 3.3)", async () => {
    await begin();
    const filter = { body: "<filter-set/>", headers: [["Content-Type", "application/simple-filter+xml"]] as const };
    expect((await watcher.subscribe(ALICE, 600, filter)).status).toBe(415);
    const optional = [["Content-Disposition", "filter;handling=optional"]] as const;
    const given = { ...filter, headers: [...filter.headers, ...optional] };
    expect((await watcher.subscribe(ALICE, 600, given)).status).toBe(200);
  });

  it.each([
    ["a NUL in Accept", [["Accept", "text/plain;x=a\0b"]], 400],
    ["a route of 30,000 octets", [["Record-Route", `<sip:127.0.0.50;lr;x=${"a".repeat(30_000)}>`]], 513],
  ] as const)("with %s is refused: it could not be kept", async (_, headers, status) => {
    await begin();
    expect((await watcher.subscribe(ALICE, 600, { headers })).status).toBe(status);
    await expectNothingLeft();
  });

  it("that comes twice by different ways is merged: 482 (RFC 3261 8.2.2.2)", async () => {
    await begin();
    const outgoing = watcher.begin(ALICE);
    const second = watcher.client.beginRequest(watcher.sent!);
    expect((await watcher.client.all(outgoing, second)).sort()).toEqual([200, 482]);
    await domain.wait(100);
    expect(watcher.saw).toEqual(["pending"]);
  });

  it("a fetch (Expires 0) gets terminated;reason=timeout, and nothing is kept", async () => {
    await begin();
    const ok = await watcher.subscribe(ALICE, 0);
    await domain.wait(100);
    expect([ok.status, ok.expires, watcher.saw]).toEqual([200, 0, ["terminated timeout"]]);
    await expectNothingLeft();
  });

  it("a fetch of one who is somewhere brings his document with it", async () => {
    await begin();
    await domain.bind("east");
    await watcher.subscribe(ALICE, 0);
    await domain.wait(1_000);
    expect(watcher.saw).toEqual(["terminated timeout open"]);
    expect(domain.east.firsts.map((each) => each.expires)).toEqual([0]);
    await expectNothingLeft();
  });

  it("a fetch whose server does not answer ends after 4 s without one; one that denies says so", async () => {
    await begin();
    await domain.bind("east");
    domain.east.policy = () => ({ status: 0 });
    await watcher.subscribe(ALICE, 0);
    await domain.wait(5_000);
    expect(watcher.saw).toEqual(["terminated timeout"]);
    domain.east.policy = () => ({ status: 403 });
    const other = new Watcher(domain.world, "127.0.0.51");
    await other.subscribe(ALICE, 0);
    await domain.wait(1_000);
    expect(other.saw).toEqual(["terminated rejected"]);
    await expectNothingLeft();
  });

  it("over the cap of a watcher gets 480 with Retry-After", async () => {
    await begin({ services: { subscriptions: { caps: { perWatcher: 2, perUser: 10, perOrigin: 10, inAll: 10 } } } });
    for (let i = 0; i < 2; i++) expect((await watcher.subscribe(ALICE)).status).toBe(200);
    const refused = await watcher.subscribe(ALICE);
    expect([refused.status, refused.header("Retry-After")]).toEqual([480, "10"]);
    const other = new Watcher(domain.world, "127.0.0.51");
    expect((await other.subscribe(ALICE, 600, { from: "sip:other@example.com" })).status).toBe(200);
  });
});

describe("a subscription that is held", () => {
  it("is refreshed: 200, and a NOTIFY with the state (RFC 6665 4.2.1.2)", async () => {
    await begin();
    await watcher.subscribe(ALICE, 100);
    await domain.wait(90_000);
    const ok = await watcher.refresh(200);
    await domain.wait(50_000);
    expect([ok.status, ok.expires, watcher.saw]).toEqual([200, 200, ["pending", "pending"]]);
    expect(watcher.told.map((each) => each.cseq)).toEqual([1, 2]);
    expect(await domain.rows()).toHaveLength(1);
  });

  it("goes on at the Contact of the refresh (RFC 6665 4.4.1)", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    const moved = new Watcher(domain.world, "127.0.0.52");
    const outgoing = watcher.again(600);
    await watcher.client.all(outgoing);
    const again = outgoing.request.edit().set("Contact", "<sip:127.0.0.52:5060>").set("CSeq", "3 SUBSCRIBE").build();
    await watcher.client.all(watcher.client.beginRequest(again));
    await domain.bind("east");
    await domain.wait(500);
    expect(moved.saw).toEqual(["pending", "active open"]);
    expect(watcher.saw).toEqual(["pending", "pending"]);
  });

  it("goes on at the Contact of the 2xx to a NOTIFY (RFC 3261 12.2.1.2)", async () => {
    await begin();
    watcher.contact = "sip:next@127.0.0.50:5060";
    await watcher.subscribe(ALICE);
    await domain.wait(100);
    expect(watcher.last!.request.requestUri).toBe("sip:127.0.0.50:5060");
    await domain.bind("east");
    await domain.wait(500);
    expect([watcher.saw.at(-1), watcher.last!.request.requestUri]).toEqual(["active open", watcher.contact]);
  });

  it("of two refreshes that cross, the older gets 500 (RFC 3261 12.2.2)", async () => {
    await begin({ wireMs: [20, 20] });
    await watcher.subscribe(ALICE);
    const newer = watcher.again(500, { cseq: 7 });
    const older = watcher.again(400, { cseq: 5 });
    expect(await watcher.client.all(newer, older)).toEqual([200, 500]);
    await domain.wait(500);
    expect(watcher.last!.expires).toBe(500);
  });

  it("ends with Expires 0: 200, terminated;reason=timeout, and nothing is left", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    expect((await watcher.refresh(0)).status).toBe(200);
    await domain.wait(100);
    expect(watcher.saw).toEqual(["pending", "terminated timeout"]);
    expect((await watcher.refresh(600)).status).toBe(481);
    await expectNothingLeft();
  });

  it("ends when it expires: terminated;reason=timeout (RFC 6665 4.2.1.4)", async () => {
    await begin();
    await watcher.subscribe(ALICE, 60);
    await domain.wait(59_000);
    expect(watcher.saw).toEqual(["pending"]);
    await domain.wait(2_000);
    expect(watcher.saw).toEqual(["pending", "terminated timeout"]);
    await expectNothingLeft();
  });

  it("with a leg, ends it at the server too", async () => {
    await begin();
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    await watcher.refresh(0);
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open", "terminated timeout open"]);
    expect(domain.east.live).toEqual([]);
    await expectNothingLeft();
  });

  it.each([481, 404, 410, 489, 604])("a NOTIFY answered %s ends it (RFC 6665 4.2.2)", async (status) => {
    await begin();
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    watcher.answer = status;
    domain.east.notify(domain.east.served[0]!);
    await domain.wait(500);
    expect(domain.east.live).toEqual([]);
    await expectNothingLeft();
  });

  it.each([408, 500, 503, 0])(
    "a NOTIFY answered %s does not: it is told again, with what is true then",
    async (status) => {
      await begin();
      await domain.bind("east");
      await watcher.subscribe(ALICE);
      await domain.wait(500);
      watcher.answer = status;
      domain.east.notify(domain.east.served[0]!, undefined, "open");
      await domain.wait(200);
      domain.east.notify(domain.east.served[0]!, undefined, "closed");
      await domain.wait(200);
      watcher.answer = 200;
      await domain.wait(60_000);
      expect(watcher.last).toMatchObject({ state: "active", shown: "closed" });
      expect(await domain.rows()).toHaveLength(1);
    },
  );

  it("of one who never answers ends after some tries: it may be a Contact that is not his", async () => {
    await begin();
    watcher.answer = 0;
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(120_000);
    expect(await domain.rows()).toHaveLength(1);
    await domain.wait(60_000);
    expect(new Set(watcher.told.map((each) => each.cseq)).size).toBe(4);
    await expectNothingLeft();
  });

  it("there is one NOTIFY under way at a time, and the last state wins", async () => {
    await begin();
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    watcher.answer = 0;
    const [leg] = domain.east.served;
    for (let i = 0; i < 5; i++) {
      domain.east.notify(leg!, undefined, i % 2 === 0 ? "open" : "closed");
      await domain.wait(50);
    }
    domain.east.notify(leg!, undefined, "closed");
    await domain.wait(300);
    expect(new Set(watcher.told.slice(2).map((each) => each.cseq)).size).toBe(1);
    watcher.answer = 200;
    await domain.wait(40_000);
    expect(watcher.last!.shown).toBe("closed");
  });

  it("may be told at a measured pace: what comes in between is not told, the last state is", async () => {
    const notify = { backOff: { firstMs: 1_000, mostMs: 60_000 }, minIntervalMs: 5_000 };
    await begin({ services: { subscriptions: { notify } } });
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    for (const basic of ["closed", "open", "closed"] as const) {
      domain.east.notify(domain.east.served[0]!, undefined, basic);
      await domain.wait(500);
    }
    expect(watcher.saw).toEqual(["pending", "active open"]);
    await domain.wait(5_000);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed"]);
  });

  it("keeps the id of its event (RFC 6665 8.2.1), and answers another with 489", async () => {
    await begin();
    const request = watcher.client.request("SUBSCRIBE", ALICE).edit().set("Event", "presence;id=7").build();
    watcher.sent = request;
    await watcher.client.all(watcher.client.beginRequest(request));
    await domain.wait(100);
    expect(watcher.last!.request.header("Event")).toBe("presence;id=7");
    expect((await watcher.refresh(600)).status).toBe(489);
  });

  it("knows its own dialog: another Call-ID or tag gets 481", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    const outgoing = watcher.again(0);
    await watcher.client.all(outgoing);
    expect(outgoing.final).toBe(200);
    const other = new Watcher(domain.world, "127.0.0.51");
    const ok = await other.subscribe(ALICE);
    const forged = outgoing.request.edit().set("To", ok.to.raw).set("CSeq", "9 SUBSCRIBE").build();
    expect(await watcher.client.all(watcher.client.beginRequest(forged))).toEqual([481]);
    await domain.wait(100);
    expect(other.saw).toEqual(["pending"]);
  });

  it("is not begun by a SUBSCRIBE within another dialog: 481 (RFC 3261 12.2.2)", async () => {
    await begin();
    const stray = watcher.client.request("SUBSCRIBE", ALICE).edit().set("To", `<${ALICE}>;tag=anothers`).build();
    expect(await watcher.client.all(watcher.client.beginRequest(stray))).toEqual([481]);
    await domain.wait(1_000);
    expect(watcher.told).toEqual([]);
    expect(await domain.rows()).toEqual([]);
  });

  it("a NOTIFY for a leg it does not have gets 481", async () => {
    await begin();
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    const [leg] = domain.east.served;
    const notify = leg!.notifies[0]!.request;
    const foreign = notify.edit().set("Call-ID", "another").set("CSeq", "8 NOTIFY").build();
    const unknown = notify.edit().set("To", notify.to.raw.replace(/\.1$/, ".9")).set("CSeq", "8 NOTIFY").build();
    const { client } = watcher;
    expect(await client.all(client.beginRequest(foreign), client.beginRequest(unknown))).toEqual([481, 481]);
  });
});

describe("the database is away", () => {
  it("a new SUBSCRIBE and a refresh get 500 with Retry-After; what is known is told on", async () => {
    await begin();
    await domain.bind("east");
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    domain.world.database.setAway(true);
    const other = new Watcher(domain.world, "127.0.0.51");
    const refused = await other.subscribe(ALICE);
    expect([refused.status, refused.header("Retry-After")]).toEqual([500, "10"]);
    const refresh = await watcher.refresh(600);
    expect([refresh.status, refresh.header("Retry-After")]).toEqual([500, "10"]);
    domain.east.notify(domain.east.served[0]!, undefined, "closed");
    await domain.wait(500);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed"]);
    domain.world.database.setAway(false);
    await domain.wait(1_000);
    expect((await watcher.refresh(600)).status).toBe(200);
  });

  it("nothing is sent once the lease has run out; with the database it all comes back", async () => {
    await begin();
    await domain.bind("east");
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(500);
    domain.world.database.setAway(true);
    await domain.wait(20_000);
    const notify = domain.east.notify(domain.east.served[0]!, undefined, "closed");
    await domain.wait(1_000);
    expect(notify.final).toBe(500);
    expect(watcher.saw).toEqual(["pending", "active open"]);
    domain.world.database.setAway(false);
    await domain.wait(5_000);
    domain.east.notify(domain.east.served[0]!, undefined, "closed");
    await domain.wait(1_000);
    expect(watcher.saw.at(-1)).toBe("active closed");
    expect(watcher.told.map((each) => each.cseq)).toEqual(watcher.told.map((_, i) => i + 1));
  });

  it("what was bound meanwhile is found when it is back", async () => {
    await begin();
    await watcher.subscribe(ALICE, 3600);
    domain.world.database.setAway(true);
    await domain.wait(8_000);
    domain.world.database.setAway(false);
    await domain.bind("west");
    await domain.wait(3_000);
    expect(watcher.saw).toEqual(["pending", "active open"]);
  });

  it("an insert whose answer was lost leaves nothing behind", async () => {
    await begin();
    domain.world.database.loseNextAnswers(5);
    expect((await watcher.subscribe(ALICE)).status).toBe(500);
    await domain.wait(5_000);
    expect(await domain.rows()).toEqual([]);
    expect(watcher.saw).toEqual([]);
  });

  it("CSeqs beyond the reserve wait for the row", async () => {
    await begin();
    await domain.bind("east");
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(500);
    domain.world.database.setAway(true);
    for (let i = 0; i < 40; i++) {
      domain.east.notify(domain.east.served[0]!, undefined, i % 2 === 0 ? "closed" : "open");
      await domain.wait(100);
    }
    const reserved = watcher.last!.cseq;
    expect(reserved).toBeLessThanOrEqual(40);
    domain.world.database.setAway(false);
    await domain.wait(5_000);
    const [row] = await domain.rows();
    expect(row!.notifyReserved).toBeGreaterThanOrEqual(watcher.last!.cseq);
    expect(watcher.last!.shown).toBe("open");
    expect(watcher.told.map((each) => each.cseq)).toEqual(watcher.told.map((_, i) => i + 1));
  });
});
