import { afterEach, describe, expect, it } from "vitest";
import { ALICE, AOR, Exclusive } from "../support/exclusive.ts";
import { Watcher } from "../support/watcher.ts";

/** A record may hold a name that stands in no SIP message: what cannot be sent concerns nobody else. */

let domain: Exclusive;

afterEach(() => domain.world.stop());

const NAMES = { east: "al ice@no where" };

describe("a user whose name on a server stands in no message", () => {
  it("is not asked about there; the proxy says so and goes on", async () => {
    domain = new Exclusive();
    await domain.begin({ each: { east: { offers: ["reg"] } } });
    await domain.known(AOR, NAMES);
    await domain.bind("west");
    const watcher = new Watcher(domain.world, "127.0.0.50");
    await watcher.subscribe(ALICE);
    await domain.wait(60_000);
    expect(watcher.saw).toEqual(["pending", "active open"]);
    expect(domain.world.proxies[0]!.told.warning?.map((each) => each.what)).toContain(
      "a SUBSCRIBE to the registrations at east could not be made",
    );
  });

  it("is not told of as lost there; that is reported as failed, once", async () => {
    domain = new Exclusive();
    await domain.begin({ each: { east: { evict: "register" } } });
    await domain.known(AOR, NAMES);
    await domain.bind("east");
    await domain.bind("west");
    await domain.wait(120_000);
    expect(domain.world.proxies[0]!.told.evicted?.map((each) => [each.server, each.result])).toEqual([
      ["east", "failed"],
    ]);
  });
});
