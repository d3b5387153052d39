import { describe, expect, it } from "vitest";
import {
  type Dialog,
  firstHop,
  okWithin,
  packDialog,
  requestWithin,
  uacDialog,
  uasDialog,
  unpackDialog,
  withTarget,
} from "../../../src/sip/dialog/dialog.ts";
import { buildRequest, buildResponse, type HeaderPair } from "../../../src/sip/message/build.ts";
import type { SipRequest } from "../../../src/sip/message/message.ts";
import { fc } from "../../support/fast-check.ts";

const ROUTES = ["<sip:p1.example.com;lr;k=1>", "<sip:p2.example.com:5070;lr>"];

function request(method: string, headers: readonly HeaderPair[] = [], uri = "sip:alice@example.com"): SipRequest {
  const given = new Set(headers.map(([name]) => name));
  const usual: readonly HeaderPair[] = [
    ["Via", "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1"],
    ["From", '"Bob <b>" <sip:bob@example.com>;tag=b1;x=y'],
    ["To", "<sip:alice@example.com>"],
    ["Call-ID", "c1"],
    ["CSeq", `7 ${method}`],
    ["Contact", "<sip:bob@127.0.0.1:5090>"],
  ];
  return buildRequest({ method, uri, headers: [...usual.filter(([name]) => !given.has(name)), ...headers] });
}

const recordRouted = ROUTES.map((route): HeaderPair => ["Record-Route", route]);

describe("12.1.1: the side that answers", () => {
  it("takes the route set in order, with all URI parameters, and the target from Contact", () => {
    const dialog = uasDialog(request("SUBSCRIBE", recordRouted), "a1");
    expect(dialog).toEqual({
      callId: "c1",
      localTag: "a1",
      remoteTag: "b1",
      local: "<sip:alice@example.com>",
      remote: '"Bob <b>" <sip:bob@example.com>;x=y',
      remoteTarget: "sip:bob@127.0.0.1:5090",
      routeSet: ROUTES,
      secure: false,
    });
  });

  it("is prepared to receive a request without a tag in From: the tag is null, and left out of later requests", () => {
    const dialog = uasDialog(request("SUBSCRIBE", [["From", "sip:bob@example.com"]]), "a1");
    expect(dialog.remoteTag).toBe("");
    expect(requestWithin(dialog, { method: "NOTIFY", cseq: 1 }).header("To")).toBe("sip:bob@example.com");
  });

  it("refuses a request whose Contact is missing, or no SIP or SIPS URI", () => {
    const bare = request("SUBSCRIBE").edit().remove("Contact").build();
    expect(() => uasDialog(bare, "a1")).toThrow(/Contact/);
    expect(() => uasDialog(request("SUBSCRIBE", [["Contact", "<tel:+15551234>"]]), "a1")).toThrow(/Contact/);
    expect(() => uasDialog(request("SUBSCRIBE", [["Contact", "*"]]), "a1")).toThrow(/Contact/);
  });

  it("sets secure only where the Request-URI is SIPS and the request came over TLS", () => {
    const tls: HeaderPair = ["Via", "SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK1"];
    expect(uasDialog(request("SUBSCRIBE", [tls], "sips:alice@example.com"), "a1").secure).toBe(true);
    expect(uasDialog(request("SUBSCRIBE", [], "sips:alice@example.com"), "a1").secure).toBe(false);
    expect(uasDialog(request("SUBSCRIBE", [tls]), "a1").secure).toBe(false);
  });
});

describe("12.1.1: the 2xx", () => {
  it("copies all Record-Route values in order with their parameters, and adds a Contact", () => {
    const given: HeaderPair[] = [["Record-Route", `${ROUTES[0]};other=1, ${ROUTES[1]}`]];
    const ok = okWithin(request("SUBSCRIBE", given), 200, {
      localTag: "a1",
      contact: "sip:127.0.0.1:5060",
      headers: [["Expires", "600"]],
    });
    expect(ok.headers("Record-Route")).toEqual([`${ROUTES[0]};other=1, ${ROUTES[1]}`]);
    expect(ok.to.tag).toBe("a1");
    expect(ok.header("Contact")).toBe("<sip:127.0.0.1:5060>");
    expect(ok.expires).toBe(600);
  });

  it("has a SIPS Contact where the Request-URI, the top Record-Route, or without one the Contact is SIPS", () => {
    const contact = (sent: SipRequest) =>
      okWithin(sent, 200, { localTag: "a", contact: "sip:h:5061" }).header("Contact");
    expect(contact(request("SUBSCRIBE", [], "sips:alice@example.com"))).toBe("<sips:h:5061>");
    expect(contact(request("SUBSCRIBE", [["Record-Route", "<sips:p;lr>"]]))).toBe("<sips:h:5061>");
    expect(contact(request("SUBSCRIBE", [["Contact", "<sips:bob@h>"]]))).toBe("<sips:h:5061>");
    const mixed = request("SUBSCRIBE", [
      ["Record-Route", "<sip:p;lr>"],
      ["Contact", "<sips:bob@h>"],
    ]);
    expect(contact(mixed)).toBe("<sip:h:5061>");
  });
});

