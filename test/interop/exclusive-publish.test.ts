import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type ExclusiveDomain, exclusiveDomain } from "../support/exclusive-domain.ts";
import { answering, registerParts } from "../support/presence.ts";
import { ask, type WirePeer, wirePeer } from "../support/wire.ts";

/** east claims by PUBLISH: Kamailio's pua_usrloc publishes to the proxy what its clients register, with entity-tags (RFC 3903). */
const ALICE = "alice@example.com";

let domain: ExclusiveDomain;
let desk: WirePeer;
let mobile: WirePeer;

beforeAll(async () => {
  domain = await exclusiveDomain({
    first: 181,
    east: "claims: [publish], evict: register",
    eastModel: "exclusive-publish",
    more: ["exclusive: { grace: 0s }"],
  });
  await domain.proxy.run("users", "add", ALICE);
  [desk, mobile] = (await Promise.all([wirePeer("127.0.0.185"), wirePeer("127.0.0.186")])).map(answering) as [
    WirePeer,
    WirePeer,
  ];
});

afterAll(async () => {
  await Promise.all([desk, mobile].map((each) => each?.close()));
  await domain?.stop();
});

const binding = async () => {
  const { binding } = (await domain.proxy.api("GET", `/api/v1/users/${ALICE}`)) as {
    binding: { server: string; epoch: number; origin: string; expiresAt: string } | null;
  };
  return binding;
};

const isAt = (server: string) => eventually(`alice at ${server}`, async () => (await binding())?.server === server);

const register = async (cseq: number, expires = 600) =>
  (await ask(desk, domain.east, { ...registerParts(desk, ALICE, expires), callId: "desk", cseq })).status;

test("a registration is published and claims her", async () => {
  expect(await register(1)).toBe(200);
  await isAt("east");
  expect(await binding()).toMatchObject({ origin: "published" });
});

test("its refresh is a PUBLISH with the tag we gave: nothing moves", async () => {
  const before = await binding();
  expect(await register(2, 900)).toBe(200);
  const refreshed = await eventually("the binding to last longer", async () => {
    const now = await binding();
    return now !== null && before !== null && Date.parse(now.expiresAt) > Date.parse(before.expiresAt) + 200_000 && now;
  });
  expect(refreshed).toMatchObject({ server: "east", epoch: before?.epoch });
});

test("she registers at west: east is told by a REGISTER, and what it publishes of her end moves nobody", async () => {
  expect((await ask(mobile, domain.west, registerParts(mobile, ALICE))).status).toBe(200);
  await isAt("west");
  await eventually("east to drop her contact", async () => (await domain.east.contacts("alice")).length === 0);
  expect((await binding())?.server).toBe("west");
});

test("she comes back and logs out: the publication is withdrawn, and she is nowhere", async () => {
  expect(await register(3)).toBe(200);
  await isAt("east");
  expect(await register(4, 0)).toBe(200);
  await eventually("nobody to have her", async () => (await binding()) === null);
});
