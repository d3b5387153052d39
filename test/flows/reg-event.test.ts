import { afterEach, describe, expect, it } from "vitest";
import type { ExampleServer } from "../../src/demo/example-server.ts";
import type { Watch } from "../../src/demo/watches.ts";
import { parseReginfo, type Reginfo } from "../../src/presence/reginfo.ts";
import type { World, WorldOptions } from "../support/world.ts";
import { always, createWorld } from "../support/world.ts";

// Event reg, of which the proxies are the notifier (RFC 3680), and eviction by it (models.md, Exclusive).

let world: World;
afterEach(async () => {
  await world.stop();
});

const AOR = "bob@example.com";
const BOB = `sip:${AOR}`;
const EXCLUSIVE: NonNullable<WorldOptions["options"]> = {
  models: [{ match: "*@example.com", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }],
};

async function domain(more: Partial<WorldOptions> = {}): Promise<{ east: ExampleServer; west: ExampleServer }> {
  world = await createWorld({
    servers: { east: { users: ["ann", "bob"] }, west: { users: ["bob"], viaProxy: (more.proxies ?? 1) - 1 } },
    options: EXCLUSIVE,
    ...more,
  });
  return { east: world.servers["east"]!, west: world.servers["west"]! };
}

const finish = <T>(promise: Promise<T>): Promise<T> => world.simulation.finish(promise);

async function watching(server: ExampleServer, user?: string): Promise<Watch> {
  const watch = await finish(server.registrations(user));
  await world.simulation.advance(1_000);
  return watch;
}

function documents(watch: Watch): Reginfo[] {
  return watch.notified.filter((each) => each.document !== "").map((each) => parseReginfo(each.document));
}

/** Of each document: version, full or partial, and of each user what his contact is and why. */
function told(watch: Watch): string[] {
  return documents(watch).map(({ version, state, registrations }) => {
    const users = registrations.map(({ aor, state: whole, contacts }) => {
      const contact = contacts.map((each) => `${each.state} ${each.event}`).join(", ");
      return `${aor.slice(4, aor.indexOf("@"))} ${whole}${contact === "" ? "" : `: ${contact}`}`;
    });
    return `${version} ${state} [${users.join("; ")}]`;
  });
}

