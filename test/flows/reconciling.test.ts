import { afterEach, describe, expect, it } from "vitest";
import { buildResponse } from "../../src/sip/message/build.ts";
import { createWorld, type Script, type World, type WorldOptions } from "../support/world.ts";

/** The reconciler on the wire: OPTIONS to the users' servers, and what becomes of the directory. */

let world: World;

afterEach(() => world.stop());

/** A server that has these users, and says so to OPTIONS. Of user parts. */
function having(...users: readonly string[]): Script {
  return (transaction) => {
    const { request } = transaction;
    const user = request.uri.kind === "sip" ? (request.uri.user ?? "") : "";
    transaction.respond(buildResponse(request, users.includes(user) ? 200 : 404));
  };
}

async function begin(options: WorldOptions): Promise<void> {
  world = await createWorld({
    serverOptions: { proves: ["MESSAGE", "OPTIONS"] },
    services: { reconcile: () => ({ rate: 5, restMs: 60_000 }) },
    options: { models: [{ match: "*", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }] },
    ...options,
  });
  await world.simulation.advance(1_000);
}

async function register(name: string, server: string): Promise<void> {
  const claim = { aor: `${name}@example.com`, server, origin: "registered", expiresAt: null, equalRank: true } as const;
  const { directory } = world.proxies[0]!;
  await world.simulation.finish(directory.claim({ ...claim, conflict: "takeover", actor: server }));
}

async function where(name: string): Promise<string | null> {
  const row = await world.simulation.finish(world.proxies[0]!.directory.user(`${name}@example.com`));
  return row?.binding?.server ?? null;
}

function options(server: string): string[] {
  const { requests } = world.scripted[server]!;
  return requests.filter((each) => each.method === "OPTIONS").map((each) => each.requestUri);
}

describe("the reconciler", () => {
  it("asks the user's server under the name it knows him by; whom it has lost is unbound, on one proxy or two", async () => {
    for (const proxies of [1, 2]) {
      await begin({ proxies, servers: { east: { script: having("alice", "bob.smith") }, west: { script: having() } } });
      const identities = { east: "bob.smith" };
      const record = { aor: "bob@example.com", model: null, settings: {}, identities };
      await world.simulation.finish(world.proxies[0]!.directory.putUser(record, "test"));
      await register("alice", "east");
      await register("bob", "east");
      await register("carol", "east");
      // A round that found nobody may have ended before they came.
      await world.simulation.advance(85_000);
      expect([await where("alice"), await where("bob"), await where("carol")]).toEqual(["east", "east", null]);
      expect(options("east").slice(0, 4)).toEqual([
        "sip:alice@example.com",
        "sip:bob.smith@example.com",
        "sip:carol@example.com",
        "sip:carol@example.com",
      ]);
      // Before anything is done about her the other server is asked too, each time.
      expect(options("west")).toEqual(["sip:carol@example.com", "sip:carol@example.com"]);
      if (proxies === 1) await world.stop();
    }
  });

  it("a phone that does not answer says nothing about the user, and takes no node out of rotation", async () => {
    const silent: Script = (transaction) => {
      if (transaction.request.requestUri === "sip:alice@example.com") {
        transaction.respond(buildResponse(transaction.request, 200));
      }
    };
    await begin({ servers: { east: { script: silent } } });
    await register("alice", "east");
    for (const name of ["bob", "carol", "dave", "erin"]) await register(name, "east");
    await world.simulation.advance(60_000);
    for (const name of ["bob", "carol", "dave", "erin"]) expect(await where(name)).toBe("east");
    expect(world.proxies[0]!.core.rotation.facts[0]).toMatchObject({ name: "east", up: true });
  });

  it("asks no server whose OPTIONS is not said to prove anything", async () => {
    await begin({
      servers: { east: { script: having("alice") } },
      serverOptions: { proves: ["MESSAGE"] },
    });
    await register("alice", "east");
    await register("bob", "east");
    await world.simulation.advance(40_000);
    expect(options("east")).toEqual([]);
    expect(await where("bob")).toBe("east");
  });
});
