import { afterEach, describe, expect, it } from "vitest";
import type { Events } from "../../src/telemetry/events.ts";
import type { Policy } from "../support/notifier.ts";
import { ALICE, AOR, told, Unioned, type UnionedOptions } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";

/** models.md, "Composition": one document of several servers, by one dialog with the watcher. */

let domain: Unioned;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function begin(options: UnionedOptions = {}): Promise<void> {
  domain = new Unioned();
  await domain.begin(options);
  watcher = new Watcher(domain.world, "127.0.0.50");
}

const ANSWER =
  (status: number, state?: string | null): (() => Policy) =>
  () => ({ status, ...(state === undefined ? {} : { state }) });

const seen = (from = 0): string[] => told(watcher).slice(from);

async function expectNothingLeft(): Promise<void> {
  await domain.wait(100_000);
  expect(await domain.rows()).toEqual([]);
  for (const { services } of domain.world.proxies) {
    expect([services.subscriptions.size, services.subscriptions.leftovers]).toEqual([0, 0]);
    expect(services.subscriptions.documents.size).toBe(0);
  }
  expect(Object.values(domain.at).flatMap((server) => server.live)).toEqual([]);
}

describe("a SUBSCRIBE to a user of several servers", () => {
  it("gets 200 and a bodiless `pending` NOTIFY at once, then one document of all of them", async () => {
    await begin();
    const ok = await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect([ok.status, ok.expires]).toEqual([200, 600]);
    expect(seen()).toEqual(["pending", "active east open, west open"]);
    expect(watcher.told[0]).toMatchObject({ body: "", expires: 600 });
    expect(watcher.last!.request.header("Content-Type")).toBe("application/pidf+xml");
    expect(await domain.rows()).toMatchObject([{ aor: AOR, kind: "composed", legServer: "east,west" }]);
    await watcher.refresh(0);
    await expectNothingLeft();
  });

  it("is asked of each server on behalf of the watcher, with a dialog of its own", async () => {
    await begin();
    await watcher.subscribe(ALICE, 600, { maxForwards: 17, headers: [["Session-ID", `${"ab".repeat(16)};remote=0`]] });
    await domain.wait(1_000);
    const [east, west] = [domain.east.firsts[0]!, domain.west.firsts[0]!];
    for (const each of [east, west]) {
      expect(each.from.uri.raw).toBe("sip:watcher@example.com");
      // RFC 7332 5; RFC 7989 6.
      expect(each.maxForwards).toBe(16);
      expect(each.header("Session-ID")).toBe(`${"ab".repeat(16)};remote=${"0".repeat(32)}`);
      expect(each.values("Accept").join()).toMatch(/application\/pidf\+xml.*application\/pidf-diff\+xml/);
    }
    expect(east.callId).not.toBe(west.callId);
    expect([east.callId, west.callId]).not.toContain(watcher.sent!.callId);
  });

  it("without a Session-ID is given one, the same on every leg (RFC 7989 6)", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    const sessions = [domain.east, domain.west].map((each) => each.firsts[0]!.header("Session-ID"));
    expect(sessions[0]).toMatch(/^[0-9a-f]{32};remote=0{32}$/);
    expect(sessions[1]).toBe(sessions[0]);
  });

  it.each([
    ["with Max-Forwards 0", { maxForwards: 0 }, 483],
    ["from one who reads no presence documents", { headers: [["Accept", "text/plain"]] as const }, 406],
    ["that requires an extension", { headers: [["Require", "eventlist"]] as const }, 420],
    [
      "with a filter",
      { body: "<filter/>", headers: [["Content-Type", "application/simple-filter+xml"]] as const },
      415,
    ],
    ["for too short a time", { expires: 5 }, 423],
  ])("%s is refused, and asked of nobody", async (_, options, status) => {
    await begin();
    const request = watcher.client.request("SUBSCRIBE", ALICE, options);
    expect(await watcher.client.all(watcher.client.beginRequest(request))).toEqual([status]);
    expect(domain.east.firsts).toEqual([]);
    await expectNothingLeft();
  });

  it("that comes twice by different ways is merged: 482 (RFC 3261 8.2.2.2)", async () => {
    await begin();
    const outgoing = watcher.begin(ALICE);
    const second = watcher.client.beginRequest(watcher.sent!);
    expect((await watcher.client.all(outgoing, second)).sort()).toEqual([200, 482]);
    await domain.wait(1_000);
    expect(domain.east.firsts.length).toBe(1);
  });

  it("over a cap gets 480 with Retry-After", async () => {
    await begin({ services: { subscriptions: { caps: { perWatcher: 1, perUser: 10, perOrigin: 10, inAll: 10 } } } });
    expect((await watcher.subscribe(ALICE)).status).toBe(200);
    const second = await new Watcher(domain.world, "127.0.0.51").subscribe(ALICE);
    expect([second.status, second.header("Retry-After")]).toEqual([480, "10"]);
  });

  it("is refused with 500 and Retry-After while the database is away, and leaves nothing", async () => {
    await begin({ database: { latencyMs: [1, 1] } });
    domain.world.database.setAway(true);
    await domain.wait(20_000);
    const refused = await watcher.subscribe(ALICE);
    expect([refused.status, refused.header("Retry-After")]).toEqual([500, "10"]);
    domain.world.database.setAway(false);
    expect(domain.east.firsts).toEqual([]);
    await expectNothingLeft();
  });
});

