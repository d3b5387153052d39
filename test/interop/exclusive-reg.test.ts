import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type ExclusiveDomain, exclusiveDomain } from "../support/exclusive-domain.ts";
import { answering, publishParts, registerParts, subscribeParts } from "../support/presence.ts";
import { seenBy, story } from "../support/watched.ts";
import { ask, field, type WirePeer, wirePeer } from "../support/wire.ts";

/**
 * east tells the proxy nothing by itself: it offers event reg (presence_reginfo), and the proxy subscribes there for whom
 * somebody watches.
 */
const ALICE = "alice@example.com";

let domain: ExclusiveDomain;
let olga: WirePeer;
let desk: WirePeer;
let mobile: WirePeer;
let callId = "";

beforeAll(async () => {
  domain = await exclusiveDomain({
    first: 191,
    east: "offers: [reg], evict: register",
    eastModel: "exclusive-reg",
    more: ["exclusive: { grace: 0s }"],
  });
  await domain.proxy.run("users", "add", ALICE);
  [olga, desk, mobile] = (
    await Promise.all([wirePeer("127.0.0.195"), wirePeer("127.0.0.196"), wirePeer("127.0.0.197")])
  ).map(answering) as [WirePeer, WirePeer, WirePeer];
});

afterAll(async () => {
  await Promise.all([olga, desk, mobile].map((each) => each?.close()));
  await domain?.stop();
});

const whereIsAlice = async () => (await domain.proxy.explain("INVITE", ALICE)).server;
const olgaSees = (last: string) =>
  eventually(`olga to see ${last}`, () => story(seenBy(olga.heard, callId)).at(-1) === last);

const register = async (callId: string, cseq: number, expires = 600) =>
  (await ask(desk, domain.east, { ...registerParts(desk, ALICE, expires), callId, cseq })).status;

test("a watcher makes the proxy ask east who is registered", async () => {
  const answer = await ask(olga, domain.proxy, subscribeParts(olga, ALICE, "olga@example.com"));
  expect(answer.status).toBe(200);
  callId = field(answer.text, "Call-ID") ?? "";
  await olgaSees("pending -");
  await eventually("the SUBSCRIBE", async () => (await domain.east.seen("SUBSCRIBE", "alice")) > 0);
});

test("her registration there claims her, and the watcher follows", async () => {
  expect(await register("desk", 1)).toBe(200);
  await eventually("east to have her", async () => (await whereIsAlice()) === "east");
  expect((await ask(desk, domain.east, publishParts(ALICE, "open"))).status).toBe(200);
  await olgaSees("active open by t1");
});

test("she registers at west: east lets go of her, and saying so moves nobody", async () => {
  expect((await ask(mobile, domain.west, registerParts(mobile, ALICE))).status).toBe(200);
  expect(await whereIsAlice()).toBe("west");
  await eventually("east to drop her contact", async () => (await domain.east.contacts("alice")).length === 0);
  expect(await whereIsAlice()).toBe("west");
});

test("she comes back and logs out: nowhere, and shown closed", async () => {
  // East has forgotten her first registration and cannot tell of its end: under its Call-ID this would be a late refresh.
  expect(await register("desk-restarted", 1)).toBe(200);
  await eventually("east to have her", async () => (await whereIsAlice()) === "east");
  await olgaSees("active open by t1");
  expect(await register("desk-restarted", 2, 0)).toBe(200);
  await eventually("nobody to have her", async () => (await whereIsAlice()) === undefined);
  await olgaSees("active closed by gone");
});
