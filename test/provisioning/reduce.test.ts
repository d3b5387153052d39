import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkRules } from "../../src/policy/check-rules.ts";
import { judgePresence } from "../../src/policy/judge.ts";
import { EVERYTHING, type Permissions } from "../../src/policy/permissions.ts";
import { HANDLINGS } from "../../src/policy/policy.ts";
import { readPresenceRules } from "../../src/policy/pres-rules.ts";
import { childrenOf, isElement, parseXml, type XmlElement } from "../../src/presence/xml.ts";
import {
  EXPRESSIONS,
  type Expression,
  namedIn,
  reduceRules,
  type ServerDialect,
} from "../../src/provisioning/reduce.ts";

const DOMAINS = ["example.com"];

/** A server that knows our users by other names. */
function dialect(expresses: readonly Expression[]): ServerDialect {
  return {
    expresses,
    domains: DOMAINS,
    nameOf: (identity) => (identity === "joe@example.com" ? "joe.smith@b.example.com" : identity),
  };
}

function ruleset(...rules: readonly string[]): string {
  return `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">${rules.join("")}</ruleset>`;
}

function rule(id: string, conditions: string, handling: string, transformations = ""): string {
  return `<rule id="${id}"><conditions>${conditions}</conditions><actions><pr:sub-handling>${handling}</pr:sub-handling></actions><transformations>${transformations}</transformations></rule>`;
}

const ALL =
  "<pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/></pr:provide-persons><pr:provide-devices><pr:all-devices/></pr:provide-devices><pr:provide-all-attributes/>";
const BOB = '<identity><one id="sip:bob@example.com"/></identity>';

function rulesIn(text: string): readonly XmlElement[] {
  const root = parseXml(text);
  return childrenOf(root, root.uri, "rule");
}

