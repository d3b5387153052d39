import { afterEach, describe, expect, it } from "vitest";
import { ALICE, AOR, told, Unioned } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";

/** models.md, "Unioned, peer": where a visited server's path dies while the chain lives, what is behind it is asked by us. */

let domain: Unioned;

afterEach(() => domain.world.stop());

const PAIR = { watcher: "watcher@example.com", aor: AOR, event: "presence" };

async function visited(): Promise<string[]> {
  const { directory } = domain.world.proxies.find(({ process }) => process.alive)!;
  const rows = await domain.world.simulation.finish(directory.unions.visited(PAIR));
  return rows
    .filter(({ gone }) => !gone)
    .map(({ role, server, holder, chain }) => `${role} ${server ?? "client"}${holder === chain ? "" : " behind"}`)
    .sort();
}

describe("a server that is there by way of another", () => {
  it.each([
    ["the same proxy", "127.0.0.1", 90_000, null],
    ["another proxy, by its next try", "127.0.0.2", 600_000, null],
    ["the one that has taken over both", "127.0.0.1", 600_000, 0],
    ["one that has taken it over from another", "127.0.0.2", 600_000, 1],
  ])(
    "is asked by us when that other one's nodes answer no more: its subscription is at %s",
    async (_, proxy, ms, dead) => {
      domain = new Unioned();
      await domain.begin({
        proxies: 3,
        names: ["east", "west", "north"],
        each: { east: { onward: "children" } },
      });
      const watcher = new Watcher(domain.world, "127.0.0.50");
      domain.west.policy = () => ({ status: 480 });
      await watcher.subscribe(ALICE, 3600);
      await domain.wait(195_000);
      domain.west.policy = () => ({ status: 200 });
      const self = domain.world.scripted["east"]!;
      const request = self.request("SUBSCRIBE", ALICE, {
        from: "sip:watcher@example.com",
        fromTag: "e1",
        expires: 3600,
      });
      const onward = self.beginRequest(request, proxy);
      await self.all(onward);
      expect(onward.final).toBe(200);
      await domain.wait(70_000);
      expect(told(watcher).at(-1)).toBe("active east open, north open");
      expect(await visited()).toEqual([
        "leg east",
        "leg north",
        "leg west behind",
        "start client",
        "start east behind",
      ]);
      if (dead !== null) {
        domain.world.proxies[dead]!.kill();
        await domain.wait(60_000);
        expect(told(watcher).at(-1)).toBe("active east open, north open");
      }
      domain.world.simulation.partition([["127.0.0.11"], ["127.0.0.1", "127.0.0.2", "127.0.0.3"]]);
      // Until it is seen that nobody answers there, 32 s, and until the row has gone.
      await domain.wait(ms);
      expect(told(watcher).at(-1)).toBe("active north open, west open");
      expect(await visited()).toEqual(["leg east", "leg north", "leg west", "start client"]);
      domain.world.simulation.heal();
      await domain.wait(30_000);
      expect(told(watcher).at(-1)).toBe("active east open, north open, west open");
    },
  );
});
