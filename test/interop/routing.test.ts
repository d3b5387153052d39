import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import {
  answering,
  messageParts,
  publishParts,
  refreshParts,
  registerParts,
  subscribeParts,
} from "../support/presence.ts";
import { type RunningProxy, startProxy } from "../support/proxy.ts";
import { ask, field, type WirePeer, wirePeer } from "../support/wire.ts";

/**
 * The main job: one domain on two Kamailio servers, users on both, nobody told the proxy who lives where.
 * east holds alice and anna, west holds bob and ben.
 */
const PROXY = "127.0.0.71";

let east: Kamailio;
let west: Kamailio;
let proxy: RunningProxy;
/** A client of west, of east, and one that talks to the proxy itself. */
let bob: WirePeer;
let alice: WirePeer;
let outside: WirePeer;

beforeAll(async () => {
  const common = { proxy: `${PROXY}:5060` };
  [east, west] = await Promise.all([
    startKamailio({ ...common, host: "127.0.0.72", users: ["alice", "anna"] }),
    startKamailio({ ...common, host: "127.0.0.73", users: ["bob", "ben"] }),
  ]);
  proxy = await startProxy({
    host: PROXY,
    servers: { east: east.uri, west: west.uri },
    more: "clients: { authenticate: none, home: east }",
  });
  [bob, alice, outside] = (
    await Promise.all([wirePeer("127.0.0.75"), wirePeer("127.0.0.76"), wirePeer("127.0.0.77")])
  ).map(answering) as [WirePeer, WirePeer, WirePeer];
});

afterAll(async () => {
  await proxy?.stop();
  await Promise.all([east, west].map((each) => each?.stop()));
  await Promise.all([bob, alice, outside].map((each) => each?.close()));
});

const isNotify =
  (state: RegExp, part = "") =>
  (m: { method: string; status: number; text: string }) =>
    m.status === 0 &&
    m.method === "NOTIFY" &&
    state.test(field(m.text, "Subscription-State") ?? "") &&
    m.text.includes(part);

describe("a watcher on west, a presentity on east", () => {
  let notify = "";

  test("the first SUBSCRIBE forks to the other server, is accepted there, and its NOTIFY comes back", async () => {
    const answer = await ask(bob, west, subscribeParts(bob, "alice@example.com", "bob@example.com"));
    expect(answer.status).toBe(200);
    notify = (await bob.next("an active NOTIFY", isNotify(/^active/))).text;
    expect(await east.seen("SUBSCRIBE", "alice")).toBe(1);
    expect(await west.seen("SUBSCRIBE", "alice")).toBe(1); // from its own client, not from the proxy
  });

  test("what alice publishes on her server reaches bob through the same dialog", async () => {
    expect((await ask(alice, east, publishParts("alice@example.com", "open"))).status).toBe(200);
    const changed = await bob.next("the document", isNotify(/^active/, "<basic>open"));
    expect(field(changed.text, "Call-ID")).toBe(field(notify, "Call-ID"));
  });

  test("that server is learned: explain says so, and the second request goes straight to it", async () => {
    const plan = await eventually("the lesson", async () => {
      const found = await proxy.explain("SUBSCRIBE", "alice@example.com", "west");
      return found.kind === "relay" && found;
    });
    expect(plan.server).toBe("east");
    expect(plan.reasons.length).toBeGreaterThan(0);
    const before = await west.seen("SUBSCRIBE", "alice");
    const answer = await ask(outside, proxy, subscribeParts(outside, "alice@example.com", "olga@example.com"));
    expect(answer.status).toBe(200);
    await outside.next("an active NOTIFY", isNotify(/^active/, "<basic>open"));
    expect(await east.seen("SUBSCRIBE", "alice")).toBe(2);
    expect(await west.seen("SUBSCRIBE", "alice")).toBe(before);
  });

  test("refresh and end travel by the route set, west and proxy included", async () => {
    const refreshed = await ask(bob, { host: west.host, port: 5060 }, refreshParts(bob, notify, 2, 600));
    expect(refreshed.status).toBe(200);
    await bob.next("the NOTIFY of the refresh", isNotify(/^active/));
    const ended = await ask(bob, { host: west.host, port: 5060 }, refreshParts(bob, notify, 3, 0));
    expect(ended.status).toBe(200);
    await bob.next("the last NOTIFY", isNotify(/^terminated/));
  });
});

