import { afterEach, describe, expect, it } from "vitest";
import { unionedLines, unionedOf } from "../../src/admin/explain-union.ts";
import { ALICE, AOR, Unioned } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";

/** What is live of a unioned user, as `codomain explain` shows it beside the plan. */

let domain: Unioned;
afterEach(() => domain.world.stop());

const explain = (watcher?: string) =>
  domain.world.simulation.finish(
    unionedOf({ directory: domain.world.proxies[0]!.directory, proxy: domain.world.proxies[0]!.core }, AOR, watcher),
  );

describe("explain, of a unioned user who is watched", () => {
  it("says whose answer is missing, and which servers the watcher's chains have visited", async () => {
    domain = new Unioned();
    await domain.begin();
    domain.west.policy = () => ({ status: 200, state: "pending" });
    const watcher = new Watcher(domain.world, "127.0.0.50");
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    const told = await explain("watcher@example.com");
    expect(told).toMatchObject({
      subscriptions: [
        {
          watcher: "watcher@example.com",
          from: null,
          direction: "up",
          active: false,
          servers: [
            { server: "east", standing: "confirmed" },
            { server: "west", standing: "pending" },
          ],
          missing: ["west"],
        },
      ],
      complete: true,
    });
    const [subscription] = told!.subscriptions;
    expect(told!.chains).toEqual([
      {
        chain: subscription!.id,
        visited: expect.arrayContaining([
          expect.objectContaining({ server: null, role: "start", subscription: subscription!.id }),
          expect.objectContaining({ server: "east", role: "leg", echoed: false }),
          expect.objectContaining({ server: "west", role: "leg" }),
        ]),
      },
    ]);
    const { id } = subscription!;
    expect(unionedLines(told)).toEqual([
      `pending ${id}: watcher@example.com: east confirmed, west pending; the answer of west is missing`,
      `chain ${id}: from a client; has visited east, west`,
    ]);
  });

  it("tells who cannot be asked from who does not have him", async () => {
    domain = new Unioned();
    await domain.begin({ names: ["east", "west", "north"] });
    domain.west.policy = () => ({ status: 404 });
    domain.world.proxies[0]!.core.rotation.drain("north", true);
    domain.at["north"]!.policy = () => ({ status: 503 });
    const watcher = new Watcher(domain.world, "127.0.0.50");
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    const told = await explain("watcher@example.com");
    expect(told!.subscriptions).toMatchObject([
      {
        servers: [
          { server: "east", standing: "confirmed" },
          { server: "west", standing: "out" },
          { server: "north", standing: "away" },
        ],
        missing: ["north"],
      },
    ]);
  });

  it("of other watchers, and of one who has been gone for a while, says nothing", async () => {
    domain = new Unioned();
    await domain.begin();
    const watcher = new Watcher(domain.world, "127.0.0.50");
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(await explain("somebody@example.com")).toEqual({ subscriptions: [], chains: [], complete: true });
    expect(await explain()).toMatchObject({ subscriptions: [{ active: true, missing: [] }], chains: [] });
    await watcher.refresh(0);
    await domain.wait(1_000);
    expect(unionedLines(await explain("watcher@example.com"))).toEqual([
      expect.stringMatching(/^chain \S+: has left east, west a moment ago$/),
    ]);
    await domain.wait(100_000);
    expect(unionedLines(await explain("watcher@example.com"))).toEqual([]);
  });
});
