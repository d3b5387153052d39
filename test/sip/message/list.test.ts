import { describe, expect, it } from "vitest";
import { splitList } from "../../../src/sip/message/headers/list.ts";

describe("RFC 3261 7.3.1: comma-separated lists", () => {
  it.each([
    ["a", ["a"]],
    ["a , b,c", ["a", "b", "c"]],
    ['"a, b" <sip:c,d@e>;f="g,h", i', ['"a, b" <sip:c,d@e>;f="g,h"', "i"]],
    ['"a\\", b", c', ['"a\\", b"', "c"]],
    ["", [""]],
    [",", ["", ""]],
    ['"a, b', ['"a, b']],
    ["<a, b", ["<a, b"]],
  ])("%j", (text, expected) => {
    expect(splitList(text, true)).toEqual(expected);
    expect(splitList(text, false)).toEqual(expected);
  });

  it("comments hide commas where they may stand, and an open parenthesis hides none", () => {
    expect(splitList("a (b, (c, d)), e", true)).toEqual(["a (b, (c, d))", "e"]);
    expect(splitList("sip:a(b@c, sip:d", true)).toEqual(["sip:a(b@c", "sip:d"]);
    expect(splitList("sip:a(b@c, sip:d)@e", false)).toEqual(["sip:a(b@c", "sip:d)@e"]);
  });
});
