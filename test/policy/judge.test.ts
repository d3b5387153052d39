import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readImRules } from "../../src/policy/im-rules.ts";
import { judgeContact, judgePresence } from "../../src/policy/judge.ts";
import { EVERYTHING, keyOf, NOTHING } from "../../src/policy/permissions.ts";
import { HANDLINGS } from "../../src/policy/policy.ts";
import { readPresenceRules } from "../../src/policy/pres-rules.ts";
import { ALL, ANYBODY, handling, one, rule, ruleset } from "../support/rules.ts";
import { hasShared, sharedBytes } from "../torture/shared.ts";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const BOB = { identity: "bob@example.com", sphere: null, now: NOW };

const judged = (text: string, about = BOB) => judgePresence(readPresenceRules(text), about);

describe("presence rules (RFC 5025)", () => {
  it("without a rule that matches, and without an action in those that do, it is block (3.2.1)", () => {
    expect(judged(ruleset()).handling).toBe("block");
    expect(judged(ruleset(rule("r", one("carol@example.com"), handling("allow")))).handling).toBe("block");
    expect(judged(ruleset(rule("r", one("bob@example.com"), "", ALL)))).toMatchObject({
      handling: "block",
      matched: ["r"],
    });
  });

  it("the highest handling of all matching rules counts (RFC 4745 10.2)", () => {
    for (const a of HANDLINGS) {
      for (const b of HANDLINGS) {
        const text = ruleset(rule("a", one("bob@example.com"), handling(a)), rule("b", ANYBODY, handling(b)));
        const expected = HANDLINGS[Math.max(HANDLINGS.indexOf(a), HANDLINGS.indexOf(b))];
        expect(judged(text).handling).toBe(expected);
      }
    }
  });

  it("sets are joined, booleans ored, user-input takes the greater, over rules and within one", () => {
    const text = ruleset(
      rule(
        "a",
        ANYBODY,
        handling("allow"),
        "<provide-devices><deviceID>urn:uuid:1</deviceID><class>biz</class></provide-devices>" +
          "<provide-mood>true</provide-mood><provide-note>false</provide-note><provide-user-input>bare</provide-user-input>",
      ),
      rule(
        "b",
        ANYBODY,
        "",
        "<provide-devices><class>home</class><class>biz</class></provide-devices><provide-note>1</provide-note>" +
          "<provide-mood>0</provide-mood><provide-user-input>thresholds</provide-user-input>",
      ),
    );
    const { permissions } = judged(text);
    expect([...(permissions.devices as Set<string>)].sort()).toEqual([
      "class biz",
      "class home",
      "deviceID urn:uuid:1",
    ]);
    expect([...(permissions.attributes as Set<string>)].sort()).toEqual(["mood", "note"]);
    expect(permissions).toMatchObject({ userInput: "thresholds", services: new Set(), persons: new Set() });
  });

  it("what is not understood grants nothing, and is told", () => {
    const faults: string[] = [];
    const text = ruleset(
      rule(
        "r",
        ANYBODY,
        '<x:allow xmlns:x="urn:x"/><sub-handling>maybe</sub-handling>',
        '<x:provide-all xmlns:x="urn:x"/><provide-moon>true</provide-moon><provide-mood>yes</provide-mood>' +
          '<provide-services><x:all-services xmlns:x="urn:x"/><moon/></provide-services>' +
          "<provide-persons><service-uri>sip:a@b</service-uri></provide-persons>" +
          '<provide-unknown-attribute ns="urn:x">true</provide-unknown-attribute>' +
          '<provide-unknown-attribute ns="urn:x" name="p:x">true</provide-unknown-attribute>' +
          "<provide-user-input>all</provide-user-input><provide-all-attributes>false</provide-all-attributes>",
      ),
    );
    const rules = readPresenceRules(text, ({ severity, message }) => faults.push(`${severity}: ${message}`));
    expect(judgePresence(rules, BOB)).toMatchObject({ handling: "block", permissions: NOTHING });
    const of = (severity: string): number => faults.filter((each) => each.startsWith(severity)).length;
    expect([of("error"), of("warning"), faults.length]).toEqual([5, 6, 11]);
  });

  it("tells when time alone may change it: the next border of a window in a rule that is for him", () => {
    const window = (from: string, until: string): string =>
      `<cp:validity><cp:from>2026-01-0${from}:00Z</cp:from><cp:until>2026-01-0${until}:00Z</cp:until></cp:validity>`;
    const text = ruleset(
      rule("over", `${ANYBODY}${window("1T01:00", "1T02:00")}`, handling("allow")),
      rule("other", `${one("carol@example.com")}${window("1T01:00", "1T13:00")}`, handling("allow")),
      rule("bob", `${one("bob@example.com")}${window("1T01:00", "1T15:00")}`, handling("allow")),
      rule("later", `${ANYBODY}<cp:sphere value="work"/>${window("1T14:00", "2T15:00")}`, handling("allow")),
      rule("nobody", `<x:moon xmlns:x="urn:x"/>${window("1T12:30", "1T12:31")}`, handling("allow")),
    );
    expect(judged(text)).toMatchObject({
      handling: "allow",
      matched: ["bob"],
      until: Date.parse("2026-01-01T14:00:00Z"),
      bySphere: true,
    });
    expect(judged(text, { ...BOB, identity: "carol@example.com" }).until).toBe(Date.parse("2026-01-01T13:00:00Z"));
    expect(judged(text, { ...BOB, now: Date.parse("2026-01-03T00:00:00Z") }).until).toBeNull();
    expect(judged(ruleset(rule("r", ANYBODY))).bySphere).toBe(false);
  });

  it("another order of rules is the same judgement", () => {
    const part = fc.record({
      who: fc.constantFrom(ANYBODY, one("bob@example.com"), one("carol@example.com"), '<cp:sphere value="x"/>'),
      does: fc.constantFrom("", ...HANDLINGS.map(handling)),
      gives: fc.constantFrom(
        "",
        ALL,
        "<provide-mood>true</provide-mood>",
        "<provide-user-input>bare</provide-user-input>",
      ),
    });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 5 }), fc.integer({ min: 0, max: 4 }), (parts, turn) => {
        const rules = parts.map(({ who, does, gives }, n) => rule(`r${n}`, who, does, gives));
        const turned = [...rules.slice(turn), ...rules.slice(0, turn)].reverse();
        const [a, b] = [judged(ruleset(...rules)), judged(ruleset(...turned))];
        expect([a.handling, keyOf(a.permissions)]).toEqual([b.handling, keyOf(b.permissions)]);
      }),
      { numRuns: 100, seed: 5025 },
    );
  });
});

