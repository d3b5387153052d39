import { afterEach, describe, expect, it } from "vitest";
import { digestResponse, digestSecret } from "../../src/base/digest.ts";
import type { ProxyOptions } from "../../src/proxy/options.ts";
import {
  always,
  type Client,
  createWorld,
  reply,
  type Script,
  type World,
  type WorldOptions,
} from "../support/world.ts";

let world: World;
afterEach(async () => {
  await world.stop();
});

const ALICE = "sip:alice@example.com";
const BOB = "sip:bob@example.com";
const NAMES = ["east", "west", "north"] as const;
const PEER = { model: "unioned", style: "peer", servers: [...NAMES] } as const;
const COPIES: Partial<ProxyOptions> = {
  models: [{ match: "alice@example.com", model: PEER }],
  imRouting: { algorithm: "all", copies: true },
};

const at = (name: string): Client => world.scripted[name]!;
/** Of each server: what it got for whom. */
const got = () =>
  Object.fromEntries(
    NAMES.map((name) => [
      name,
      at(name)
        .seen("MESSAGE")
        .map((each) => each.uri.kind === "sip" && `${each.uri.user}:${each.body}`),
    ]),
  );
const copied = () => world.proxies.flatMap((proxy) => proxy.told.copied ?? []);

async function domain(
  scripts: Partial<Record<(typeof NAMES)[number] | "south", Script>> = {},
  more: WorldOptions = {},
) {
  world = await createWorld({
    servers: Object.fromEntries(
      [...NAMES, "south" as const].map((name) => [name, { script: scripts[name] ?? always(200) }]),
    ),
    ...more,
    options: { ...COPIES, ...more.options },
  });
  await world.simulation.finish(
    world.proxies[0]!.directory.move({ aor: "bob@example.com", to: "south", actor: "test" }),
  );
}

async function writes(
  from: string,
  body: string,
  options: Parameters<Client["begin"]>[2] = {},
  to = BOB,
): Promise<number> {
  const sent = at(from).begin("MESSAGE", to, { from: ALICE, body, ...options });
  await at(from).all(sent);
  await world.simulation.advance(500);
  return sent.final;
}