describe("Confirmed means a NOTIFY with state active", () => {
  it.each([
    ["200 without a NOTIFY", ANSWER(200, null)],
    ["202 without a NOTIFY", ANSWER(202, null)],
    ["a NOTIFY that is pending", ANSWER(200, "pending;expires=600")],
    ["no answer", ANSWER(0)],
    ["480", ANSWER(480)],
    ["500", ANSWER(500)],
    ["302", ANSWER(302)],
    ["420", ANSWER(420)],
  ])("%s is no yes: the watcher stays pending, and not one byte leaves", async (_, policy) => {
    await begin();
    domain.west.policy = policy;
    await watcher.subscribe(ALICE);
    await domain.wait(200_000);
    expect(seen()).toEqual(["pending"]);
  });

  it("a NOTIFY that requires what is not understood gets 420 and is no yes (RFC 3261 8.2.2.3): a list's, active whoever agrees", async () => {
    await begin();
    domain.west.headers = [["Require", "eventlist"]];
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    const answers = await watcher.client.all(domain.west.served[0]!.notifies[0]!);
    expect([answers, seen()]).toEqual([[420], ["pending"]]);
    domain.west.headers = [];
    domain.west.notify(domain.west.served[0]!);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open, west open"]);
  });

  it("a NOTIFY before the answer is one too (RFC 6665 4.1.2.4)", async () => {
    await begin();
    domain.west.policy = () => ({ status: 200, notifyFirst: true });
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open, west open"]);
  });

  it("one without a document has nothing to show, and hides nobody", async () => {
    await begin();
    domain.west.policy = ANSWER(200, null);
    await watcher.subscribe(ALICE);
    await domain.wait(100);
    domain.west.notify(domain.west.live[0]!, undefined, null);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open"]);
  });

  it("who was pending and decides is shown with the others", async () => {
    await begin();
    domain.west.policy = ANSWER(200, "pending;expires=600");
    await watcher.subscribe(ALICE);
    await domain.wait(60_000);
    domain.west.notify(domain.west.live[0]!);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open, west open"]);
  });
});

describe("what operators are told (docs/metrics.md)", () => {
  it("is what each server said of its part, once, after how long, and how it stands", async () => {
    await begin({ names: ["east", "west", "north"] });
    const { telemetry, services } = domain.world.proxies[0]!;
    const parts: Events["part"][] = [];
    telemetry.on("part", (each) => void parts.push(each));
    domain.west.policy = ANSWER(404);
    domain.at["north"]!.policy = ANSWER(200, "pending;expires=600");
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    domain.at["north"]!.notify(domain.at["north"]!.served[0]!);
    domain.east.notify(domain.east.served[0]!);
    await domain.wait(1_000);
    const said = () => parts.map(({ server, said }) => `${server} ${said}`);
    expect(said().sort()).toEqual(["east confirmed", "north confirmed", "north pending", "west out"]);
    const late = parts.find(({ server, said }) => server === "north" && said === "confirmed")!;
    expect(late.tookMs).toBeGreaterThanOrEqual(1_000);
    expect(late.tookMs).toBeLessThan(2_000);
    expect(
      services.subscriptions.standings.map(({ server, standing, count }) => `${server} ${standing} ${count}`).sort(),
    ).toEqual(["east confirmed 1", "north confirmed 1", "west out 1"]);
    domain.east.notify(domain.east.served[0]!, "terminated;reason=rejected", null);
    await domain.wait(1_000);
    expect(said().at(-1)).toBe("east denied");
    expect(services.subscriptions.standings).toEqual([]);
  });
});

