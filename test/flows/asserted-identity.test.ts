import { afterEach, describe, expect, it } from "vitest";
import { digestResponse, digestSecret } from "../../src/base/digest.ts";
import { parseWinfo, WINFO_TYPE } from "../../src/presence/winfo.ts";
import type { HeaderPair } from "../../src/sip/message/build.ts";
import { ALICE, AOR, Exclusive } from "../support/exclusive.ts";
import { CONFIRM, ScriptedPolicy } from "../support/scripted-policy.ts";
import { Watcher } from "../support/watcher.ts";
import { always, type Client, createWorld, type World, type WorldOptions } from "../support/world.ts";

/** RFC 3325, of which this proxy and the domain's servers are the Trust Domain; RFC 3323; names of users on servers. */

const BOB = "sip:bob@example.com";
const JOE: HeaderPair = ["P-Asserted-Identity", '"Joe" <sip:joe@example.com>'];
const ID: HeaderPair = ["Privacy", "id"];

describe("requests that are passed on", () => {
  let world: World;
  afterEach(() => world.stop());

  async function begin(more: WorldOptions = {}): Promise<Client> {
    world = await createWorld({ servers: { east: { script: always(404) }, west: { script: always(200) } }, ...more });
    return world.scripted["east"]!;
  }
  const atWest = () => world.scripted["west"]!.seen("MESSAGE").at(-1)!;

  /** A foreign user agent, that no configuration names. */
  async function toForeigner(from: Client, headers: readonly HeaderPair[], more = {}): Promise<Client> {
    const foreign = world.client("127.0.0.77");
    await world.simulation.finish(foreign.started);
    await from.status("MESSAGE", "sip:x@127.0.0.77", { headers, ...more });
    return foreign;
  }

  /** eve, who proves to be herself. */
  async function asEve(to: string, from: string, headers: readonly HeaderPair[] = []): Promise<number> {
    const realm = "example.com";
    const secret = digestSecret("SHA-256", "eve", realm, "secret");
    const credentials = { aor: "eve@example.com", realm, md5: null, sha256: secret };
    await world.simulation.finish(world.proxies[0]!.directory.putCredentials(credentials, "test"));
    const client = world.client("127.0.0.50");
    const challenge = (await client.send("MESSAGE", to, { from })).at(-1)!.header("Proxy-Authenticate")!;
    const nonce = /nonce="([^"]+)"/.exec(challenge)![1]!;
    const given = { username: "eve", realm, nonce, uri: to, nc: "00000001", cnonce: "c", qop: "auth" };
    const response = digestResponse({ ...given, response: "", algorithm: "SHA-256" }, "MESSAGE", secret);
    const value = `Digest username="eve", realm="${realm}", nonce="${nonce}", uri="${to}", response="${response}", algorithm=SHA-256, nc=00000001, cnonce="c", qop=auth`;
    return client.status("MESSAGE", to, { from, headers: [["Proxy-Authorization", value], ...headers] });
  }
  const DIGEST = { clients: { authenticate: "digest", realm: "example.com", home: null } } as const;

  it("5: received from an element that is not trusted, the proxy MUST replace that URI or remove this header field", async () => {
    await begin();
    await world.client("127.0.0.50").status("MESSAGE", BOB, { headers: [JOE] });
    expect(atWest().has("P-Asserted-Identity")).toBe(false);
  });

  it("5: the proxy MUST authenticate the originator, and use the identity which results from this authentication", async () => {
    await begin({ options: DIGEST });
    expect(await asEve(BOB, "sip:carol@example.com", [JOE])).toBe(200);
    expect(atWest().headers("P-Asserted-Identity")).toEqual(["<sip:eve@example.com>"]);
  });

  it("5: to a node it trusts, the proxy does not remove what it received from a trusted source", async () => {
    const east = await begin();
    await east.status("MESSAGE", BOB, { headers: [JOE, ID] });
    expect([atWest().header("P-Asserted-Identity"), atWest().header("Privacy")]).toEqual([JOE[1], "id"]);
  });

  it("6: the proxy MUST remove the user-provided P-Preferred-Identity from any message it forwards", async () => {
    const east = await begin();
    const hint: HeaderPair = ["P-Preferred-Identity", "<sip:joe@example.com>"];
    await world.client("127.0.0.50").status("MESSAGE", BOB, { headers: [hint] });
    expect(atWest().has("P-Preferred-Identity")).toBe(false);
    await east.status("MESSAGE", BOB, { headers: [JOE, hint] });
    expect([atWest().has("P-Preferred-Identity"), atWest().header("P-Asserted-Identity")]).toEqual([false, JOE[1]]);
  });

  it("7: with `id`, proxies MUST remove all values before forwarding to elements that are not trusted", async () => {
    const east = await begin();
    const tel: HeaderPair = ["P-Asserted-Identity", "<tel:+1>"];
    const foreign = await toForeigner(east, [JOE, tel, ID]);
    expect(foreign.requests[0]!.has("P-Asserted-Identity")).toBe(false);
  });

  it("7: also what the proxy would assert itself, and where a server redirects to", async () => {
    const moved = always(302, [["Contact", "<sip:x@127.0.0.77:5060>"]]);
    await begin({
      servers: { east: { script: always(404) }, west: { script: moved } },
      options: { ...DIGEST, recurse: true },
    });
    const foreign = world.client("127.0.0.77");
    await world.simulation.finish(foreign.started);
    expect(await asEve(BOB, "sip:eve@example.com", [ID])).toBe(200);
    expect([atWest().header("P-Asserted-Identity"), foreign.requests.map((each) => each.has(JOE[0]))]).toEqual([
      "<sip:eve@example.com>",
      [false],
    ]);
    await world.scripted["east"]!.status("MESSAGE", BOB, { headers: [JOE, ID] });
    expect(foreign.requests.map((each) => each.has(JOE[0]))).toEqual([false, false]);
  });

  it("7: with `none`, proxies MUST NOT remove them", async () => {
    const east = await begin();
    const foreign = await toForeigner(east, [JOE, ["Privacy", "none"]]);
    expect(foreign.requests[0]!.header("P-Asserted-Identity")).toBe(JOE[1]);
  });

  it("RFC 3323 4.2: an intermediary MUST NOT modify a Privacy header, nor remove one of `none`", async () => {
    const east = await begin();
    for (const value of ["none", "id;critical", "header; user"]) {
      await east.status("MESSAGE", BOB, { headers: [JOE, ["Privacy", value]] });
      expect(atWest().headers("Privacy")).toEqual([value]);
    }
  });

  it("7: responses as well: what is private in a server's is not for a client", async () => {
    const east = await begin({
      servers: { east: { script: always(404) }, west: { script: always(200, [JOE, ID]) } },
    });
    const client = (await world.client("127.0.0.50").send("MESSAGE", BOB)).at(-1)!;
    const server = (await east.send("MESSAGE", BOB)).at(-1)!;
    expect([client.status, client.has("P-Asserted-Identity")]).toEqual([200, false]);
    expect(server.header("P-Asserted-Identity")).toBe(JOE[1]);
  });

  describe("a user whom servers know by different names", () => {
    const NAMES = {
      east: { identities: { "joe@example.com": "joe.smith" } },
      west: { identities: { "joe@example.com": "jsmith" } },
    };

    it("is asserted to a server by its name, by whatever name the other has asserted him", async () => {
      const east = await begin({ each: NAMES });
      await east.status("MESSAGE", BOB, {
        headers: [["P-Asserted-Identity", "<sip:joe.smith@example.com>, <tel:+1>"]],
      });
      expect(atWest().headers("P-Asserted-Identity").join()).toBe("<sip:jsmith@example.com>, <tel:+1>");
    });

    it("is asserted where his server has asserted nothing, and From is another's name for him (5: a proxy MAY add one)", async () => {
      const east = await begin({ each: NAMES });
      await east.status("MESSAGE", BOB, { from: "sip:joe.smith@example.com" });
      expect([atWest().header("P-Asserted-Identity"), atWest().from.uri.raw]).toEqual([
        "<sip:jsmith@example.com>",
        "sip:joe.smith@example.com",
      ]);
      await east.status("MESSAGE", BOB, { from: "sip:ann@example.com" });
      expect(atWest().has("P-Asserted-Identity")).toBe(false);
    });

    it("within a dialog as well", async () => {
      const east = await begin({ each: NAMES });
      const route: HeaderPair = ["Route", "<sip:127.0.0.12:5060;lr>"];
      const headers: HeaderPair[] = [["P-Asserted-Identity", "<sip:joe.smith@example.com>"], route];
      const bye = east.request("BYE", "sip:bob@127.0.0.12", { toUser: "sip:bob@example.com", headers });
      const within = bye.edit().set("To", "<sip:bob@example.com>;tag=theirs").build();
      await east.all(east.beginRequest(within));
      expect(world.scripted["west"]!.seen("BYE")[0]!.header("P-Asserted-Identity")).toBe("<sip:jsmith@example.com>");
    });

    it("is asserted by its name where he has proved himself to us", async () => {
      await begin({ options: DIGEST, each: { west: { identities: { "eve@example.com": "eva" } } } });
      expect(await asEve(BOB, "sip:eve@example.com")).toBe(200);
      expect(atWest().header("P-Asserted-Identity")).toBe("<sip:eva@example.com>");
    });
  });
});

