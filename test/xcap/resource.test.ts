import { describe, expect, it } from "vitest";
import { parseResource } from "../../src/xcap/resource.ts";

const DOCUMENT = "/pres-rules/users/sip:alice@example.com/index";

function bindings(query: string) {
  return Object.fromEntries(parseResource(`${DOCUMENT}/~~/a?${query}`)!.bindings);
}

describe("what a request names (RFC 4825 6)", () => {
  it("usage, tree, user, document and node, decoded; the document also as it was written", () => {
    const path = "/pres-rules/users/sip%3Aal%2Fice@example.com/index/~~/r/a%5B@b=%22%C3%A4/~~/%22%5D";
    expect(parseResource(path)).toEqual({
      auid: "pres-rules",
      tree: "users",
      xui: "sip:al/ice@example.com",
      path: ["index"],
      node: 'r/a[@b="ä/~~/"]',
      document: "/pres-rules/users/sip%3Aal%2Fice@example.com/index",
      bindings: new Map(),
    });
    expect(parseResource("/xcap-caps/global/index")).toMatchObject({ tree: "global", xui: "", path: ["index"] });
  });

  it("the separator may be percent-encoded, which means the same (RFC 3986 6.2.2.2)", () => {
    expect(parseResource(`${DOCUMENT}/%7E~/a/%7e%7e/b`)).toMatchObject({ path: ["index"], node: "a/~~/b" });
  });

  it.each([
    "",
    "/",
    "/pres-rules",
    "/pres-rules/users",
    "/pres-rules/users/sip:alice@example.com",
    "/pres-rules/global",
    "/pres-rules/others/sip:alice@example.com/index",
    `/${DOCUMENT}`,
    `${DOCUMENT}/`,
    `${DOCUMENT}/../index`,
    `${DOCUMENT}/~~/`,
    `${DOCUMENT}/~~/%zz`,
    "/pres-rules/users/%ff/index",
  ])("%j names nothing", (path) => {
    expect(parseResource(path)).toBeNull();
  });

  it("prefixes are bound by xmlns(), encoded or not; other schemes MUST be passed over (6.4)", () => {
    expect(bindings("xmlns(a=urn:x)xmlns(b=urn:y)")).toEqual({ a: "urn:x", b: "urn:y" });
    expect(bindings("xmlns(a=urn:x)%20%20xmlns(b=urn:y)")).toEqual({ a: "urn:x", b: "urn:y" });
    expect(bindings("xmlns%28a%3Durn%3Ax%29")).toEqual({ a: "urn:x" });
    expect(bindings("element(/1/2)xpointer(id(%22x%22))xmlns(a=urn:x)")).toEqual({ a: "urn:x" });
    expect(bindings("xmlns(a=urn:x^)y)")).toEqual({ a: "urn:x)y" });
    expect(bindings("xmlns(a=urn:x)xmlns(a=urn:y)")).toEqual({ a: "urn:x" });
    expect(bindings("a=b")).toEqual({});
  });

  it("a query without end takes a time that grows with its length only", () => {
    expect(bindings("a".repeat(16_000))).toEqual({});
    expect(bindings(`xmlns(${"(".repeat(16_000)}`)).toEqual({});
    expect(bindings("xmlns(a=b)".repeat(1600))).toEqual({ a: "b" });
  });
});
