import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type ExclusiveDomain, exclusiveDomain } from "../support/exclusive-domain.ts";
import { startKamailio } from "../support/kamailio.ts";
import { answering, messageParts, registerParts } from "../support/presence.ts";
import { type Browser, browser, type Watching } from "../support/sip-js.ts";
import { shown } from "../support/watched.ts";
import { ask, type WirePeer, wirePeer } from "../support/wire.ts";

/** The proxy's own clients in the exclusive model: sip.js over WebSocket, registered on Kamailio through the proxy. */
const BOB = "bob@example.com";

let domain: ExclusiveDomain;
let laptop: Browser;
let tablet: Browser;
let wanda: Browser;
let watching: Watching;
/** A phone that registers on west itself. */
let phone: WirePeer;

beforeAll(async () => {
  domain = await exclusiveDomain({
    first: 151,
    more: ["clients: { authenticate: none, home: east }", "messages: { absent: store }", "exclusive: { grace: 0s }"],
  });
  const { proxy } = domain;
  for (const aor of [BOB, "carol@example.com", "dave@example.com", "eve@example.com"])
    await proxy.run("users", "add", aor);
  const server = `ws://${proxy.host}:5066`;
  laptop = await browser({ aor: BOB, server });
  tablet = await browser({ aor: BOB, server });
  wanda = await browser({ aor: "wanda@example.com", server });
  phone = answering(await wirePeer("127.0.0.155"));
});

afterAll(async () => {
  await Promise.all([laptop, tablet, wanda].map((each) => each?.close()));
  await phone?.close();
  await domain?.stop();
});

const whereIs = async (aor: string): Promise<string | undefined> => (await domain.proxy.explain("INVITE", aor)).server;

const story = () => watching.notified.map(({ state, body }) => Object.values(shown(state, body)).join(" "));

describe("REGISTER through the proxy, judged by its 2xx", () => {
  test("two clients of one user are relayed to the home server, which binds him", async () => {
    watching = await wanda.watch(BOB);
    expect(await laptop.register()).toBe(200);
    expect(await tablet.register()).toBe(200);
    expect(await whereIs(BOB)).toBe("east");
    expect(await domain.east.contacts("bob")).toHaveLength(2);
  });

  test("one of them logs out: he stays, and nobody watching sees anything", async () => {
    await eventually("the leg", () => story().at(-1) === "active -");
    const before = story().length;
    expect(await laptop.unregister()).toBe(200);
    expect(await whereIs(BOB)).toBe("east");
    expect(await domain.east.contacts("bob")).toHaveLength(1);
    expect(story()).toHaveLength(before);
  });

  test("he moves by registering elsewhere: east is told to let go of him", async () => {
    expect((await ask(phone, domain.west, registerParts(phone, BOB))).status).toBe(200);
    expect(await whereIs(BOB)).toBe("west");
    await eventually("east to drop his contact", async () => (await domain.east.contacts("bob")).length === 0);
  });

  test("his tablet's next REGISTER goes where he is now", async () => {
    expect(await tablet.register()).toBe(200);
    expect(await whereIs(BOB)).toBe("west");
    expect(await domain.west.contacts("bob")).toHaveLength(2);
    expect(await domain.east.contacts("bob")).toEqual([]);
  });

  test("the phone logs out, then the tablet: only then is he gone", async () => {
    expect((await ask(phone, domain.west, registerParts(phone, BOB, 0))).status).toBe(200);
    expect(await whereIs(BOB)).toBe("west");
    expect(await tablet.unregister()).toBe(200);
    expect(await whereIs(BOB)).toBeUndefined();
    await eventually("the closed document", () => story().at(-1) === "active closed by gone");
    expect(story().join()).not.toContain("terminated");
    await watching.end();
  });
});

describe("MESSAGE for one who is nowhere", () => {
  const texts = ["one", "two", "three", "four", "five"];

  test("is stored, and listed without what it says", async () => {
    for (const text of texts) {
      expect((await ask(phone, domain.west, messageParts("carol@example.com", BOB, text))).status).toBe(202);
      expect(await wanda.message("dave@example.com", text)).toBe(202);
    }
    const { stdout } = await domain.proxy.run("messages", "list", "--recipient", "carol@example.com");
    expect(stdout.match(/stored/g)).toHaveLength(5);
    expect(stdout).not.toContain("three");
  });

  test("is delivered in order when she registers on a server", async () => {
    const carol = answering(await wirePeer("127.0.0.156"));
    expect((await ask(carol, domain.west, registerParts(carol, "carol@example.com"))).status).toBe(200);
    const heard = () => carol.heard.filter((m) => m.method === "MESSAGE" && m.status === 0).map((m) => m.text);
    await eventually("five messages", () => heard().length >= 5);
    expect(heard().map((text) => text.split("\r\n\r\n")[1])).toEqual(texts);
    expect(heard()[0]).toContain(`<sip:${BOB}>`);
    await carol.close();
  });

  test("and to a browser that registers through the proxy", async () => {
    const dave = await browser({ aor: "dave@example.com", server: `ws://${domain.proxy.host}:5066` });
    expect(await dave.register()).toBe(200);
    await eventually("five messages", () => dave.messages.length >= 5);
    expect(dave.messages.map((each) => each.body)).toEqual(texts);
    await eventually("the list to say so", async () => {
      const { stdout } = await domain.proxy.run("messages", "list", "--recipient", "dave@example.com");
      return stdout.match(/delivered/g)?.length === 5;
    });
    await dave.close();
  });
});

test("MESSAGE for one whose server is away: stored, and delivered in order when it is back and she is on it", async () => {
  const eve = answering(await wirePeer("127.0.0.157"));
  const { west } = domain;
  expect((await ask(eve, west, registerParts(eve, "eve@example.com"))).status).toBe(200);
  await west.stop();
  for (const text of ["first", "second", "third"]) expect(await wanda.message("eve@example.com", text)).toBe(202);
  const back = await startKamailio({ host: west.host, proxy: `${domain.proxy.host}:5060`, model: "exclusive" });
  try {
    expect((await ask(eve, back, { ...registerParts(eve, "eve@example.com"), cseq: 2 })).status).toBe(200);
    const heard = () => eve.heard.filter((m) => m.method === "MESSAGE" && m.status === 0).map((m) => m.text);
    await eventually("three messages", () => heard().length >= 3, 30_000);
    expect(heard().map((text) => text.split("\r\n\r\n")[1])).toEqual(["first", "second", "third"]);
  } finally {
    await back.stop();
    await eve.close();
  }
}, 120_000);
