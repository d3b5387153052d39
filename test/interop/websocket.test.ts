import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import { answering, messageParts, pidf, publishParts, registerParts } from "../support/presence.ts";
import { type RunningProxy, startProxy } from "../support/proxy.ts";
import { type Browser, browser } from "../support/sip-js.ts";
import { ask, field, type WirePeer, wirePeer } from "../support/wire.ts";

/**
 * sip.js, as it runs in browsers, over WebSocket to the proxy; its users live on Kamailio servers that speak UDP. Its Contact is
 * a name that cannot be resolved: whatever reaches it comes back over its own connection.
 */
const PROXY = "127.0.0.111";
const PASSWORD = "correct horse";

let east: Kamailio;
let west: Kamailio;
let proxy: RunningProxy;
let alice: Browser;
let bob: WirePeer;

beforeAll(async () => {
  const common = { proxy: `${PROXY}:5060` };
  [east, west] = await Promise.all([
    startKamailio({ ...common, host: "127.0.0.112", users: ["alice", "mallory"] }),
    startKamailio({ ...common, host: "127.0.0.113", users: ["bob"] }),
  ]);
  proxy = await startProxy({
    host: PROXY,
    servers: { east: east.uri, west: west.uri },
    more: "clients: { authenticate: digest, home: east }",
  });
  await proxy.api("PUT", "/api/v1/users/alice@example.com/password", { password: PASSWORD });
  bob = answering(await wirePeer("127.0.0.115"));
  expect((await ask(bob, west, registerParts(bob, "bob@example.com"))).status).toBe(200);
  alice = await browser({ aor: "alice@example.com", server: `ws://${PROXY}:5066`, password: PASSWORD });
});

afterAll(async () => {
  await alice?.close();
  await bob?.close();
  await proxy?.stop();
  await Promise.all([east, west].map((each) => each?.stop()));
});

describe("REGISTER", () => {
  test("is challenged by the proxy (MD5, RFC 8760), relayed to the home server, and answered 200", async () => {
    expect(await alice.register()).toBe(200);
    expect(await east.seen("REGISTER", "alice")).toBe(1);
    expect(await west.seen("REGISTER", "alice")).toBe(0);
    expect(await proxy.explain("MESSAGE", "alice@example.com")).toMatchObject({ kind: "relay", server: "east" });
  });

  test("with a wrong password: never reaches a server", async () => {
    const thief = await browser({ aor: "alice@example.com", server: `ws://${PROXY}:5066`, password: "guess" });
    expect([401, 403]).toContain(await thief.register());
    await thief.close();
    expect(await east.seen("REGISTER", "alice")).toBe(1);
  });

  test("of a user without a password here: refused", async () => {
    const mallory = await browser({ aor: "mallory@example.com", server: `ws://${PROXY}:5066`, password: "x" });
    expect([401, 403]).toContain(await mallory.register());
    await mallory.close();
    expect(await east.seen("REGISTER", "mallory")).toBe(0);
  });
});

describe("instant messages", () => {
  test("alice receives what bob sends through his server: west, proxy, east, proxy, WebSocket", async () => {
    const answer = await ask(bob, west, messageParts("alice@example.com", "bob@example.com", "hello alice"));
    expect(answer.status).toBe(200);
    await eventually("the message", () => alice.messages.length > 0);
    expect(alice.messages).toEqual([{ from: "sip:bob@example.com", body: "hello alice" }]);
  });

  test("bob receives what alice sends, and knows that it is her (RFC 3325)", async () => {
    expect(await alice.message("bob@example.com", "hello bob")).toBe(200);
    const arrived = await bob.next("the MESSAGE", (m) => m.status === 0 && m.method === "MESSAGE");
    expect(arrived.text).toContain("hello bob");
    expect(field(arrived.text, "P-Asserted-Identity") ?? "<sip:alice@example.com>").toBe("<sip:alice@example.com>");
  });

  test("to a user of nobody: 404", async () => {
    expect(await alice.message("nobody@example.com", "?")).toBe(404);
  });
});

describe("presence", () => {
  test("alice watches bob: an active NOTIFY at once, the next when he publishes on his server", async () => {
    const watching = await alice.watch("bob@example.com");
    await eventually("the first NOTIFY", () => watching.notified.length > 0);
    expect(watching.notified[0]?.state).toMatch(/^active/);
    expect((await ask(bob, west, publishParts("bob@example.com", "open"))).status).toBe(200);
    await eventually("the document", () => watching.notified.at(-1)?.body.includes("<basic>open"));
    await watching.end();
  });

  test("alice publishes over WebSocket to her server", async () => {
    expect(await alice.publish(pidf("alice@example.com", "open"))).toBe(200);
    expect(await east.seen("PUBLISH", "alice")).toBe(1);
    expect(await west.seen("PUBLISH", "alice")).toBe(0);
  });
});

test("logging out unbinds her, and she cannot be reached any more", async () => {
  expect(await alice.unregister()).toBe(200);
  const answer = await ask(bob, west, messageParts("alice@example.com", "bob@example.com", "gone?"));
  expect(answer.status).toBe(480);
});
