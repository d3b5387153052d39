import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import { type ListServer, startListServer } from "../support/kamailio-lists.ts";
import { answering, resubscribeParts, subscribeParts } from "../support/presence.ts";
import { type RunningProxy, startProxy } from "../support/proxy.ts";
import { publishOn } from "../support/unioned-domain.ts";
import { ask, field, type WireMessage, type WirePeer, wirePeer } from "../support/wire.ts";

/**
 * A Kamailio with resource lists (its rls module, RFC 4662) is a server that sends on what its own users want
 * (`onward: up`): who watches a list there has the members who are on several servers composed by the proxy.
 */
const [HOST, WEST, SOUTH, LISTS, PHONE] = [211, 212, 213, 214, 215].map((last) => `127.0.0.${last}`) as [
  string,
  string,
  string,
  string,
  string,
];
/** Kamailio gathers for a second what it tells of a list. */
const SLOW_MS = 30_000;
const PEER = "ann.team";
const TREE = "ann.office";
const at = (user: string): string => `${user}@example.com`;

let west: Kamailio;
let south: Kamailio;
let lists: ListServer;
let proxy: RunningProxy;
let phone: WirePeer;
const stops: Array<() => Promise<unknown>> = [];

beforeAll(async () => {
  const common = { proxy: `${HOST}:5060`, users: [PEER, TREE] };
  const stopped = async <T extends { stop(): Promise<unknown> }>(starting: Promise<T>): Promise<T> => {
    const started = await starting;
    stops.push(() => started.stop());
    return started;
  };
  [west, south, lists] = await Promise.all([
    stopped(startKamailio({ ...common, host: WEST })),
    stopped(startKamailio({ ...common, host: SOUTH })),
    stopped(startListServer({ ...common, host: LISTS, users: [PEER, TREE, "friends", "colleagues"] })),
  ]);
  proxy = await startProxy({
    host: HOST,
    servers: { west: west.uri, south: south.uri, lists: `{ uri: "${lists.uri}", onward: up }` },
    more: `
trees:
  offices: { root: west, children: { west: [lists, south] } }
models:
  - { match: "*.team@example.com", model: unioned, style: peer, servers: [west, south, lists] }
  - { match: "*.office@example.com", model: unioned, style: hierarchical, tree: offices }
`,
  });
  stops.push(() => proxy.stop());
  phone = answering(await wirePeer(PHONE));
  stops.push(() => phone.close());
  for (const user of [PEER, TREE]) {
    await publishOn(phone, west, at(user), "west 1");
    await publishOn(phone, south, at(user), "south 1");
    await publishOn(phone, lists, at(user), "lists 1");
  }
});

afterAll(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

interface Watching {
  /** Bodies of the NOTIFYs so far. */
  readonly bodies: () => readonly string[];
  /** Notes in the last of them, in alphabetical order. */
  readonly shows: () => string;
  end(): Promise<void>;
}

/** Subscribes at one server as a phone that can read lists, or as one that cannot. */
async function watch(server: { host: string; port: number }, what: string, watcher: string): Promise<Watching> {
  const parts = subscribeParts(phone, what, watcher);
  const more = ["Supported: eventlist", "Accept: multipart/related, application/rlmi+xml"];
  const answer = await ask(phone, server, { ...parts, headers: [...parts.headers!, ...more] });
  expect(answer.status).toBe(200);
  const callId = field(answer.text, "Call-ID");
  const isIts = ({ text, status, method }: WireMessage): boolean =>
    status === 0 && method === "NOTIFY" && field(text, "Call-ID") === callId;
  const bodies = (): string[] => phone.heard.filter(isIts).map(({ text }) => text.slice(text.indexOf("\r\n\r\n") + 4));
  return {
    bodies,
    shows: () =>
      Array.from(
        bodies()
          .at(-1)
          ?.matchAll(/<note>([^<]*)<\/note>/g) ?? [],
        ([, note]) => note,
      )
        .sort()
        .join(", "),
    end: async () => {
      const refresh = resubscribeParts(phone, answer.text, 2, 0);
      expect((await ask(phone, server, { ...refresh, headers: [...refresh.headers!, ...more] })).status).toBe(200);
    },
  };
}

const dialogs = async (): Promise<number> =>
  JSON.parse((await proxy.run("subscriptions", "list", "--json")).stdout).subscriptions.length;

describe("a list at Kamailio", () => {
  test("a member among peers is shown as the user's other servers have her; a change is one NOTIFY; all ends with the list", async () => {
    await lists.list("bob@example.com", at("friends"), [at(PEER)]);
    const watching = await watch(lists, at("friends"), "bob@example.com");
    await eventually("the document", () => watching.shows() === "south 1, west 1", SLOW_MS);
    expect(watching.bodies().at(-1)).toContain("application/rlmi+xml");
    const before = watching.bodies().length;
    await publishOn(phone, west, at(PEER), "west 2", "closed");
    await eventually("the change", () => watching.shows() === "south 1, west 2", SLOW_MS);
    expect(watching.bodies().length).toBe(before + 1);
    expect(await dialogs()).toBe(1);
    await watching.end();
    await eventually("no subscription to be kept", async () => (await dialogs()) === 0, SLOW_MS);
  });

  test("a member in a tree is shown as the whole tree has her, what that server has itself among it", async () => {
    await lists.list("eve@example.com", at("colleagues"), [at(TREE)]);
    const watching = await watch(lists, at("colleagues"), "eve@example.com");
    await eventually("the document", () => watching.shows() === "lists 1, south 1, west 1", SLOW_MS);
    await watching.end();
    await eventually("no subscription to be kept", async () => (await dialogs()) === 0, SLOW_MS);
  });

  test("what it is asked by the proxy it answers for itself", async () => {
    const watching = await watch({ host: HOST, port: 5060 }, at(PEER), "zoe@example.com");
    await eventually("the document", () => watching.shows() === "lists 1, south 1, west 2", SLOW_MS);
    await watching.end();
    await eventually("no subscription to be kept", async () => (await dialogs()) === 0, SLOW_MS);
  });
});
