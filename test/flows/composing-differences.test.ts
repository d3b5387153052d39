import { afterEach, describe, expect, it } from "vitest";
import { parsePidf } from "../../src/presence/pidf.ts";
import type { PartialPresence } from "../../src/presence/pidf-diff.ts";
import { fullPresence, PIDF_DIFF_TYPE, parsePidfDiff, updatePresence } from "../../src/presence/pidf-diff.ts";
import { printXml } from "../../src/presence/xml.ts";
import { requestWithin } from "../../src/sip/dialog/dialog.ts";
import { pidf } from "../support/presence.ts";
import { ALICE, partsOf, told, Unioned, type UnionedOptions } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";

/** Partial presence (RFC 5262, RFC 5263): taken from servers, and offered to watchers. */

let domain: Unioned;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function begin(options: UnionedOptions = {}): Promise<void> {
  domain = new Unioned();
  await domain.begin(options);
  watcher = new Watcher(domain.world, "127.0.0.50");
}

const seen = (from = 0): string[] => told(watcher).slice(from);

/** West says it in a partial document, or what claims to be one. */
async function say(body: string): Promise<void> {
  const served = domain.west.live[0]!;
  served.cseq++;
  const notify = requestWithin(served.dialog, {
    method: "NOTIFY",
    cseq: served.cseq,
    contact: "sip:127.0.0.12:5060",
    headers: [
      ["Event", "presence"],
      ["Subscription-State", "active;expires=600"],
      ["Content-Type", PIDF_DIFF_TYPE],
    ],
    body,
  });
  domain.world.scripted["west"]!.beginRequest(notify);
  await domain.wait(1_000);
}

const whole = (basic: "open" | "closed", version: number): string =>
  printXml(fullPresence(parsePidf(pidf("alice@example.com", basic, "w")), version));

const difference = (basic: "open" | "closed", version: number): string =>
  `<d:pidf-diff xmlns="urn:ietf:params:xml:ns:pidf" xmlns:d="urn:ietf:params:xml:ns:pidf-diff" entity="sip:alice@example.com" version="${version}">` +
  `<d:replace sel="*/tuple[@id='w']/status/basic/text()">${basic}</d:replace></d:pidf-diff>`;

describe("a server that tells differences", () => {
  async function told_(): Promise<void> {
    await begin();
    domain.west.policy = () => ({ status: 200, state: null });
    await watcher.subscribe(ALICE);
    await domain.wait(500);
    await say(whole("open", 1));
    expect(seen()).toEqual(["pending", "active east open, west open"]);
  }

  it("is understood: the whole first, then what has changed", async () => {
    await told_();
    await say(difference("closed", 2));
    await say(difference("open", 3));
    expect(seen(2)).toEqual(["active east open, west closed", "active east open, west open"]);
  });

  it("of which one was lost is asked for the whole, and until then shown as it was", async () => {
    await told_();
    domain.west.refreshPolicy = () => ({ status: 200, state: null });
    await say(difference("closed", 3));
    expect(seen(2)).toEqual([]);
    expect(domain.west.live[0]!.subscribes.length).toBe(2);
    await say(whole("closed", 4));
    expect(seen(2)).toEqual(["active east open, west closed"]);
    await say(difference("open", 5));
    expect(seen(3)).toEqual(["active east open, west open"]);
  });

  it("that fit nowhere is asked for the whole once, not in a circle", async () => {
    await told_();
    domain.west.refreshPolicy = () => ({ status: 200, state: null });
    for (let i = 0; i < 5; i++) await say(difference("closed", 2).replace("@id='w'", "@id='nobody'"));
    expect(domain.west.live[0]!.subscribes.length).toBe(2);
    expect(seen(2)).toEqual([]);
  });

  it("may tell the whole as application/pidf+xml at any time", async () => {
    await told_();
    domain.west.basic = "closed";
    domain.west.notify(domain.west.live[0]!);
    await domain.wait(1_000);
    expect(seen(2)).toEqual(["active east open, west closed"]);
  });

  it("repeats an old one: discarded (RFC 5263 4.5)", async () => {
    await told_();
    await say(difference("closed", 2));
    await say(difference("open", 2));
    expect(seen(2)).toEqual(["active east open, west closed"]);
  });
});

describe("a watcher who takes differences", () => {
  const HEADERS = [["Accept", `${PIDF_DIFF_TYPE};q=1`]] as const;

  /** What he has, by RFC 5263 4.5, after each NOTIFY. */
  function reads(): { types: string[]; versions: (number | null)[]; last: string[] } {
    let state: PartialPresence | null = null;
    const types: string[] = [];
    const versions: (number | null)[] = [];
    for (const { body, request } of watcher.told) {
      if (body === "") continue;
      expect(request.header("Content-Type")).toBe(PIDF_DIFF_TYPE);
      const update = parsePidfDiff(body);
      const updated = updatePresence(state, update);
      if (updated.outcome !== "applied") throw new Error(updated.outcome);
      state = updated.state;
      types.push(update.kind);
      versions.push(update.version);
    }
    return {
      types,
      versions,
      last: state === null ? [] : partsOf(printXml(state.presence).replace(/<(\/?)\w+:tuple/g, "<$1tuple")),
    };
  }

  async function watch(options: UnionedOptions = {}): Promise<void> {
    await begin(options);
    for (const server of [domain.east, domain.west])
      server.more = `<tuple id="${server.name}-more"><status><basic>open</basic></status><note>${"long ".repeat(40)}</note></tuple>`;
    await watcher.subscribe(ALICE, 3600, { headers: HEADERS });
    await domain.wait(1_000);
  }

  async function change(basic: "open" | "closed"): Promise<void> {
    domain.west.basic = basic;
    domain.west.notify(domain.west.live[0]!);
    await domain.wait(1_000);
  }

  it("is sent the whole first, version 1, then what has changed, each version one more", async () => {
    await watch();
    await change("closed");
    await change("open");
    expect(reads()).toMatchObject({ types: ["full", "diff", "diff"], versions: [1, 2, 3] });
    expect(reads().last.filter((each) => each === "west open").length).toBe(2);
    expect(watcher.told.at(-1)!.body.length).toBeLessThan(watcher.told[1]!.body.length);
  });

  it("is sent the whole after his refresh (RFC 5263 4.4)", async () => {
    await watch();
    await watcher.refresh(3600);
    await domain.wait(1_000);
    await change("closed");
    expect(reads()).toMatchObject({ types: ["full", "full", "diff"], versions: [1, 2, 3] });
  });

  it("is sent the whole after a NOTIFY that he did not answer", async () => {
    await watch();
    watcher.answer = 500;
    await change("closed");
    watcher.answer = 200;
    await domain.wait(10_000);
    expect(reads().types.at(-1)).toBe("full");
    await change("open");
    expect(reads().types.at(-1)).toBe("diff");
  });

  it("is sent the whole by a new owner, with a version that is higher", async () => {
    await watch({ proxies: 2 });
    await change("closed");
    domain.world.proxies[0]!.kill();
    await domain.wait(40_000);
    await change("open");
    const { types, versions } = reads();
    expect(types).toEqual(["full", "diff", "full", "diff"]);
    expect(versions[2]!).toBeGreaterThan(versions[1]!);
    expect(versions[3]).toBe(versions[2]! + 1);
  });

  it("one who likes whole documents better is sent those", async () => {
    await begin();
    await watcher.subscribe(ALICE, 3600, { headers: [["Accept", `${PIDF_DIFF_TYPE};q=0.3`]] });
    await domain.wait(1_000);
    expect(watcher.last!.request.header("Content-Type")).toBe("application/pidf+xml");
  });
});
