import { afterEach, describe, expect, it } from "vitest";
import type { UdpSocket } from "../../src/runtime/runtime.ts";
import { parseMessage } from "../../src/sip/message/parse.ts";
import { always, createWorld, reply, type World } from "../support/world.ts";

/**
 * What peers may send: headers that only the routing reads, with values from a list of the worst, in requests of every
 * method and in responses. Each request gets at most one final answer, nothing is thrown, and nothing is left.
 */

let world: World;
afterEach(async () => {
  await world.stop();
});

const METHODS = ["MESSAGE", "SUBSCRIBE", "INVITE", "REGISTER", "PUBLISH", "OPTIONS", "NOTIFY", "BYE", "ACK", "FOO"];
const URIS = [
  "sip:bob@example.com",
  "sip:example.com",
  "sip:127.0.0.1",
  "sip:bob@127.0.0.1;lr;k=0",
  "sip:bob@[::1]",
  "sip:bob@example.com;maddr=127.0.0.77",
  "sip:bob@example.com;transport=tls",
  "sip:b%00b@example.com",
  "sip:b@b@example.com",
  "sip::@example.com",
  "sips:bob@example.com",
  "tel:+1234;phone-context=example.com",
  "tel:911",
  "urn:service:sos",
  "sip:bob@example.com?Subject=x",
  `sip:${"x".repeat(2_000)}@example.com`,
  "sip:codomain-probe-1@example.com",
  "sip:__proto__@example.com",
  "sip:constructor@example.com",
];
const VALUES = [
  "",
  ";",
  ",",
  "<",
  "<sip:",
  "<sip:127.0.0.1;lr>",
  "<sip:127.0.0.1;lr;cf=zz;fb=99999999999;k=0123456789abcdef>",
  "<sip:127.0.0.1;lr>, <sip:127.0.0.1;lr>, <sip:bob@127.0.0.77>",
  "<sip:nowhere.test;lr>",
  "<sip:[::1];lr>",
  "<tel:+1>",
  "*",
  "0",
  "-1",
  "99999999999999999999",
  "NaN",
  '"',
  '"\\',
  "presence;id=",
  "active;expires=x",
  "terminated",
  "Digest",
  'Digest username="a", realm="example.com", nonce="x.y.z", uri="<", response="", algorithm=MD5',
  "id;none",
  "a".repeat(3_000),
];
const HEADERS = [
  "Route",
  "Record-Route",
  "Path",
  "Contact",
  "Event",
  "Expires",
  "Max-Forwards",
  "Max-Breadth",
  "P-Asserted-Identity",
  "P-Preferred-Identity",
  "Privacy",
  "Proxy-Authorization",
  "Authorization",
  "Proxy-Require",
  "Supported",
  "Subscription-State",
  "SIP-If-Match",
  "Reason",
  "To",
  "From",
];

function message(pick: <T>(from: readonly T[]) => T, index: number, host: string): string {
  const method = pick(METHODS);
  const headers = new Map<string, string>([
    ["Via", `SIP/2.0/UDP ${host}:5060;branch=z9hG4bKhostile${index}`],
    ["From", `<sip:ann@example.com>;tag=f${index}`],
    ["To", index % 3 === 0 ? "<sip:bob@example.com>;tag=t" : "<sip:bob@example.com>"],
    ["Call-ID", `hostile-${index}`],
    ["CSeq", `1 ${method}`],
    ["Contact", `<sip:${host}:5060>`],
  ]);
  for (let i = 0; i <= index % 3; i++) headers.set(pick(HEADERS), pick(VALUES));
  const lines = [...headers].map(([name, value]) => `${name}: ${value}`);
  return [`${method} ${pick(URIS)} SIP/2.0`, ...lines, "Content-Length: 0", "", ""].join("\r\n");
}

