import { describe, expect, it } from "vitest";
import type { Origin } from "../../src/federation/facts.ts";
import { copyOf, requestUriFor, storedForm } from "../../src/messaging/copy.ts";
import { buildRequest, type HeaderPair } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import { parseMessage } from "../../src/sip/message/parse.ts";

const AT = Date.UTC(2026, 10, 21, 8, 0, 0);
const EAST: Origin = { kind: "server", server: "east" };
const CLIENT: Origin = { kind: "client", authenticated: null };

function request(...more: HeaderPair[]): SipRequest {
  return buildRequest({
    method: "MESSAGE",
    uri: "sip:alice@example.com",
    headers: [
      ["Via", "SIP/2.0/UDP b;branch=z9hG4bK2, SIP/2.0/UDP a;branch=z9hG4bK1"],
      ["Max-Forwards", "20"],
      ["From", "<sip:bob@example.com>;tag=1"],
      ["To", "<sip:alice@example.com>"],
      ["Call-ID", "c"],
      ["CSeq", "7 MESSAGE"],
      ...more,
    ],
    body: "h\u00e9llo\r\n",
  });
}

const stored = (origin: Origin, ...more: HeaderPair[]) =>
  parseMessage(storedForm(request(...more), origin, AT)) as SipRequest;

describe("a request as it is stored", () => {
  it("without its way here, one hop further; Call-ID, From, To, CSeq and body to the octet", () => {
    const kept = stored(EAST, ["Record-Route", "<sip:r;lr>"], ["Route", "<sip:r;lr>"], ["X-Own", "1"]);
    for (const name of ["Via", "Route", "Record-Route"]) expect(kept.has(name)).toBe(false);
    for (const name of ["From", "To", "Call-ID", "CSeq"]) expect(kept.header(name)).toBe(request().header(name));
    expect(kept.header("X-Own")).toBe("1");
    expect([kept.callId, kept.cseq.number, kept.from.tag, kept.body]).toEqual(["c", 7, "1", "h\u00e9llo\r\n"]);
    expect(kept.maxForwards).toBe(19);
    expect(kept.contentLength).toBe(7);
  });

  it("never with credentials that were meant for us", () => {
    expect(stored(CLIENT, ["Proxy-Authorization", "Digest secret"]).raw).not.toContain("secret");
  });

  it("RFC 3428 8: with a Date, the sender's own or that of its receipt", () => {
    expect(stored(EAST).header("Date")).toBe("Sat, 21 Nov 2026 08:00:00 GMT");
    expect(stored(EAST, ["Date", "Fri, 20 Nov 2026 08:00:00 GMT"]).header("Date")).toContain("Fri");
  });

  it("RFC 3325 5: a server's assertion stays, a client's own goes, who was authenticated we assert", () => {
    const claims: HeaderPair = ["P-Asserted-Identity", "<sip:boss@example.com>"];
    expect(stored(EAST, claims).header("P-Asserted-Identity")).toBe("<sip:boss@example.com>");
    expect(stored(CLIENT, claims).has("P-Asserted-Identity")).toBe(false);
    const known: Origin = { kind: "client", authenticated: "bob@example.com" };
    expect(stored(known, claims).header("P-Asserted-Identity")).toBe("<sip:bob@example.com>");
    expect(stored(known, ["P-Preferred-Identity", "<sip:x@y>"]).has("P-Preferred-Identity")).toBe(false);
  });
});

describe("the copy of a try", () => {
  it("differs from what is stored by the Request-URI at most", () => {
    const text = storedForm(request(), EAST, AT);
    expect(copyOf(text, null, null).build().raw).toBe(text);
    const renamed = copyOf(text, "sip:a.lice@west.example.com", null).build();
    expect(renamed.requestUri).toBe("sip:a.lice@west.example.com");
    expect(renamed.raw.split("\r\n").slice(1)).toEqual(text.split("\r\n").slice(1));
  });

  it("names the sender as that server does, in P-Asserted-Identity alone", () => {
    const assertion: HeaderPair = ["P-Asserted-Identity", '"Bob" <sip:bob@example.com>, <tel:+1>'];
    const text = storedForm(request(assertion), EAST, AT);
    const copy = copyOf(text, null, "b.ob@example.com").build();
    expect(copy.header("P-Asserted-Identity")).toBe('"Bob" <sip:b.ob@example.com>, <tel:+1>');
    expect(copy.header("From")).toBe(request().header("From"));
    expect(copyOf(text, null, "bob@example.com").build().raw).toBe(text);
  });

  it("the Request-URI is the server's name for the user, under its subdomain; SIPS stays SIPS", () => {
    const text = storedForm(request(), EAST, AT);
    expect(requestUriFor(text, "alice@example.com", null, null)).toBeNull();
    expect(requestUriFor(text, "alice@example.com", "a.lice@example.com", null)).toBe("sip:a.lice@example.com");
    expect(requestUriFor(text, "alice@example.com", null, "w.example.com")).toBe("sip:alice@w.example.com");
    expect(requestUriFor(text.replace(" sip:", " sips:"), "alice@example.com", null, "w.com")).toBe("sips:alice@w.com");
  });
});
