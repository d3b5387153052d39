import { afterEach, describe, expect, it } from "vitest";
import { applyWinfo, NO_WATCHERS, parseWinfo, WINFO_TYPE, type Winfo } from "../../src/presence/winfo.ts";
import { ALICE, Exclusive } from "../support/exclusive.ts";
import { ALLOW, BLOCK, CONFIRM, POLITE_BLOCK, ScriptedPolicy, without } from "../support/scripted-policy.ts";
import { Watcher } from "../support/watcher.ts";
import { always, type WorldOptions } from "../support/world.ts";

/** Watcher information (RFC 3857, RFC 3858): users are told who watches them, and decide about those who wait. */

let domain: Exclusive;
let policy: ScriptedPolicy;
let alice: Watcher;
let bob: Watcher;

afterEach(() => domain.world.stop());

const BOB = "bob@example.com";
const AS_BOB = { from: `sip:${BOB}` };
const AS_ALICE = { from: ALICE };

async function begin(options: WorldOptions = {}): Promise<void> {
  domain = new Exclusive();
  policy = new ScriptedPolicy();
  await domain.begin({
    servers: {
      east: { script: domain.east.script },
      west: { script: domain.west.script },
      home: { script: always(404) },
    },
    uris: { home: ["sip:127.0.0.50:5060", "sip:127.0.0.51:5060", "sip:127.0.0.52:5060"] },
    policy: policy.of,
    ...options,
  });
  bob = new Watcher(domain.world, "127.0.0.50");
  alice = reader("127.0.0.51");
  await domain.bind("east");
}

function reader(host: string): Watcher {
  const watcher = new Watcher(domain.world, host);
  watcher.event = "presence.winfo";
  watcher.accept = WINFO_TYPE;
  return watcher;
}

function documents(of: Watcher): Winfo[] {
  return of.told.filter((each) => each.body !== "").map((each) => parseWinfo(each.body));
}

/** A line each: `0 full [bob pending subscribe]`. */
function told(of: Watcher): string[] {
  return documents(of).map(({ version, state, lists }) => {
    const watchers = lists.flatMap((list) =>
      list.watchers.map(({ uri, status, event }) => `${uri.slice(4, uri.indexOf("@"))} ${status} ${event}`),
    );
    return `${version} ${state} [${watchers.join("; ")}]`;
  });
}

/** What she knows of all she was told. */
function table(of: Watcher): string[] {
  const all = documents(of).reduce((known, document) => {
    const applied = applyWinfo(known, document);
    return applied.outcome === "applied" ? applied.table : known;
  }, NO_WATCHERS);
  return [...(all.lists.get(ALICE)?.values() ?? [])].map(({ uri, status }) => `${uri} ${status}`).sort();
}

async function reading(options: Parameters<Watcher["subscribe"]>[2] = AS_ALICE): Promise<void> {
  expect((await alice.subscribe(ALICE, 3600, options)).status).toBe(200);
  await domain.wait(6_000);
}

