import { afterEach, describe, expect, it } from "vitest";
import { ALICE, Exclusive } from "../support/exclusive.ts";
import { Watcher } from "../support/watcher.ts";
import type { WorldOptions } from "../support/world.ts";

/** concurrency.md 7: one owner at a time, by lease and fence; the dead one's are taken over. */

let domain: Exclusive;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function begin(options: WorldOptions = {}): Promise<void> {
  domain = new Exclusive();
  await domain.begin({ proxies: 2, ...options });
  watcher = new Watcher(domain.world, "127.0.0.50");
  // Each has renewed its lease without a gap for a whole lease by now.
  await domain.wait(20_000);
}

async function watching(options: WorldOptions = {}): Promise<void> {
  await begin(options);
  await domain.bind("east", domain.world.proxies.length - 1);
  await watcher.subscribe(ALICE, 3600);
  await domain.wait(1_000);
  expect(watcher.saw).toEqual(["pending", "active open"]);
}

/** CSeqs never go back, and nothing says that it is over. */
function expectNoGap(): void {
  const cseqs = watcher.told.map((each) => each.cseq);
  expect(cseqs).toEqual([...new Set(cseqs)].sort((a, b) => a - b));
  expect(watcher.saw.filter((each) => each.startsWith("terminated"))).toEqual([]);
}

describe("a proxy that is killed", () => {
  it("is followed by another: at once a NOTIFY to the watcher and a refresh to the server, both with the new Contact", async () => {
    await watching();
    domain.world.proxies[0]!.kill();
    await domain.wait(40_000);
    const { told } = watcher;
    expect(told[0]!.contact).toContain("127.0.0.1");
    expect(told[2]!.contact).toContain("127.0.0.2");
    // The CSeqs the dead one may have used are left out.
    expect(told[2]!.cseq).toBeGreaterThanOrEqual(17);
    const [leg] = domain.east.served;
    expect(leg!.subscribes).toHaveLength(2);
    expect(leg!.subscribes[1]!.cseq.number).toBeGreaterThanOrEqual(17);
    expect(leg!.dialog.remoteTarget).toContain("127.0.0.2");
    expect(watcher.last!.shown).toBe("open");
    expectNoGap();
  });

  it("its held ones are extended by the other, though the user was bound while nobody had them", async () => {
    await begin();
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(100);
    domain.world.proxies[0]!.kill();
    await domain.wait(1_000);
    await domain.bind("west", 1);
    await domain.wait(40_000);
    expect(watcher.saw.at(-1)).toBe("active open");
    expectNoGap();
  });

  it("its watchers whose user has moved meanwhile are moved; the leg left behind is ended", async () => {
    await watching();
    domain.world.proxies[0]!.kill();
    await domain.bind("west", 1);
    domain.west.basic = "closed";
    await domain.wait(40_000);
    expect(watcher.last!.shown).toBe("closed");
    expect([domain.east.live.length, domain.west.live.length]).toEqual([0, 1]);
    expectNoGap();
  });

  it("one who was shown closed when the user went is shown closed again", async () => {
    await watching();
    await domain.unbind(1);
    await domain.wait(500);
    domain.world.proxies[0]!.kill();
    await domain.wait(40_000);
    expect(watcher.saw).toEqual(["pending", "active open", "active closed", "active closed"]);
    expectNoGap();
  });

  it("started again at its address, it takes its own over", async () => {
    await watching({ proxies: 1 });
    domain.world.proxies[0]!.kill();
    await domain.world.simulation.finish(domain.world.restart("127.0.0.1"));
    await domain.wait(60_000);
    expect(watcher.last!.shown).toBe("open");
    expect(watcher.told.length).toBeGreaterThan(2);
    domain.east.notify(domain.east.served[0]!, undefined, "closed");
    await domain.wait(1_000);
    expect(watcher.last!.shown).toBe("closed");
    expect((await watcher.refresh(600)).status).toBe(200);
    expectNoGap();
  });

  it("started again before its old lease has run out, it does not take that for another proxy: 500 with Retry-After", async () => {
    await watching({ proxies: 1 });
    domain.world.proxies[0]!.kill();
    await domain.world.simulation.finish(domain.world.restart("127.0.0.1"));
    await domain.wait(1_000);
    const early = await watcher.refresh(900);
    expect([early.status, early.header("Retry-After")]).toEqual([500, "10"]);
    const notify = domain.east.notify(domain.east.served[0]!, undefined, "closed");
    await domain.wait(1_000);
    expect(notify.final).toBe(500);
    await domain.wait(40_000);
    expect((await watcher.refresh(900)).status).toBe(200);
    expectNoGap();
  });

  it("is followed though the answers to taking over are lost: the rows are found under the new owner's name", async () => {
    await watching();
    domain.world.proxies[0]!.kill();
    for (let second = 0; second < 30; second++) {
      domain.world.database.loseNextAnswers(2);
      await domain.wait(1_000);
    }
    domain.world.database.loseNextAnswers(0);
    // Its own lease may have had a gap by that.
    await domain.wait(40_000);
    expect(watcher.last!.contact).toContain("127.0.0.2");
    expect(domain.world.proxies[1]!.services.subscriptions.size).toBe(1);
    domain.east.notify(domain.east.live[0]!, undefined, "closed");
    await domain.wait(1_000);
    expect(watcher.last!.shown).toBe("closed");
    expectNoGap();
  });

  it("an orphaned leg, of which no row tells, gets 481 and ends by that", async () => {
    await begin({ wireMs: [200, 200] });
    await domain.bind("east", 1);
    const outgoing = watcher.begin(ALICE, 3600);
    await domain.world.simulation.run(() => domain.east.served.length > 0);
    domain.world.proxies[0]!.kill();
    await domain.wait(60_000);
    expect(outgoing.final).toBe(200);
    const [orphan] = domain.east.served;
    const notify = domain.east.notify(
      { ...orphan!, dialog: { ...orphan!.dialog, remoteTarget: "sip:cdm@127.0.0.2:5060" } },
      undefined,
      "closed",
    );
    await domain.wait(1_000);
    expect(notify.final).toBe(481);
    expect(watcher.last!.shown).toBe("open");
    expectNoGap();
  });
});

