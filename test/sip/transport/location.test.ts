import { describe, expect, it } from "vitest";
import type { NaptrRecord, Random, Resolver, SrvRecord } from "../../../src/runtime/runtime.ts";
import { parseVia } from "../../../src/sip/message/headers/via.ts";
import { parseUri, type SipUri } from "../../../src/sip/message/uri.ts";
import { createLocator, LocationError } from "../../../src/sip/transport/location.ts";
import { orderNaptr, orderSrv, srvNames } from "../../../src/sip/transport/srv-order.ts";
import type { Target, TransportName } from "../../../src/sip/transport/transport.ts";

const ALL: ReadonlySet<TransportName> = new Set(["udp", "tcp", "tls", "ws", "wss"]);
const PLAIN: ReadonlySet<TransportName> = new Set(["udp", "tcp"]);

/** The records of the example in RFC 3263 4.1, shuffled. */
const NAPTR: readonly NaptrRecord[] = [
  { order: 100, preference: 50, flags: "s", service: "SIP+D2U", replacement: "_sip._udp.example.com." },
  { order: 50, preference: 50, flags: "s", service: "SIPS+D2T", replacement: "_sips._tcp.example.com." },
  { order: 90, preference: 50, flags: "s", service: "SIP+D2T", replacement: "_sip._tcp.example.com" },
];

interface Zone {
  naptr?: Record<string, readonly NaptrRecord[]>;
  srv?: Record<string, readonly SrvRecord[]>;
  a?: Record<string, readonly string[]>;
  aaaa?: Record<string, readonly string[]>;
}

class FakeResolver implements Resolver {
  readonly asked: string[] = [];
  zone: Zone;
  down = false;

  constructor(zone: Zone) {
    this.zone = zone;
  }

  naptr = (name: string) => this.#answer("naptr", name, this.zone.naptr?.[name] ?? []);
  srv = (name: string) => this.#answer("srv", name, this.zone.srv?.[name] ?? []);
  a = (name: string) => this.#answer("a", name, this.zone.a?.[name] ?? []);
  aaaa = (name: string) => this.#answer("aaaa", name, this.zone.aaaa?.[name] ?? []);

  #answer<T>(type: string, name: string, records: readonly T[]): Promise<readonly T[]> {
    this.asked.push(`${type} ${name}`);
    return this.down ? Promise.reject(new Error("SERVFAIL")) : Promise.resolve(records);
  }
}

/** Always the smallest number. */
const LOWEST: Random = {
  integer: () => 0,
  bytes: (length) => new Uint8Array(length),
  token: (length) => "a".repeat(length),
};

function fixture(zone: Zone) {
  const resolver = new FakeResolver(zone);
  const clock = { at: 0, now: () => clock.at, wall: () => clock.at };
  return { resolver, clock, locator: createLocator(resolver, LOWEST, clock) };
}

function uri(text: string): SipUri {
  return parseUri(text) as SipUri;
}

function brief(targets: readonly Target[]): string[] {
  return targets.map(
    (each) => `${each.transport} ${each.host} ${each.port}${each.name === undefined ? "" : ` ${each.name}`}`,
  );
}

describe("RFC 3263 4.1: selecting a transport", () => {
  it("orders NAPTR records by order and preference and discards what the client does not support", () => {
    expect(orderNaptr(NAPTR, "sip", PLAIN)).toEqual([
      { transport: "tcp", srv: "_sip._tcp.example.com" },
      { transport: "udp", srv: "_sip._udp.example.com" },
    ]);
  });

  it("a client that supports TLS SHOULD retain SIPS records for a SIP URI", () => {
    expect(orderNaptr(NAPTR, "sip", ALL)[0]).toEqual({ transport: "tls", srv: "_sips._tcp.example.com" });
  });

  it("a client resolving a SIPS URI MUST discard services without SIPS", () => {
    expect(orderNaptr(NAPTR, "sips", ALL).map((each) => each.transport)).toEqual(["tls"]);
  });

  it("asks for each supported transport's SRV records where there is no NAPTR record", () => {
    expect(srvNames("example.com", "sip", undefined, ALL).map((each) => each.srv)).toEqual([
      "_sip._udp.example.com",
      "_sip._tcp.example.com",
      "_sips._tcp.example.com",
    ]);
    expect(srvNames("example.com", "sips", undefined, ALL).map((each) => each.srv)).toEqual(["_sips._tcp.example.com"]);
  });

  it.each([
    ["sip:bob@192.0.2.4", "udp 192.0.2.4 5060"],
    ["sip:bob@192.0.2.4:5080", "udp 192.0.2.4 5080"],
    ["sips:bob@192.0.2.4", "tls 192.0.2.4 5061"],
    ["sip:bob@192.0.2.4;transport=tcp", "tcp 192.0.2.4 5060"],
    ["sip:bob@192.0.2.4;transport=TLS", "tls 192.0.2.4 5061"],
    ["sips:bob@192.0.2.4;transport=tcp", "tls 192.0.2.4 5061"],
    ["sip:bob@192.0.2.4;transport=ws", "ws 192.0.2.4 80"],
    ["sips:bob@192.0.2.4;transport=ws", "wss 192.0.2.4 443"],
    ["sip:bob@[2001:DB8:0::1]:5070", "udp 2001:db8::1 5070"],
    ["sip:bob@example.com;maddr=192.0.2.9", "udp 192.0.2.9 5060"],
  ])("a numeric target needs no resolver: %s", (text, expected) => {
    const { locator, resolver } = fixture({});
    expect(brief(locator.locateNow(uri(text), { transports: ALL }) ?? [])).toEqual([expected]);
    expect(resolver.asked).toEqual([]);
  });

  it("RFC 6761 6.3: localhost is never asked of a name server", async () => {
    const { locator, resolver } = fixture({});
    const targets = await locator.locate(uri("sips:bob@localhost:5071"), { transports: ALL });
    expect(brief(targets)).toEqual(["tls 127.0.0.1 5071 localhost"]);
    expect(resolver.asked).toEqual([]);
  });

  it("has no answer at once for a name", () => {
    const { locator } = fixture({});
    expect(locator.locateNow(uri("sip:bob@example.com"), { transports: ALL })).toBeUndefined();
  });

  it.each(["sip:bob@192.0.2.4;transport=sctp", "sips:bob@192.0.2.4;transport=udp"])("refuses %s", async (text) => {
    const { locator } = fixture({});
    await expect(locator.locate(uri(text), { transports: ALL })).rejects.toThrow(LocationError);
  });

  it("refuses a transport that we do not listen on", async () => {
    const { locator } = fixture({});
    const asked = locator.locate(uri("sip:bob@192.0.2.4;transport=tls"), { transports: PLAIN });
    await expect(asked).rejects.toThrow(/no listen point for transport tls/);
  });
});

