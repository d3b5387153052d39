import { afterEach, describe, expect, it } from "vitest";
import { digestResponse, digestSecret } from "../../src/base/digest.ts";
import type { ModelFacts } from "../../src/federation/facts.ts";
import { PolicyService } from "../../src/policy/service.ts";
import { applyWinfo, NO_WATCHERS, parseWinfo, WINFO_TYPE } from "../../src/presence/winfo.ts";
import { Notifier } from "../support/notifier.ts";
import { ANYBODY, handling, one, rule, ruleset } from "../support/rules.ts";
import { Watcher } from "../support/watcher.ts";
import { always, createWorld, type World } from "../support/world.ts";

/**
 * A user decides about a watcher, from his SUBSCRIBE to his end (RFC 3857 3.1): rules in the directory, two proxies, the
 * user's own client, which has proved who she is.
 */

const ALICE = "sip:alice@example.com";
const AOR = "alice@example.com";
const BOB = "bob@example.com";
const REALM = "example.com";
const [BOBS, ALICES] = ["127.0.0.50", "127.0.0.51"] as const;
const [FIRST, SECOND] = ["127.0.0.1", "127.0.0.2"] as const;

let world: World;
let services: PolicyService[];
let servers: Record<"east" | "west", Notifier>;
let alice: Watcher;
let bob: Watcher;

afterEach(() => {
  for (const each of services) each.stop();
  return world.stop();
});

const finish = <T>(promise: Promise<T>): Promise<T> => world.simulation.finish(promise);
const wait = (ms: number): Promise<void> => world.simulation.advance(ms);
/** A proxy that is alive. */
const directory = () => world.proxies.find(({ process }) => process.alive)!.directory;
const write = (text: string) => finish(directory().documents.put(AOR, "pres-rules", text, {}, "alice"));

const SERVICES = "<provide-services><all-services/></provide-services>";
const ALLOWED = ruleset(
  rule("bob", one(BOB), handling("allow"), SERVICES),
  rule("others", ANYBODY, handling("confirm")),
);
const REFUSED = ruleset(rule("others", ANYBODY, handling("block")));
const SECRET = "<note>at home</note>";

async function begin(model: ModelFacts): Promise<void> {
  servers = { east: new Notifier("east"), west: new Notifier("west") };
  services = [];
  world = await createWorld({
    proxies: 2,
    servers: {
      east: { script: servers.east.script },
      west: { script: servers.west.script },
      home: { script: always(404) },
    },
    uris: { home: `sip:${BOBS}:5060` },
    options: {
      models: [{ match: "*", model }],
      clients: { authenticate: "digest", realm: REALM, home: null },
    },
    policy: (parts) => {
      const options = { way: "root-only", presence: "confirm", contact: "allow" } as const;
      const service = new PolicyService(parts, { domains: { [REALM]: options }, point: null });
      services.push(service);
      return service;
    },
  });
  for (const each of Object.values(servers)) each.more = SECRET;
  await finish(directory().move({ aor: AOR, to: "east", equalRank: true, actor: "test" }));
  const secret = digestSecret("SHA-256", "alice", REALM, "secret");
  await finish(directory().putCredentials({ aor: AOR, realm: REALM, md5: null, sha256: secret }, "test"));
  alice = new Watcher(world, ALICES);
  alice.event = "presence.winfo";
  alice.accept = WINFO_TYPE;
  bob = new Watcher(world, BOBS);
}

