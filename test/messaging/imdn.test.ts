import { SaxesParser } from "saxes";
import { describe, expect, it } from "vitest";
import type { StoredMessage } from "../../src/directory/messages.ts";
import { failureNotification, negativeDeliveryAsked } from "../../src/messaging/imdn.ts";
import { buildRequest } from "../../src/sip/message/build.ts";
import { decodeUtf8, encodeUtf8 } from "../../src/sip/message/text.ts";

const ASKS = "negative-delivery, display";

function cpim(headers: readonly string[]): string {
  return [...headers, "", "Content-type: text/plain", "", "hello"].join("\r\n");
}

const HEADERS = [
  "From: Bob <im:bob@example.com>",
  "To: Alic\u00e9 <im:alice@example.com>",
  "NS: imdn <urn:ietf:params:imdn>",
  "imdn.Message-ID: m<1>&2",
  `imdn.Disposition-Notification: ${ASKS}`,
];

function request(body: string, type = "message/cpim") {
  return buildRequest({
    method: "MESSAGE",
    uri: "sip:alice@example.com",
    headers: [
      ["From", "<sip:bob@example.com>;tag=1"],
      ["To", "<sip:alice@example.com>"],
      ["Call-ID", "c"],
      ["CSeq", "1 MESSAGE"],
      ["Content-Type", type],
    ],
    body: encodeUtf8(body),
  });
}

const asked = (headers: readonly string[], type?: string) => negativeDeliveryAsked(request(cpim(headers), type));

describe("what a CPIM message asks for (RFC 5438 6.2, 7.2.1)", () => {
  it("negative-delivery, among others, with parameters or without", () => {
    expect(asked(HEADERS)).toMatchObject({ messageId: "m<1>&2", to: "im:bob@example.com", routes: [] });
    for (const value of ["negative-delivery", "display,negative-delivery;x=1"]) {
      expect(asked([...HEADERS.slice(0, 4), `imdn.Disposition-Notification: ${value}`])).not.toBeNull();
    }
  });

  it("nothing: other values, no Message-ID, no such header, no CPIM, no end of the headers", () => {
    for (const value of ["positive-delivery", "negative-delivery-x", ""]) {
      expect(asked([...HEADERS.slice(0, 4), `imdn.Disposition-Notification: ${value}`])).toBeNull();
    }
    expect(asked(HEADERS.filter((line) => !line.includes("Message-ID")))).toBeNull();
    expect(asked(HEADERS.slice(0, 4))).toBeNull();
    expect(asked(HEADERS, "text/plain")).toBeNull();
    expect(negativeDeliveryAsked(request("From: <im:bob@example.com>"))).toBeNull();
  });

  it("RFC 3862 3.4: the prefix is what the NS header says, whatever it is; without the namespace it means nothing", () => {
    const renamed = HEADERS.map((line) => line.replace(/^imdn\./, "d.").replace("NS: imdn ", "NS: d "));
    expect(asked(renamed)).not.toBeNull();
    expect(asked(HEADERS.filter((line) => !line.startsWith("NS")))).toBeNull();
    expect(asked(HEADERS.map((line) => line.replace("urn:ietf:params:imdn", "urn:other")))).toBeNull();
  });

  it("RFC 3862 2.2: header names match exactly", () => {
    expect(asked(HEADERS.map((line) => line.replace(/^From/, "from")))).toBeNull();
  });

  it("goes to the top IMDN-Record-Route, else to the CPIM From", () => {
    const routed = [
      ...HEADERS,
      "imdn.IMDN-Record-Route: <sip:store@example.com>",
      "imdn.IMDN-Record-Route: <im:b@b.com>",
    ];
    expect(asked(routed)).toMatchObject({
      to: "sip:store@example.com",
      routes: ["<sip:store@example.com>", "<im:b@b.com>"],
    });
  });
});

describe("a failed delivery notification (RFC 5438 7.2.1.1, 12.2)", () => {
  const message = { id: "id-1", recipient: "alice@example.com", sender: "bob@example.com" } as StoredMessage;
  const make = (headers: readonly string[] = HEADERS) =>
    failureNotification(message, asked(headers)!, "example.com", Date.UTC(2026, 0, 2, 3, 4, 5));

  function elements(xml: string): Record<string, string> {
    const found: Record<string, string> = {};
    const path: string[] = [];
    const parser = new SaxesParser({ xmlns: true });
    parser.on("opentag", (tag) => {
      if (path.length === 0) found["namespace"] = tag.uri;
      path.push(tag.name);
      found[tag.name] ??= "";
    });
    parser.on("text", (text) => {
      found[path.at(-1) ?? ""] = (found[path.at(-1) ?? ""] ?? "") + text;
    });
    parser.on("closetag", () => void path.pop());
    parser.write(xml).close();
    return found;
  }

  it("is a CPIM message with a notification in it, well-formed whatever the Message-ID holds", () => {
    const body = decodeUtf8(make().request.body);
    const [headers, mime, xml] = body.split("\r\n\r\n") as [string, string, string];
    expect(headers.split("\r\n")).toEqual([
      "From: Alic\u00e9 <im:alice@example.com>",
      "To: Bob <im:bob@example.com>",
      "DateTime: 2026-01-02T03:04:05.000Z",
      "NS: imdn <urn:ietf:params:imdn>",
      expect.stringMatching(/^imdn\.Message-ID: [0-9a-f]+$/),
    ]);
    expect(mime).toContain("Content-type: message/imdn+xml\r\nContent-Disposition: notification");
    expect(mime).toContain(`Content-length: ${Buffer.byteLength(xml)}`);
    expect(elements(xml)).toMatchObject({
      namespace: "urn:ietf:params:xml:ns:imdn",
      "message-id": "m<1>&2",
      datetime: "2026-01-02T03:04:05.000Z",
      "recipient-uri": "im:alice@example.com",
      "original-recipient-uri": "im:alice@example.com",
      failed: "",
    });
  });

  it("12.2: Record-Routes become Routes, in order, and there are none of the former in it", () => {
    const body = make([...HEADERS, "imdn.IMDN-Record-Route: <sip:s@x.com>", "imdn.IMDN-Record-Route: <sip:t@x.com>"]);
    const text = body.request.body;
    expect(text.match(/imdn\.IMDN-Route: .*/g)).toEqual([
      "imdn.IMDN-Route: <sip:s@x.com>",
      "imdn.IMDN-Route: <sip:t@x.com>",
    ]);
    expect(text).not.toContain("Record-Route");
    expect(text).not.toContain("Disposition-Notification");
    expect(body.request.requestUri).toBe("sip:s@x.com");
  });

  it("told twice it is the same request", () => {
    expect(make().request.raw).toBe(make().request.raw);
    expect(make().callId).toMatch(/@example\.com$/);
  });
});