describe("a proxy that stops in order", () => {
  it("gives up what it has: the other takes it over within seconds", async () => {
    await watching();
    const [first] = domain.world.proxies;
    await domain.world.simulation.finish(first!.stop());
    await domain.wait(6_000);
    expect(watcher.last!.contact).toContain("127.0.0.2");
    expectNoGap();
    first!.kill();
  });
});

describe("a proxy that was only slow", () => {
  it("finds itself over, sends nothing more of it, and begins anew", async () => {
    await watching();
    const [slow] = domain.world.proxies;
    slow!.process.pause();
    await domain.wait(40_000);
    expect(watcher.last!.contact).toContain("127.0.0.2");
    const seen = watcher.told.length;
    slow!.process.resume();
    await domain.wait(30_000);
    expect(watcher.told.slice(seen).every((each) => each.contact.includes("127.0.0.2"))).toBe(true);
    expect(slow!.services.subscriptions.size).toBe(0);
    expectNoGap();
    // It works on: a new one is its own.
    const other = new Watcher(domain.world, "127.0.0.51");
    await other.subscribe(ALICE, 600);
    await domain.wait(500);
    expect(other.saw).toEqual(["pending", "active open"]);
    expect(slow!.services.subscriptions.size).toBe(1);
  });

  it("after an outage of the database nobody is declared over: all were cut off alike", async () => {
    await watching();
    domain.world.database.setAway(true);
    await domain.wait(40_000);
    domain.world.database.setAway(false);
    await domain.wait(30_000);
    expect(watcher.told.every((each) => each.contact.includes("127.0.0.1"))).toBe(true);
    domain.east.notify(domain.east.live[0]!, undefined, "closed");
    await domain.wait(1_000);
    expect(watcher.last!.shown).toBe("closed");
    expectNoGap();
  });
});

describe("a request that comes to the wrong proxy", () => {
  it("is sent on to the owner: a refresh, and a NOTIFY of a leg", async () => {
    await watching();
    const ok = await watcher.refresh(900, { proxy: "127.0.0.2" });
    expect([ok.status, ok.expires]).toEqual([200, 900]);
    const [leg] = domain.east.served;
    const astray = { ...leg!, dialog: { ...leg!.dialog, remoteTarget: "sip:cdm@127.0.0.2:5060" }, cseq: 20 };
    const notify = domain.east.notify(astray, undefined, "closed");
    await domain.wait(1_000);
    expect(notify.final).toBe(200);
    expect(watcher.last!.shown).toBe("closed");
    expectNoGap();
  });

  it("whose owner is dead and not followed yet gets 500 with Retry-After, and is served afterwards", async () => {
    await watching();
    domain.world.proxies[0]!.kill();
    await domain.wait(16_000);
    const early = await watcher.refresh(900, { proxy: "127.0.0.2" });
    expect([500, 200]).toContain(early.status);
    await domain.wait(30_000);
    expect((await watcher.refresh(900, { proxy: "127.0.0.2" })).status).toBe(200);
    expectNoGap();
  });

  it("that nobody has gets 481", async () => {
    await watching();
    expect((await watcher.refresh(0)).status).toBe(200);
    await domain.wait(1_000);
    expect((await watcher.refresh(600, { proxy: "127.0.0.2" })).status).toBe(481);
  });
});