describe("messages and calls", () => {
  const text = ruleset(
    rule("family", one("mum@example.com"), "<im:handling>allow</im:handling>"),
    rule("work", ANYBODY, '<im:handling methods="MESSAGE">allow</im:handling>'),
    rule("none", one("mum@example.com"), "<im:handling>block</im:handling>"),
  );
  const allowed = (identity: string | null, method: "MESSAGE" | "INVITE") =>
    judgeContact(readImRules(text), method, { ...BOB, identity });

  it("are let through where a matching rule allows the method; nothing takes it back", () => {
    expect(allowed("mum@example.com", "INVITE")).toEqual({ allowed: true, matched: ["family"] });
    expect(allowed("mum@example.com", "MESSAGE")).toEqual({ allowed: true, matched: ["family", "work"] });
    expect(allowed("bob@example.com", "MESSAGE")).toEqual({ allowed: true, matched: ["work"] });
    expect(allowed("bob@example.com", "INVITE")).toEqual({ allowed: false, matched: [] });
    expect(allowed(null, "MESSAGE")).toEqual({ allowed: false, matched: [] });
  });

  it("faults are told, and allow nothing", () => {
    const faults: string[] = [];
    const rules = readImRules(
      ruleset(
        rule("a", "", "<im:handling>yes</im:handling>"),
        rule("b", "", '<im:handling methods="PUBLISH">allow</im:handling>', ALL),
        rule("c", "", handling("allow")),
      ),
      ({ message }) => faults.push(message),
    );
    expect(rules.map((each) => [...each.allows])).toEqual([[], [], []]);
    expect(faults).toHaveLength(7);
  });
});

describe("the key of permissions", () => {
  it("is empty for everything, and else the same exactly where the same is provided", () => {
    expect(keyOf(EVERYTHING)).toBe("");
    const key = (gives: string): string => keyOf(judged(ruleset(rule("r", ANYBODY, "", gives))).permissions);
    expect(key(ALL)).toBe("");
    const all = "<provide-all-attributes/>";
    expect(key(`${all}<provide-user-input>bare</provide-user-input>`)).toBe(
      key(`${all}<provide-mood>true</provide-mood>`),
    );
    const [a, b] = ["<class>a</class>", "<class>b</class>"];
    expect(key(`<provide-persons>${a}${b}</provide-persons>`)).toBe(
      key(`<provide-persons>${b}${a}${a}</provide-persons>`),
    );
    expect(key(`<provide-persons>${a}</provide-persons>`)).not.toBe(key(`<provide-persons>${b}</provide-persons>`));
    expect(key(`<provide-persons>${a}</provide-persons>`)).not.toBe(key(`<provide-devices>${a}</provide-devices>`));
  });
});

describe.skipIf(!hasShared("data/presence/examples"))(
  "the rule sets of RFC 5025 and RFC 5361 (skipped without the shared examples)",
  () => {
    const example = (name: string): string => sharedBytes(`data/presence/examples/${name}-ruleset.xml`).trimStart();
    it("the example of RFC 5025 6 provides what the text says", () => {
      const text = example("rfc5025-004");
      expect(judged(text).handling).toBe("block");
      const { handling: granted, permissions } = judged(text, { ...BOB, identity: "user@example.com" });
      expect(granted).toBe("allow");
      expect(permissions).toEqual({
        services: new Set(["service-uri-scheme sip", "service-uri-scheme mailto"]),
        persons: "all",
        devices: new Set(),
        attributes: new Set(["activities"]),
        userInput: "bare",
        unknown: new Set(["{urn:vendor-specific:foo-namespace}foo"]),
      });
    });

    it("rules for consents (RFC 5361) have conditions of their own, and match nobody here", () => {
      expect(judged(example("rfc5361-001"), BOB)).toMatchObject({ handling: "block", matched: [] });
    });
  },
);
