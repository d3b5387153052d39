import { afterEach, describe, expect, it } from "vitest";
import { ALICE, Exclusive } from "../support/exclusive.ts";
import { Watcher } from "../support/watcher.ts";

/** RFC 6665 4.2.2, 4.4.1: every subscription ends with a NOTIFY, however it ends, and then nothing is left of it. */

let domain: Exclusive;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function watching(expires = 3600): Promise<void> {
  domain = new Exclusive();
  await domain.begin();
  watcher = new Watcher(domain.world, "127.0.0.50");
  await domain.bind("east");
  await watcher.subscribe(ALICE, expires);
  await domain.wait(1_000);
  expect(watcher.saw).toEqual(["pending", "active open"]);
}

function expectNothingLeft(): void {
  const { subscriptions } = domain.world.proxies[0]!.services;
  expect([subscriptions.size, subscriptions.leftovers]).toEqual([0, 0]);
}

describe("what ends while our lease has run out (the database is away for long)", () => {
  it("unsubscribed: 200 at once, and the last NOTIFY when the lease runs again", async () => {
    await watching();
    domain.world.database.setAway(true);
    await domain.wait(20_000);
    expect((await watcher.refresh(0)).status).toBe(200);
    await domain.wait(20_000);
    expect(watcher.saw).toHaveLength(2);
    domain.world.database.setAway(false);
    await domain.wait(40_000);
    expect(watcher.saw.slice(2)).toEqual(["terminated timeout open"]);
    expectNothingLeft();
  });

  it("expired: the last NOTIFY when the lease runs again", async () => {
    await watching(60);
    domain.world.database.setAway(true);
    await domain.wait(70_000);
    expect(watcher.saw).toHaveLength(2);
    domain.world.database.setAway(false);
    await domain.wait(40_000);
    expect(watcher.saw.slice(2)).toEqual(["terminated timeout open"]);
    expectNothingLeft();
  });
});

describe("what ends with its CSeqs used up", () => {
  it("is told all the same: nobody takes over what has ended (concurrency.md 7)", async () => {
    await watching();
    domain.world.database.setAway(true);
    for (let i = 0; i < 20; i++) {
      domain.east.notify(domain.east.live[0]!, undefined, i % 2 === 0 ? "closed" : "open");
      await domain.wait(200);
    }
    const { length } = watcher.told;
    expect(length).toBeLessThan(20);
    expect((await watcher.refresh(0)).status).toBe(200);
    await domain.wait(1_000);
    expect(watcher.saw.slice(length)).toEqual(["terminated timeout open"]);
    domain.world.database.setAway(false);
    await domain.wait(40_000);
    expectNothingLeft();
  });
});
