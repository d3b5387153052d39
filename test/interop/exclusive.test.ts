import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Capture, capture } from "../support/capture.ts";
import { eventually } from "../support/child.ts";
import { type ExclusiveDomain, exclusiveDomain } from "../support/exclusive-domain.ts";
import type { Kamailio } from "../support/kamailio.ts";
import {
  answering,
  messageParts,
  pidf,
  publishParts,
  registerParts,
  resubscribeParts,
  subscribeParts,
} from "../support/presence.ts";
import type { RunningProxy } from "../support/proxy.ts";
import { type Browser, browser, type Watching } from "../support/sip-js.ts";
import { seenBy, shown, story } from "../support/watched.ts";
import { ask, field, type WireMessage, type WirePeer, wirePeer } from "../support/wire.ts";

/**
 * One domain in the exclusive model on two Kamailio servers, each with what an administrator would configure on it. east is
 * told by reg event that it has lost a user, west by a REGISTER. Two watch alice through it all: olga, a client of west, and
 * a browser that is the proxy's own client.
 */
const ALICE = "alice@example.com";

let wire: Capture;
let domain: ExclusiveDomain;
let east: Kamailio;
let west: Kamailio;
let proxy: RunningProxy;
/** Clients of the servers: one who watches, and alice's phones. */
let olga: WirePeer;
let desk: WirePeer;
let mobile: WirePeer;
let page: Browser;
let watching: Watching;
/** The 200 that made olga's dialog. */
let dialog = "";

beforeAll(async () => {
  wire = await capture("udp port 5060 and (net 127.0.0.136/29 or net 127.0.0.144/29)");
  domain = await exclusiveDomain({
    first: 141,
    east: "evict: reginfo, reginfo: whole",
    west: "evict: register",
    models: ['{ match: "rita@example.com", model: exclusive, conflict: refuse }'],
    more: ["exclusive: { grace: 0s }"],
  });
  ({ east, west, proxy } = domain);
  await proxy.run("users", "add", ALICE);
  [olga, desk, mobile] = (
    await Promise.all([wirePeer("127.0.0.145"), wirePeer("127.0.0.146"), wirePeer("127.0.0.147")])
  ).map(answering) as [WirePeer, WirePeer, WirePeer];
  page = await browser({ aor: "wanda@example.com", server: `ws://${proxy.host}:5066` });
});

afterAll(async () => {
  await page?.close();
  await wire?.close();
  await domain?.stop();
  await Promise.all([olga, desk, mobile].map((each) => each?.close()));
});

const olgaSaw = () => story(seenBy(olga.heard, field(dialog, "Call-ID") ?? ""));
const pageSaw = () => story(watching.notified.map((each) => ({ cseq: 0, ...shown(each.state, each.body) })));

/** Both watchers have been told this, and nothing since. */
async function bothSee(last: string): Promise<void> {
  for (const saw of [olgaSaw, pageSaw]) {
    await eventually(`${last} to be seen`, () => saw().at(-1) === last).catch((error: Error) => {
      throw new Error(`${error.message}; seen was ${saw().join(" | ")}`);
    });
  }
}

async function register(phone: WirePeer, server: Kamailio, cseq: number, expires = 600): Promise<WireMessage> {
  const parts = registerParts(phone, ALICE, expires);
  return ask(phone, server, { ...parts, callId: `phone-${phone.host}`, cseq });
}

const tags = new Map<Kamailio, string>();

/** What her phone there published before is changed by it, as a phone does. */
async function publish(phone: WirePeer, server: Kamailio, tuple: string): Promise<void> {
  const parts = publishParts(ALICE, "open", tags.get(server));
  const answer = await ask(phone, server, { ...parts, body: pidf(ALICE, "open", tuple) });
  expect(answer.status).toBe(200);
  tags.set(server, field(answer.text, "SIP-ETag") ?? "");
}

const whereIsAlice = async (): Promise<string | undefined> => (await proxy.explain("MESSAGE", ALICE)).server;

