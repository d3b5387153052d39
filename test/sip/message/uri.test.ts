import { describe, expect, it } from "vitest";
import { MalformedUri } from "../../../src/sip/message/parse.ts";
import { aorOf, equalUris, parseUri, tryAorOf } from "../../../src/sip/message/uri.ts";

const equal = (a: string, b: string): boolean => {
  const there = equalUris(parseUri(a), parseUri(b));
  expect(equalUris(parseUri(b), parseUri(a))).toBe(there);
  return there;
};

describe("RFC 3261 19.1.4: URI comparison, the RFC's own sets", () => {
  it.each([
    ["sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"],
    ["sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"],
    ["sip:carol@chicago.com", "sip:carol@chicago.com;security=on"],
    ["sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"],
    [
      "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
      "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ],
    [
      "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
      "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ],
  ])("%s equals %s", (a, b) => expect(equal(a, b)).toBe(true));

  it.each([
    ["SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"],
    ["sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"],
    ["sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"],
    ["sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"],
    ["sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"],
    ["sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"],
    ["sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"],
  ])("%s does not equal %s", (a, b) => expect(equal(a, b)).toBe(false));
});

describe("RFC 3261 19.1.4: the rules one by one", () => {
  it.each([
    ["sip:a@b", "sips:a@b", false],
    ["sip:a:pw@b", "sip:a@b", false],
    ["sip:a:pw@b", "sip:a:pW@b", false],
    ["sip:a:p%77@b", "sip:a:pw@b", true],
    ["sip:b", "sip:a@b", false],
    // A reserved character is not equivalent to its escape.
    ["sip:a%3Bx@b", "sip:a;x@b", false],
    ["sip:a%3bx@b", "sip:a%3Bx@b", true],
    ["sip:a@b;maddr=1.2.3.4", "sip:a@b", false],
    ["sip:a@b;ttl=1", "sip:a@b", false],
    ["sip:a@b;user=phone", "sip:a@b", false],
    ["sip:a@b;method=INVITE", "sip:a@b", false],
    ["sip:a@b;lr", "sip:a@b", true],
    ["sip:a@b;%6Cr;x=%41", "sip:a@b;LR;X=a", true],
    ["sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0:0:0:0:1]", true],
    ["sip:a@b?x=1", "sip:a@b?x=2", false],
    ["sip:a@b?X=1", "sip:a@b?x=1", true],
    ["isbn:1", "isbn:1", true],
    ["isbn:1", "isbn:2", false],
    ["sip:a@b", "tel:+1", false],
  ])("%s and %s: %s", (a, b, expected) => expect(equal(a, b)).toBe(expected));
});

describe("RFC 3966 4: tel URI comparison", () => {
  it.each([
    ["tel:+1-201-555-0123", "tel:+1(201)555.0123", true],
    ["tel:+1-201-555-0123", "tel:1-201-555-0123;phone-context=+1", false],
    ["tel:7042;phone-context=Example.com", "tel:7042;phone-context=example.com", true],
    ["tel:863-1234;phone-context=+1-914-555", "tel:8631234;phone-context=+1914555", true],
    ["tel:863-1234;phone-context=+1-914-555", "tel:8631234;phone-context=+1914556", false],
    ["tel:+1;ext=12-3;a=b", "TEL:+1;A=B;ext=123", true],
    ["tel:+1;a=b", "tel:+1", false],
    ["tel:+1;isub=1411", "tel:+1;isub=1412", false],
  ])("%s and %s: %s", (a, b, expected) => expect(equal(a, b)).toBe(expected));
});

describe("RFC 3261 19.1.1: parts of a SIP URI", () => {
  it("user, password, host, port, parameters, headers", () => {
    const uri = parseUri("SIP:al%20ice:se:cret@Example.COM:5070;Transport=TCP;lr;x=%41?Subject=a&b=c");
    expect(uri).toMatchObject({
      kind: "sip",
      scheme: "sip",
      user: "al%20ice",
      password: "se:cret",
      host: "example.com",
      port: 5070,
      headers: "Subject=a&b=c",
    });
    expect(uri.kind === "sip" && [...uri.params]).toEqual([
      ["transport", "TCP"],
      ["lr", undefined],
      ["x", "A"],
    ]);
    expect(uri.kind === "sip" && [uri.params.get("LR"), uri.params.get("none"), uri.params.has("lR")]).toEqual([
      "",
      undefined,
      true,
    ]);
  });

  it("no user, IPv6 with port, sips, a user with ; and ?", () => {
    expect(parseUri("sips:[::1]:5061")).toMatchObject({ scheme: "sips", user: undefined, host: "[::1]", port: 5061 });
    expect(parseUri("sip:a;b=c?d@h")).toMatchObject({ user: "a;b=c?d", host: "h", headers: undefined });
    expect(parseUri("sip:h?a=b")).toMatchObject({ host: "h", headers: "a=b" });
  });

  it.each([
    "",
    "sip",
    ":a",
    "sip:",
    "sip:@h",
    "sip:a@",
    "sip:a@h:",
    "sip:a@h:65536",
    "sip:a@h:5x",
    "sip:a b@h",
    "sip:a@h;x y",
    " sip:a@h",
    "sip:a@h ",
    "sip:a@[::1",
    "sip:a@[zz]",
    "sip:a@h/p",
    "sip:a@h@i",
    "<sip:a@h>",
    "sip:a@h;=x",
    "1x:y",
    "s p:y",
    "tel:",
    "tel:x",
    "tel:+",
    "tel:+1;a=1;A=2",
    "http:",
    "sip:a@h\0",
    "sip:a@h\r\nX: y",
  ])("%j is none", (text) => expect(() => parseUri(text)).toThrow(MalformedUri));
});

describe("aorOf: the canonical address of record", () => {
  it.each([
    ["sip:Bob@Example.COM:5070;transport=tcp?x=y", "Bob@example.com"],
    ["sips:bob:secret@example.com", "bob@example.com"],
    ["sip:%62ob@example.com", "bob@example.com"],
    ["sip:b%3Bx@example.com", "b;x@example.com"],
    ["sip:b%40c@example.com", "b%40c@example.com"],
    ["sip:%00%c3%A9@example.com", "%00%C3%A9@example.com"],
    ["sip:\xc3\xa9@example.com", "%C3%A9@example.com"],
    ["sip:50%@example.com", "50%25@example.com"],
  ])("%s is %s", (text, aor) => {
    expect(aorOf(parseUri(text))).toBe(aor);
    // Canonical: reading it again changes nothing.
    expect(aorOf(parseUri(`sip:${aor}`))).toBe(aor);
  });

  it.each(["sip:example.com", "tel:+1", "isbn:1"])("%s has none", (text) => {
    expect(tryAorOf(parseUri(text))).toBeUndefined();
    expect(() => aorOf(parseUri(text))).toThrow(MalformedUri);
  });
});
