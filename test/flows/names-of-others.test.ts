import { afterEach, expect, it } from "vitest";
import { always, createWorld, type World } from "../support/world.ts";

/**
 * models.md, "Identity and policy": an address that is one server's own name for another user is not asked of that server: it
 * would take it for him, and whoever may not reach him by his own address would by that.
 */

let world: World;
afterEach(() => world.stop());

const JOE = "joe@example.com";
const PARTITIONED = { match: "*", model: { model: "partitioned" } } as const;
const PEERS = { match: "*", model: { model: "unioned", style: "peer", servers: ["west", "north"] } } as const;

it.each([
  ["partitioned", "the configuration", PARTITIONED],
  ["partitioned", "his record", PARTITIONED],
  ["unioned", "the configuration", PEERS],
  ["unioned", "his record", PEERS],
] as const)("%s: nobody reaches joe by north's name for him in %s", async (_, where, model) => {
  const names = { "the configuration": { [JOE]: "joe.smith" }, "his record": {} }[where];
  world = await createWorld({
    servers: { east: { script: always(404) }, west: { script: always(404) }, north: { script: always(404) } },
    each: { north: { identities: names } },
    options: { models: [model] },
  });
  const { simulation, scripted, proxies } = world;
  const identities = where === "his record" ? { north: "joe.smith" } : {};
  await simulation.finish(proxies[0]!.directory.putUser({ aor: JOE, model: null, settings: {}, identities }, "test"));
  await simulation.advance(1_000);
  for (const method of ["MESSAGE", "SUBSCRIBE", "INVITE"]) {
    scripted["east"]!.begin(method, "sip:joe.smith@example.com", { from: "sip:mallory@example.com" });
    // As long as it is remembered that everybody has said 404.
    await simulation.advance(11_000);
  }
  expect(scripted["west"]!.requests.map((each) => each.method)).toEqual(["MESSAGE", "SUBSCRIBE", "INVITE"]);
  expect(scripted["north"]!.requests).toEqual([]);
  scripted["east"]!.begin("MESSAGE", "sip:joe@example.com", { from: "sip:mallory@example.com" });
  await simulation.advance(5_000);
  expect(scripted["north"]!.requests.map((each) => each.requestUri)).toEqual(["sip:joe.smith@example.com"]);
  await simulation.advance(600_000);
});
