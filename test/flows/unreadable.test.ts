import { afterEach, describe, expect, it } from "vitest";
import { requestWithin } from "../../src/sip/dialog/dialog.ts";
import type { HeaderPair } from "../../src/sip/message/build.ts";
import { ALICE, Exclusive } from "../support/exclusive.ts";
import { Watcher } from "../support/watcher.ts";

/** RFC 3261 8.2: a malformed header that is not needed is ignored; in a dialog the route set is there already. */

let domain: Exclusive;
let watcher: Watcher;

afterEach(() => domain.world.stop());

const UNREADABLE: HeaderPair = ["Record-Route", "<sip:bad"];

async function watching(): Promise<void> {
  domain = new Exclusive();
  await domain.begin();
  watcher = new Watcher(domain.world, "127.0.0.50");
  await domain.bind("east");
  await watcher.subscribe(ALICE, 3600);
  await domain.wait(1_000);
  expect(watcher.saw).toEqual(["pending", "active open"]);
}

describe("an unreadable Record-Route within a dialog", () => {
  it("of a refresh: it is granted and told, and ends in its time with nothing left", async () => {
    await watching();
    expect((await watcher.refresh(60, { headers: [UNREADABLE] })).status).toBe(200);
    await domain.wait(100_000);
    expect(watcher.saw.slice(2)).toEqual(["active open", "terminated timeout open"]);
    const { subscriptions } = domain.world.proxies[0]!.services;
    expect([subscriptions.size, subscriptions.leftovers]).toEqual([0, 0]);
  });

  it("of a NOTIFY that ends a leg: another is made", async () => {
    await watching();
    const [leg] = domain.east.served;
    leg!.over = true;
    const headers: HeaderPair[] = [["Event", "presence"], ["Subscription-State", "terminated"], UNREADABLE];
    const contact = "sip:127.0.0.11:5060";
    const last = requestWithin(leg!.dialog, { method: "NOTIFY", cseq: 9, contact, headers });
    expect(await watcher.client.all(watcher.client.beginRequest(last))).toEqual([200]);
    await domain.wait(10_000);
    expect(domain.east.live).toHaveLength(1);
    expect(watcher.saw.slice(2)).toEqual(["active open"]);
  });
});