describe.each(["none", "digest"] as const)("authentication of clients: %s", (authenticate) => {
  it.each([1, 2, 3])("nothing that is sent makes a handler throw, or is answered twice (seed %i)", async (seed) => {
    world = await createWorld({
      seed,
      servers: { east: { script: always(404) }, west: { script: always(200) } },
      // Whatever comes from 127.0.0.51 comes from a server that is trusted.
      uris: { west: ["sip:127.0.0.12:5060", "sip:127.0.0.51:5060"] },
      each: { west: { balance: "failover" } },
      options: {
        recurse: true,
        clients: { authenticate, realm: "example.com", home: "west" },
        health: { intervalMs: 0, failures: 3, timeoutMs: 2_000 },
      },
    });
    const { simulation } = world;
    const pick = <T>(from: readonly T[]): T => from[simulation.random.integer(from.length)]!;
    const finals = new Map<string, Set<number>>();
    const listen = async (host: string): Promise<UdpSocket> => {
      const handler = {
        receive: (bytes: Uint8Array) => {
          const parsed = parseMessage(Buffer.from(bytes).toString("latin1"));
          if (!("status" in parsed) || parsed.status < 200) return;
          const branch = parsed.via.branch ?? "";
          finals.set(branch, (finals.get(branch) ?? new Set()).add(parsed.status));
        },
        failed: () => undefined,
      };
      return simulation.finish(simulation.runtime([host]).network.udp({ host, port: 5060 }, handler));
    };
    const sockets = [await listen("127.0.0.50"), await listen("127.0.0.51")];
    for (let index = 0; index < 600; index++) {
      const host = `127.0.0.5${index % 2}`;
      sockets[index % 2]!.send(Buffer.from(message(pick, index, host), "latin1"), "127.0.0.1", 5060);
      if (index % 20 === 0) await simulation.advance(100);
    }
    await simulation.advance(45_000);
    expect([...finals].filter(([, statuses]) => statuses.size > 1)).toEqual([]);
    expect(finals.size).toBeGreaterThan(300);
    expect([...new Set([...finals.values()].flatMap((each) => [...each]))]).toContain(400);
    expect(world.proxies[0]!.told.warning).toEqual([]);
    expect(await world.leftOver()).toEqual([]);
    for (const socket of sockets) await simulation.finish(socket.close());
  });
});

describe("answers of servers", () => {
  it.each([1, 2, 3])(
    "whatever is in them, they pass or end their branch, and nothing is left (seed %i)",
    async (seed) => {
      const NAMES = ["Contact", "Record-Route", "P-Asserted-Identity", "Retry-After", "WWW-Authenticate", "Expires"];
      const STATUSES = [200, 202, 299, 300, 302, 401, 407, 404, 410, 481, 482, 503, 580, 603, 604, 699];
      world = await createWorld({
        seed,
        servers: Object.fromEntries(
          ["east", "west", "north"].map((name) => [
            name,
            {
              script: (transaction, self) => {
                const pick = <T>(from: readonly T[]): T => from[world.simulation.random.integer(from.length)]!;
                reply(transaction, self, pick(STATUSES), [[pick(NAMES), pick(VALUES)]]);
              },
            },
          ]),
        ),
        options: {
          recurse: seed % 2 === 0,
          clients: { authenticate: "none", realm: "example.com", home: "west" },
          health: { intervalMs: 0, failures: 3, timeoutMs: 2_000 },
        },
      });
      const client = world.client("127.0.0.50");
      for (let round = 0; round < 20; round++) {
        const sent = ["MESSAGE", "SUBSCRIBE", "INVITE", "REGISTER", "PUBLISH"].map((method) =>
          client.begin(method, method === "REGISTER" ? "sip:example.com" : `sip:u${round % 7}@example.com`, {
            toUser: `sip:u${round % 7}@example.com`,
            headers: method === "PUBLISH" ? [["Event", "presence"]] : [],
          }),
        );
        const statuses = await client.all(...sent);
        expect(statuses.filter((status) => status < 200 || status === 503 || status === 604)).toEqual([]);
      }
      expect(world.proxies[0]!.told.warning).toEqual([]);
      expect(await world.leftOver()).toEqual([]);
    },
  );
});
