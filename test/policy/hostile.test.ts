import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkRules } from "../../src/policy/check-rules.ts";
import { readImRules } from "../../src/policy/im-rules.ts";
import { judgeContact, judgePresence } from "../../src/policy/judge.ts";
import { readAnswer } from "../../src/policy/point-answer.ts";
import { readPresenceRules } from "../../src/policy/pres-rules.ts";
import { watcherVerdict } from "../../src/policy/verdicts.ts";
import { parsePidf } from "../../src/presence/pidf.ts";
import { MalformedDocument } from "../../src/presence/xml.ts";
import { ALL, ANYBODY, handling, one, rule, ruleset } from "../support/rules.ts";

const ABOUT = { identity: "bob@example.com", sphere: "work", now: 1_767_225_600_000 };

const RULES = ruleset(
  rule(
    "a",
    `${one("bob@example.com")}<cp:sphere value="work home"/><cp:validity><cp:from>2025-01-01T00:00:00Z</cp:from><cp:until>2027-01-01T00:00:00Z</cp:until></cp:validity>`,
    `${handling("allow")}<im:handling methods="MESSAGE">allow</im:handling>`,
    '<provide-services><service-uri>sip:a@b</service-uri><class>biz</class></provide-services><provide-user-input>bare</provide-user-input><provide-unknown-attribute ns="urn:x" name="y">true</provide-unknown-attribute>',
  ),
  rule(
    "b",
    '<cp:identity><cp:many domain="x.com"><cp:except id="tel:+1"/></cp:many></cp:identity>',
    handling("confirm"),
    ALL,
  ),
  rule("c", ANYBODY, "", "<provide-devices><deviceID>urn:uuid:1</deviceID></provide-devices>"),
);

/** Cut, doubled and disturbed. */
const damaged = fc
  .array(
    fc.record({
      at: fc.nat(RULES.length),
      cut: fc.nat(40),
      put: fc.constantFrom(
        "",
        "<",
        "</",
        ">",
        "&",
        "\0",
        "é",
        "cp:",
        "<cp:rule>",
        "%zz",
        "sip:[",
        "-",
        "xmlns:cp=''",
        "<![CDATA[x]]>",
      ),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((edits) => edits.reduce((text, { at, cut, put }) => text.slice(0, at) + put + text.slice(at + cut), RULES));

describe("rules as bad as they come", () => {
  it("are read or refused as malformed, judged and carried out, never thrown over", () => {
    const document = parsePidf(
      '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="x"><tuple id="t"><contact>sip:a@b</contact></tuple></presence>',
    );
    fc.assert(
      fc.property(damaged, (text) => {
        checkRules("pres-rules", text);
        checkRules("im-rules", text);
        try {
          const { handling: granted, permissions, matched } = judgePresence(readPresenceRules(text), ABOUT);
          watcherVerdict(granted, permissions, { rule: matched.join(), until: null, bySphere: false }).transform?.(
            document,
          );
          judgeContact(readImRules(text), "MESSAGE", ABOUT);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedDocument);
        }
      }),
      { numRuns: 400, seed: 4745 },
    );
  });

  it("a document type, entities and more than 64 kB are refused", () => {
    const bomb = `<!DOCTYPE a [<!ENTITY b "${"c".repeat(100)}">]>${RULES.slice(RULES.indexOf("<cp:ruleset"))}`;
    const long = ruleset(...Array.from({ length: 800 }, (_, n) => rule(`r${n}`, ANYBODY, handling("allow"))));
    for (const text of [bomb, long, "<a>".repeat(10_000)]) {
      expect(() => readPresenceRules(text)).toThrow(MalformedDocument);
      expect(checkRules("pres-rules", text)).toEqual([{ severity: "error", rule: "", message: expect.any(String) }]);
    }
  });

  it("a thousand URIs of one user keep nobody busy: some are looked at", () => {
    const uris = Array.from({ length: 1000 }, (_, n) => `<service-uri>sip:a@b;x=${n}</service-uri>`).join("");
    const rules = readPresenceRules(
      ruleset(rule("r", "", handling("allow"), `<provide-services>${uris}</provide-services>`)),
    );
    const { permissions } = judgePresence(rules, ABOUT);
    const { transform } = watcherVerdict("allow", permissions, { rule: "", until: null, bySphere: false });
    const tuples = Array.from(
      { length: 500 },
      (_, n) => `<tuple id="t${n}"><contact>sip:a@b;x=z${n}</contact></tuple>`,
    );
    const document = parsePidf(
      `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="x">${tuples.join("")}</presence>`,
    );
    expect(transform?.(document).children).toEqual([]);
  });
});

describe("answers as bad as they come", () => {
  it("decide for less or are none, and are never thrown over", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (handled, provide, other) => {
        const answer = readAnswer({
          decision: true,
          context: { handling: handled, provide, ttl: other, depends: other, error: other, rule: other },
        });
        if (answer === null || "failed" in answer) return;
        if (answer.handling === "allow") expect(handled).toBe("allow");
        if (answer.permissions.services === "all") expect(JSON.stringify(provide)).toContain("all");
        expect(answer.ttlMs === null || answer.ttlMs >= 0).toBe(true);
      }),
      { numRuns: 300, seed: 1 },
    );
    for (const each of [null, 7, "x", [], {}, { decision: 1 }, { decision: "true" }, { decision: true, context: 7 }]) {
      expect(readAnswer(each)).toBeNull();
    }
  });
});