describe("PUBLISH through the proxy", () => {
  test("goes to the server the user was learned on, its entity tag holds for the next", async () => {
    const first = await ask(outside, proxy, publishParts("alice@example.com", "closed"));
    expect(first.status).toBe(200);
    const tag = field(first.text, "SIP-ETag") ?? "";
    expect((await ask(outside, proxy, publishParts("alice@example.com", "open", tag))).status).toBe(200);
    expect((await ask(outside, proxy, publishParts("alice@example.com", "open", "a.1700000000.99.1.0"))).status).toBe(
      412,
    );
    expect(await west.seen("PUBLISH", "alice")).toBe(0);
  });

  test("never forks: of an unbound user it goes to the home server only", async () => {
    expect((await ask(outside, proxy, publishParts("anna@example.com", "open"))).status).toBe(200);
    expect(await west.seen("PUBLISH", "anna")).toBe(0);
  });
});

describe("MESSAGE", () => {
  test("from east to a phone registered on west: delivered, answered 200, learned", async () => {
    expect((await ask(bob, west, registerParts(bob, "bob@example.com"))).status).toBe(200);
    const answer = await ask(alice, east, messageParts("bob@example.com", "alice@example.com", "are you there?"));
    expect(answer.status).toBe(200);
    const arrived = await bob.next("the MESSAGE", (m) => m.status === 0 && m.method === "MESSAGE");
    expect(arrived.text).toContain("are you there?");
    expect(field(arrived.text, "P-Asserted-Identity")).toBe("<sip:alice@example.com>");
    await eventually("the lesson", async () => (await proxy.explain("MESSAGE", "bob@example.com")).server === "west");
  });

  test("for a user on neither server: 404, each asked once, nothing learned, and the absence remembered", async () => {
    const ask404 = () => ask(outside, proxy, messageParts("nobody@example.com", "olga@example.com"));
    expect((await ask404()).status).toBe(404);
    await eventually(
      "the absence to be known",
      async () => (await proxy.explain("MESSAGE", "nobody@example.com")).kind === "reject",
    );
    expect((await ask404()).status).toBe(404);
    expect(await east.seen("MESSAGE", "nobody")).toBe(1);
    expect(await west.seen("MESSAGE", "nobody")).toBe(1);
  });

  test("for a user whose phone is away: the server's 480 comes back and teaches nothing", async () => {
    expect((await ask(outside, proxy, messageParts("ben@example.com", "olga@example.com"))).status).toBe(480);
    expect((await proxy.explain("MESSAGE", "ben@example.com")).kind).toBe("fork");
  });
});

test("a user who moved is unlearned by the 404 of his old server and found on the new one, in the same request", async () => {
  await east.hold("vera");
  expect((await ask(outside, proxy, subscribeParts(outside, "vera@example.com", "olga@example.com"))).status).toBe(200);
  await outside.next("a NOTIFY", isNotify(/^active/));
  await eventually("the lesson", async () => (await proxy.explain("SUBSCRIBE", "vera@example.com")).server === "east");
  await east.release("vera");
  await west.hold("vera");
  expect((await ask(outside, proxy, subscribeParts(outside, "vera@example.com", "otto@example.com"))).status).toBe(200);
  await outside.next("a NOTIFY from the new server", isNotify(/^active/));
  await eventually(
    "the new lesson",
    async () => (await proxy.explain("SUBSCRIBE", "vera@example.com")).server === "west",
  );
});
