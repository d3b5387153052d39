import { describe, expect, it } from "vitest";
import { type Alteration, forwardCopy, undoStrictRouting, withoutOwnMaddr } from "../../src/proxy/alterations.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import { parseMessage } from "../../src/sip/message/parse.ts";

function request(...headers: string[]): SipRequest {
  return parseMessage(
    [
      "SUBSCRIBE sip:bob@example.com SIP/2.0",
      "Via: SIP/2.0/UDP 127.0.0.9:5060;branch=z9hG4bK1",
      "From: <sip:a@example.com>;tag=1",
      "To: <sip:bob@example.com>",
      "Call-ID: c",
      "CSeq: 1 SUBSCRIBE",
      ...headers,
      "",
      "body",
    ].join("\r\n"),
  ) as SipRequest;
}

const NOTHING: Alteration = {
  requestUri: undefined,
  recordRoute: undefined,
  path: undefined,
  asserted: "keep",
  maxBreadth: undefined,
  stream: false,
};

function copy(original: SipRequest, alteration: Partial<Alteration>): SipRequest {
  return forwardCopy(original, { ...NOTHING, ...alteration }).build();
}

describe("RFC 3261 16.6: what is changed on the copy", () => {
  it("step 1: everything else stays as it came, byte for byte", () => {
    const original = request("Max-Forwards: 10", "X-odd :  kept  ", "s: a,b", "Content-Length: 4");
    const expected = original.raw.replace("Max-Forwards: 10", "Max-Forwards: 9");
    expect(copy(original, {}).raw).toBe(expected);
  });

  it("step 2: the Request-URI is the target's, and left alone where there is none", () => {
    expect(copy(request(), { requestUri: "sip:robert@example.com" }).requestUri).toBe("sip:robert@example.com");
    expect(copy(request(), {}).requestUri).toBe("sip:bob@example.com");
  });

  it("step 3: Max-Forwards goes down by one; 70 where there was none", () => {
    expect(copy(request("Max-Forwards: 1"), {}).maxForwards).toBe(0);
    expect(copy(request(), {}).maxForwards).toBe(70);
  });

  it("step 4: our Record-Route values go on top of those that are there, in the order given", () => {
    const record = copy(request("Record-Route: <sip:old;lr>"), {
      recordRoute: ["<sip:out;lr>", "<sip:in;lr>"],
    }).recordRoutes.map((each) => each.raw);
    expect(record).toEqual(["<sip:out;lr>", "<sip:in;lr>", "<sip:old;lr>"]);
  });

  it("RFC 3327 5.2: our Path value goes on top", () => {
    expect(copy(request("Path: <sip:edge;lr>"), { path: "<sip:us;lr>" }).values("Path")).toEqual([
      "<sip:us;lr>",
      "<sip:edge;lr>",
    ]);
  });

  it("step 6: a loose router's Route stays; a strict router's URI becomes the Request-URI, ours goes last", () => {
    const loose = copy(request("Route: <sip:p1;lr>, <sip:p2>"), {});
    expect([loose.requestUri, loose.routes.map((each) => each.raw)]).toEqual([
      "sip:bob@example.com",
      ["<sip:p1;lr>", "<sip:p2>"],
    ]);
    const strict = copy(request("Route: <sip:p1>, <sip:p2;lr>"), {});
    expect([strict.requestUri, strict.routes.map((each) => each.raw)]).toEqual([
      "sip:p1",
      ["<sip:p2;lr>", "<sip:bob@example.com>"],
    ]);
  });

  it("step 6: the last place in Route is the rewritten Request-URI's", () => {
    const strict = copy(request("Route: <sip:p1>"), { requestUri: "sip:robert@example.com" });
    expect([strict.requestUri, strict.headers("Route")]).toEqual(["sip:p1", ["<sip:robert@example.com>"]]);
  });

  it("step 9: over a stream Content-Length is owed, over a datagram it is not", () => {
    expect(copy(request(), { stream: true }).contentLength).toBe(4);
    expect(copy(request(), { stream: false }).contentLength).toBeUndefined();
    expect(copy(request("l: 4"), { stream: true }).headers("Content-Length")).toEqual(["4"]);
  });

  it("RFC 5393 5.3.3: one Max-Breadth value, whatever was there", () => {
    expect(copy(request(), { maxBreadth: 60 }).headers("Max-Breadth")).toEqual(["60"]);
    expect(copy(request("Max-Breadth: 90", "max-breadth: 90"), { maxBreadth: 30 }).headers("Max-Breadth")).toEqual([
      "30",
    ]);
  });

  it("RFC 3325 5, 6: asserted identities are kept, removed, or ours; hints are not for others", () => {
    const original = request(
      "P-Asserted-Identity: <sip:x@example.com>, <tel:+1>",
      "P-Asserted-Identity: <sip:y@example.com>",
      "P-Preferred-Identity: <sip:x@example.com>",
    );
    expect(copy(original, { asserted: "keep" }).headers("P-Asserted-Identity")).toHaveLength(2);
    const removed = copy(original, { asserted: "remove" });
    expect([removed.has("P-Asserted-Identity"), removed.has("P-Preferred-Identity")]).toEqual([false, false]);
    const ours = copy(original, { asserted: { value: "<sip:bob@example.com>" } });
    expect(ours.headers("P-Asserted-Identity")).toEqual(["<sip:bob@example.com>"]);
  });
});

describe("RFC 3261 16.4: an maddr of ours is stripped, with port and transport", () => {
  const isOwn = (host: string) => host === "10.0.0.1";
  it.each([
    ["sip:bob@example.com;maddr=10.0.0.1", "sip:bob@example.com"],
    ["sip:bob:pw@example.com:5070;transport=tcp;maddr=10.0.0.1;user=phone", "sip:bob:pw@example.com;user=phone"],
    ["sips:[::1]:5061;maddr=10.0.0.1", "sips:[::1]"],
    ["sip:bob@example.com;maddr=10.0.0.2;transport=tcp", "sip:bob@example.com;maddr=10.0.0.2;transport=tcp"],
    ["sip:bob@example.com:5070;transport=tcp", "sip:bob@example.com:5070;transport=tcp"],
    ["tel:+1", "tel:+1"],
  ])("%s is %s", (uri, expected) => {
    const given = request().edit().setRequestUri(uri).build();
    expect(withoutOwnMaddr(given, isOwn).requestUri).toBe(expected);
  });
});

describe("RFC 3261 16.4: what a strict router did is undone", () => {
  const route = "Route: <sip:p2;lr>, <sip:bob@10.0.0.1?Subject=x>";

  it("our own URI in the Request-URI: the last Route value takes its place, without headers", () => {
    const undone = undoStrictRouting(request(route), () => true);
    expect([undone.requestUri, undone.headers("Route")]).toEqual(["sip:bob@10.0.0.1", ["<sip:p2;lr>"]]);
  });

  it("any other Request-URI, or no Route: the request itself", () => {
    const other = request(route);
    expect(undoStrictRouting(other, () => false)).toBe(other);
    const bare = request();
    expect(undoStrictRouting(bare, () => true)).toBe(bare);
  });
});