describe("bob watches alice", () => {
  it("a policy that fails when he has gone is warned of, and she is told with the next look", async () => {
    await begin();
    await reading();
    await bob.subscribe(ALICE, 600, AS_BOB);
    await domain.wait(6_000);
    expect(table(alice)).toEqual([`sip:${BOB} active`]);
    let fails = true;
    policy.decide = () => {
      if (fails) throw new Error("no rules today");
      return undefined;
    };
    await bob.refresh(0);
    await domain.wait(6_000);
    const warnings = () => domain.world.proxies[0]!.told.warning!.map(({ what }) => what);
    expect(warnings()).toContain("a user could not be told who watches him");
    fails = false;
    await domain.wait(120_000);
    expect(told(alice).at(-1)).toMatch(/partial \[bob terminated \w+\]$/);
  });

  it("he waits for her decision: she sees him pending, allows him, and he is shown her", async () => {
    await begin();
    policy.otherwise = CONFIRM;
    await reading();
    expect(told(alice)).toEqual(["0 full []"]);
    await bob.subscribe(ALICE, 600, AS_BOB);
    await domain.wait(6_000);
    expect([told(alice).at(-1), bob.saw]).toEqual(["1 partial [bob pending subscribe]", ["pending"]]);
    domain.east.more = "<note>at home</note>";
    policy.rule(BOB, without("note"));
    await domain.wait(6_000);
    expect([told(alice).at(-1), bob.saw]).toEqual(["2 partial [bob active approved]", ["pending", "active open"]]);
    expect(bob.last!.body).not.toContain("home");
    policy.rule(BOB, BLOCK);
    await domain.wait(6_000);
    expect(told(alice).at(-1)).toBe("3 partial [bob terminated rejected]");
    expect(bob.saw.at(-1)).toBe("terminated rejected");
  });

  it("whom a rule allows at once is active by `subscribe`; who leaves is terminated by `timeout` (RFC 3857 4.7.1)", async () => {
    await begin();
    await reading();
    await bob.subscribe(ALICE, 600, AS_BOB);
    await domain.wait(6_000);
    await bob.refresh(0);
    await domain.wait(6_000);
    expect(told(alice).slice(1)).toEqual(["1 partial [bob active subscribe]", "2 partial [bob terminated timeout]"]);
  });

  it("whom a polite block shows nothing is active to her as to himself", async () => {
    await begin();
    policy.rule(BOB, POLITE_BLOCK);
    await bob.subscribe(ALICE, 600, AS_BOB);
    await reading();
    expect(told(alice)).toEqual(["0 full [bob active subscribe]"]);
  });

  it("who is refused at the door is told to nobody", async () => {
    await begin();
    policy.rule(BOB, BLOCK);
    await reading();
    await bob.subscribe(ALICE, 600, AS_BOB);
    await domain.wait(6_000);
    expect(told(alice)).toEqual(["0 full []"]);
  });

  it("however often he subscribes, he is one watcher; what is told of him says nothing of his dialogs", async () => {
    await begin();
    policy.otherwise = CONFIRM;
    await bob.subscribe(ALICE, 600, AS_BOB);
    const other = new Watcher(domain.world, "127.0.0.52");
    await other.subscribe(ALICE, 300, AS_BOB);
    await reading();
    expect(told(alice)).toEqual(["0 full [bob pending subscribe]"]);
    const { id, expiration } = documents(alice)[0]!.lists[0]!.watchers[0]!;
    expect(expiration).toBeGreaterThan(500);
    for (const each of await domain.rows()) expect(each.id).not.toContain(id);
    await bob.refresh(0);
    await domain.wait(6_000);
    expect(table(alice)).toEqual([`sip:${BOB} pending`]);
  });

  it("who only says that he is bob is another watcher, and a rule about bob is none about him", async () => {
    await begin();
    policy.otherwise = CONFIRM;
    policy.rule(BOB, ALLOW);
    await bob.subscribe(ALICE, 600, AS_BOB);
    const liar = new Watcher(domain.world, "127.0.0.60");
    await liar.subscribe(ALICE, 600, AS_BOB);
    await reading();
    expect(table(alice)).toEqual([`sip:${BOB} active`, `sip:${BOB} pending`]);
  });
});

describe("waiting (RFC 3857 4.7.1)", () => {
  it("a pending subscription that ends leaves him waiting, for three days, and to be decided about", async () => {
    await begin();
    policy.otherwise = CONFIRM;
    await reading();
    await bob.subscribe(ALICE, 60, AS_BOB);
    await domain.wait(6_000);
    await domain.wait(70_000);
    expect([told(alice).at(-1), bob.saw.at(-1)]).toEqual(["2 partial [bob waiting timeout]", "terminated timeout"]);
    policy.rule(BOB, ALLOW);
    await domain.wait(6_000);
    expect(told(alice).at(-1)).toBe("3 partial [bob terminated approved]");
    const { directory } = domain.world.proxies[0]!;
    expect(await domain.world.simulation.finish(directory.watchers.waiting("alice@example.com", "presence"))).toEqual(
      [],
    );
  });

  it("a fetch that was put off leaves him waiting as well", async () => {
    await begin();
    policy.otherwise = CONFIRM;
    await bob.subscribe(ALICE, 0, AS_BOB);
    await reading();
    expect(told(alice)).toEqual(["0 full [bob waiting timeout]"]);
  });

  it("he subscribes again: pending; he is refused: terminated by `rejected`", async () => {
    await begin();
    policy.otherwise = CONFIRM;
    await bob.subscribe(ALICE, 0, AS_BOB);
    await reading();
    const again = new Watcher(domain.world, "127.0.0.52");
    await again.subscribe(ALICE, 600, AS_BOB);
    await domain.wait(6_000);
    expect(told(alice).at(-1)).toBe("1 partial [bob pending subscribe]");
    policy.rule(BOB, BLOCK);
    await domain.wait(6_000);
    expect([told(alice).at(-1), again.saw.at(-1)]).toEqual([
      "2 partial [bob terminated rejected]",
      "terminated rejected",
    ]);
  });
});