describe("what a user of several servers writes (draft, Conversation Consistency: rendered on Bob's other device)", () => {
  it("from one of them is shown to his others: from him, to whom he wrote, marked, under identifiers of our own", async () => {
    await domain();
    expect(
      await writes("east", "hi bob", {
        headers: [
          ["Content-Type", "text/plain"],
          ["Subject", "greeting"],
        ],
      }),
    ).toBe(200);
    expect(
      at("south")
        .seen("MESSAGE")
        .map(({ body }) => body),
    ).toEqual(["hi bob"]);
    expect(at("south").seen("MESSAGE")[0]!.header("Codomain-Copy")).toBeUndefined();
    expect(got()).toEqual({ east: [], west: ["alice:hi bob"], north: ["alice:hi bob"] });
    const [copy] = at("west").seen("MESSAGE");
    const [original] = at("south").seen("MESSAGE");
    expect(copy!.requestUri).toBe(ALICE);
    expect(copy!.header("From")).toMatch(/^<sip:alice@example\.com>;tag=/);
    expect(copy!.header("To")).toBe(`<${BOB}>`);
    expect(copy!.header("Codomain-Copy")).toBe("sent");
    expect(copy!.header("P-Asserted-Identity")).toBe(`<${ALICE}>`);
    expect(copy!.header("Subject")).toBe("greeting");
    expect(copy!.header("Content-Type")).toBe("text/plain");
    expect(copy!.vias).toHaveLength(1);
    expect(copy!.header("Contact")).toBeUndefined();
    expect(copy!.callId).not.toBe(original!.callId);
    expect(copy!.from.tag).not.toBe(original!.from.tag);
    expect(copied()).toMatchObject([
      { server: "west", status: 200 },
      { server: "north", status: 200 },
    ]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("each server by the name it knows him by", async () => {
    await domain({}, { each: { west: { identities: { "alice@example.com": "al" } } } });
    await writes("east", "hi");
    expect(got()["west"]).toEqual(["al:hi"]);
    expect(at("west").seen("MESSAGE")[0]!.header("From")).toMatch(/^<sip:al@example\.com>/);
  });

  it("to another of several servers: one message to each of his, one copy to each of the writer's others", async () => {
    await domain({}, { options: { models: [{ match: "*@example.com", model: PEER }] } });
    expect(await writes("east", "hi")).toBe(200);
    const [east, west, north] = NAMES.map((name) => got()[name]!.toSorted());
    expect(east).toEqual([]);
    expect(west).toEqual(["alice:hi", "bob:hi"]);
    expect(north).toEqual(["alice:hi", "bob:hi"]);
  });

  it("a 202 counts, a refusal does not", async () => {
    await domain({ south: always(202) });
    await writes("east", "taken");
    expect(got()["west"]).toEqual(["alice:taken"]);
    await world.stop();
    await domain({ south: always(403) });
    expect(await writes("east", "refused")).toBe(403);
    expect(got()["west"]).toEqual([]);
  });

  it.each([
    ["it is switched off", {}, { imRouting: { algorithm: "all", copies: false } }],
    ["his messages take turns", {}, { imRouting: { algorithm: "roundrobin", copies: true } }],
    ["he writes from a server that is none of his", { from: "south", to: "sip:emil@example.com" }, {}],
    [
      "a device says that he is writing (RFC 3994)",
      { headers: [["Content-Type", "application/im-iscomposing+xml"]] },
      {},
    ],
    [
      "a device notifies (RFC 5438)",
      {
        headers: [["Content-Type", "message/cpim"]],
        body: "From: <im:a@b>\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n<imdn/>",
      },
      {},
    ],
    ["it is to himself", { to: ALICE }, {}],
  ] as const)("is not shown where %s", async (_, how, options) => {
    await domain({}, { options: options as Partial<ProxyOptions> });
    const {
      from = "east",
      to = BOB,
      ...more
    } = how as { from?: string; to?: string; headers?: [[string, string]]; body?: string };
    expect(await writes(from, "hi", more, to)).toBe(200);
    await world.simulation.advance(2_000);
    expect(copied()).toEqual([]);
    expect(
      at("west")
        .seen("MESSAGE")
        .filter((each) => each.has("Codomain-Copy")),
    ).toEqual([]);
  });

  it("a client whose name nobody has proved copies nothing in it", async () => {
    await domain();
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB, { from: ALICE, body: "not hers" })).toBe(200);
    await world.simulation.advance(2_000);
    expect(copied()).toEqual([]);
  });

  it("a client who has proved to be him is at none of his servers: all of them are shown it, and without his credentials", async () => {
    const realm = "example.com";
    await domain({}, { options: { clients: { authenticate: "digest", realm, home: null } } });
    const secret = digestSecret("SHA-256", "alice", realm, "secret");
    const credentials = { aor: "alice@example.com", realm, md5: null, sha256: secret };
    await world.simulation.finish(world.proxies[0]!.directory.putCredentials(credentials, "test"));
    const client = world.client("127.0.0.50");
    const challenge = (await client.send("MESSAGE", BOB, { from: ALICE })).at(-1)!.header("Proxy-Authenticate")!;
    const nonce = /nonce="([^"]+)"/.exec(challenge)![1]!;
    const given = { username: "alice", realm, nonce, uri: BOB, nc: "00000001", cnonce: "c", qop: "auth" };
    const response = digestResponse({ ...given, response: "", algorithm: "SHA-256" }, "MESSAGE", secret);
    const value = `Digest username="alice", realm="${realm}", nonce="${nonce}", uri="${BOB}", response="${response}", algorithm=SHA-256, nc=00000001, cnonce="c", qop=auth`;
    const headers = [["Proxy-Authorization", value]] as const;
    expect(await client.status("MESSAGE", BOB, { from: ALICE, body: "hi", headers })).toBe(200);
    await world.simulation.advance(500);
    expect(got()).toEqual({ east: ["alice:hi"], west: ["alice:hi"], north: ["alice:hi"] });
    expect(at("east").seen("MESSAGE")[0]!.has("Proxy-Authorization")).toBe(false);
  });

  it("a copy asks for no notification of what the original asked for (RFC 5438 6.2)", async () => {
    await domain();
    const cpim = (asks: string) =>
      `From: <im:alice@example.com>\r\nTo: <im:bob@example.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 1\r\n${asks}\r\nContent-Type: text/plain\r\n\r\nimdn.Disposition-Notification: in the text\r\n`;
    const body = cpim("imdn.Disposition-Notification: positive-delivery, display\r\n");
    await writes("east", body, { headers: [["Content-Type", "Message/CPIM"]] });
    expect(at("south").seen("MESSAGE")[0]!.body).toBe(body);
    const [copy] = at("west").seen("MESSAGE");
    expect(copy!.body).toBe(cpim(""));
    expect(copy!.contentLength).toBe(copy!.body.length);
  });

  it("is off the sender's way: a server that is silent costs him nothing, one try, and no more", async () => {
    await domain({ west: always(0), north: always(480) });
    const before = world.simulation.now;
    expect(await writes("east", "hi")).toBe(200);
    expect(world.simulation.now - before).toBeLessThan(1_000);
    await world.simulation.advance(60_000);
    expect(got()).toEqual({ east: [], west: ["alice:hi"], north: ["alice:hi"] });
    expect(
      copied()
        .map(({ server, status }) => [server, status])
        .toSorted(),
    ).toEqual([
      ["north", 480],
      ["west", 0],
    ]);
    expect(await world.leftOver()).toEqual([]);
  });

  it("is shown while what he wrote is stored for whom he wrote to", async () => {
    await domain(
      {},
      {
        options: {
          absentMessages: "store",
          models: [
            ...COPIES.models!,
            { match: "carl@example.com", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } },
          ],
        },
      },
    );
    const { directory } = world.proxies[0]!;
    await world.simulation.finish(
      directory.putUser({ aor: "carl@example.com", model: null, settings: {}, identities: {} }, "test"),
    );
    expect(await writes("east", "later", {}, "sip:carl@example.com")).toBe(202);
    await world.simulation.finish(directory.move({ aor: "carl@example.com", to: "south", actor: "test" }));
    await world.simulation.advance(5_000);
    expect(
      at("south")
        .seen("MESSAGE")
        .map(({ body }) => body),
    ).toEqual(["later"]);
    expect(got()).toEqual({ east: [], west: ["alice:later"], north: ["alice:later"] });
  });
});