describe("RFC 3263 4.2: port and address", () => {
  const zone: Zone = {
    naptr: { "example.com": NAPTR },
    srv: {
      "_sip._tcp.example.com": [
        { name: "backup.example.com", port: 5060, priority: 1, weight: 0 },
        { name: "server1.example.com", port: 5060, priority: 0, weight: 1 },
        { name: "server2.example.com", port: 5062, priority: 0, weight: 2 },
      ],
      "_sip._udp.example.com": [{ name: "server1.example.com", port: 5060, priority: 0, weight: 0 }],
    },
    a: {
      "server1.example.com": ["192.0.2.1"],
      "server2.example.com": ["192.0.2.2"],
      "backup.example.com": ["192.0.2.3"],
    },
    aaaa: { "server1.example.com": ["2001:db8::1"] },
  };

  it("NAPTR, SRV, addresses: every instance in the order to be tried, the domain as the name to verify", async () => {
    const { locator } = fixture(zone);
    const targets = await locator.locate(uri("sip:bob@example.com"), { transports: PLAIN });
    expect(brief(targets)).toEqual([
      "tcp 2001:db8::1 5060 example.com",
      "tcp 192.0.2.1 5060 example.com",
      "tcp 192.0.2.2 5062 example.com",
      "tcp 192.0.2.3 5060 example.com",
      "udp 2001:db8::1 5060 example.com",
      "udp 192.0.2.1 5060 example.com",
    ]);
  });

  it("asks only for the families it can send to", async () => {
    const { locator, resolver } = fixture(zone);
    await locator.locate(uri("sip:bob@example.com"), { transports: PLAIN, families: new Set([4]) });
    expect(resolver.asked.some((each) => each.startsWith("aaaa"))).toBe(false);
  });

  it("a port in the URI: addresses only, no SRV", async () => {
    const { locator, resolver } = fixture({ a: { "example.com": ["192.0.2.7", "192.0.2.8"] } });
    const targets = await locator.locate(uri("sip:bob@example.com:5060"), { transports: ALL });
    expect(brief(targets)).toEqual(["udp 192.0.2.7 5060 example.com", "udp 192.0.2.8 5060 example.com"]);
    expect(resolver.asked).toEqual(["aaaa example.com", "a example.com"]);
  });

  it("a transport in the URI: SRV of that transport only", async () => {
    const { locator, resolver } = fixture(zone);
    await locator.locate(uri("sip:bob@example.com;transport=tcp"), { transports: ALL });
    expect(resolver.asked.filter((each) => !each.startsWith("a"))).toEqual(["srv _sip._tcp.example.com"]);
  });

  it.each([
    ["sip:bob@example.org", "udp 192.0.2.20 5060 example.org"],
    ["sips:bob@example.org", "tls 192.0.2.20 5061 example.org"],
  ])("no SRV records: the addresses of the name at the default port: %s", async (text, expected) => {
    const { locator } = fixture({ a: { "example.org": ["192.0.2.20"] } });
    expect(brief(await locator.locate(uri(text), { transports: ALL }))).toEqual([expected]);
  });

  it("a server whose name does not resolve is passed over", async () => {
    const { locator } = fixture({ srv: zone.srv!, a: { "server2.example.com": ["192.0.2.2"] } });
    const targets = await locator.locate(uri("sip:bob@example.com;transport=tcp"), { transports: ALL });
    expect(brief(targets)).toEqual(["tcp 192.0.2.2 5062 example.com"]);
  });

  it("a name without addresses is a typed error", async () => {
    const { locator } = fixture({});
    await expect(locator.locate(uri("sip:bob@nowhere.example"), { transports: ALL })).rejects.toThrow(LocationError);
  });

  it("never more than 16 targets, whatever DNS says", async () => {
    const srv = Array.from({ length: 200 }, (_, i) => ({
      name: "s.example.com",
      port: 5000 + i,
      priority: i,
      weight: 0,
    }));
    const { locator } = fixture({
      srv: { "_sip._udp.example.com": srv },
      a: { "s.example.com": ["192.0.2.1", "192.0.2.2"] },
    });
    expect(await locator.locate(uri("sip:bob@example.com"), { transports: PLAIN })).toHaveLength(16);
  });
});