describe("watchers of one who moves", () => {
  test("alice is nowhere: held, 200 and a NOTIFY pending", async () => {
    const answer = await ask(olga, west, subscribeParts(olga, ALICE, "olga@example.com"));
    expect(answer.status).toBe(200);
    dialog = answer.text;
    watching = await page.watch(ALICE);
    await bothSee("pending -");
    const { stdout } = await proxy.run("subscriptions", "list", "--held");
    expect(stdout).toContain("olga@example.com");
  });

  test("she registers at east, which tells the proxy; her phone is told of its own contact", async () => {
    const answer = await register(desk, east, 1);
    expect(answer.status).toBe(200);
    expect(field(answer.text, "Contact")).toContain(`${desk.host}:${desk.port}`);
    expect(await whereIsAlice()).toBe("east");
    await bothSee("active -"); // nothing is published yet
    await publish(desk, east, "east");
    await bothSee("active open by east");
  });

  test("she registers at west: the same dialogs show what she publishes there, and east has let go of her", async () => {
    expect((await register(mobile, west, 1)).status).toBe(200);
    expect(await whereIsAlice()).toBe("west");
    await bothSee("active -");
    await publish(mobile, west, "west");
    await bothSee("active open by west");
    await eventually("east to drop her contact", async () => (await east.contacts("alice")).length === 0);
    expect(await west.contacts("alice")).toHaveLength(1);
  });

  test("her old phone's late refresh at east moves nobody: 403, and east does not keep it", async () => {
    expect((await register(desk, east, 2)).status).toBe(403);
    expect(await whereIsAlice()).toBe("west");
    expect(await east.contacts("alice")).toEqual([]);
  });

  test("she logs out: shown closed, the dialogs live on", async () => {
    expect((await register(mobile, west, 2, 0)).status).toBe(200);
    await bothSee("active closed by gone");
    expect(await whereIsAlice()).toBeUndefined();
  });

  test("she comes back at east", async () => {
    expect((await register(desk, east, 3)).status).toBe(200);
    await bothSee("active open by east"); // her desk phone's publication has not run out
    await publish(desk, east, "east-again");
    await bothSee("active open by east-again");
    expect(await west.contacts("alice")).toEqual([]);
  });

  test("she moves back and forth: west, told by a REGISTER, has let go of her too", async () => {
    expect((await register(mobile, west, 3)).status).toBe(200);
    await bothSee("active open by west"); // published there before
    // By logging out first her old phone says that this is no late refresh.
    expect((await register(desk, east, 4, 0)).status).toBe(200);
    expect(await whereIsAlice()).toBe("west");
    expect((await register(desk, east, 5)).status).toBe(200);
    await bothSee("active open by east-again");
    await eventually("west to drop her contact", async () => (await west.contacts("alice")).length === 0);
    expect(await east.contacts("alice")).toHaveLength(1);
  });

  test("NOTIFY by NOTIFY: one dialog, CSeqs without a gap, and what each showed", () => {
    expect(seenBy(olga.heard, field(dialog, "Call-ID") ?? "")).toEqual([
      { cseq: 1, state: "pending", document: "-" },
      { cseq: 2, state: "active", document: "-" },
      { cseq: 3, state: "active", document: "open by east" },
      { cseq: 4, state: "active", document: "-" },
      { cseq: 5, state: "active", document: "open by west" },
      { cseq: 6, state: "active", document: "closed by gone" },
      { cseq: 7, state: "active", document: "open by east" },
      { cseq: 8, state: "active", document: "open by east-again" },
      { cseq: 9, state: "active", document: "open by west" },
      { cseq: 10, state: "active", document: "open by east-again" },
    ]);
    expect(pageSaw()).toEqual(olgaSaw());
  });

  test("the watcher ends it: terminated;reason=timeout is the last he hears", async () => {
    expect((await ask(olga, west, resubscribeParts(olga, dialog, 2, 0))).status).toBe(200);
    await eventually("the end", () => olgaSaw().at(-1)?.startsWith("terminated;reason=timeout"));
    await watching.end();
  });
});

describe("beside the watchers of one dialog", () => {
  test("a MESSAGE finds her where she is", async () => {
    expect((await ask(olga, west, messageParts(ALICE, "olga@example.com", "at east?"))).status).toBe(200);
    const arrived = await desk.next("the MESSAGE", (m) => m.status === 0 && m.method === "MESSAGE");
    expect(arrived.text).toContain("at east?");
  });

  test("a watcher whose own server had her: his refresh is answered 481 there, and subscribing anew he follows her", async () => {
    const local = await ask(desk, east, subscribeParts(desk, ALICE, "lena@example.com"));
    expect(local.status).toBe(200);
    expect(await proxy.run("subscriptions", "list")).toMatchObject({
      code: 0,
      stdout: expect.not.stringContaining("lena"),
    });
    expect((await register(mobile, west, 4, 0)).status).toBe(200);
    expect((await register(mobile, west, 5)).status).toBe(200);
    await eventually("east to drop her contact", async () => (await east.contacts("alice")).length === 0);
    expect((await ask(desk, east, resubscribeParts(desk, local.text, 2, 600))).status).toBe(481);
    const anew = await ask(desk, east, subscribeParts(desk, ALICE, "lena@example.com"));
    expect(anew.status).toBe(200);
    const callId = field(anew.text, "Call-ID") ?? "";
    await eventually("west's document", () => story(seenBy(desk.heard, callId)).at(-1) === "active open by west");
  });

  test("conflict: refuse keeps a user where he is: 403 says where, and the other server does not keep the phone", async () => {
    const rita = "rita@example.com";
    expect((await ask(desk, east, registerParts(desk, rita))).status).toBe(200);
    const refused = await ask(mobile, west, registerParts(mobile, rita));
    expect(refused.status).toBe(403);
    expect(field(refused.text, "Warning")).toContain("east");
    expect(await west.contacts("rita")).toEqual([]);
    expect(await east.contacts("rita")).toHaveLength(1);
  });
});

test("on the wire: nothing malformed, no CSeq goes back, and of all legs only the last watcher's is left", async () => {
  const fields = ["sip.Method", "ip.src", "sip.Call-ID", "sip.CSeq.seq", "sip.Event", "sip.Expires", "_ws.malformed"];
  const rows = await wire.rows("sip", fields);
  expect(rows.length).toBeGreaterThan(100);
  expect(rows.filter((row) => (row[6] ?? "") !== "")).toEqual([]);
  const last = new Map<string, { cseq: number; expires: string }>();
  for (const [method = "", source, callId = "", cseq = "", event, expires = ""] of rows) {
    if (source !== proxy.host || (method !== "NOTIFY" && method !== "SUBSCRIBE")) continue;
    const key = `${method} ${event} ${callId}`;
    expect(Number(cseq), `${key} went back`).toBeGreaterThanOrEqual(last.get(key)?.cseq ?? 0);
    last.set(key, { cseq: Number(cseq), expires });
  }
  const legs = [...last].filter(([key]) => key.startsWith("SUBSCRIBE presence "));
  expect(legs.filter(([, { expires }]) => expires !== "0")).toHaveLength(1);
});