describe("a server subscribes to one of its users", () => {
  it("who has him sees active, who loses him terminated and rejected; documents are numbered from 0", async () => {
    const { east, west } = await domain();
    await finish(east.claim("bob", 600));
    const watch = await watching(east, "bob");
    expect(told(watch)).toEqual(["0 full [bob active: active registered]"]);
    await finish(west.claim("bob", 600));
    await world.simulation.advance(1_000);
    expect(told(watch).at(-1)).toBe("1 full [bob active: terminated rejected]");
    expect(east.evicted).toEqual([{ user: "bob", by: "reg event" }]);
    expect(world.proxies[0]!.told.evicted).toEqual([
      { aor: AOR, server: "east", by: "reginfo", result: "done", detail: "NOTIFY" },
    ]);
    await finish(west.claim("bob", 0));
    await world.simulation.advance(1_000);
    expect(told(watch).at(-1)).toBe("2 full [bob terminated: terminated unregistered]");
    await finish(world.proxies[0]!.directory.move({ aor: AOR, to: "east", equalRank: true, actor: "admin" }));
    await world.simulation.advance(1_000);
    expect(told(watch).at(-1)).toBe("3 full [bob active: active created]");
  });

  it("of a user nobody has there is no history: init", async () => {
    const { east } = await domain();
    expect(told(await watching(east, "bob"))).toEqual(["0 full [bob init]"]);
  });

  it("reginfo: whole: only the end is told, as the end of the whole registration", async () => {
    const { east, west } = await domain({
      servers: { east: { users: ["bob"], reginfo: "whole" }, west: { users: ["bob"] } },
      each: { east: { reginfo: "whole" } },
    });
    await finish(east.claim("bob", 600));
    const watch = await watching(east, "bob");
    expect(told(watch)).toEqual(["0 full []"]);
    await finish(west.claim("bob", 600));
    await world.simulation.advance(1_000);
    expect(told(watch).at(-1)).toBe("1 full [bob terminated: terminated rejected]");
    expect(east.evicted).toEqual([{ user: "bob", by: "reg event" }]);
  });

  it("an admin's move evicts too, on whichever proxy it is made", async () => {
    const { east } = await domain({ proxies: 2 });
    await finish(east.claim("bob", 600));
    await watching(east, "bob");
    const { directory } = world.proxies[1]!;
    await finish(directory.move({ aor: AOR, to: "west", equalRank: true, actor: "admin" }));
    await world.simulation.advance(2_000);
    expect(east.evicted).toEqual([{ user: "bob", by: "reg event" }]);
  });

  it("a refresh is told everything anew; an unsubscription ends it", async () => {
    const { east } = await domain();
    await finish(east.claim("bob", 600));
    const watch = await watching(east, "bob");
    await finish(watch.refresh(600));
    await world.simulation.advance(1_000);
    expect(documents(watch).length).toBeGreaterThan(1);
    expect(told(watch).at(-1)).toMatch(/full \[bob active: active registered\]$/);
    const versions = documents(watch).map((each) => each.version);
    expect(versions).toEqual(versions.map((_, i) => i));
    await finish(watch.refresh(0));
    await world.simulation.advance(1_000);
    expect(await finish(world.proxies[0]!.directory.subscriptions.count())).toMatchObject({ reg: 0 });
  });

  it("the owner dies: another proxy takes over, with a full document, and goes on telling", async () => {
    const { east, west } = await domain({ proxies: 2 });
    await finish(east.claim("bob", 600));
    const watch = await watching(east, "bob");
    world.proxies[0]!.kill();
    await world.simulation.advance(60_000);
    const versions = documents(watch).map((each) => each.version);
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
    expect(told(watch).at(-1)).toMatch(/full \[bob active: active registered\]$/);
    await finish(west.claim("bob", 600));
    await world.simulation.advance(2_000);
    expect(east.evicted).toEqual([{ user: "bob", by: "reg event" }]);
  });

  it("the owner dies just as the user is taken: whoever takes over tells the loss", async () => {
    const { east, west } = await domain({ proxies: 2 });
    await finish(east.claim("bob", 600));
    await watching(east, "bob");
    world.simulation.link("127.0.0.1", "127.0.0.11", { loss: 1 });
    await finish(west.claim("bob", 600));
    await world.simulation.advance(300);
    world.proxies[0]!.kill();
    expect(east.evicted).toEqual([]);
    await world.simulation.advance(60_000);
    expect(east.evicted).toEqual([{ user: "bob", by: "reg event" }]);
  });
});