describe("rules as a server can keep them", () => {
  it("all of it where the server can say all of it, and nothing is told", () => {
    const conditions = `<identity><many domain="other.net"><except id="sip:eve@other.net"/></many><one id="tel:+4930123"/></identity><sphere value="work"/><validity><from>2026-01-01T00:00:00Z</from><until>2027-01-01T00:00:00+01:00</until></validity>`;
    const some =
      '<pr:provide-services><pr:class>biz</pr:class></pr:provide-services><pr:provide-mood>true</pr:provide-mood><pr:provide-user-input>bare</pr:provide-user-input><pr:provide-unknown-attribute name="x" ns="urn:y">true</pr:provide-unknown-attribute>';
    const text = ruleset(rule("a", conditions, "allow", some), rule("b", "", "polite-block"));
    const reduced = reduceRules(text, dialect(EXPRESSIONS));
    expect(reduced.reductions).toEqual([]);
    expect(readPresenceRules(reduced.text)).toEqual(readPresenceRules(text));
    expect(checkRules("pres-rules", reduced.text)).toEqual([]);
  });

  it("people have the names that the server knows them by, also where they are excepted", () => {
    const text = ruleset(
      rule("a", '<identity><one id="sip:joe@example.com"/></identity>', "allow"),
      rule("b", '<identity><many><except id="sip:joe@example.com"/></many></identity>', "allow"),
    );
    expect(namedIn(text)).toEqual(new Set(["joe@example.com"]));
    expect(namedIn(reduceRules(text, dialect(EXPRESSIONS)).text)).toEqual(new Set(["joe.smith@b.example.com"]));
  });

  it.each([
    ["identity", BOB, "the server cannot name bob@example.com."],
    ["many", "<identity><many/></identity>", "the server cannot say anybody."],
    [
      "except",
      '<identity><many><except id="sip:eve@other.net"/></many></identity>',
      "the server cannot except anybody from anybody.",
    ],
    ["sphere", '<sphere value="work"/>', "the server knows no spheres:"],
    [
      "validity",
      "<validity><from>2026-01-01T00:00:00Z</from><until>2027-01-01T00:00:00Z</until></validity>",
      "the server knows no times:",
    ],
  ] as const)(
    "without %s: the rule is left out, since it would be for more, and that is told",
    (missing, conditions, told) => {
      const reduced = reduceRules(
        ruleset(rule("a", conditions, "allow", ALL)),
        dialect(EXPRESSIONS.filter((each) => each !== missing)),
      );
      expect(rulesIn(reduced.text)).toEqual([]);
      expect(reduced.reductions).toEqual([`Rule a: ${told}`, "Rule a: it is left out."]);
    },
  );

  it("of several identities those that can be said stay", () => {
    const text = ruleset(
      rule("a", '<identity><one id="sip:bob@example.com"/><many domain="other.net"/></identity>', "allow", ALL),
    );
    const reduced = reduceRules(text, dialect(["identity"]));
    expect(namedIn(reduced.text)).toEqual(new Set(["bob@example.com"]));
    expect(reduced.reductions).toEqual(["Rule a: the server cannot say anybody of other.net."]);
  });

  it("an exception of our own domain is not trusted to a server that may know our users by another", () => {
    const text = ruleset(rule("a", '<identity><many><except domain="example.com"/></many></identity>', "allow", ALL));
    const reduced = reduceRules(text, dialect(EXPRESSIONS));
    expect(rulesIn(reduced.text)).toEqual([]);
    expect(reduced.reductions[0]).toContain("may know users of example.com otherwise");
  });

  it("the highest comes first, for servers that go by the first rule that matches", () => {
    const text = ruleset(rule("a", BOB, "block"), rule("b", BOB, "allow", ALL), rule("c", BOB, "confirm"));
    const reduced = reduceRules(text, dialect(EXPRESSIONS));
    expect(readPresenceRules(reduced.text).map((each) => each.id)).toEqual(["b", "c", "a"]);
  });

  it("a condition that nobody here understands is for nobody there either", () => {
    const reduced = reduceRules(ruleset(rule("a", `${BOB}<moon xmlns="urn:x"/>`, "allow", ALL)), dialect(EXPRESSIONS));
    expect(rulesIn(reduced.text)).toEqual([]);
    expect(reduced.reductions[0]).toContain("The condition <moon> is not known");
  });

  it.each([
    ["allow", ALL, [], "allow"],
    ["allow", "", [], "block"],
    ["allow", "<pr:provide-mood>true</pr:provide-mood>", ["polite-block"], "polite-block"],
    ["allow", "", ["confirm"], "confirm"],
    ["allow", "", ["transformations"], "allow"],
    ["polite-block", "", ["confirm"], "confirm"],
    ["polite-block", "", [], "block"],
    ["confirm", "", ["polite-block"], "block"],
  ] as const)("%s of '%s' at a server with %j becomes %s, never more", (handling, shown, more, becomes) => {
    const reduced = reduceRules(ruleset(rule("a", BOB, handling, shown)), dialect(["identity", ...more]));
    expect(readPresenceRules(reduced.text)[0]?.handling).toBe(becomes);
    expect(reduced.reductions.length).toBe(becomes === handling ? 0 : 1);
  });

  const people = ["bob@example.com", "joe@example.com", "eve@other.net", "al@third.org"];
  const test = fc.oneof(
    fc.constantFrom(...people).map((who) => `<one id="sip:${who}"/>`),
    fc
      .tuple(
        fc.constantFrom("", ' domain="example.com"', ' domain="other.net"'),
        fc.constantFrom(
          "",
          '<except id="sip:joe@example.com"/>',
          '<except id="sip:eve@other.net"/>',
          '<except domain="other.net"/>',
          '<except domain="example.com"/>',
          '<except phone="1"/>',
        ),
      )
      .map(([domain, except]) => `<many${domain}>${except}</many>`),
  );
  const condition = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.array(test, { minLength: 1, maxLength: 3 }).map((each) => `<identity>${each.join("")}</identity>`),
    },
    fc.constantFrom(
      '<sphere value="work"/>',
      "<validity><from>2026-01-01T00:00:00Z</from><until>2027-01-01T00:00:00Z</until></validity>",
      '<moon xmlns="urn:x"/>',
    ),
  );
  const shown = fc.constantFrom(
    "",
    ALL,
    "<pr:provide-services><pr:class>biz</pr:class></pr:provide-services>",
    "<pr:provide-persons><pr:all-persons/></pr:provide-persons><pr:provide-note>true</pr:provide-note>",
    '<more xmlns="urn:x"/>',
  );
  const rules = fc
    .array(fc.tuple(fc.array(condition, { maxLength: 3 }), fc.constantFrom(...HANDLINGS), shown), { maxLength: 5 })
    .map((each) =>
      ruleset(...each.map(([conditions, handling, what], i) => rule(`r${i}`, conditions.join(""), handling, what))),
    );
  const asked = fc.record({
    identity: fc.constantFrom(null, ...people),
    sphere: fc.constantFrom(null, "work", "home"),
    now: fc.constantFrom(0, Date.UTC(2026, 6, 1)),
  });

  function isWithin(less: Permissions, more: Permissions): boolean {
    const within = (a: ReadonlySet<string> | "all", b: ReadonlySet<string> | "all") =>
      b === "all" || (a !== "all" && [...a].every((each) => b.has(each)));
    return (
      within(less.services, more.services) &&
      within(less.persons, more.persons) &&
      within(less.devices, more.devices) &&
      within(less.attributes, more.attributes) &&
      (more.attributes === "all" || within(less.unknown, more.unknown))
    );
  }

  it("whoever is denied by the rules is denied by the server, and nobody is shown more", () => {
    let denied = 0;
    fc.assert(
      fc.property(rules, fc.subarray([...EXPRESSIONS]), asked, (text, expresses, about) => {
        const speaks = dialect(expresses);
        const reduced = reduceRules(text, speaks);
        const ours = judgePresence(readPresenceRules(text), about);
        const there = about.identity === null ? null : speaks.nameOf(about.identity);
        const theirs = judgePresence(readPresenceRules(reduced.text), { ...about, identity: there });
        expect(HANDLINGS.indexOf(theirs.handling)).toBeLessThanOrEqual(HANDLINGS.indexOf(ours.handling));
        if (ours.handling === "block") denied++;
        if (theirs.handling !== "allow") return;
        // A server without transformations shows everything.
        const seen = expresses.includes("transformations") ? theirs.permissions : EVERYTHING;
        expect(isWithin(seen, ours.permissions)).toBe(true);
      }),
      { numRuns: 2000, seed: 4 },
    );
    expect(denied).toBeGreaterThan(200);
  });

  it("nothing is said to a server that it cannot express, so that passing over what it does not know makes nothing wider", () => {
    fc.assert(
      fc.property(rules, fc.subarray([...EXPRESSIONS]), (text, expresses) => {
        const can = new Set<string>(expresses);
        const names = (node: XmlElement): string[] => [node.local, ...node.children.filter(isElement).flatMap(names)];
        const { text: said } = reduceRules(text, dialect(expresses));
        const used = new Set(names(parseXml(said)));
        for (const each of ["many", "except", "sphere", "validity", "transformations"])
          if (used.has(each)) expect(can.has(each)).toBe(true);
        if (used.has("one")) expect(can.has("identity")).toBe(true);
        expect(used.has("moon") || used.has("more")).toBe(false);
        for (const each of ["confirm", "polite-block"])
          if (said.includes(`>${each}<`)) expect(can.has(each)).toBe(true);
        expect(checkRules("pres-rules", said)).toEqual([]);
      }),
      { numRuns: 500, seed: 5 },
    );
  });
});

it("a rule of two conditions of a kind is left out: servers that look at the first only would take it for more", () => {
  const domain = '<identity><many domain="example.com"/></identity>';
  const { text, reductions } = reduceRules(ruleset(rule("both", domain + BOB, "allow", ALL)), dialect(EXPRESSIONS));
  expect(rulesIn(text)).toEqual([]);
  expect(reductions).toEqual([
    "Rule both: the server may not know what two conditions <identity> mean:",
    "Rule both: it is left out.",
  ]);
});
