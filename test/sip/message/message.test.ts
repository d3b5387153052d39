import { describe, expect, it } from "vitest";
import { MalformedHeader, ParseError, parseMessage } from "../../../src/sip/message/parse.ts";
import { altered, lines, OK, request, response, SUBSCRIBE } from "./samples.ts";

describe("reading a request", () => {
  const m = request(SUBSCRIBE);

  it("start line, body and count", () => {
    expect([m.method, m.requestUri, m.version, m.body, m.headerCount]).toEqual([
      "SUBSCRIBE",
      "sip:bob@example.com",
      "SIP/2.0",
      "body",
      15,
    ]);
    expect(m.raw).toBe(SUBSCRIBE);
  });

  it("RFC 3261 7.3.1: names match in any case and compact", () => {
    for (const name of ["Call-ID", "call-id", "CALL-ID", "cAlL-iD", "i", "I"])
      expect(m.header(name)).toBe("9987@client.example.com");
    for (const name of ["X-Unknown", "x-unknown", "X-UNKNOWN"]) expect(m.header(name)).toBe("a , b");
    expect(m.has("subject")).toBe(false);
    expect(m.header("X-Unknow")).toBeUndefined();
    expect(m.has("Event")).toBe(true);
  });

  it("RFC 3261 7.3.1: folds read as one space; one string a line, one a value", () => {
    expect(m.headers("route")).toEqual(["<sip:p1.example.com;lr>, <sip:p2.example.com;lr>", "<sip:p3.example.com;lr>"]);
    expect(m.values("Route")).toEqual([
      "<sip:p1.example.com;lr>",
      "<sip:p2.example.com;lr>",
      "<sip:p3.example.com;lr>",
    ]);
    expect(m.values("x-unknown")).toEqual(["a", "b"]);
    expect(m.routes.map((route) => route.uri.raw)).toEqual([
      "sip:p1.example.com;lr",
      "sip:p2.example.com;lr",
      "sip:p3.example.com;lr",
    ]);
  });

  it("Via: over lines and commas, IPv6, rport asked and given (RFC 3581 3)", () => {
    expect(m.vias).toHaveLength(3);
    expect(m.via).toMatchObject({
      transport: "UDP",
      host: "192.0.2.7",
      port: 5060,
      sentBy: "192.0.2.7:5060",
      branch: "z9hG4bKnashds7",
      rport: true,
    });
    expect(m.via.received).toBeUndefined();
    expect(m.vias[1]).toMatchObject({
      transport: "TCP",
      host: "[2001:db8::1]",
      port: 5062,
      sentBy: "[2001:db8::1]:5062",
      received: "192.0.2.99",
    });
    expect(m.vias[2]).toMatchObject({ transport: "WS", host: "first.invalid", sentBy: "first.invalid" });
    expect(m.vias[2]!.port).toBeUndefined();
    expect(response(OK).via.rport).toBe(5070);
  });

  it("From and To: display name, URI, tag, parameters of the header and not of the URI", () => {
    expect(m.from).toMatchObject({
      display: 'Al "x" ice',
      tag: "314",
      uri: { kind: "sip", user: "alice", host: "example.com" },
    });
    expect([...m.from.params]).toEqual([
      ["tag", "314"],
      ["x", "y"],
    ]);
    expect(m.to.tag).toBeUndefined();
    expect(m.to.display).toBeUndefined();
  });

  it("the other typed values", () => {
    expect(m.callId).toBe("9987@client.example.com");
    expect(m.cseq).toEqual({ number: 17, method: "SUBSCRIBE" });
    expect([m.maxForwards, m.expires, m.contentLength]).toEqual([70, 3600, 4]);
    expect(m.event).toEqual({ package: "presence", id: "7" });
    expect(m.subscriptionState).toBeUndefined();
    expect(m.contacts).toMatchObject([{ uri: { host: "192.0.2.7", port: 5060 } }]);
    expect(m.identities.map(({ uri }) => uri.scheme)).toEqual(["sip", "tel"]);
    expect(m.recordRoutes).toEqual([]);
  });

  it("values are parsed once", () => {
    for (const key of [
      "via",
      "vias",
      "from",
      "to",
      "cseq",
      "uri",
      "routes",
      "contacts",
      "identities",
      "event",
    ] as const) {
      expect(m[key]).toBe(m[key]);
    }
  });

  it("a missing mandatory header throws MalformedHeader with its name", () => {
    for (const [line, key, name] of [
      ["From", "from", "From"],
      ["t:", "to", "To"],
      ["i:", "callId", "Call-ID"],
      ["CSEQ", "cseq", "CSeq"],
    ] as const) {
      expect(() => altered(line)[key]).toThrowError(
        expect.objectContaining({ code: "malformed-header", header: name }),
      );
    }
    const none = request(lines("OPTIONS sip:a@b SIP/2.0", "To: <sip:a@b>", ""));
    expect(() => none.via).toThrow(MalformedHeader);
    expect(none.vias).toEqual([]);
  });

  it("RFC 6665 8.2.3: Subscription-State", () => {
    const notify = altered("o:", "Subscription-State: terminated;reason=giveup;retry-after=120;expires=x");
    expect(notify.subscriptionState).toEqual({
      state: "terminated",
      reason: "giveup",
      retryAfter: 120,
      expires: undefined,
    });
  });

  it("Contact: * stands alone (RFC 3261 10.2.2)", () => {
    expect(altered("m:", "Contact: *").contacts).toBe("*");
    expect(() => altered("m:", "Contact: *\r\nContact: <sip:a@b>").contacts).toThrow(MalformedHeader);
  });
});