describe("a copy that comes back", () => {
  /** Sends everything it gets on to the proxy, with or without the mark. */
  const sendsOn =
    (keepsMark: boolean, statuses: number[]): Script =>
    (transaction, self) => {
      const { request } = transaction;
      const copy = request.edit().set("Call-ID", `${request.callId}-${self.host}`).set("Max-Forwards", "60");
      if (!keepsMark) copy.remove("Codomain-Copy");
      const listen = {
        onResponse: ({ status }: { status: number }) => void (status >= 200 && statuses.push(status)),
        onTimeout: () => undefined,
        onTransportError: () => undefined,
      };
      void self.stack.send(copy.build(), listen, { host: "127.0.0.1", port: 5060 });
      reply(transaction, self, 200);
    };

  it.each([
    ["with its mark", true],
    ["without it, from a server that is known to send on", false],
  ])("%s is absorbed: no copy of a copy, nobody has it twice", async (_, keepsMark) => {
    const statuses: number[] = [];
    const script = sendsOn(keepsMark, statuses);
    await domain({ west: script, north: script }, { each: { west: { onward: "both" }, north: { onward: "both" } } });
    for (const expected of [1, 2]) {
      expect(await writes("east", "ok")).toBe(200);
      await world.simulation.advance(5_000);
      expect(got()).toEqual({
        east: [],
        west: Array(expected).fill("alice:ok"),
        north: Array(expected).fill("alice:ok"),
      });
    }
    expect(statuses).toEqual([482, 482, 482, 482]);
    expect(at("south").seen("MESSAGE")).toHaveLength(2);
  });

  it.each(["refuse", "store"] as const)("is never stored, whoever sends it (absent: %s)", async (absentMessages) => {
    await domain({}, { options: { absentMessages } });
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", "sip:nobody@example.com", { headers: [["Codomain-Copy", "sent"]] })).toBe(
      482,
    );
    expect(await writes("west", "x", { headers: [["codomain-copy", "sent"]] }, ALICE)).toBe(482);
    expect(await world.simulation.finish(world.proxies[0]!.directory.messages.list({ limit: 10 }))).toEqual([]);
  });
});

describe("copies in a tree", () => {
  const tree: Partial<ProxyOptions> = {
    models: [{ match: "*@example.com", model: { model: "unioned", style: "hierarchical", tree: "t" } }],
    unions: {
      trees: [{ name: "t", root: "east", children: { east: ["west"], west: ["north"] } }],
      downListener: false,
      unreachable: "wait",
    },
  };
  /** A node: what it was sent goes on to those below it, under identifiers of its own. */
  const node: Script = (transaction, self) => {
    const { request } = transaction;
    const copy = request
      .edit()
      .set("Call-ID", `${request.callId}-${self.host}`)
      .set("Max-Forwards", "60")
      .remove("Codomain-Copy")
      .build();
    const nobody = { onResponse: () => undefined, onTimeout: () => undefined, onTransportError: () => undefined };
    void self.stack.send(copy, nobody, { host: "127.0.0.1", port: 5060 });
    reply(transaction, self, 200);
  };

  it("a message that goes up and comes down again is copied once to each server of the writer's", async () => {
    await domain(
      { east: node, west: node },
      { options: tree, each: { east: { onward: "children" }, west: { onward: "both" } } },
    );
    expect(await writes("north", "hi")).toBe(200);
    await world.simulation.advance(5_000);
    expect(got()).toEqual({
      east: expect.arrayContaining(["bob:hi", "alice:hi"]),
      west: expect.arrayContaining(["bob:hi", "alice:hi"]),
      north: ["bob:hi"],
    });
    expect(NAMES.map((name) => got()[name]!.length)).toEqual([2, 2, 1]);
  });
});
