import { describe, expect, it } from "vitest";
import { bracketed, canonicalHost, familyOf, splitHostPort } from "../../../src/sip/transport/address.ts";

describe("hosts and addresses", () => {
  it.each([
    ["192.0.2.1", 4],
    ["255.255.255.255", 4],
    ["256.0.0.1", undefined],
    ["192.0.2", undefined],
    ["192.0.2.1.", undefined],
    ["1.2.3.4.5", undefined],
    ["example.com", undefined],
    ["2001:db8::1", 6],
    ["[2001:db8::1]", 6],
    ["::", 6],
    ["::ffff:192.0.2.1", 6],
    ["fe80::1%eth0", 6],
    ["1::2::3", undefined],
    ["[::1", undefined],
    ["a:b", undefined],
    ["", undefined],
  ] as const)("the family of '%s' is %s", (host, family) => {
    expect(familyOf(host)).toBe(family);
  });

  it.each([
    ["Example.COM.", "example.com"],
    ["[2001:DB8:0:0:0::1]", "2001:db8::1"],
    ["::FFFF:192.0.2.1", "::ffff:c000:201"],
    ["FE80::1%eth0", "fe80::1%eth0"],
    ["192.0.2.1", "192.0.2.1"],
  ])("'%s' is written %s", (host, text) => {
    expect(canonicalHost(host)).toBe(text);
  });

  it("only IPv6 addresses stand in brackets", () => {
    expect([bracketed("::1"), bracketed("[::1]"), bracketed("192.0.2.1"), bracketed("a.example")]).toEqual([
      "[::1]",
      "[::1]",
      "192.0.2.1",
      "a.example",
    ]);
  });

  it.each([
    ["a.example:5060", { host: "a.example", port: 5060 }],
    ["a.example", { host: "a.example", port: undefined }],
    ["[::1]:5061", { host: "[::1]", port: 5061 }],
    ["[::1]", { host: "[::1]", port: undefined }],
    ["::1", undefined],
    ["a:0", undefined],
    ["a:65536", undefined],
    ["a:b", undefined],
    ["", undefined],
    ["a b:1", undefined],
  ])("'%s' splits into %j", (text, parts) => {
    expect(splitHostPort(text)).toEqual(parts);
  });
});
