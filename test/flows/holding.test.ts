import { afterEach, describe, expect, it } from "vitest";
import { Watcher } from "../support/watcher.ts";
import { createWorld, type World, type WorldOptions } from "../support/world.ts";

/** models.md, "Exclusive": SUBSCRIBE to an unbound user; RFC 6665 4.2. */

const ALICE = "sip:alice@example.com";
let world: World;

afterEach(() => world.stop());

async function begin(options: WorldOptions = {}): Promise<void> {
  world = await createWorld({
    servers: { east: { users: ["alice"] }, west: { users: ["alice"] } },
    ...options,
    options: {
      models: [{ match: "*", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }],
      ...options.options,
    },
  });
  await known("alice");
}

function known(user: string): Promise<void> {
  const aor = `${user}@example.com`;
  return world.simulation.finish(
    world.proxies[0]!.directory.putUser({ aor, model: null, settings: {}, identities: {} }, "test"),
  );
}

async function bind(server: string): Promise<void> {
  const { directory } = world.proxies[0]!;
  await world.simulation.finish(
    directory.move({ aor: "alice@example.com", to: server, equalRank: true, actor: "test" }),
  );
}

async function unbind(): Promise<void> {
  await world.simulation.finish(world.proxies[0]!.directory.unbind({ aor: "alice@example.com", actor: "test" }));
}

describe("a SUBSCRIBE to a user on no server", () => {
  it("gets 200 and a NOTIFY `pending` at once (RFC 6665 4.2.1.2), and is kept in the database", async () => {
    await begin();
    const watcher = new Watcher(world, "127.0.0.50");
    const ok = await watcher.subscribe(ALICE);
    await world.simulation.advance(100);
    expect([ok.status, ok.expires, watcher.saw]).toEqual([200, 600, ["pending"]]);
    const rows = await world.simulation.finish(world.proxies[0]!.directory.subscriptions.list({ limit: 10 }));
    expect(rows).toMatchObject([
      { aor: "alice@example.com", watcher: "watcher@example.com", leg: null, event: "presence" },
    ]);
  });

  it("is extended when he is bound: the same dialog goes active, and shows him", async () => {
    await begin();
    world.servers["east"]!.show("alice", "open");
    const watcher = new Watcher(world, "127.0.0.50");
    await watcher.subscribe(ALICE);
    await bind("east");
    await world.simulation.advance(500);
    expect(watcher.saw).toEqual(["pending", "active open"]);
    await bind("west");
    world.servers["west"]!.show("alice", "open");
    await world.simulation.advance(500);
    expect(watcher.saw).toEqual(["pending", "active open", "active open"]);
    await unbind();
    await world.simulation.advance(500);
    expect(watcher.saw.slice(3)).toEqual(["active closed"]);
  });
});
