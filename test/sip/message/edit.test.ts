import { describe, expect, it } from "vitest";
import type { SipMessage } from "../../../src/sip/message/message.ts";
import { MAX_HEADERS, MalformedHeader, parseMessage } from "../../../src/sip/message/parse.ts";
import { lines, OK, request, response, SUBSCRIBE } from "./samples.ts";

/** What an edit gives is what a parser makes of its bytes. */
function checked<M extends SipMessage>(m: M): M {
  expect(parseMessage(m.raw)).toEqual(m);
  return m;
}

describe("editor", () => {
  const m = request(SUBSCRIBE);

  it("no change: the same bytes", () => {
    expect(checked(m.edit().build()).raw).toBe(SUBSCRIBE);
    expect(checked(response(OK).edit().build()).raw).toBe(OK);
  });

  it("Via goes before the first, all else stays", () => {
    const out = checked(m.edit().prepend("Via", "SIP/2.0/UDP us;branch=z9hG4bKx").build());
    expect(out.raw).toBe(SUBSCRIBE.replace("Via:", "Via: SIP/2.0/UDP us;branch=z9hG4bKx\r\nVia:"));
    expect(out.via.host).toBe("us");
    expect(out.vias).toHaveLength(4);
    expect([out.body, out.method]).toEqual(["body", "SUBSCRIBE"]);
  });

  it("RFC 3261 16.7 step 3: the top Via is taken off, on a line of its own or in a list", () => {
    const once = checked(m.edit().removeFirstValue("Via").build());
    expect(once.raw).toBe(SUBSCRIBE.replace(/Via: .*\r\n/, ""));
    const twice = checked(once.edit().removeFirstValue("Via").build());
    expect(twice.raw).toContain("\r\nv: SIP/2.0/WS first.invalid;branch=z9hG4bKfirst\r\nMax");
    const thrice = checked(twice.edit().removeFirstValue("Via").build());
    expect(thrice.vias).toEqual([]);
    expect(checked(m.edit().removeFirstValue("Via").removeFirstValue("Via").removeFirstValue("Via").build()).raw).toBe(
      thrice.raw,
    );
    expect(checked(thrice.edit().removeFirstValue("Via").build()).raw).toBe(thrice.raw);
  });

  it("a list over folded lines loses its first element only", () => {
    const out = checked(m.edit().removeFirstValue("Route").build());
    expect(out.routes.map(({ uri }) => uri.raw)).toEqual(["sip:p2.example.com;lr", "sip:p3.example.com;lr"]);
    expect(out.raw).toContain("\r\nRoute: <sip:p2.example.com;lr>\r\nROUTE: <sip:p3");
  });

  it("commas in quotes and brackets part nothing", () => {
    const raw = lines("OPTIONS sip:a@b SIP/2.0", 'Route: "x, y" <sip:a,b@c;lr>, <sip:d@e>', "Via: SIP/2.0/UDP a", "");
    const out = checked(request(raw).edit().removeFirstValue("Route").build());
    expect(out.header("Route")).toBe("<sip:d@e>");
  });

  it("replaceFirstValue keeps the rest of the list byte for byte", () => {
    const out = checked(m.edit().replaceFirstValue("Route", "<sip:q@example.com>").build());
    expect(out.raw).toContain("\r\nRoute: <sip:q@example.com>,\r\n <sip:p2.example.com;lr>\r\nROUTE:");
    const via = checked(m.edit().replaceFirstValue("Via", "SIP/2.0/UDP x").build());
    expect(via.raw).toContain("SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nv: SIP/2.0/TCP");
    expect(checked(m.edit().replaceFirstValue("Path", "<sip:x>").build()).header("Path")).toBe("<sip:x>");
  });

  it("set: first line replaced in place with its name as it was spelled, others removed, appended where none was", () => {
    const out = checked(m.edit().set("Call-ID", "x").set("Route", "<sip:only>").set("Subject", "new").build());
    expect(out.raw).toContain("\r\ni: x\r\nCSEQ");
    expect(out.headers("Route")).toEqual(["<sip:only>"]);
    expect(out.raw).toContain("\r\nl: 4\r\nSubject: new\r\n\r\nbody");
  });

  it("changes see those before them", () => {
    const out = checked(
      m
        .edit()
        .prepend("Record-Route", "<sip:1>")
        .prepend("Record-Route", "<sip:2>")
        .append("Record-Route", "<sip:3>")
        .set("X", "1")
        .set("x", "2")
        .remove("X-unknown")
        .build(),
    );
    expect(out.headers("Record-Route")).toEqual(["<sip:2>", "<sip:1>", "<sip:3>"]);
    expect(out.headers("X")).toEqual(["2"]);
    expect(out.has("X-Unknown")).toBe(false);
    // The first of its kind stands below the Vias.
    expect(out.raw.indexOf("Record-Route")).toBeGreaterThan(out.raw.indexOf("first.invalid"));
    expect(out.raw.indexOf("Record-Route")).toBeLessThan(out.raw.indexOf("Max-Forwards"));
  });

  it("Request-URI and body", () => {
    const out = checked(m.edit().setRequestUri("sip:bob@192.0.2.9").body("new text", "text/plain").build());
    expect(out.raw.startsWith("SUBSCRIBE sip:bob@192.0.2.9 SIP/2.0\r\nVia: ")).toBe(true);
    expect([out.requestUri, out.uri.raw, out.body, out.contentLength, out.header("Content-Type")]).toEqual([
      "sip:bob@192.0.2.9",
      "sip:bob@192.0.2.9",
      "new text",
      8,
      "text/plain",
    ]);
    const empty = checked(out.edit().body("").build());
    expect([empty.body, empty.contentLength, empty.has("Content-Type")]).toEqual(["", 0, false]);
    expect(checked(parseMessage(out.raw)).raw).toBe(out.raw);
  });

  it("RFC 4475 3.1.2.9: extra spaces of the Request-Line are not passed on", () => {
    const loose = request(
      SUBSCRIBE.replace("SUBSCRIBE sip:bob@example.com SIP/2.0", "SUBSCRIBE  sip:bob@example.com  SIP/2.0 "),
    );
    expect(checked(loose.edit().build()).raw).toBe(SUBSCRIBE);
  });

  it("a head with no header line, and one emptied", () => {
    const bare = request("OPTIONS sip:a@b SIP/2.0\r\n\r\n");
    expect(checked(bare.edit().append("P-X", "y").build()).raw).toBe("OPTIONS sip:a@b SIP/2.0\r\nP-X: y\r\n\r\n");
    const one = request("OPTIONS sip:a@b SIP/2.0\r\nP-X: y\r\n\r\nbody");
    expect(checked(one.edit().remove("P-X").build()).raw).toBe("OPTIONS sip:a@b SIP/2.0\r\n\r\nbody");
    expect(checked(one.edit().remove("P-X").body("b2").build()).raw).toBe(
      "OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 2\r\n\r\nb2",
    );
  });

  it("a value cannot bring lines of its own", () => {
    expect(() => m.edit().append("X", "y\r\nRoute: <sip:evil>")).toThrow(MalformedHeader);
    expect(() => m.edit().set("Via", "y\n")).toThrow(MalformedHeader);
    expect(() => m.edit().replaceFirstValue("Via", "y\r")).toThrow(MalformedHeader);
    expect(() => m.edit().append("X: y\r\nRoute", "z")).toThrow(MalformedHeader);
    expect(() => m.edit().setRequestUri("sip:a@b SIP/2.0\r\nX: y")).toThrow(MalformedHeader);
    expect(() => response(OK).edit().setRequestUri("sip:a@b")).toThrow(MalformedHeader);
  });

  it("a message as long as may come in can be read, and edited, with our lines added", () => {
    const most = request(`OPTIONS sip:a@b SIP/2.0\r\n${"X: y\r\n".repeat(MAX_HEADERS)}\r\n`);
    const out = most.edit().prepend("Via", "SIP/2.0/UDP us;branch=z9hG4bKx").build();
    expect([out.headerCount, out.via.host]).toEqual([MAX_HEADERS + 1, "us"]);
    expect(out.edit().removeFirstValue("Via").build().raw).toBe(most.raw);
  });

  it("the message edited is untouched", () => {
    expect(m.raw).toBe(SUBSCRIBE);
    expect(m.vias).toHaveLength(3);
  });
});
