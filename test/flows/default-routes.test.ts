import { afterEach, describe, expect, it } from "vitest";
import { createWorld, type World } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const BOB = "sip:bob@example.com";

describe.each([
  ["as a proxy", "proxy-back", 1],
  ["as a B2BUA", "b2bua-back", 1],
  ["as a proxy, to another proxy", "proxy-back", 2],
  ["as a B2BUA, to another proxy", "b2bua-back", 2],
] as const)("servers that send unknown users back to us %s", (_, onUnknown, proxies) => {
  it.each(["MESSAGE", "SUBSCRIBE"])(
    "%s: nobody has the user: 404 at once, one request a server, no storm",
    async (method) => {
      const viaProxy = proxies - 1;
      world = await createWorld({
        proxies,
        servers: { east: { onUnknown, viaProxy }, west: { onUnknown, viaProxy }, north: { onUnknown, viaProxy } },
      });
      const client = world.client("127.0.0.50");
      const begin = world.simulation.now;
      expect(await client.status(method, BOB)).toBe(404);
      expect(world.simulation.now - begin).toBeLessThan(1_000);
      for (const server of Object.values(world.servers)) expect(server.seen(method, "bob")).toBe(1);
    },
  );

  it("the one that has him is learned, and the message reaches him once", async () => {
    const viaProxy = proxies - 1;
    world = await createWorld({
      proxies,
      servers: {
        east: { onUnknown, viaProxy },
        west: { onUnknown, viaProxy, users: ["bob"] },
        north: { onUnknown, viaProxy },
      },
    });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB, { body: "hello" })).toBe(200);
    await world.simulation.advance(1_000);
    expect(world.servers["west"]!.inboxes.get("bob")).toHaveLength(1);
    expect(await client.status("MESSAGE", BOB, { body: "again" })).toBe(200);
    expect(["east", "west", "north"].map((name) => world.servers[name]!.seen("MESSAGE", "bob"))).toEqual([1, 2, 1]);
    expect(world.proxies.flatMap((proxy) => proxy.told.warning)).toEqual([]);
  });
});
