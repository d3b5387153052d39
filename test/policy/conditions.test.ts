import { describe, expect, it } from "vitest";
import { readRules } from "../../src/policy/common-policy.ts";
import { type Circumstances, holds, nextChange } from "../../src/policy/conditions.ts";
import { identityOf } from "../../src/policy/identity.ts";
import { MalformedDocument } from "../../src/presence/xml.ts";
import { rule, ruleset } from "../support/rules.ts";
import { hasShared, sharedBytes } from "../torture/shared.ts";

const MOMENT = Date.parse("2003-12-24T17:15:00+01:00");

/** Ids of the rules that match. */
function matching(text: string, about: Partial<Circumstances>): string[] {
  const all: Circumstances = { identity: null, sphere: null, now: MOMENT, ...about };
  return readRules(text)
    .filter(({ conditions }) => conditions.every((each) => holds(each, all)))
    .map(({ id }) => id);
}

const identity = (inner: string): string => ruleset(rule("r", `<cp:identity>${inner}</cp:identity>`));
const named = (uri: string) => ({ identity: identityOf(uri) });

describe("identity (RFC 4745 7.1)", () => {
  it("matches only who has proved who he is; without an identity condition, anybody", () => {
    expect(matching(identity('<cp:one id="sip:bob@example.com"/>'), {})).toEqual([]);
    expect(matching(identity("<cp:many/>"), {})).toEqual([]);
    expect(matching(identity("<cp:many/>"), named("sip:bob@example.com"))).toEqual(["r"]);
    expect(matching(ruleset(rule("r", "")), {})).toEqual(["r"]);
    expect(matching(ruleset('<cp:rule id="r"/>'), {})).toEqual(["r"]);
  });

  it.each([
    ["sip:Bob@EXAMPLE.com", "sip:Bob@example.com", true],
    ["sip:bob@example.com", "sip:BOB@example.com", false],
    ["sip:b%6Fb@example.com", "sip:bob@example.com", true],
    ["sip:bob@example.com;transport=tcp", "sip:bob@example.com", true],
    ["sips:bob@example.com", "sip:bob@example.com", true],
    ["tel:+1-212-555-1234", "tel:+12125551234", true],
    ["tel:+12125551234", "sip:+12125551234@example.com", false],
    ["mailto:bob@example.net", "mailto:bob@example.net", true],
    ["mailto:bob@example.net", "sip:bob@example.net", false],
    ["pres:bob@example.net", "sip:bob@example.net", false],
  ])("one %s, asked by %s: %s (RFC 5025 3.1.1.2)", (id, uri, expected) => {
    expect(matching(identity(`<cp:one id="${id}"/>`), named(uri))).toEqual(expected ? ["r"] : []);
  });

  it("any of its tests will do", () => {
    const text = identity('<cp:one id="sip:a@x.com"/><cp:many domain="y.com"/>');
    expect(
      [named("sip:a@x.com"), named("sip:b@y.com"), named("sip:b@x.com")].map((each) => matching(text, each)),
    ).toEqual([["r"], ["r"], []]);
  });

  it("many of a domain but some (7.1.3.3), everybody but some and some domains (7.1.3.2)", () => {
    const ofDomain = identity('<cp:many domain="EXAMPLE.com"><cp:except id="sip:alice@example.com"/></cp:many>');
    expect(matching(ofDomain, named("sip:carol@example.com"))).toEqual(["r"]);
    expect(matching(ofDomain, named("sip:alice@example.com"))).toEqual([]);
    expect(matching(ofDomain, named("sip:carol@sub.example.com"))).toEqual([]);
    expect(matching(ofDomain, named("tel:+12125551234"))).toEqual([]);
    const but = identity('<cp:many><cp:except domain="example.org"/><cp:except id="tel:+1-212-555-1234"/></cp:many>');
    expect(matching(but, named("sip:carol@example.com"))).toEqual(["r"]);
    expect(matching(but, named("sip:carol@example.org"))).toEqual([]);
    expect(matching(but, named("tel:+12125551234"))).toEqual([]);
  });

  it("domains are compared as ASCII labels (7.1.3)", () => {
    const text = identity('<cp:many domain="b%C3%BCcher.example"/>');
    expect(matching(text, named("sip:a@xn--bcher-kva.example"))).toEqual(["r"]);
    expect(matching(identity('<cp:many domain="a b"/>'), named("sip:a@b"))).toEqual([]);
  });

  it("a test that is not understood is false, and the others count; an exception that is not could be anybody", () => {
    expect(matching(identity('<x:one xmlns:x="urn:x"/><cp:one id="sip:a@x.com"/>'), named("sip:a@x.com"))).toEqual([
      "r",
    ]);
    expect(matching(identity('<x:one xmlns:x="urn:x"/>'), named("sip:a@x.com"))).toEqual([]);
    expect(matching(identity('<cp:many><x:except xmlns:x="urn:x"/></cp:many>'), named("sip:a@x.com"))).toEqual([]);
    expect(matching(identity("<cp:many><cp:except/></cp:many>"), named("sip:a@x.com"))).toEqual([]);
    expect(matching(identity(""), named("sip:a@x.com"))).toEqual([]);
  });
});

