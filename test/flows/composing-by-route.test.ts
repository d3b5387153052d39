import { afterEach, expect, it } from "vitest";
import { ALICE, told, Unioned } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";

let domain: Unioned;

afterEach(() => domain.world.stop());

it.each([ALICE, "sip:nobody@else.example"])(
  "who names one server of several by a Route is not shown what another denies him, whatever stands in To: %s",
  async (toUser) => {
    domain = new Unioned();
    await domain.begin();
    domain.west.policy = () => ({ status: 403 });
    const bob = new Watcher(domain.world, "127.0.0.50");
    const headers = [["Route", `<sip:${domain.world.scripted["east"]!.host};lr>`]] as const;
    expect((await bob.subscribe(ALICE, 600, { toUser, headers })).status).toBe(481);
    await domain.wait(3_000);
    expect([told(bob), domain.east.firsts.length]).toEqual([[], 0]);
  },
);
