import { describe, expect, it } from "vitest";
import { RouteKeys } from "../../src/proxy/route-header.ts";
import { parseUri, type SipUri } from "../../src/sip/message/uri.ts";
import type { ListenPoint } from "../../src/sip/transport/transport.ts";

const KEY = new Uint8Array(32).fill(7);
const POINT: ListenPoint = {
  index: 0,
  transport: "udp",
  host: "10.0.0.1",
  port: 5060,
  sentBy: "10.0.0.1:5060",
  direction: "up",
  unknown: "client",
};

function uriOf(value: string): SipUri {
  return parseUri(value.slice(1, -1)) as SipUri;
}

describe("URIs of ours in Record-Route (RFC 3261 16.6 step 4, RFC 5626 5.2)", () => {
  const keys = new RouteKeys(KEY);

  it("are loose routes, and read back as they were written", () => {
    const value = keys.write(POINT, { callId: "c1", connectionId: 12345, branch: 2 }, false);
    expect(uriOf(value).params.has("lr")).toBe(true);
    expect(keys.read(uriOf(value), "c1")).toEqual({ authentic: true, connectionId: 12345, branch: 2 });
    const bare = keys.write(POINT, { callId: "c1" }, false);
    expect(keys.read(uriOf(bare), "c1")).toEqual({ authentic: true, connectionId: 0, branch: -1 });
  });

  it.each([
    ["udp", "<sip:10.0.0.1:5060;lr"],
    ["tcp", "<sip:10.0.0.1:5060;transport=tcp;lr"],
    ["tls", "<sip:10.0.0.1:5060;transport=tls;lr"],
    ["ws", "<sip:10.0.0.1:5060;transport=ws;lr"],
    ["wss", "<sip:10.0.0.1:5060;transport=ws;lr"],
  ] as const)("say by which transport we are reached: %s", (transport, start) => {
    expect(keys.write({ ...POINT, transport }, { callId: "c" }, false).startsWith(start)).toBe(true);
  });

  it("are SIPS where the request is (RFC 3261 16.6 step 4)", () => {
    expect(keys.write({ ...POINT, transport: "tls" }, { callId: "c" }, true)).toMatch(/^<sips:/);
  });

  it("are nobody's for another Call-ID, with another connection or branch, or another proxy's key", () => {
    const value = keys.write(POINT, { callId: "c1", connectionId: 5, branch: 1 }, false);
    const nobody = { authentic: false, connectionId: 0, branch: -1 };
    expect(keys.read(uriOf(value), "c2")).toEqual(nobody);
    expect(keys.read(uriOf(value.replace("cf=5", "cf=6")), "c1")).toEqual(nobody);
    expect(keys.read(uriOf(value.replace("fb=1", "fb=0")), "c1")).toEqual(nobody);
    expect(keys.read(uriOf(value.replace(/k=\w+/, "k=")), "c1")).toEqual(nobody);
    expect(keys.read(uriOf(value.replace(/;k=\w+/, "")), "c1")).toEqual(nobody);
    expect(new RouteKeys(new Uint8Array(32)).read(uriOf(value), "c1")).toEqual(nobody);
  });

  it("whatever stands in them, reading never throws", () => {
    for (const text of ["cf", "cf=zzz!", "fb=x;cf=%00", "k=%F0%9F;cf=1", "cf=-1;fb=-5", "k=;k=;cf=1"]) {
      expect(keys.read(parseUri(`sip:10.0.0.1;lr;${text}`) as SipUri, "c").authentic).toBe(false);
    }
  });
});

describe("Path (RFC 3327)", () => {
  const keys = new RouteKeys(KEY);

  it("leads to the connection it was written for, in any call, and proves no dialog", () => {
    const value = keys.path(POINT, 77);
    expect(value).toMatch(/^<sip:10\.0\.0\.1:5060;lr;cf=/);
    for (const callId of ["a", "b"]) {
      expect(keys.read(uriOf(value), callId)).toEqual({ authentic: false, connectionId: 77, branch: -1 });
    }
  });

  it("leads nowhere with another connection in it", () => {
    const forged = keys.path(POINT, 77).replace(/cf=\w+/, "cf=1");
    expect(keys.read(uriOf(forged), "a").connectionId).toBe(0);
  });
});