describe("a server subscribes to all its users: sip:reg@domain;server=NAME", () => {
  it("the first document is full, then those that came and went, in partial ones", async () => {
    const { east, west } = await domain();
    for (const user of ["ann", "bob"]) await finish(east.claim(user, 600));
    const watch = await watching(east);
    expect(told(watch)).toEqual(["0 full [ann active: active registered; bob active: active registered]"]);
    await finish(east.claim("carol", 600));
    await world.simulation.advance(1_000);
    await finish(west.claim("bob", 600));
    await world.simulation.advance(1_000);
    await finish(east.claim("ann", 0));
    await world.simulation.advance(1_000);
    expect(told(watch).slice(1)).toEqual([
      "1 partial [carol active: active registered]",
      "2 partial [bob active: terminated rejected]",
      "3 partial [ann terminated: terminated unregistered]",
    ]);
    expect(east.evicted).toEqual([{ user: "bob", by: "reg event" }]);
  });

  it("nobody's business but its own: other servers' users are not told, and another server is refused", async () => {
    const { east, west } = await domain();
    const watch = await watching(east);
    await finish(west.claim("bob", 600));
    await world.simulation.advance(1_000);
    expect(told(watch)).toEqual(["0 full []"]);
    const foreign = await finish(
      west.ask({ method: "SUBSCRIBE", from: "west", to: "reg@example.com;server=east", headers: [["Event", "reg"]] }),
    );
    expect(foreign?.status).toBe(403);
  });

  it("hundreds come in parts, and none is missing", async () => {
    const { east } = await domain();
    const { directory } = world.proxies[0]!;
    const users = Array.from({ length: 250 }, (_, i) => `u${String(i).padStart(3, "0")}`);
    for (const user of users) {
      const aor = `${user}@example.com`;
      await finish(directory.move({ aor, to: "east", equalRank: true, actor: "admin" }));
    }
    const watch = await watching(east);
    await world.simulation.advance(5_000);
    const seen = documents(watch).flatMap((each) => each.registrations.map(({ id }) => id.split("@")[0]));
    expect(seen.sort()).toEqual(users);
    expect(documents(watch).map((each) => each.state)).toEqual(["full", "partial", "partial"]);
  });

  it("the owner dies: whoever takes over tells all anew, and versions never go back", async () => {
    const { east, west } = await domain({ proxies: 2 });
    for (const user of ["ann", "bob"]) await finish(east.claim(user, 600));
    const watch = await watching(east);
    world.proxies[0]!.kill();
    await finish(west.claim("bob", 600));
    await world.simulation.advance(60_000);
    // bob was lost while nobody was there to tell it.
    expect(told(watch).at(-1)).toMatch(/full \[bob active: terminated rejected; ann active: active registered\]$/);
    expect(east.evicted).toEqual([{ user: "bob", by: "reg event" }]);
    await finish(west.claim("ann", 600));
    await world.simulation.advance(2_000);
    expect(told(watch).at(-1)).toMatch(/partial \[ann active: terminated rejected\]$/);
    const versions = documents(watch).map((each) => each.version);
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
    expect([new Set(versions).size, watch.backward]).toEqual([versions.length, 0]);
  });

  it("a server that was away hears of what it has lost meanwhile when it subscribes anew", async () => {
    const { east, west } = await domain();
    await finish(east.claim("bob", 600));
    await finish(west.claim("bob", 600));
    await world.simulation.advance(300_000);
    expect(told(await watching(east))).toEqual(["0 full [bob active: terminated rejected]"]);
    expect(told(await watching(west))).toEqual(["0 full [bob active: active registered]"]);
  });

  it("the database was away: all is told anew, for nobody knows what was missed", async () => {
    const { east } = await domain();
    await finish(east.claim("ann", 600));
    const watch = await watching(east);
    world.database.setAway(true);
    await world.simulation.advance(2_000);
    world.database.setAway(false);
    await world.simulation.advance(5_000);
    expect(told(watch).slice(1)).toEqual(["1 full [ann active: active registered]"]);
  });

  it("a NOTIFY that is lost is told again", async () => {
    const { east, west } = await domain();
    for (const user of ["ann", "bob"]) await finish(east.claim(user, 600));
    const watch = await watching(east);
    world.simulation.link("127.0.0.1", "127.0.0.11", { loss: 1 });
    await finish(west.claim("bob", 600));
    await world.simulation.advance(40_000);
    await finish(west.claim("ann", 600));
    world.simulation.link("127.0.0.1", "127.0.0.11", { loss: 0 });
    await world.simulation.advance(60_000);
    expect(east.evicted.map((each) => each.user).sort()).toEqual(["ann", "bob"]);
    expect(documents(watch).every((each, i) => i === 0 || each.state === "partial")).toBe(true);
  });

  it.each([
    ["all users of a server", "sip:reg@example.com;server=east", ["ann@example.com", "bob@example.com"]],
    ["one user", BOB, ["bob@example.com"]],
  ])("a fetch of %s gets everything in its one NOTIFY (RFC 3680 4.7.2)", async (_, uri, users) => {
    world = await createWorld({
      servers: { east: { script: always(200) }, west: {} },
      options: EXCLUSIVE,
    });
    const { directory } = world.proxies[0]!;
    for (const user of ["ann", "bob"]) {
      const aor = `${user}@example.com`;
      await finish(directory.move({ aor, to: "east", equalRank: true, actor: "admin" }));
    }
    const east = world.scripted["east"]!;
    const subscribe = east.request("SUBSCRIBE", uri).edit().set("Event", "reg").set("Expires", "0").build();
    const sent = east.beginRequest(subscribe);
    await east.all(sent);
    await world.simulation.advance(1_000);
    expect(sent.final).toBe(200);
    const [notify, ...more] = east.seen("NOTIFY");
    expect([more.length, notify!.header("Subscription-State")]).toEqual([0, "terminated;reason=timeout"]);
    const document = parseReginfo(notify!.body);
    expect([document.version, document.state, document.registrations.map(({ id }) => id)]).toEqual([0, "full", users]);
  });
});

describe("what is refused", () => {
  it("406 where it cannot read reginfo documents (RFC 3680 4.5)", async () => {
    await domain();
    const { east } = world.servers;
    const headers = [
      ["Event", "reg"],
      ["Accept", "application/pidf+xml"],
    ] as const;
    const refused = await finish(east!.ask({ method: "SUBSCRIBE", from: "east", to: AOR, headers }));
    expect([refused?.status, refused?.header("Accept")]).toEqual([406, "application/reginfo+xml"]);
  });
});
