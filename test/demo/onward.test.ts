import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createExampleServer, type ExampleServer } from "../../src/demo/example-server.ts";
import type { OnwardRules } from "../../src/demo/onward.ts";
import { unionOf } from "../../src/demo/union-document.ts";
import { createSimulation, type Simulation } from "../../src/runtime/simulated.ts";

/** A server that sends subscriptions on as the draft says: west stands for the proxy, and for all that is behind it. */

let simulation: Simulation;
let phone: ExampleServer;
let east: ExampleServer;
let west: ExampleServer;

const [PHONE, EAST, WEST] = [10, 11, 12].map((n) => ({ host: `127.0.0.${n}`, port: 5060 }));

async function begin(rules: Partial<OnwardRules> = {}): Promise<void> {
  const onward: OnwardRules = { legs: () => 1, proxies: [WEST!], ...rules };
  const common = { domain: "example.com", onUnknown: "404", users: ["alice"] } as const;
  phone = createExampleServer(simulation.runtime([PHONE!.host]), {
    ...common,
    name: "phone",
    listen: PHONE!,
    proxy: EAST!,
  });
  east = createExampleServer(simulation.runtime([EAST!.host]), {
    ...common,
    name: "east",
    listen: EAST!,
    proxy: WEST!,
    onward,
  });
  west = createExampleServer(simulation.runtime([WEST!.host]), {
    ...common,
    name: "west",
    listen: WEST!,
    proxy: EAST!,
    tuple: "w",
  });
  await simulation.finish(Promise.all([phone.start(), east.start(), west.start()]));
  for (const server of [east, west]) server.show("alice", "open");
}

async function watch() {
  const watching = await simulation.finish(phone.watch("bob", "alice@example.com"));
  await simulation.advance(100);
  return watching;
}

beforeEach(() => {
  simulation = createSimulation({ seed: 1 });
});

afterEach(async () => {
  await simulation.finish(Promise.all([phone.stop(), east.stop(), west.stop()]));
  await simulation.idle();
  expect(simulation.leaks()).toEqual([]);
});

const states = (watching: { notified: readonly { state: string }[] }) =>
  watching.notified.map(({ state }) => state.replace(/;expires=\d+/, ""));

describe("a subscription of its own user", () => {
  test("is pending until the others have confirmed, then shows what all of them have", async () => {
    await begin();
    west.policy = () => "pending";
    const watching = await watch();
    expect([...new Set(states(watching))]).toEqual(["pending"]);
    expect(watching.notified.map(({ document }) => document).join("")).toBe("");
    west.policy = () => "active";
    west.reconsider();
    await simulation.advance(100);
    expect(states(watching).at(-1)).toBe("active");
    expect(watching.notified.at(-1)?.document).toMatch(/east 1.*west 1/);
  });

  test("goes on with its own data after 482 (draft, Peer Model)", async () => {
    await begin();
    west.script = (request) => (request.method === "SUBSCRIBE" ? { status: 482 } : undefined);
    const watching = await watch();
    expect(states(watching)).toEqual(["pending", "active"]);
    expect(watching.notified.at(-1)?.document).toContain("east 1");
    await simulation.advance(60_000);
    expect(west.seen("SUBSCRIBE", "alice")).toBe(0);
  });

  test("is denied where one of the others denies it (draft, Distributed Provisioning)", async () => {
    await begin();
    west.policy = () => "rejected";
    const watching = await watch();
    expect(states(watching)).toEqual(["pending", "terminated;reason=rejected"]);
    expect(watching.notified.map(({ document }) => document).join("")).toBe("");
  });

  test("waits for one that cannot be asked", async () => {
    await begin();
    west.script = (request) => (request.method === "SUBSCRIBE" ? { status: 480 } : undefined);
    const watching = await watch();
    await simulation.advance(20_000);
    expect([...new Set(states(watching))]).toEqual(["pending"]);
    west.script = () => undefined;
    await simulation.advance(10_000);
    expect(states(watching).at(-1)).toBe("active");
  });

  test("begins again where one accepts, and never says anything (RFC 6665 4.1.2.4, Timer N)", async () => {
    await begin();
    let accepted = 0;
    west.script = (request) => {
      if (request.method !== "SUBSCRIBE" || ++accepted > 1) return undefined;
      return { status: 200, headers: [["Expires", "600"]] };
    };
    const watching = await watch();
    await simulation.advance(30_000);
    expect([accepted, ...new Set(states(watching))]).toEqual([1, "pending"]);
    await simulation.advance(3_000);
    expect(states(watching).at(-1)).toBe("active");
  });

  test("ends with what it made", async () => {
    await begin();
    const watching = await watch();
    expect(west.live).toBe(1);
    await simulation.finish(watching.refresh(0));
    await simulation.advance(100);
    expect([west.live, east.live]).toEqual([0, 0]);
  });

  test("of a second device shares the back-end subscription, where nothing would tell them apart", async () => {
    await begin();
    const [one, other] = [await watch(), await watch()];
    expect([west.live, east.live]).toEqual([1, 2]);
    await simulation.finish(one.refresh(0));
    await simulation.advance(100);
    expect(west.live).toBe(1);
    west.show("alice", "open");
    await simulation.advance(100);
    expect(other.notified.at(-1)?.document).toContain("west 2");
  });
});

test("back-end subscriptions are made on behalf of the watcher (RFC 3325), with what tells his devices apart or without it", async () => {
  const heard: string[] = [];
  for (const passes of [false, true]) {
    simulation = createSimulation({ seed: 1 });
    await begin({ passes, asItself: passes });
    west.script = (request) => {
      const { identities, from, to } = request;
      if (to.tag !== undefined) return undefined;
      heard.push(`${identities[0]?.uri.raw} ${from.uri.raw} ${request.header("Session-ID") === "abc;remote=0"}`);
      return undefined;
    };
    const headers = [
      ["Event", "presence"],
      ["Session-ID", "abc;remote=0"],
    ] as const;
    void phone.ask({ method: "SUBSCRIBE", from: "bob", to: "alice@example.com", headers });
    await simulation.advance(100);
    if (!passes) await simulation.finish(Promise.all([phone.stop(), east.stop(), west.stop()]));
  }
  expect([...new Set(heard)]).toEqual([
    "sip:bob@example.com sip:bob@example.com false",
    "sip:bob@example.com sip:east@example.com true",
  ]);
});

describe("its document of all documents", () => {
  const doc = (...tuples: string[]) =>
    `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:cdm="urn:x-codomain:source" entity="sip:a@b">${tuples.join("")}</presence>`;
  const tuple = (id: string, note: string, source = "") =>
    `<tuple id="${id}"><status><basic>open</basic></status>${source && `<cdm:source server="${source}"/>`}<note>${note}</note></tuple>`;
  const notes = (document: string) => Array.from(document.matchAll(/<note>(\w+)<\/note>/g), ([, note]) => note);

  test("has everything once; its own is known by its mark, and by being equal", () => {
    const others = [
      doc(tuple("t", "old", "east"), tuple("t", "west", "west")),
      doc(tuple("t", "own"), tuple("t", "west")),
    ];
    expect(notes(unionOf("east", doc(tuple("t", "own")), others))).toEqual(["own", "west"]);
  });

  test("keeps the others' marks, or drops them", () => {
    const others = [doc(tuple("t", "west", "west"))];
    expect(unionOf("east", doc(tuple("t", "own")), others)).toContain('server="west"');
    expect(unionOf("east", doc(tuple("t", "own")), others, false)).not.toContain("server=");
  });
});
