import { describe, expect, it } from "vitest";
import {
  buildOriginTable,
  identifyOrigin,
  normalHost,
  type OriginInput,
  type ViaHolder,
} from "../../src/federation/origin.ts";

const TABLE = buildOriginTable(
  [
    { name: "east", nodes: [{ host: "10.0.0.1", port: 5060 }], names: ["east.example.com"] },
    {
      name: "west",
      nodes: [
        { host: "10.0.0.2", port: 5060 },
        { host: "10.0.0.2", port: 5062 },
      ],
      names: [],
    },
    { name: "a", nodes: [{ host: "10.0.0.9", port: 5070 }], names: ["a.example.com", "both.example.com"] },
    { name: "b", nodes: [{ host: "10.0.0.9", port: 5080 }], names: ["b.example.com", "both.example.com"] },
    { name: "six", nodes: [{ host: "[2001:DB8::0:1]", port: 5060 }], names: [] },
    { name: "plain", nodes: [{ host: "10.0.0.4" }], names: [] },
  ],
  [{ domain: "other.org", names: ["sip.other.org"] }],
);

function via(host: string, port?: number, transport = "UDP"): ViaHolder {
  return { via: { host, port, transport } };
}

function identify(change: Partial<OriginInput>, message: ViaHolder = via("192.0.2.1", 5060)) {
  return identifyOrigin(
    { peerNames: [], sourceHost: "192.0.2.1", sourcePort: 40_000, unknown: "client", authenticated: null, ...change },
    message,
    TABLE,
  );
}

const east = { kind: "server", server: "east" };
const west = { kind: "server", server: "west" };
const a = { kind: "server", server: "a" };
const b = { kind: "server", server: "b" };

describe("the origin, in this order", () => {
  it("1. a subject-alternative name of its certificate, whatever the address says", () => {
    expect(identify({ peerNames: ["x.org", "EAST.example.com"], sourceHost: "10.0.0.2", sourcePort: 5060 })).toEqual(
      east,
    );
  });

  it("1. an address in its certificate", () => {
    expect(identify({ peerNames: ["10.0.0.1"] })).toEqual(east);
  });

  it("1. a name of a peer domain's certificate", () => {
    expect(identify({ peerNames: ["sip.other.org"] })).toEqual({ kind: "peer", domain: "other.org" });
  });

  it("1. not a name that two servers carry", () => {
    expect(identify({ peerNames: ["both.example.com"] })).toEqual({ kind: "client", authenticated: null });
  });

  it("2. source address and port", () => {
    expect(identify({ sourceHost: "10.0.0.9", sourcePort: 5080 })).toEqual(b);
    expect(identify({ sourceHost: "10.0.0.2", sourcePort: 5062 })).toEqual(west);
  });

  it("2. before what its Via says", () => {
    expect(identify({ sourceHost: "10.0.0.9", sourcePort: 5080 }, via("10.0.0.9", 5070))).toEqual(b);
  });

  it("3. source address alone, where one server uses it", () => {
    expect(identify({ sourceHost: "10.0.0.1", sourcePort: 40_000 }, via("10.0.0.2", 5060))).toEqual(east);
  });

  it("3. not where two servers use it", () => {
    expect(identify({ sourceHost: "10.0.0.9", sourcePort: 40_000 })).toEqual({ kind: "client", authenticated: null });
  });

  it("4. the top Via's sent-by, where the source address is one of that server's", () => {
    expect(identify({ sourceHost: "10.0.0.9", sourcePort: 40_000 }, via("10.0.0.9", 5070))).toEqual(a);
    expect(identify({ sourceHost: "10.0.0.9", sourcePort: 40_000 }, via("B.example.com"))).toEqual(b);
  });

  it("4. not where the source address is another's", () => {
    expect(identify({ sourceHost: "10.0.0.9" }, via("10.0.0.1", 5060))).toEqual({
      kind: "client",
      authenticated: null,
    });
    expect(identify({ sourceHost: "192.0.2.1" }, via("10.0.0.9", 5070))).toEqual({
      kind: "client",
      authenticated: null,
    });
    expect(identify({ sourceHost: "192.0.2.1" }, via("a.example.com"))).toEqual({
      kind: "client",
      authenticated: null,
    });
  });

  it("4. without a port, sent-by means the default one (RFC 3261 18.1.1)", () => {
    const table = buildOriginTable([
      { name: "a", nodes: [{ host: "10.0.0.9", port: 5060 }], names: [] },
      { name: "b", nodes: [{ host: "10.0.0.9", port: 5061 }], names: [] },
    ]);
    const input: OriginInput = {
      peerNames: [],
      sourceHost: "10.0.0.9",
      sourcePort: 1,
      unknown: "client",
      authenticated: null,
    };
    expect(identifyOrigin(input, via("10.0.0.9"), table)).toEqual(a);
    expect(identifyOrigin(input, via("10.0.0.9", undefined, "TLS"), table)).toEqual(b);
  });
});

describe("anything else", () => {
  it("is a client where the listener says so, else unknown, to be refused", () => {
    expect(identify({ unknown: "client" })).toEqual({ kind: "client", authenticated: null });
    expect(identify({ unknown: "refuse" })).toEqual({ kind: "unknown" });
  });

  it("is a client where it has authenticated", () => {
    expect(identify({ unknown: "refuse", authenticated: "bob@example.com" })).toEqual({
      kind: "client",
      authenticated: "bob@example.com",
    });
  });

  it("costs no Via and no new object where the source address tells", () => {
    const untouchable: ViaHolder = {
      get via(): never {
        throw new Error("the Via was read");
      },
    };
    const once = identify({ sourceHost: "10.0.0.1", sourcePort: 5060 }, untouchable);
    expect(identify({ sourceHost: "10.0.0.1", sourcePort: 5060 }, untouchable)).toBe(once);
    expect(identify({ unknown: "client" }, untouchable)).toBe(identify({ unknown: "client" }, untouchable));
  });
});

describe("addresses", () => {
  it("are compared in one form", () => {
    expect(identify({ sourceHost: "2001:db8::1", sourcePort: 5060 })).toMatchObject({ server: "six" });
    expect(identify({ sourceHost: "::ffff:10.0.0.1", sourcePort: 5060 })).toEqual(east);
    expect(normalHost("[2001:DB8:0:0::1]")).toBe("2001:db8::1");
    expect(normalHost("fe80::1%eth0")).toBe("fe80::1");
    expect(normalHost("::ffff:127.0.0.1")).toBe("127.0.0.1");
    expect(normalHost("EAST.example.com")).toBe("east.example.com");
    expect(normalHost("not:an:address")).toBe("not:an:address");
  });

  it("without a port mean the default ones", () => {
    expect(identify({ sourceHost: "10.0.0.4", sourcePort: 5060 })).toMatchObject({ server: "plain" });
    expect(identify({ sourceHost: "10.0.0.4", sourcePort: 9 })).toMatchObject({ server: "plain" });
  });
});
