import { describe, expect, it } from "vitest";
import { validateRequest, validateResponse } from "../../../src/sip/message/parse.ts";
import { altered, lines, OK, request, response, SUBSCRIBE } from "./samples.ts";

const owed = (start: string, replacement?: string): number | undefined =>
  validateRequest(altered(start, replacement))?.status;

describe("validateRequest", () => {
  it("a sound request is owed nothing", () => {
    expect(validateRequest(request(SUBSCRIBE))).toBeNull();
  });

  it.each(["From", "t:", "i:", "CSEQ"])("RFC 3261 8.1.1: without %s it gets 400", (line) => {
    expect(owed(line)).toBe(400);
  });

  it("RFC 3261 8.1.1: without Via it gets 400; without Max-Forwards nothing (16.3 step 3)", () => {
    expect(
      validateRequest(
        request(
          lines(
            "OPTIONS sip:a@b SIP/2.0",
            "To: <sip:a@b>",
            "From: <sip:c@d>;tag=1",
            "Call-ID: 1",
            "CSeq: 1 OPTIONS",
            "",
          ),
        ),
      )?.status,
    ).toBe(400);
    expect(owed("Max-Forwards")).toBeUndefined();
  });

  it.each([
    ["Via", "Via: SIP/2.0/UDP"],
    ["Via", "Via: SIP/2.0 192.0.2.1"],
    ["Via", "Via: SIP/2.0/UDP 192.0.2.1:x"],
    ["Via", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"],
    ["Via", "Via: SIP/2.0/UDP a b"],
    ["Via", "Via: SIP/2.0/UDP a,"],
    ["Via", "Via:"],
    ["From", "From: sip:a@b, <sip:c@d>"],
    ["From", "From: <sip:a@b"],
    ["From", "From: <sip:a b@c>"],
    ["From", 'From: "x <sip:a@c>'],
    ["From", "From: sip:a@b?x=y"],
    ["From", "From: alice"],
    ["t:", "To: Bell, Alexander <sip:a@b>"],
    ["t:", "To: <sip:a@b> x"],
    ["i:", "Call-ID:"],
    ["i:", "Call-ID: a b"],
    ["CSEQ", "CSeq: 17"],
    ["CSEQ", "CSeq: SUBSCRIBE"],
    ["CSEQ", "CSeq: -1 SUBSCRIBE"],
    ["CSEQ", "CSeq: 2147483648 SUBSCRIBE"],
    ["CSEQ", "CSeq: 1 NOTIFY"],
    ["Max-Forwards", "Max-Forwards: 256"],
    ["Max-Forwards", "Max-Forwards: -1"],
    ["Max-Forwards", "Max-Forwards: x"],
    ["Max-Forwards", "Max-Forwards:"],
    ["Expires", "Expires: 4294967296"],
    ["Expires", "Expires: -1"],
    ["Route", "Route: sip:p1.example.com?x"],
    ["P-Asserted", "P-Asserted-Identity: <sip:a@b>, x"],
    ["o:", "Event: ;id=7"],
    ["X-Unknown", "Subscription-State: @"],
    ["l:", "Content-Length: 5"],
    ["l:", "Content-Length: -4"],
    ["l:", "Content-Length: 4 4"],
    ["l:", "Content-Length: 4\r\nl: 3"],
    ["CSEQ", "CSeq: 17 SUBSCRIBE\r\nCSeq: 18 SUBSCRIBE"],
    ["i:", "i: a\r\nCall-ID: b"],
    ["Max-Forwards", "Max-Forwards: 70\r\nMax-Forwards: 71"],
  ])("400: %s becomes %j", (start, replacement) => {
    expect(owed(start, replacement)).toBe(400);
  });

  it.each([
    ["CSEQ", "CSeq: 2147483647   SUBSCRIBE"],
    ["CSEQ", "CSeq: 0017\r\n SUBSCRIBE"],
    ["Max-Forwards", "Max-Forwards: 0"],
    ["Max-Forwards", "Max-Forwards: 0255"],
    ["Expires", "Expires: 4294967295"],
    ["l:", "Content-Length: 4\r\nl: 04\r\nContent-Length: 4".replace("04", "4")],
    ["From", "From: sip:alice@example.com"],
    ["From", "From: Alice<sip:alice@example.com>;tag=a"],
    ["t:", "To: <isbn:123>"],
    ["Via", "Via: SIP / 2.0 / FOO example.com : 5060 ; branch = x"],
    ["X-Unknown", "Event: presence;id=7".replace("Event", "X")],
  ])("let pass: %s becomes %j", (start, replacement) => {
    expect(owed(start, replacement)).toBeUndefined();
  });

  it("RFC 3261 21.5.6: another version gets 505", () => {
    const raw = SUBSCRIBE.replace("SIP/2.0\r\n", "SIP/3.0\r\n");
    expect(validateRequest(request(raw))?.status).toBe(505);
    expect(validateRequest(request(SUBSCRIBE.replace("SIP/2.0\r\n", "sip/2.0\r\n")))).toBeNull();
  });

  it("RFC 4475 3.1.2.17 and 18: CSeq names another method: 400 for known methods, 501 for unknown ones", () => {
    expect(validateRequest(request(SUBSCRIBE.replace(/^SUBSCRIBE/, "NOTIFY")))?.status).toBe(400);
    expect(validateRequest(request(SUBSCRIBE.replace(/^SUBSCRIBE/, "NEWMETHOD")))?.status).toBe(501);
    expect(validateRequest(request(SUBSCRIBE.replaceAll("SUBSCRIBE", "NEWMETHOD")))).toBeNull();
  });

  it("methods are compared with case (RFC 3261 7.1)", () => {
    expect(validateRequest(request(SUBSCRIBE.replace(/^SUBSCRIBE/, "subscribe")))?.status).toBe(501);
  });

  it("RFC 3261 16.3, by option: 416 for other schemes, 483 for no hops left, 420 with what is not understood", () => {
    const tel = request(SUBSCRIBE.replace("sip:bob@example.com SIP", "tel:+123 SIP"));
    expect(validateRequest(tel)).toBeNull();
    expect(validateRequest(tel, { schemes: ["sip", "sips"] })?.status).toBe(416);
    const last = altered("Max-Forwards", "Max-Forwards: 0");
    expect(validateRequest(last, { hops: true })?.status).toBe(483);
    const wants = altered("X-Unknown", "Proxy-Require: known, foo\r\nProxy-Require: bar");
    expect(validateRequest(wants)).toBeNull();
    expect(validateRequest(wants, { proxyRequire: ["known"] })).toEqual({
      status: 420,
      reason: "Bad Extension",
      headers: [["Unsupported", "foo, bar"]],
    });
    expect(validateRequest(wants, { proxyRequire: ["known", "foo", "bar"] })).toBeNull();
  });
});

describe("validateResponse", () => {
  it("a sound one passes", () => {
    expect(validateResponse(response(OK))).toBeNull();
  });

  it.each([
    ["CSeq: 17 SUBSCRIBE", "CSeq: 9292394834772304023312 SUBSCRIBE"],
    ["CSeq: 17 SUBSCRIBE", "X: y"],
    ["Via: SIP/2.0/UDP 192.0.2.7:5060", "Via: SIP/2.0/UDP 255.255.255.255"],
    ["Content-Length: 0", "Content-Length: 1"],
    ["Call-ID", "Call"],
  ])("with %s as %s it is dropped", (from, to) => {
    expect(validateResponse(response(OK.replace(from, to)))).not.toBeNull();
  });
});