describe("privacy safety", () => {
  it.each([401, 403, 407, 600, 603])("%i from one server denies the whole, at once and for good", async (status) => {
    await begin();
    domain.west.policy = ANSWER(status);
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "terminated rejected"]);
    expect(watcher.told.every((each) => each.body === "")).toBe(true);
    await expectNothingLeft();
  });

  it("`terminated;reason=rejected` from one does, also while another has not answered", async () => {
    await begin();
    domain.east.policy = ANSWER(0);
    domain.west.policy = ANSWER(200, "terminated;reason=rejected");
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "terminated rejected"]);
    await expectNothingLeft();
  });

  it("later, too: he is told so, sees not a byte more, and every leg is ended", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    domain.west.notify(domain.west.live[0]!, "terminated;reason=rejected");
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open, west open", "terminated rejected"]);
    expect(watcher.last!.body).toBe("");
    expect(domain.east.served[0]!.subscribes.at(-1)!.expires).toBe(0);
    await expectNothingLeft();
  });

  it("a refresh that is denied denies, though it ends no subscription by itself (RFC 6665 4.1.2.2)", async () => {
    await begin();
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    domain.west.refreshPolicy = ANSWER(403);
    await domain.wait(3_500_000);
    expect(seen().at(-1)).toBe("terminated rejected");
  });

  it("a server that has not decided any more hides everybody: a closed document, until it has", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    domain.west.notify(domain.west.live[0]!, "pending;expires=600", null);
    await domain.wait(1_000);
    domain.east.notify(domain.east.live[0]!);
    await domain.wait(1_000);
    expect(seen(2)).toEqual(["active nobody closed"]);
    domain.west.notify(domain.west.live[0]!);
    await domain.wait(1_000);
    expect(seen(3)).toEqual(["active east open, west open"]);
  });

  it("one that had not decided and is away still hides everybody", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    domain.west.notify(domain.west.live[0]!, "pending;expires=600", null);
    domain.west.policy = ANSWER(0);
    domain.west.notify(domain.west.live[0]!, "terminated;reason=probation;retry-after=5", null);
    await domain.wait(200_000);
    expect(seen(2)).toEqual(["active nobody closed"]);
  });
});

describe("a server that drops out", () => {
  it.each([404, 405, 406, 410, 415, 482, 489, 501, 604])("by %i is not waited for", async (status) => {
    await begin();
    domain.west.policy = ANSWER(status);
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open"]);
  });

  it("by `terminated;reason=noresource` takes its elements along", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    domain.west.notify(domain.west.live[0]!, "terminated;reason=noresource");
    await domain.wait(1_000);
    expect(seen(2)).toEqual(["active east open"]);
  });

  it("and all others with it: terminated;reason=noresource", async () => {
    await begin();
    domain.east.policy = ANSWER(404);
    domain.west.policy = ANSWER(489);
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "terminated noresource"]);
    await expectNothingLeft();
  });

  it("is asked again when the watcher refreshes after a while, and is in again", async () => {
    await begin();
    domain.west.policy = ANSWER(404);
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    domain.west.policy = ANSWER(200);
    // A watcher who refreshes often does not have it asked as often.
    await watcher.refresh(600);
    await domain.wait(301_000);
    expect(domain.west.firsts.length).toBe(1);
    await watcher.refresh(600);
    await domain.wait(1_000);
    expect(seen(1)).toEqual([
      "active east open",
      "active east open",
      "active east open",
      "active east open, west open",
    ]);
  });

  it("and then denies when it is asked again denies the whole", async () => {
    await begin();
    domain.west.policy = ANSWER(404);
    await watcher.subscribe(ALICE);
    await domain.wait(301_000);
    domain.west.policy = ANSWER(403);
    await watcher.refresh(600);
    await domain.wait(1_000);
    expect(seen().at(-1)).toBe("terminated rejected");
    await expectNothingLeft();
  });
});

