import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Exclusive } from "../support/exclusive.ts";
import { BLOCK, ScriptedPolicy } from "../support/scripted-policy.ts";

/**
 * models.md, "Identity and policy": the AoR is mapped to each server's identity on the way in and back on the way out, also
 * where the identity stands in the user's record and not in the configuration.
 */

const JOE = "joe@example.com";
const SMITH = "joe.smith@example.com";

let domain: Exclusive;
let policy: ScriptedPolicy;

beforeEach(async () => {
  domain = new Exclusive();
  policy = new ScriptedPolicy();
  await domain.begin({ proxies: 2, policy: policy.of });
  await domain.known(JOE, { west: "joe.smith" });
  await domain.wait(1_000);
});
afterEach(() => domain.world.stop());

const registered = (proxy: string, callId: string) =>
  domain.world.scripted["west"]!.status("REGISTER", "sip:example.com", {
    proxy,
    callId,
    from: `sip:${SMITH}`,
    toUser: `sip:${SMITH}`,
    contacts: ["<sip:127.0.0.12:5060>;expires=600"],
  });
const holderOf = async (aor: string) => {
  const found = await domain.world.simulation.finish(domain.world.proxies[0]!.directory.lookup(aor));
  return found.state === "bound" ? found.binding.server : null;
};

describe.each(["127.0.0.1", "127.0.0.2"])("at proxy %s, a server that calls a user otherwise", (proxy) => {
  it("claims him under that name, and nobody else", async () => {
    expect(await registered(proxy, "r1")).toBe(200);
    expect([await holderOf(JOE), await holderOf(SMITH)]).toEqual(["west", null]);
  });

  it("asks in his name: what the rules say of him counts", async () => {
    policy.rule(JOE, BLOCK);
    const asked = { proxy, from: `sip:${SMITH}`, headers: [["P-Asserted-Identity", `<sip:${SMITH}>`] as const] };
    expect(await domain.world.scripted["west"]!.status("SUBSCRIBE", "sip:alice@example.com", asked)).toBe(403);
    expect(policy.asked.map((each) => each.watcher)).toEqual([JOE]);
  });

  it("is explained as it is done", async () => {
    const asked = { method: "SUBSCRIBE", aor: "alice@example.com", from: "west", watcher: SMITH };
    const node = domain.world.proxies.find((each) => each.host === proxy)!;
    const explained = await domain.world.simulation.finish(node.core.explain(asked));
    expect(explained.json.sender).toEqual({ aor: JOE, trusted: true });
  });

  it("is no longer believed to call him so once the record says otherwise", async () => {
    await domain.known(JOE, {});
    await domain.wait(1_000);
    expect(await registered(proxy, "r2")).toBe(200);
    expect([await holderOf(JOE), await holderOf(SMITH)]).toEqual([null, "west"]);
  });
});