/** alice's client, challenged first (RFC 3857 4.6: "SHOULD be authenticated and then authorized before approval"). */
async function aliceReads(): Promise<void> {
  const challenge = (await alice.subscribe(ALICE, 3600, { from: ALICE })).header("Proxy-Authenticate")!;
  const nonce = /nonce="([^"]+)"/.exec(challenge)![1]!;
  const secret = digestSecret("SHA-256", "alice", REALM, "secret");
  const given = { username: "alice", realm: REALM, nonce, uri: ALICE, nc: "00000001", cnonce: "c", qop: "auth" };
  const response = digestResponse({ ...given, response: "", algorithm: "SHA-256" }, "SUBSCRIBE", secret);
  const value = `Digest username="alice", realm="${REALM}", nonce="${nonce}", uri="${ALICE}", response="${response}", algorithm=SHA-256, nc=00000001, cnonce="c", qop=auth`;
  const ok = await alice.subscribe(ALICE, 3600, { from: ALICE, headers: [["Proxy-Authorization", value]] });
  expect(ok.status).toBe(200);
  await wait(6_000);
}

function watchers(): string[] {
  const documents = alice.told.filter((each) => each.body !== "").map((each) => parseWinfo(each.body));
  const table = documents.reduce((known, document) => {
    const applied = applyWinfo(known, document);
    return applied.outcome === "applied" ? applied.table : known;
  }, NO_WATCHERS);
  return [...(table.lists.get(ALICE)?.values() ?? [])].map(({ uri, status }) => `${uri} ${status}`);
}

describe.each<[string, ModelFacts, string]>([
  ["exclusive", { model: "exclusive", conflict: "takeover", refuseWith: 403 }, "active open"],
  ["unioned", { model: "unioned", style: "peer", servers: ["east", "west"] }, "active open"],
  ["partitioned", { model: "partitioned" }, "active open"],
])("an %s user", (_, model, shown) => {
  const expectSecretKept = () => {
    for (const { told } of [bob, alice]) expect(told.some(({ body }) => body.includes("at home"))).toBe(false);
  };

  it("sees who waits, lets him see what her rules provide, and refuses him later", async () => {
    await begin(model);
    await aliceReads();
    await bob.subscribe(ALICE, 3600, { from: `sip:${BOB}`, proxy: SECOND });
    await wait(6_000);
    expect([watchers(), bob.saw]).toEqual([[`sip:${BOB} pending`], ["pending"]]);
    await write(ALLOWED);
    await wait(6_000);
    expect([watchers(), bob.saw]).toEqual([[`sip:${BOB} active`], ["pending", shown]]);
    await write(REFUSED);
    await wait(6_000);
    expect([watchers(), bob.saw.at(-1)]).toEqual([[], "terminated rejected"]);
    expect((await bob.subscribe(ALICE, 3600, { from: `sip:${BOB}`, proxy: FIRST })).status).toBe(403);
    expectSecretKept();
  });

  it.each([
    ["while he waits", "pending"],
    ["while he watches", "active"],
    ["while he is refused", "refused"],
  ])("the proxy that has him is killed %s, and all is as her rules say", async (_, when) => {
    await begin(model);
    await aliceReads();
    await bob.subscribe(ALICE, 3600, { from: `sip:${BOB}`, proxy: SECOND });
    await wait(6_000);
    if (when !== "pending") await write(ALLOWED);
    await wait(6_000);
    if (when === "refused") void directory().documents.put(AOR, "pres-rules", REFUSED, {}, "alice");
    await wait(when === "refused" ? 2 : 0);
    world.proxies[1]!.kill();
    await wait(60_000);
    if (when === "pending") {
      expect([watchers(), bob.saw.every((each) => each === "pending")]).toEqual([[`sip:${BOB} pending`], true]);
      await write(ALLOWED);
      await wait(6_000);
    }
    if (when !== "refused") {
      expect([watchers(), bob.saw.at(-1)]).toEqual([[`sip:${BOB} active`], shown]);
      await write(REFUSED);
      await wait(6_000);
    }
    expect([watchers(), bob.saw.at(-1)]).toEqual([[], "terminated rejected"]);
    const after = bob.saw.lastIndexOf(shown);
    expect(bob.saw.slice(after + 1).some((each) => each.includes("open"))).toBe(false);
    expectSecretKept();
  });
});