describe("legs of subscriptions", () => {
  let domain: Exclusive;
  let policy: ScriptedPolicy;
  afterEach(() => domain.world.stop());

  async function begin(options: WorldOptions = {}): Promise<Watcher> {
    domain = new Exclusive();
    policy = new ScriptedPolicy();
    await domain.begin({
      servers: {
        east: { script: domain.east.script },
        west: { script: domain.west.script },
        home: { script: always(404) },
      },
      uris: { home: ["sip:127.0.0.50:5060", "sip:127.0.0.51:5060"] },
      policy: policy.of,
      ...options,
    });
    await domain.bind("east");
    return new Watcher(domain.world, "127.0.0.50");
  }
  const leg = () => domain.east.firsts.at(-1)!;

  it("are on behalf of the watcher: his identity as it was asserted by his server", async () => {
    const watcher = await begin();
    await watcher.subscribe(ALICE, 600, { from: BOB, headers: [JOE] });
    await domain.wait(500);
    expect([leg().from.uri.raw, leg().header("P-Asserted-Identity"), leg().has("Privacy")]).toEqual([
      "sip:joe@example.com",
      "<sip:joe@example.com>",
      false,
    ]);
  });

  it("of one who is to stay private name him to the server only, and say so (RFC 3325 7)", async () => {
    const watcher = await begin();
    const anonymous = "sip:anonymous@anonymous.invalid";
    await watcher.subscribe(ALICE, 600, { from: anonymous, headers: [JOE, ID] });
    await domain.wait(500);
    expect([leg().from.uri.raw, leg().header("P-Asserted-Identity"), leg().header("Privacy")]).toEqual([
      anonymous,
      "<sip:joe@example.com>",
      "id",
    ]);
    expect(policy.asked.at(-1)).toMatchObject({ watcher: "joe@example.com", trusted: true });
  });

  it.each([
    ["who is to stay private", [JOE, ID], "id"],
    ["who is not", [JOE], undefined],
  ] as const)("of one %s say so within the dialog as well", async (_, headers, privacy) => {
    const watcher = await begin();
    await watcher.subscribe(ALICE, 60, { from: BOB, headers });
    await domain.wait(50_000);
    await watcher.refresh(0);
    await domain.wait(500);
    const [, ...within] = domain.east.served[0]!.subscribes;
    expect(within.map(({ expires }) => expires).at(-1)).toBe(0);
    for (const each of within) {
      expect([each.header("P-Asserted-Identity"), each.header("Privacy")]).toEqual(["<sip:joe@example.com>", privacy]);
    }
  });

  it("nor is one who is to stay private named to whom the server's dialog leads elsewhere", async () => {
    const watcher = await begin();
    domain.east.contact = "sip:east@127.0.0.77:5060";
    const elsewhere = domain.world.client("127.0.0.77");
    await domain.world.simulation.finish(elsewhere.started);
    await watcher.subscribe(ALICE, 600, { from: BOB, headers: [JOE, ID] });
    await domain.wait(500);
    await watcher.refresh(0);
    await domain.wait(500);
    const [end] = elsewhere.seen("SUBSCRIBE");
    expect([end!.header("P-Asserted-Identity"), end!.header("Privacy"), end!.from.uri.raw]).toEqual([
      undefined,
      "id",
      "sip:anonymous@anonymous.invalid",
    ]);
  });

  it("and do so when another proxy has taken over and opens one anew", async () => {
    const watcher = await begin({ proxies: 2 });
    await watcher.subscribe(ALICE, 3600, { from: BOB, headers: [JOE, ID] });
    await domain.wait(500);
    domain.world.proxies[0]!.kill();
    await domain.wait(60_000);
    await domain.bind("west", 1);
    await domain.wait(1_000);
    const moved = domain.west.firsts.at(-1)!;
    expect([moved.header("P-Asserted-Identity"), moved.header("Privacy")]).toEqual(["<sip:joe@example.com>", "id"]);
  });

  it("nor is the user told who he is: as anonymous, and he is not remembered", async () => {
    const watcher = await begin();
    policy.otherwise = CONFIRM;
    await watcher.subscribe(ALICE, 60, { from: BOB, headers: [JOE, ID] });
    const alice = new Watcher(domain.world, "127.0.0.51");
    alice.event = "presence.winfo";
    alice.accept = WINFO_TYPE;
    await alice.subscribe(ALICE, 3600, { from: ALICE });
    await domain.wait(6_000);
    const watchers = () => parseWinfo(alice.last!.body).lists[0]!.watchers.map(({ uri, status }) => `${uri} ${status}`);
    expect(watchers()).toEqual(["sip:anonymous@anonymous.invalid pending"]);
    await domain.wait(100_000);
    expect(watchers()).toEqual(["sip:anonymous@anonymous.invalid terminated"]);
  });

  it("8: what a client asserts is not used in any way", async () => {
    await begin();
    const watcher = new Watcher(domain.world, "127.0.0.60");
    await watcher.subscribe(ALICE, 600, { from: BOB, headers: [JOE] });
    await domain.wait(500);
    expect([leg().from.uri.raw, leg().has("P-Asserted-Identity")]).toEqual([BOB, false]);
  });
});