describe("RFC 2782: order of SRV records", () => {
  const records: readonly SrvRecord[] = [
    { name: "c", port: 1, priority: 2, weight: 100 },
    { name: "a", port: 1, priority: 1, weight: 10 },
    { name: "b", port: 1, priority: 1, weight: 90 },
    { name: "z", port: 1, priority: 1, weight: 0 },
  ];

  function drawing(...numbers: number[]) {
    const bounds: number[] = [];
    return {
      bounds,
      integer: (below: number) => {
        bounds.push(below);
        return numbers.shift()!;
      },
    };
  }

  it("lower priority first; within it the first whose running sum reaches the number drawn from 0 to the sum", () => {
    const random = drawing(11, 10, 0, 0);
    expect(orderSrv(records, random).map((each) => each.name)).toEqual(["b", "a", "z", "c"]);
    expect(random.bounds).toEqual([101, 11, 1, 101]);
  });

  it("a record of weight 0 is chosen first only when 0 is drawn", () => {
    expect(orderSrv(records, drawing(0, 0, 0, 0)).map((each) => each.name)).toEqual(["z", "a", "b", "c"]);
  });

  it("the target '.' says that the service is not offered", () => {
    expect(orderSrv([{ name: ".", port: 0, priority: 0, weight: 0 }], drawing())).toEqual([]);
  });
});

describe("answers are kept for a while", () => {
  const zone: Zone = { a: { "example.org": ["192.0.2.20"] } };
  const asked = uri("sip:bob@example.org:5060");

  it("asks again after 30 s, not before", async () => {
    const { locator, resolver, clock } = fixture(zone);
    await locator.locate(asked, { transports: ALL });
    clock.at = 29_999;
    await locator.locate(asked, { transports: ALL });
    expect(resolver.asked).toHaveLength(2);
    clock.at = 30_000;
    await locator.locate(asked, { transports: ALL });
    expect(resolver.asked).toHaveLength(4);
  });

  it("asks once for what is asked at the same time", async () => {
    const { locator, resolver } = fixture(zone);
    await Promise.all([1, 2, 3].map(() => locator.locate(asked, { transports: ALL })));
    expect(resolver.asked).toHaveLength(2);
  });

  it("an empty answer is remembered too", async () => {
    const { locator, resolver } = fixture({});
    await locator.locate(asked, { transports: ALL }).catch(() => {});
    await locator.locate(asked, { transports: ALL }).catch(() => {});
    expect(resolver.asked).toHaveLength(2);
  });

  it("while nobody can be asked the last answer serves; without one it is a typed error", async () => {
    const { locator, resolver, clock } = fixture(zone);
    await locator.locate(asked, { transports: ALL });
    clock.at = 100_000;
    resolver.down = true;
    expect(brief(await locator.locate(asked, { transports: ALL }))).toEqual(["udp 192.0.2.20 5060 example.org"]);
    await expect(locator.locate(uri("sip:bob@example.net"), { transports: ALL })).rejects.toThrow(LocationError);
  });
});

describe("RFC 3263 5: where a response goes when its source is unreachable", () => {
  it.each([
    ["SIP/2.0/TCP 192.0.2.4:5070;branch=z9hG4bKa", "tcp 192.0.2.4 5070"],
    ["SIP/2.0/TCP 192.0.2.4;branch=z9hG4bKa", "tcp 192.0.2.4 5060"],
    ["SIP/2.0/TCP host.example:5070;branch=z9hG4bKa", "tcp 192.0.2.5 5070 host.example"],
    ["SIP/2.0/TCP host.example;branch=z9hG4bKa", "tcp 192.0.2.6 5090 host.example"],
  ])("%s", async (text, expected) => {
    const { locator } = fixture({
      srv: { "_sip._tcp.host.example": [{ name: "s.host.example", port: 5090, priority: 0, weight: 0 }] },
      a: { "host.example": ["192.0.2.5"], "s.host.example": ["192.0.2.6"] },
    });
    expect(brief(await locator.locateResponse(parseVia(text), "tcp"))).toEqual([expected]);
  });
});
