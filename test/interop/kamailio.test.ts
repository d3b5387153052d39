import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import { ask, field, requestText, responseText, type WireMessage, type WirePeer, wirePeer } from "../support/wire.ts";

/**
 * What our Kamailio configuration does by itself, in the four ways of treating users it does not hold: the ground the
 * other files here stand on. The peer on PROXY plays the routing proxy.
 */
const PROXY = "127.0.0.51";

let proxy: WirePeer;
let client: WirePeer;
let plain: Kamailio;
let accepting: Kamailio;
let returning: Kamailio;
let hiding: Kamailio;
let exclusive: Kamailio;

beforeAll(async () => {
  [proxy, client] = await Promise.all([wirePeer(PROXY, 5060), wirePeer("127.0.0.52", 5060)]);
  const common = { proxy: `${PROXY}:5060`, users: ["alice", "bob"] };
  [plain, accepting, returning, hiding, exclusive] = await Promise.all([
    startKamailio({ ...common, host: "127.0.0.53" }),
    startKamailio({ ...common, host: "127.0.0.54", unknown: "accept" }),
    startKamailio({ ...common, host: "127.0.0.55", unknown: "back" }),
    startKamailio({ ...common, host: "127.0.0.56", unknown: "hide" }),
    startKamailio({ ...common, host: "127.0.0.57", users: [], model: "exclusive" }),
  ]);
});

afterAll(async () => {
  await Promise.all([plain, accepting, returning, hiding, exclusive].map((each) => each?.stop()));
  await Promise.all([proxy, client].map((each) => each?.close()));
});

const subscribe = (peer: WirePeer, user: string, from = "watcher") => ({
  method: "SUBSCRIBE",
  uri: `sip:${user}@example.com`,
  from: `sip:${from}@example.com`,
  headers: [
    "Event: presence",
    "Expires: 600",
    `Contact: <sip:${from}@${peer.host}:${peer.port}>`,
    "Accept: application/pidf+xml",
  ],
});

test("a user held: SUBSCRIBE is accepted, an active NOTIFY follows, PUBLISH changes what the next one shows", async () => {
  const answer = await ask(proxy, plain, subscribe(proxy, "alice"));
  expect(answer.status).toBe(200);
  const notify = await proxy.next("a NOTIFY", (m) => m.method === "NOTIFY" && m.status === 0);
  expect(field(notify.text, "Subscription-State")).toMatch(/^active/);
  proxy.send(responseText(notify.text, 200, "OK"), notify.host, notify.port);
  const published = await ask(proxy, plain, {
    method: "PUBLISH",
    uri: "sip:alice@example.com",
    from: "sip:alice@example.com",
    headers: ["Event: presence", "Expires: 600", "Content-Type: application/pidf+xml"],
    body: '<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com"><tuple id="t1"><status><basic>open</basic></status></tuple></presence>',
  });
  expect(published.status).toBe(200);
  expect(field(published.text, "SIP-ETag")).toBeTruthy();
  const changed = await proxy.next(
    "a NOTIFY with the document",
    (m) => m.method === "NOTIFY" && m.text.includes("<basic>open"),
  );
  proxy.send(responseText(changed.text, 200, "OK"), changed.host, changed.port);
});

test("a user not held, asked by the proxy: 404, and each request is counted once", async () => {
  expect((await ask(proxy, plain, subscribe(proxy, "nobody"))).status).toBe(404);
  expect(
    (await ask(proxy, plain, { method: "MESSAGE", uri: "sip:nobody@example.com", from: "sip:bob@example.com" })).status,
  ).toBe(404);
  expect(await plain.seen("SUBSCRIBE", "nobody")).toBe(1);
  expect(await plain.seen("MESSAGE", "nobody")).toBe(1);
});

test("users are switched on and off at run time", async () => {
  const asks = () =>
    ask(proxy, plain, { method: "MESSAGE", uri: "sip:carol@example.com", from: "sip:bob@example.com" });
  expect((await asks()).status).toBe(404);
  await plain.hold("carol");
  expect((await asks()).status).toBe(480);
  await plain.release("carol");
  expect((await asks()).status).toBe(404);
});

