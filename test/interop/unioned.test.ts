import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Capture, capture } from "../support/capture.ts";
import { eventually } from "../support/child.ts";
import { type Browser, browser, type Notified, type Watching } from "../support/sip-js.ts";
import { publishOn, type UnionedDomain, unionedDomain } from "../support/unioned-domain.ts";
import { type WirePeer, wirePeer } from "../support/wire.ts";

/**
 * Users who are on two Kamailio servers and on one that follows the draft: as peers, in a tree under the one that follows
 * the draft, and in one under a Kamailio, for which the proxy is the root (models.md, "Unioned"). sip.js watches.
 */
const FIRST = 221;
const HOST = `127.0.0.${FIRST}`;
const PEER = "ann.team";
const TREE = "ann.office";
const VIRTUAL = "ann.branch";
const USERS = [PEER, TREE, VIRTUAL];
const at = (user: string): string => `${user}@example.com`;

let domain: UnionedDomain;
let device: WirePeer;
let watcher: Browser;

beforeAll(async () => {
  domain = await unionedDomain({
    first: FIRST,
    users: USERS,
    more: `
trees:
  offices: { root: demo, children: { demo: [west, south] } }
  branches: { root: west, children: { west: [demo], demo: [south] } }
models:
  - { match: "*.team@example.com", model: unioned, style: peer, servers: [demo, west, south] }
  - { match: "*.office@example.com", model: unioned, style: hierarchical, tree: offices }
  - { match: "*.branch@example.com", model: unioned, style: hierarchical, tree: branches }
`,
    legs: (user, from) => {
      if (user === PEER) return 1;
      if (user === TREE) return 2;
      return from === "own" || user === VIRTUAL ? 1 : 0;
    },
  });
  device = await wirePeer(`127.0.0.${FIRST + 4}`);
  for (const user of USERS) {
    await publishOn(device, domain.west, at(user), "west 1");
    await publishOn(device, domain.south, at(user), "south 1");
    domain.demo.show(user, "open");
  }
  watcher = await browser({ aor: "bob@example.com", server: `ws://${HOST}:5066` });
});

afterAll(async () => {
  await watcher?.close();
  await device?.close();
  await domain?.stop();
});

const shows = ({ body }: Pick<Notified, "body">): string =>
  Array.from(body.matchAll(/<(?:\w+:)?note[^>]*>(\w+) \d+<\//g), ([, server]) => server)
    .sort()
    .join(" ");

async function shown(watching: Watching, wanted: string): Promise<Notified> {
  await eventually(`a document of ${wanted}`, () => shows(watching.notified.at(-1) ?? { body: "" }) === wanted);
  return watching.notified.at(-1)!;
}

const dialogs = async (): Promise<number> =>
  JSON.parse((await domain.proxy.run("subscriptions", "list", "--json")).stdout).subscriptions.length;

describe("as peers", () => {
  let wire: Capture;
  let watching: Watching;

  beforeAll(async () => {
    wire = await capture(`udp port 5060 and net 127.0.0.0/8`);
    watching = await watcher.watch(at(PEER));
  });
  afterAll(async () => {
    await wire?.close();
  });

  test("sip.js is shown what all three have, each once, ids that collide told apart", async () => {
    const { body, state } = await shown(watching, "demo south west");
    expect(state).toMatch(/^active/);
    expect([...body.matchAll(/<tuple id="([^"]+)"/g)].map(([, id]) => id).sort()).toEqual([
      "t1.demo",
      "t1.south",
      "t1.west",
    ]);
    expect(watching.notified[0]!.body).toBe("");
  });

  test("a change on a Kamailio is one NOTIFY", async () => {
    const before = watching.notified.length;
    await publishOn(device, domain.west, at(PEER), "west 2", "closed");
    await eventually("the change", () => watching.notified.at(-1)!.body.includes("west 2"));
    expect(watching.notified.length).toBe(before + 1);
  });

  test("every server has one dialog about her, and all end with the watcher's", async () => {
    expect([await domain.west.seen("SUBSCRIBE", PEER), await domain.south.seen("SUBSCRIBE", PEER)]).toEqual([1, 1]);
    expect(domain.demo.accepted(PEER).length).toBe(1);
    await watching.end();
    await eventually("no subscription to be kept", async () => (await dialogs()) === 0);
    await eventually("no dialog at the demo's server", () => domain.demo.accepted(PEER).length === 0);
  });

  test("what the server of the draft sent on came back: 482 on the wire, once, and nothing is malformed", async () => {
    const rows = await wire.rows("sip", ["sip.Status-Code", "ip.dst", "_ws.malformed"]);
    expect(rows.filter(([status]) => status === "482").map(([, to]) => to)).toEqual([`127.0.0.${FIRST + 3}`]);
    expect(rows.filter(([, , malformed]) => malformed !== undefined && malformed !== "")).toEqual([]);
  });
});

describe("in a tree", () => {
  test("under the server of the draft: it asks for its children's, and composes", async () => {
    const asked = [await domain.west.seen("SUBSCRIBE", TREE), await domain.south.seen("SUBSCRIBE", TREE)];
    const watching = await watcher.watch(at(TREE));
    await shown(watching, "demo south west");
    // It sends one for each of its children, and each is for both of them.
    expect([await domain.west.seen("SUBSCRIBE", TREE), await domain.south.seen("SUBSCRIBE", TREE)]).toEqual(
      asked.map((times) => times + 2),
    );
    await watching.end();
    await eventually("no subscription to be kept", async () => (await dialogs()) === 0);
  });

  test("under a Kamailio, which sends nothing on: the proxy is the root in its place, and the middle one's part is its own", async () => {
    const watching = await watcher.watch(at(VIRTUAL));
    await shown(watching, "demo south west");
    expect(await domain.south.seen("SUBSCRIBE", VIRTUAL)).toBe(1);
    domain.demo.show(VIRTUAL, "closed");
    await eventually("the change", () => watching.notified.at(-1)!.body.includes("closed"));
    await watching.end();
    await eventually("no subscription to be kept", async () => (await dialogs()) === 0);
  });
});

describe("one that denies", () => {
  test("at the server of the draft: sip.js is shown nothing of what the Kamailio servers have", async () => {
    domain.demo.policy = (who) => (who.includes("mallory") ? "rejected" : "active");
    const mallory = await browser({ aor: "mallory@example.com", server: `ws://${HOST}:5066` });
    const documents: string[] = [];
    try {
      const watching = await mallory.watch(at(PEER)).catch(() => undefined);
      await eventually("the end", async () => (await dialogs()) === 0);
      documents.push(...(watching?.notified ?? []).map(({ body }) => body));
      expect(documents.join("")).toBe("");
      expect(watching?.notified.at(-1)?.state ?? "terminated;reason=rejected").toMatch(/^terminated.*rejected/);
    } finally {
      await mallory.close();
    }
  });
});