describe("documents", () => {
  it("the version starts at 0 and increments by one with each new document (RFC 3858 3)", async () => {
    await begin();
    await reading();
    for (let i = 0; i < 3; i++) {
      policy.rule(BOB, i % 2 === 0 ? CONFIRM : ALLOW);
      if (i === 0) await bob.subscribe(ALICE, 600, AS_BOB);
      await domain.wait(6_000);
    }
    const versions = documents(alice).map((each) => each.version);
    expect([versions.length > 2, versions]).toEqual([true, versions.map((_, i) => i)]);
  });

  it("NOTIFYs triggered from a SUBSCRIBE contain full state (RFC 3857 4.3)", async () => {
    await begin();
    await bob.subscribe(ALICE, 600, AS_BOB);
    await reading();
    await alice.refresh(3600);
    await domain.wait(6_000);
    expect(told(alice)).toEqual(["0 full [bob active subscribe]", "1 full [bob active subscribe]"]);
  });

  it("a fetch results in the full state of all watchers (RFC 3857 4.7.2)", async () => {
    await begin();
    await bob.subscribe(ALICE, 600, AS_BOB);
    await alice.subscribe(ALICE, 0, AS_ALICE);
    await domain.wait(1_000);
    expect([told(alice), alice.last!.state, alice.last!.reason]).toEqual([
      ["0 full [bob active subscribe]"],
      "terminated",
      "timeout",
    ]);
  });

  it("no more often than once every 5 seconds (RFC 3857 4.10), and the last state wins", async () => {
    await begin();
    await reading();
    await bob.subscribe(ALICE, 600, AS_BOB);
    for (let i = 0; i < 40; i++) {
      policy.rule(BOB, i % 2 === 0 ? CONFIRM : ALLOW);
      await domain.wait(500);
    }
    await domain.wait(10_000);
    const times = alice.told.map((each) => each.at);
    // The proxy counts in whole milliseconds.
    expect(times.slice(2).every((at, i) => at - times[i + 1]! >= 5_000)).toBe(true);
    expect(times.length).toBeLessThan(10);
    expect(table(alice)).toEqual([`sip:${BOB} active`]);
  });

  it("a NOTIFY that is lost is told again", async () => {
    await begin();
    await reading();
    domain.world.simulation.link("127.0.0.1", "127.0.0.51", { loss: 1 });
    await bob.subscribe(ALICE, 600, AS_BOB);
    await domain.wait(40_000);
    domain.world.simulation.link("127.0.0.1", "127.0.0.51", { loss: 0 });
    await domain.wait(60_000);
    expect(table(alice)).toEqual([`sip:${BOB} active`]);
  });

  it("hundreds come in parts: the first is full, and none is missing", async () => {
    await begin();
    const { directory } = domain.world.proxies[0]!;
    policy.otherwise = CONFIRM;
    for (let i = 0; i < 150; i++) {
      const watcher = { aor: "alice@example.com", watcher: `w${i}@example.com`, trusted: true, event: "presence" };
      await domain.world.simulation.finish(directory.watchers.putOff(watcher, 86_400_000));
    }
    const owner = await domain.world.simulation.finish(directory.leases.open("sip:127.0.0.9:5060", 600_000));
    for (let i = 0; i < 150; i++) {
      const row = {
        id: `cdm-${String(i).padStart(20, "0")}`,
        kind: "presence" as const,
        aor: "alice@example.com",
        watcher: `s${i}@example.com`,
        origin: null,
        event: "presence",
        dialog: "t\n1\n0\n\n\n",
        expiresAt: domain.world.proxies[0]!.runtime.clock.wall() + 3_600_000,
        notifyReserved: 16,
        leg: null,
        legServer: null,
        legReserved: 0,
        extendedEpoch: 0,
      };
      await domain.world.simulation.finish(directory.subscriptions.insert(owner, row, false));
    }
    await reading();
    await domain.wait(10_000);
    expect(documents(alice).map((each) => each.state)).toEqual(["full", "partial"]);
    expect(table(alice).length).toBe(300);
  });
});

describe("over two proxies", () => {
  it("watchers of the other proxy are told of, and as soon", async () => {
    await begin({ proxies: 2 });
    policy.otherwise = CONFIRM;
    await reading();
    await bob.subscribe(ALICE, 600, { ...AS_BOB, proxy: "127.0.0.2" });
    await domain.wait(1_000);
    expect(told(alice).at(-1)).toBe("1 partial [bob pending subscribe]");
    policy.rule(BOB, ALLOW);
    await domain.wait(6_000);
    expect([told(alice).at(-1), bob.saw.at(-1)]).toEqual(["2 partial [bob active approved]", "active open"]);
    policy.rule(BOB, BLOCK);
    await domain.wait(6_000);
    expect(told(alice).at(-1)).toBe("3 partial [bob terminated rejected]");
  });

  it("the proxy that told her dies: another tells all anew, and versions never go back", async () => {
    await begin({ proxies: 2 });
    policy.otherwise = CONFIRM;
    await reading();
    await bob.subscribe(ALICE, 3600, { ...AS_BOB, proxy: "127.0.0.2" });
    await domain.wait(6_000);
    domain.world.proxies[0]!.kill();
    await domain.wait(60_000);
    expect(told(alice).at(-1)).toMatch(/full \[bob pending subscribe\]$/);
    const versions = documents(alice).map((each) => each.version);
    expect([new Set(versions).size, versions]).toEqual([versions.length, [...versions].sort((a, b) => a - b)]);
    policy.rule(BOB, ALLOW);
    await domain.wait(10_000);
    expect(told(alice).at(-1)).toMatch(/^\d+ partial \[bob active approved\]$/);
    expect(bob.saw.at(-1)).toBe("active open");
  });

  it("the proxy of a pending watcher dies, and he with it: he is waiting", async () => {
    await begin({ proxies: 2 });
    policy.otherwise = CONFIRM;
    await reading();
    await bob.subscribe(ALICE, 60, { ...AS_BOB, proxy: "127.0.0.2" });
    await domain.wait(6_000);
    domain.world.proxies[1]!.kill();
    bob.answer = 0;
    await domain.wait(200_000);
    expect(table(alice)).toEqual([`sip:${BOB} waiting`]);
  });
});