test("a client's request for a user not held goes to the proxy, record-routed, with the client vouched for", async () => {
  const text = requestText(client, subscribe(client, "dave", "bob"));
  client.send(text, plain.host, plain.port);
  const relayed = await proxy.next("the SUBSCRIBE", (m) => m.method === "SUBSCRIBE" && m.text.includes("dave"));
  expect(relayed.host).toBe(plain.host);
  expect(field(relayed.text, "P-Asserted-Identity")).toBe("<sip:bob@example.com>");
  expect(field(relayed.text, "Record-Route")).toContain(plain.host);
  proxy.send(responseText(relayed.text, 404, "Not Found"), relayed.host, relayed.port);
  const answer = await client.next(
    "the answer",
    (m) => m.status >= 200 && field(m.text, "Call-ID") === field(text, "Call-ID"),
  );
  expect(answer.status).toBe(404);
});

test("a client registered through the proxy is reached through it (RFC 3327)", async () => {
  const registered = await ask(proxy, plain, {
    method: "REGISTER",
    uri: "sip:example.com",
    from: "sip:bob@example.com",
    to: "sip:bob@example.com",
    headers: [
      `Path: <sip:flow1@${PROXY}:5060;lr>`,
      "Supported: path",
      "Contact: <sip:x@y.invalid;transport=ws>",
      "Expires: 600",
    ],
  });
  expect(registered.status).toBe(200);
  const text = requestText(proxy, { method: "MESSAGE", uri: "sip:bob@example.com", from: "sip:alice@example.com" });
  proxy.send(text, plain.host, plain.port);
  const reached = await proxy.next("the MESSAGE", (m) => m.text.startsWith("MESSAGE sip:x@y.invalid"));
  expect(field(reached.text, "Route")).toBe(`<sip:flow1@${PROXY}:5060;lr>`);
  proxy.send(responseText(reached.text, 200, "OK"), reached.host, reached.port);
  await proxy.next("the 200", (m) => m.status === 200 && field(m.text, "Call-ID") === field(text, "Call-ID"));
});

test("accept: says 2xx and active for whoever is asked for", async () => {
  expect((await ask(proxy, accepting, subscribe(proxy, "nobody"))).status).toBe(200);
  const notify = await proxy.next("a NOTIFY", (m) => m.method === "NOTIFY" && m.host === accepting.host);
  expect(field(notify.text, "Subscription-State")).toMatch(/^active/);
  proxy.send(responseText(notify.text, 200, "OK"), notify.host, notify.port);
  expect(
    (await ask(proxy, accepting, { method: "MESSAGE", uri: "sip:nobody@example.com", from: "sip:bob@example.com" }))
      .status,
  ).toBe(202);
});

test("back: what it does not hold comes back to the proxy in the same call", async () => {
  const text = requestText(proxy, subscribe(proxy, "erin"));
  proxy.send(text, returning.host, returning.port);
  const back = await proxy.next(
    "it back",
    (m) => m.method === "SUBSCRIBE" && m.text.includes("erin") && m.host === returning.host,
  );
  expect(field(back.text, "Call-ID")).toBe(field(text, "Call-ID"));
  expect(back.text.match(/^Via:/gm)).toHaveLength(2);
  proxy.send(responseText(back.text, 404, "Not Found"), back.host, back.port);
  await proxy.next("the 404", (m) => m.status === 404 && field(m.text, "Call-ID") === field(text, "Call-ID"));
});

test("hide: it comes back under another Call-ID and without our Via, as from a B2BUA", async () => {
  const text = requestText(proxy, subscribe(proxy, "erin"));
  proxy.send(text, hiding.host, hiding.port);
  const back = await proxy.next("it back", (m) => m.method === "SUBSCRIBE" && m.host === hiding.host);
  expect(field(back.text, "Call-ID")).not.toBe(field(text, "Call-ID"));
  expect(back.text).not.toContain(`${PROXY}:5060;branch`);
  proxy.send(responseText(back.text, 404, "Not Found"), back.host, back.port);
  const answer = await proxy.next("the 404", (m) => m.status === 404 && m.host === hiding.host);
  expect(field(answer.text, "Call-ID")).toBe(field(text, "Call-ID"));
});

