import { afterEach, describe, expect, it } from "vitest";
import { createWorld, type World } from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const ALICE = "sip:alice@example.com";

describe("partitioned: an unbound user", () => {
  it("is searched on every server, and the second request goes straight", async () => {
    world = await createWorld({ servers: { east: {}, west: { users: ["alice"] }, north: {} } });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", ALICE)).toBe(200);
    const { east, west, north } = world.servers;
    expect([east, west, north].map((server) => server!.seen("MESSAGE", "alice"))).toEqual([1, 1, 1]);
    expect(await client.status("MESSAGE", ALICE)).toBe(200);
    expect([east, west, north].map((server) => server!.seen("MESSAGE", "alice"))).toEqual([1, 2, 1]);
    expect(world.proxies[0]!.told.learned).toHaveLength(1);
    expect(world.proxies[0]!.told.warning).toEqual([]);
  });

  it("whom nobody has gets 404, remembered for ten seconds", async () => {
    world = await createWorld();
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", ALICE)).toBe(404);
    expect(await client.status("SUBSCRIBE", ALICE)).toBe(404);
    expect(world.servers["east"]!.seen("SUBSCRIBE", "alice")).toBe(0);
    await world.simulation.advance(10_001);
    expect(await client.status("SUBSCRIBE", ALICE)).toBe(404);
    expect(world.servers["east"]!.seen("SUBSCRIBE", "alice")).toBe(1);
  });

  it("is learned by the active NOTIFY that follows a SUBSCRIBE's 2xx", async () => {
    world = await createWorld({ servers: { east: { users: ["joe"] }, west: { users: ["alice"] }, north: {} } });
    const watch = await world.simulation.finish(world.servers["east"]!.watch("joe", "alice@example.com"));
    await world.simulation.advance(1_000);
    expect(watch).toBeDefined();
    expect(world.proxies[0]!.told.learned).toEqual([
      expect.objectContaining({ aor: "alice@example.com", server: "west" }),
    ]);
    expect(world.proxies[0]!.told.warning).toEqual([]);
  });

  it("is asked for in one INVITE fork; the call goes through", async () => {
    world = await createWorld({ servers: { east: {}, west: { users: ["alice"] }, north: {} } });
    const client = world.client("127.0.0.50");
    const statuses = (await client.send("INVITE", ALICE)).map((response) => response.status);
    expect(statuses.at(-1)).toBe(200);
    expect(world.proxies[0]!.told.warning).toEqual([]);
  });
});