describe("who is told", () => {
  it("nobody but the user himself, who was proved to be it (RFC 3857 4.6): else 403", async () => {
    await begin();
    expect((await alice.subscribe(ALICE, 600, AS_BOB)).status).toBe(403);
    const liar = reader("127.0.0.60");
    expect((await liar.subscribe(ALICE, 600, AS_ALICE)).status).toBe(403);
    await domain.wait(1_000);
    expect([alice.saw, liar.saw]).toEqual([[], []]);
  });

  it("watchers of watchers are told to nobody (4.6)", async () => {
    await begin();
    alice.event = "presence.winfo.winfo";
    expect((await alice.subscribe(ALICE, 600, AS_ALICE)).status).toBe(403);
  });

  it("406 where application/watcherinfo+xml is not listed in Accept (4.5)", async () => {
    await begin();
    alice.accept = "application/pidf+xml";
    const refused = await alice.subscribe(ALICE, 600, AS_ALICE);
    expect([refused.status, refused.header("Accept")]).toEqual([406, WINFO_TYPE]);
  });

  it("nobody decides here any more: it is deactivated", async () => {
    await begin();
    await reading();
    policy.active = false;
    policy.tell(null);
    await domain.wait(1_000);
    expect(alice.saw.at(-1)).toBe("terminated deactivated");
  });

  it("of whom no rules are kept here (way: distributed in his domain) nobody is told here: it goes to his server", async () => {
    await begin();
    policy.governs = () => false;
    await alice.subscribe(ALICE, 600, AS_ALICE);
    await domain.wait(1_000);
    expect(domain.east.firsts.map((each) => each.event?.package)).toEqual(["presence.winfo"]);
  });

  it("its server reads her name and her watchers' as it calls them", async () => {
    await begin({
      each: { home: { identities: { "alice@example.com": "a.smith", [BOB]: "robert" } } },
    });
    await bob.subscribe(ALICE, 600, { from: "sip:robert@example.com" });
    await alice.subscribe("sip:a.smith@example.com", 3600, { from: "sip:a.smith@example.com" });
    await domain.wait(6_000);
    const [{ lists }] = documents(alice) as [Winfo];
    expect([lists[0]!.resource, lists[0]!.watchers[0]!.uri]).toEqual([
      "sip:a.smith@example.com",
      "sip:robert@example.com",
    ]);
  });
});

it("the proxy loses its lease while the database is away: what it kept is another's, and told by that one", async () => {
  await begin({ proxies: 2, services: { leaseMs: 3_000 } });
  policy.otherwise = CONFIRM;
  await reading();
  await bob.subscribe(ALICE, 3600, { ...AS_BOB, proxy: "127.0.0.2" });
  await domain.wait(6_000);
  const before = documents(alice).length;
  domain.world.database.setAway(true);
  await domain.wait(20_000);
  policy.rule(BOB, ALLOW);
  await domain.wait(5_000);
  domain.world.database.setAway(false);
  await domain.wait(60_000);
  expect(documents(alice).length).toBeGreaterThan(before);
  expect([table(alice), bob.saw.at(-1)]).toEqual([[`sip:${BOB} active`], "active open"]);
  const versions = documents(alice).map(({ version }) => version);
  expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b));
});

it("nothing is left of it once it has ended", async () => {
  await begin();
  await reading();
  await bob.subscribe(ALICE, 600, AS_BOB);
  await domain.wait(6_000);
  await bob.refresh(0);
  await alice.refresh(0);
  await domain.wait(100_000);
  expect(await domain.rows()).toEqual([]);
  const { subscriptions } = domain.world.proxies[0]!.services;
  expect([subscriptions.size, subscriptions.leftovers]).toEqual([0, 0]);
});