describe("exclusive", () => {
  const aor = "sip:zoe@example.com";
  const registering = (contact: string, headers: readonly string[] = []) => ({
    method: "REGISTER",
    uri: "sip:example.com",
    from: aor,
    to: aor,
    headers: [`Contact: ${contact}`, ...headers],
  });
  const left = () =>
    ask(proxy, exclusive, {
      method: "NOTIFY",
      uri: exclusive.uri,
      from: `<${aor}>;tag=ours`,
      to: `<${exclusive.uri}>;tag=its`,
      headers: ["Event: reg", "Subscription-State: active;expires=60", "Content-Type: application/reginfo+xml"],
      body: `<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="1" state="full"><registration aor="${aor}" id="z" state="terminated"/></reginfo>`,
    });
  const claim = async (): Promise<{ relayed: WireMessage; text: string }> => {
    const text = requestText(client, registering("<sip:zoe@127.0.0.52:5060>", ["Expires: 600"]));
    client.send(text, exclusive.host, exclusive.port);
    const callId = field(text, "Call-ID");
    const relayed = await proxy.next(
      "the claim",
      (m) => m.method === "REGISTER" && m.status === 0 && field(m.text, "Call-ID") === callId,
    );
    return { relayed, text };
  };
  const answer = async ({ relayed, text }: { relayed: WireMessage; text: string }, status: number) => {
    const contact = field(relayed.text, "Contact") ?? "";
    proxy.send(responseText(relayed.text, status, "-", [`Contact: ${contact}`]), relayed.host, relayed.port);
    return client.next("the answer", (m) => m.status >= 200 && field(m.text, "Call-ID") === field(text, "Call-ID"));
  };

  test("a client's REGISTER goes on as it is, with the server as its contact; the client is told of its own", async () => {
    const claimed = await claim();
    expect(field(claimed.relayed.text, "Contact")).toBe(`<${exclusive.uri}>;expires=600`);
    expect(field(claimed.relayed.text, "CSeq")).toBe(field(claimed.text, "CSeq"));
    expect(field((await answer(claimed, 200)).text, "Contact")).toBe("<sip:zoe@127.0.0.52:5060>;expires=600");
    expect(await exclusive.contacts("zoe")).toEqual(["sip:zoe@127.0.0.52:5060"]);
  });

  test("while a claim is undecided, nothing that says he has left counts; then it does", async () => {
    const claimed = await claim();
    expect((await left()).status).toBe(500);
    expect((await ask(proxy, exclusive, registering("*", ["Expires: 0"]))).status).toBe(500);
    expect((await answer(claimed, 200)).status).toBe(200);
    expect(await exclusive.contacts("zoe")).toHaveLength(1);
    expect((await left()).status).toBe(200);
    expect(await exclusive.contacts("zoe")).toEqual([]);
  });

  test("refused: the client is told, and its contact is dropped; could not be asked: it is kept", async () => {
    expect((await answer(await claim(), 403)).status).toBe(403);
    expect(await exclusive.contacts("zoe")).toEqual([]);
    expect((await answer(await claim(), 500)).status).toBe(500);
    expect(await exclusive.contacts("zoe")).toHaveLength(1);
    expect((await ask(proxy, exclusive, registering("*", ["Expires: 0"]))).status).toBe(200);
    expect(await exclusive.contacts("zoe")).toEqual([]);
  });
});

test("it starts clean and keeps its log", async () => {
  await eventually("a log", () => plain.log().includes("Listening on"));
  for (const each of [plain, accepting, returning, hiding]) expect(each.log()).not.toMatch(/CRITICAL|syntax error/);
});