describe("names of a user, back-to-back (models.md, Identity and policy)", () => {
  let domain: Exclusive;
  afterEach(() => domain.world.stop());

  it("each server reads its own name for him in From, To, P-Asserted-Identity and every document", async () => {
    domain = new Exclusive();
    await domain.begin({
      servers: {
        east: { script: domain.east.script },
        west: { script: domain.west.script },
        home: { script: always(404) },
      },
      uris: { home: "sip:127.0.0.50:5060" },
      each: {
        east: { identities: { [AOR]: "al.ice", "bob@example.com": "b.ob" } },
        home: { identities: { [AOR]: "a-smith", "bob@example.com": "robert" } },
      },
    });
    domain.east.more = "<contact>sip:al.ice@example.com</contact><note>ask sip:al.ice@example.com</note>";
    await domain.bind("east");
    const watcher = new Watcher(domain.world, "127.0.0.50");
    await watcher.subscribe("sip:a-smith@example.com", 600, { from: "sip:robert@example.com" });
    await domain.wait(500);
    const leg = domain.east.firsts[0]!;
    expect([leg.requestUri, leg.to.uri.raw, leg.from.uri.raw, leg.header("P-Asserted-Identity")]).toEqual([
      "sip:al.ice@example.com",
      "sip:al.ice@example.com",
      "sip:b.ob@example.com",
      "<sip:b.ob@example.com>",
    ]);
    const { request, body } = watcher.last!;
    expect([request.from.uri.raw, request.to.uri.raw]).toEqual(["sip:a-smith@example.com", "sip:robert@example.com"]);
    expect(body).toMatch(/entity="sip:a-smith@example.com"/);
    expect(body).toContain("<contact>sip:a-smith@example.com</contact><note>ask sip:a-smith@example.com</note>");
    expect(body).not.toMatch(/al\.ice|alice/);
  });

  it("a closed document has it too", async () => {
    domain = new Exclusive();
    await domain.begin({
      servers: {
        east: { script: domain.east.script },
        west: { script: domain.west.script },
        home: { script: always(404) },
      },
      uris: { home: "sip:127.0.0.50:5060" },
      each: { home: { identities: { [AOR]: "a-smith" } } },
    });
    await domain.bind("east");
    const watcher = new Watcher(domain.world, "127.0.0.50");
    await watcher.subscribe("sip:a-smith@example.com");
    await domain.wait(500);
    await domain.unbind();
    await domain.wait(500);
    expect([watcher.saw.at(-1), /entity="sip:a-smith@example.com"/.test(watcher.last!.body)]).toEqual([
      "active closed",
      true,
    ]);
  });
});
