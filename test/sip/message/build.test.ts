import { describe, expect, it } from "vitest";
import { buildRequest, buildResponse, REASONS } from "../../../src/sip/message/build.ts";
import {
  MalformedHeader,
  ParseError,
  parseMessage,
  validateRequest,
  validateResponse,
} from "../../../src/sip/message/parse.ts";
import { decodeUtf8, encodeUtf8 } from "../../../src/sip/message/text.ts";
import { altered, request, SUBSCRIBE } from "./samples.ts";

describe("RFC 3261 8.2.6: responses", () => {
  const m = request(SUBSCRIBE);
  const response = buildResponse(m, 404);

  it("all Vias in order, From, To, Call-ID and CSeq as they came, Content-Length 0", () => {
    expect(response).toMatchObject({ status: 404, reason: "Not Found", body: "" });
    expect(response.headers("Via")).toEqual(m.headers("Via"));
    for (const name of ["From", "Call-ID", "CSeq"]) expect(response.header(name)).toBe(m.header(name));
    expect(response.contentLength).toBe(0);
    expect(response.has("Route")).toBe(false);
    expect(validateResponse(response)).toBeNull();
    expect(parseMessage(response.raw).raw).toBe(response.raw);
  });

  it("8.2.6.2: To gets a tag, the same for every copy (8.2.7), another for another transaction", () => {
    expect(response.to.tag).toMatch(/^[a-z0-9]{6,}$/);
    expect(buildResponse(request(SUBSCRIBE), 500).to.tag).toBe(response.to.tag);
    expect(buildResponse(altered("i:", "i: other"), 404).to.tag).not.toBe(response.to.tag);
    expect(buildResponse(m, 200, "Fine", { toTag: "mine" })).toMatchObject({ reason: "Fine", to: { tag: "mine" } });
    expect(
      buildResponse(altered("t:", "To: <sip:bob@example.com>;tag=theirs"), 200, undefined, { toTag: "mine" }).to.tag,
    ).toBe("theirs");
    expect(buildResponse(altered("t:", "To: sip:bob@example.com"), 200, undefined, { toTag: "mine" }).to.tag).toBe(
      "mine",
    );
  });

  it("8.2.6.1: 100 has no tag of ours and carries the Timestamp", () => {
    const trying = buildResponse(altered("X-Unknown", "Timestamp: 54"), 100);
    expect(trying.to.tag).toBeUndefined();
    expect(trying.header("Timestamp")).toBe("54");
    expect(response.has("Timestamp")).toBe(false);
  });

  it("headers and body", () => {
    const full = buildResponse(m, 302, undefined, {
      headers: [
        ["Contact", "<sip:x@y>"],
        ["Retry-After", "5"],
      ],
      body: "abc",
    });
    expect([full.header("Contact"), full.header("Retry-After"), full.contentLength, full.body]).toEqual([
      "<sip:x@y>",
      "5",
      3,
      "abc",
    ]);
  });

  it("a malformed request is answered with what it has", () => {
    const partial = buildResponse(
      request("INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nTo: <sip:x\r\n\r\n"),
      400,
    );
    expect(partial.via.host).toBe("c");
    expect(partial.has("From")).toBe(false);
    expect(partial.header("To")).toMatch(/^<sip:x;tag=/);
  });

  it("status codes without a phrase of their own", () => {
    expect(buildResponse(m, 499).reason).toBe("Unknown");
    expect(REASONS[440]).toBe("Max-Breadth Exceeded");
  });
});

describe("requests", () => {
  const built = buildRequest({
    method: "OPTIONS",
    uri: "sip:a@example.com",
    headers: [
      ["Via", "SIP/2.0/UDP c;branch=z9hG4bK1"],
      ["From", "<sip:x@y>;tag=1"],
      ["To", "<sip:a@example.com>"],
      ["Call-ID", "1@x"],
      ["CSeq", "1 OPTIONS"],
    ],
    body: encodeUtf8("Grüße €"),
  });

  it("are valid, in the order given, Content-Length in octets", () => {
    expect(validateRequest(built)).toBeNull();
    expect(built.contentLength).toBe(11);
    expect(decodeUtf8(built.body)).toBe("Grüße €");
    expect(parseMessage(built.raw).raw).toBe(built.raw);
    expect(
      built.raw.startsWith("OPTIONS sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nFrom: "),
    ).toBe(true);
  });

  it("withRaw reads another text as the request it is", () => {
    const other = built.withRaw(built.raw.replace("sip:a@example.com", "sip:b@example.com"));
    expect([other.method, other.requestUri, other.callId]).toEqual(["OPTIONS", "sip:b@example.com", "1@x"]);
    expect(() => built.withRaw("nonsense")).toThrow(ParseError);
  });

  it("nothing can be smuggled in", () => {
    const parts = { method: "OPTIONS", uri: "sip:a@b", headers: [] };
    expect(() => buildRequest({ ...parts, headers: [["X", "a\r\nY: b"]] })).toThrow(MalformedHeader);
    expect(() => buildRequest({ ...parts, headers: [["X: y", "a"]] })).toThrow(MalformedHeader);
    expect(() => buildRequest({ ...parts, uri: "sip:a@b SIP/2.0\r\nX: y" })).toThrow(ParseError);
    expect(() => buildRequest({ ...parts, method: "A B" })).toThrow(ParseError);
    expect(() => buildResponse(built, 200, "OK\r\nX: y")).toThrow(MalformedHeader);
    expect(() => buildResponse(built, 200, "OK", { toTag: "x\r\nY: z" })).toThrow(MalformedHeader);
  });
});