describe("bytes", () => {
  it("UTF-8 whose last byte looks like a space or a capital to JavaScript stays whole", () => {
    // U+00E0 ends in byte A0 (a no-break space in latin1), U+00C0 in byte 80 after C3 (a capital in latin1).
    const name = Buffer.from("Zoltà À", "utf8").toString("latin1");
    const m = altered("X-Unknown", `X-Unknown: ${name}`);
    expect(m.header("x-unknown")).toBe(name);
    expect(m.edit().set("Max-Forwards", "69").build().raw).toContain(`X-Unknown: ${name}\r\n`);
    const host = altered("From", `From: ${name} <sip:a@b;p${name.slice(0, 3)}=1>;tag=1`);
    expect(host.from.display).toBe(name);
  });
});

describe("what the parser refuses", () => {
  const refusal = (raw: string): ParseError => {
    try {
      parseMessage(raw);
    } catch (error) {
      if (error instanceof ParseError) return error;
      throw error;
    }
    throw new Error("it was accepted");
  };

  it("keep-alives: empty, and nothing to answer", () => {
    for (const raw of ["", "\r\n", "\r\n\r\n", "\n"])
      expect(refusal(raw)).toMatchObject({ code: "empty", status: undefined });
  });

  it("RFC 3261 7.5: line ends before the start line are passed over", () => {
    expect(request(`\r\n\r\n${SUBSCRIBE}`).raw).toBe(SUBSCRIBE);
  });

  it("a bare LF, a line without colon, a head without end: 400, with what can be read to answer it", () => {
    const cases: Array<[string, string]> = [
      ["bare-lf", SUBSCRIBE.replace("Expires: 3600\r\n", "Expires: 3600\n")],
      ["header-line", SUBSCRIBE.replace("Expires: 3600", "Expires 3600")],
      ["header-line", SUBSCRIBE.replace("Expires: 3600", ": 3600")],
      ["header-line", SUBSCRIBE.replace("Expires: 3600", "Expires\r\n : 3600")],
      ["header-line", SUBSCRIBE.replace("Expires: 3600", "Ex(pires: 3600")],
      ["header-line", SUBSCRIBE.replace("SIP/2.0\r\n", "SIP/2.0\r\n folded\r\n")],
      ["truncated", SUBSCRIBE.slice(0, SUBSCRIBE.indexOf("\r\n\r\n") + 2)],
      ["start-line", SUBSCRIBE.replace("SUBSCRIBE sip", "SUB,SCRIBE sip")],
      ["start-line", SUBSCRIBE.replace(" SIP/2.0\r\n", "\r\n")],
    ];
    for (const [code, raw] of cases) {
      const error = refusal(raw);
      expect(error, raw).toMatchObject({ code, status: 400 });
      expect(error.partial!.via.branch).toBe("z9hG4bKnashds7");
      expect(error.partial!.callId).toBe("9987@client.example.com");
      expect(error.partial!.from.tag).toBe("314");
    }
  });

  it("noise without a Via leaves nothing to answer to", () => {
    for (const raw of ["\0\0\0\0", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "x", "INVITE", "a b\r\n\r\n"]) {
      expect(refusal(raw).partial).toBeUndefined();
    }
  });

  it("RFC 3261 18.1.2: malformed responses are dropped, never answered", () => {
    for (const start of [
      "SIP/2.0 99 No",
      "SIP/2.0 700 No",
      "SIP/2.0 20 No",
      "SIP/3.0 200 OK",
      "SIP/2.0 2000 OK",
      "sip/2.1 200 OK",
      "SIP/2.0 +20 OK",
    ]) {
      expect(refusal(OK.replace("SIP/2.0 200 All right", start)), start).toMatchObject({
        status: undefined,
        partial: undefined,
      });
    }
    expect(refusal(OK.replace("CSeq:", "CSeq"))).toMatchObject({ status: undefined, partial: undefined });
  });

  it("a response without reason, with and without the space", () => {
    expect(response(OK.replace("200 All right", "200 "))).toMatchObject({ status: 200, reason: "" });
    expect(response(OK.replace("200 All right", "200"))).toMatchObject({ status: 200, reason: "" });
    expect(response(OK)).toMatchObject({ status: 200, reason: "All right" });
  });

  it("256 header lines pass, 257 get 400", () => {
    const many = (count: number): string => SUBSCRIBE.replace("l: 4", `${"X: y\r\n".repeat(count - 15)}l: 4`);
    expect(request(many(256)).headerCount).toBe(256);
    expect(refusal(many(257))).toMatchObject({ code: "too-many-headers", status: 400 });
    expect(refusal(many(257)).partial!.via.branch).toBe("z9hG4bKnashds7");
  });

  it("65,536 octets pass, one more gets 513 (RFC 3261 21.5.7)", () => {
    const sized = (octets: number): string => {
      const length = octets - SUBSCRIBE.length + 4 - 4;
      return SUBSCRIBE.replace("l: 4", `l: ${length}`).slice(0, -4) + "b".repeat(length);
    };
    const fits = sized(65_536);
    expect(fits).toHaveLength(65_536);
    expect(request(fits).body).toHaveLength(Number(request(fits).header("l")));
    expect(refusal(`${fits}b`)).toMatchObject({ code: "too-large", status: 513 });
  });
});

describe("RFC 3261 18.3: Content-Length over UDP", () => {
  it("octets behind the body are dropped", () => {
    expect(request(`${SUBSCRIBE}INVITE`).raw).toBe(SUBSCRIBE);
  });

  it("without it the body is the rest", () => {
    expect(altered("l:").body).toBe("body");
  });
});