describe("12.1.2: the side that asked", () => {
  const sent = request("SUBSCRIBE");

  it("takes the route set of the 2xx in reverse order", () => {
    const headers: HeaderPair[] = [...recordRouted, ["Contact", "<sip:alice@10.0.0.1>"]];
    const dialog = uacDialog(sent, buildResponse(sent, 200, undefined, { toTag: "a9", headers }));
    expect(dialog.routeSet).toEqual([...ROUTES].reverse());
    expect(dialog).toMatchObject({ localTag: "b1", remoteTag: "a9", remoteTarget: "sip:alice@10.0.0.1" });
    expect(dialog.local).toBe('"Bob <b>" <sip:bob@example.com>;x=y');
    expect(dialog.remote).toBe("<sip:alice@example.com>");
  });

  it("RFC 6665 4.4.1: a NOTIFY that comes first makes the dialog, its Record-Route in order", () => {
    const notify = request("NOTIFY", [
      ["From", "<sip:alice@example.com>;tag=n1"],
      ["To", "<sip:bob@example.com>;tag=b1"],
      ["Contact", "<sip:10.0.0.2>"],
      ...recordRouted,
    ]);
    const dialog = uacDialog(sent, notify);
    expect(dialog).toMatchObject({ localTag: "b1", remoteTag: "n1", remoteTarget: "sip:10.0.0.2", routeSet: ROUTES });
  });
});

describe("RFC 6665 4.1.4: forking", () => {
  it("MUST be prepared to receive NOTIFY requests with From tags that differ from the To tag of the 200: each is a dialog", () => {
    const sent = request("SUBSCRIBE");
    const answered = uacDialog(sent, buildResponse(sent, 200, undefined, { toTag: "a1" }));
    const notify = request("NOTIFY", [
      ["From", "<sip:alice@example.com>;tag=a2"],
      ["To", "<sip:bob@example.com>;tag=b1"],
    ]);
    const notified = uacDialog(sent, notify);
    expect([answered.remoteTag, notified.remoteTag]).toEqual(["a1", "a2"]);
    expect([answered.localTag, notified.localTag]).toEqual(["b1", "b1"]);
  });
});

describe("12.2.1.1: a request within a dialog", () => {
  const dialog: Dialog = uasDialog(request("SUBSCRIBE", recordRouted), "a1");

  it("goes through loose routers: the target in the Request-URI, the whole route set in Route", () => {
    const notify = requestWithin(dialog, {
      method: "NOTIFY",
      cseq: 41,
      contact: "sip:127.0.0.1:5060",
      headers: [["Event", "presence"]],
      body: "x",
    });
    expect(notify.raw).toBe(
      [
        "NOTIFY sip:bob@127.0.0.1:5090 SIP/2.0",
        "Max-Forwards: 70",
        ...ROUTES.map((route) => `Route: ${route}`),
        "From: <sip:alice@example.com>;tag=a1",
        'To: "Bob <b>" <sip:bob@example.com>;x=y;tag=b1',
        "Call-ID: c1",
        "CSeq: 41 NOTIFY",
        "Contact: <sip:127.0.0.1:5060>",
        "Event: presence",
        "Content-Length: 1",
        "",
        "x",
      ].join("\r\n"),
    );
    expect(firstHop(dialog).host).toBe("p1.example.com");
  });

  it("goes through a strict router: its URI in the Request-URI, stripped, the target as the last Route", () => {
    const strict: Dialog = {
      ...dialog,
      remoteTarget: "sip:user@remoteua",
      routeSet: ["<sip:proxy1;method=INVITE;a=b?x=y>", "<sip:proxy2>", "<sip:proxy3;lr>", "<sip:proxy4>"],
    };
    const sent = requestWithin(strict, { method: "NOTIFY", cseq: 1 });
    expect(sent.requestUri).toBe("sip:proxy1;a=b");
    expect(sent.headers("Route")).toEqual(["<sip:proxy2>", "<sip:proxy3;lr>", "<sip:proxy4>", "<sip:user@remoteua>"]);
    expect(firstHop(strict).host).toBe("proxy1");
  });

  it("has no Route where the route set is empty, and goes to the target", () => {
    const plain: Dialog = { ...dialog, routeSet: [] };
    expect(requestWithin(plain, { method: "NOTIFY", cseq: 1 }).has("Route")).toBe(false);
    expect(firstHop(plain)).toMatchObject({ host: "127.0.0.1", port: 5090 });
  });

  it("names a SIPS Contact where the dialog is secure", () => {
    const sent = requestWithin({ ...dialog, secure: true }, { method: "NOTIFY", cseq: 1, contact: "sip:h:5061" });
    expect(sent.header("Contact")).toBe("<sips:h:5061>");
  });
});