describe("sphere (RFC 4745 7.3)", () => {
  const text = ruleset(rule("r", '<cp:sphere value="Home  work"/>'));
  it("matches any of its tokens without regard to case, and nothing where the sphere is not known", () => {
    expect(["home", "WORK", "travel", "", null].map((sphere) => matching(text, { sphere }))).toEqual([
      ["r"],
      ["r"],
      [],
      [],
      [],
    ]);
  });
});

describe("validity (RFC 4745 7.4)", () => {
  const window = (from: string, until: string): string => `<cp:from>${from}</cp:from><cp:until>${until}</cp:until>`;
  const text = (...windows: string[]): string => ruleset(rule("r", `<cp:validity>${windows.join("")}</cp:validity>`));

  it("holds from the one moment up to, and not at, the other; in any of its windows", () => {
    const two = text(
      window("2003-12-24T17:00:00+01:00", "2003-12-24T17:15:00+01:00"),
      window("2003-12-24T16:15:00.001Z", "2003-12-24T16:16:00Z"),
    );
    expect(matching(two, { now: MOMENT - 1 })).toEqual(["r"]);
    expect(matching(two, { now: MOMENT })).toEqual([]);
    expect(matching(two, { now: MOMENT + 1 })).toEqual(["r"]);
    const [condition] = readRules(two)[0]!.conditions;
    expect(nextChange(condition!, MOMENT)).toBe(MOMENT + 1);
    expect(nextChange(condition!, MOMENT + 1)).toBe(MOMENT + 60_000);
    expect(nextChange(condition!, MOMENT + 60_000)).toBeNull();
  });

  it.each([
    [window("2003-12-24", "2004-12-24")],
    ["<cp:from>2003-01-01T00:00:00Z</cp:from>"],
    ["<cp:until>2004-01-01T00:00:00Z</cp:until><cp:from>2003-01-01T00:00:00Z</cp:from>"],
    [window("2003-01-01T00:00:00Z", "2004-13-01T00:00:00Z")],
    [""],
  ])("what is no pair of moments holds never: %s", (inner) => {
    expect(matching(text(inner), {})).toEqual([]);
  });
});

describe("a rule set", () => {
  it("a condition that nobody here knows is false, in whatever namespace (RFC 4745 7)", () => {
    expect(matching(ruleset(rule("r", '<x:moon xmlns:x="urn:x"/>')), {})).toEqual([]);
    expect(matching(ruleset(rule("r", "<cp:moon/>")), {})).toEqual([]);
  });

  it("conditions are one and all", () => {
    const text = ruleset(rule("r", '<cp:sphere value="work"/><cp:identity><cp:many/></cp:identity>'));
    expect(matching(text, { sphere: "work" })).toEqual([]);
    expect(matching(text, { sphere: "work", identity: "a@b" })).toEqual(["r"]);
  });

  it("what is none is refused", () => {
    for (const text of ["", "<ruleset/>", "<cp:rule xmlns:cp='urn:ietf:params:xml:ns:common-policy'/>", "<a><b></a>"])
      expect(() => readRules(text)).toThrow(MalformedDocument);
  });

  it("faults are told by rule", () => {
    const faults: string[] = [];
    readRules(
      ruleset(rule("a", "<cp:sphere/>"), rule("a", '<x:moon xmlns:x="urn:x"/>'), "<cp:rule/>", "<other/>"),
      ({ severity, rule: id, message }) => faults.push(`${severity} ${id}: ${message}`),
    );
    expect(faults).toEqual([
      "error a: A <sphere> has no value.",
      "error a: Two rules have the id a (RFC 4745 6.1).",
      "warning a: The condition <moon> is not known: the rule matches nobody (RFC 4745 7).",
      "error : A rule has no id.",
      "error : <other> is no rule.",
    ]);
  });
});

describe.skipIf(!hasShared("data/presence/examples"))(
  "the rule sets printed in RFC 4745 (skipped without the shared examples)",
  () => {
    const example = (n: number): string => sharedBytes(`data/presence/examples/rfc4745-00${n}-ruleset.xml`).trimStart();
    it.each([
      [1, { identity: "alice@example.com" }, ["f3g44r1"]],
      [1, named("tel:+12125551234"), ["f3g44r1"]],
      [1, { identity: "bob@example.net" }, []],
      [2, { identity: "x@y" }, ["f3g44r5"]],
      [2, {}, []],
      [3, { identity: "x@example.edu", sphere: "work", now: MOMENT }, ["f3g44r1"]],
      [3, { identity: "x@example.edu", sphere: "home", now: MOMENT }, []],
      [3, { identity: "x@example.org", sphere: "work", now: MOMENT }, []],
      [3, { identity: "bob@good.example.net", sphere: "work", now: MOMENT }, []],
      [4, { identity: "carol@example.com" }, ["f3g44r1"]],
      [4, { identity: "bob@example.com" }, []],
      [5, { identity: "allison@example.com", sphere: "home" }, ["y6y55r2"]],
      [5, { identity: "john@doe.example.com", sphere: "WORK" }, ["z6y55r2"]],
      [6, { now: Date.parse("2003-09-01T00:00:00Z") }, ["f3g44r3"]],
      [6, { now: Date.parse("2003-09-15T15:20:00Z") }, []],
      [7, { identity: "bob@example.com", sphere: "work", now: MOMENT }, ["f3g44r1"]],
    ])("%i with %o: %o", (n, about, expected) => {
      expect(matching(example(n), about)).toEqual(expected);
    });
  },
);