describe("afterwards", () => {
  it("there is one NOTIFY for a change, with the whole of it", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    domain.west.basic = "closed";
    domain.west.notify(domain.west.live[0]!);
    await domain.wait(1_000);
    expect(seen(2)).toEqual(["active east open, west closed"]);
  });

  it("and none where nothing has changed: the same again, or the same written otherwise", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    const body = (): string => domain.west.document(domain.west.live[0]!, "open").replace(/west-\d+/, "west-1");
    const say = (text: string): void => {
      const { west } = domain;
      const document = west.document.bind(west);
      west.document = () => text;
      west.notify(west.live[0]!);
      west.document = document;
    };
    say(body());
    await domain.wait(1_000);
    say(body().replaceAll("><", ">\n  <").replace('xmlns="', 'xmlns:unused="urn:x" xmlns="'));
    await domain.wait(1_000);
    expect(seen(2).length).toBeLessThanOrEqual(1);
    const before = watcher.told.length;
    say(body().replaceAll("><", ">\n<"));
    await domain.wait(1_000);
    expect(watcher.told.length).toBe(before);
  });

  it("no more than one in the time that is set (RFC 6446): the last state wins", async () => {
    const { SUBSCRIPTION_OPTIONS } = await import("../../src/subscription/options.ts");
    await begin({ services: { subscriptions: { notify: { ...SUBSCRIPTION_OPTIONS.notify, minIntervalMs: 5_000 } } } });
    await watcher.subscribe(ALICE);
    await domain.wait(10_000);
    for (const basic of ["closed", "open", "closed"] as const) {
      domain.west.basic = basic;
      domain.west.notify(domain.west.live[0]!);
      await domain.wait(500);
    }
    await domain.wait(10_000);
    expect(seen(2)).toEqual(["active east open, west closed", "active east open, west closed"]);
    expect(watcher.told.at(-1)!.at - watcher.told.at(-2)!.at).toBeGreaterThanOrEqual(5_000);
  });

  it("a document that cannot be read changes nothing, and takes nobody down; the next good one counts", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    const { west } = domain;
    const document = west.document.bind(west);
    for (const bad of [
      "<presence",
      "",
      `<!DOCTYPE x><presence xmlns="urn:ietf:params:xml:ns:pidf"/>`,
      "x".repeat(70),
    ]) {
      west.document = () => bad;
      west.notify(west.live[0]!);
      await domain.wait(1_000);
    }
    west.document = document;
    domain.east.notify(domain.east.live[0]!);
    await domain.wait(1_000);
    expect(watcher.last!.body).toContain("east-2");
    west.notify(west.live[0]!);
    await domain.wait(1_000);
    expect(seen().at(-1)).toBe("active east open, west open");
    const warned = domain.world.proxies[0]!.told.warning!.filter((each) => each.what.includes("could not be read"));
    expect(warned.length).toBe(3);
  });

  it("one whose first document cannot be read has confirmed, and shows nothing", async () => {
    await begin();
    domain.west.document = () => "garbage";
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(seen()).toEqual(["pending", "active east open"]);
  });

  it("the user's names on his servers are not to be seen", async () => {
    await begin();
    const record = { aor: AOR, model: null, settings: {}, identities: { west: "al@west.example.com" } };
    await domain.world.simulation.finish(domain.world.proxies[0]!.directory.putUser(record, "test"));
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(domain.west.firsts[0]!.requestUri).toBe("sip:al@west.example.com");
    expect(seen()).toEqual(["pending", "active east open, west open"]);
    expect(watcher.last!.body).toContain('entity="sip:alice@example.com"');
    expect(watcher.last!.body).not.toContain("west.example.com");
  });
});

describe("a fetch (Expires 0)", () => {
  it("brings the document of all, and leaves nothing", async () => {
    await begin();
    const ok = await watcher.subscribe(ALICE, 0);
    await domain.wait(1_000);
    expect([ok.status, ok.expires]).toEqual([200, 0]);
    expect(seen()).toEqual(["terminated timeout east open, west open"]);
    await expectNothingLeft();
  });

  it.each([
    ["does not answer", 0, "terminated timeout"],
    ["cannot say", 480, "terminated timeout"],
    ["denies", 403, "terminated rejected"],
    ["is none of his", 404, "terminated timeout east open"],
  ] as const)("of one of whose servers one %s", async (_, status, end) => {
    await begin();
    domain.west.policy = ANSWER(status);
    await watcher.subscribe(ALICE, 0);
    await domain.wait(4_500);
    expect(seen()).toEqual([end]);
    await expectNothingLeft();
  });

  it("one that has not decided within 4 s has not confirmed", async () => {
    await begin();
    domain.west.policy = ANSWER(200, "pending;expires=600");
    await watcher.subscribe(ALICE, 0);
    await domain.wait(4_500);
    expect(seen()).toEqual(["terminated timeout"]);
    await expectNothingLeft();
  });
});