describe("12.2.1.2, 12.2.2: target refresh", () => {
  const dialog = uasDialog(request("SUBSCRIBE", recordRouted), "a1");
  const moved: HeaderPair = ["Contact", "<sip:bob@10.9.9.9>"];

  it("replaces the target by the Contact of a SUBSCRIBE, NOTIFY or a 2xx, and leaves the route set alone", () => {
    const elsewhere: HeaderPair[] = [moved, ["Record-Route", "<sip:other;lr>"]];
    for (const message of [
      request("SUBSCRIBE", elsewhere),
      request("NOTIFY", elsewhere),
      buildResponse(request("NOTIFY"), 200, undefined, { headers: elsewhere }),
    ]) {
      expect(withTarget(dialog, message)).toEqual({ ...dialog, remoteTarget: "sip:bob@10.9.9.9" });
    }
  });

  it("leaves it where there is no Contact, in other methods, and in responses that are no 2xx", () => {
    for (const message of [
      request("SUBSCRIBE").edit().remove("Contact").build(),
      request("OPTIONS", [moved]),
      buildResponse(request("NOTIFY"), 302, undefined, { headers: [moved] }),
      request("SUBSCRIBE"),
    ]) {
      expect(withTarget(dialog, message)).toBe(dialog);
    }
  });
});

describe("the packed text", () => {
  it("gives back the dialog it was made of", () => {
    const word = fc.stringMatching(/^[!-~]{1,20}$/);
    const texts = fc.array(word, { maxLength: 4 });
    const property = fc.property(word, word, fc.option(word, { nil: "" }), word, texts, fc.boolean(), (...made) => {
      const [callId, localTag, remoteTag, remoteTarget, routeSet, secure] = made;
      const dialog: Dialog = {
        callId,
        localTag,
        remoteTag,
        local: `"${callId} \\"" <sip:a@b>`,
        remote: "<sip:b@c>",
        remoteTarget,
        routeSet,
        secure,
      };
      expect(unpackDialog(packDialog(dialog))).toEqual(dialog);
    });
    fc.assert(property, { numRuns: 200 });
  });

  it("is no longer than its parts and a separator each", () => {
    const dialog = uasDialog(request("SUBSCRIBE"), "a1");
    expect(packDialog(dialog).length).toBeLessThan(150);
  });
});

describe("what peers may write", () => {
  it("cuts the tag out wherever it stands, and nothing else", () => {
    const remote = (from: string) => uasDialog(request("SUBSCRIBE", [["From", from]]), "a1").remote;
    expect(remote("sip:bob@h;tag=1")).toBe("sip:bob@h");
    expect(remote("<sip:bob@h;tag=u>;a=1 ; TAG = 1;b=2")).toBe("<sip:bob@h;tag=u>;a=1;b=2");
    expect(remote('"<sip:bob@h>;tag=0" <sip:bob@h>;tag=1')).toBe('"<sip:bob@h>;tag=0" <sip:bob@h>');
    expect(remote('<sip:bob@h>;tag=1;a="<sip:bob@h>"')).toBe('<sip:bob@h>;a="<sip:bob@h>"');
  });

  it("writes a tag that was quoted in quotes again", () => {
    const dialog = uasDialog(request("SUBSCRIBE", [["From", '<sip:bob@h>;tag="a b"']]), "a1");
    expect(requestWithin(dialog, { method: "NOTIFY", cseq: 1 }).to.tag).toBe("a b");
  });

  it("lets no carriage return into a dialog", () => {
    const odd = request("SUBSCRIBE").edit().build();
    const raw = odd.raw.replace("Bob <b>", "Bob \r b");
    expect(() => uasDialog(odd.withRaw(raw), "a1")).toThrow(/control/);
  });
});
