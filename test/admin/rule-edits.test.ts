import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seedRules, setHandling } from "../../src/admin/rule-edits.ts";
import { checkRules } from "../../src/policy/check-rules.ts";
import { readImRules } from "../../src/policy/im-rules.ts";
import { judgeContact, judgePresence } from "../../src/policy/judge.ts";
import { HANDLINGS, type Handling } from "../../src/policy/policy.ts";
import { readPresenceRules } from "../../src/policy/pres-rules.ts";

const BOB = "bob@example.com";
const CAROL = "carol@other.net";

function handling(text: string, identity: string, sphere: string | null = null): Handling {
  return judgePresence(readPresenceRules(text), { identity, sphere, now: 0 }).handling;
}

function set(text: string, watcher: string, wanted: Handling): string {
  const edit = setHandling(text, "pres-rules", watcher, wanted);
  expect(edit.done).not.toBe("refused");
  return edit.done === "changed" ? edit.text : text;
}

describe("a watcher's handling set in a rule document", () => {
  it.each(HANDLINGS)("from the default %s to every other and back; others keep the default", (from) => {
    let text = seedRules("pres-rules", from);
    for (const wanted of [...HANDLINGS, ...HANDLINGS.toReversed()]) {
      text = set(text, BOB, wanted);
      expect(handling(text, BOB)).toBe(wanted);
      expect(handling(text, CAROL)).toBe(from);
      expect(checkRules("pres-rules", text)).toEqual([]);
      expect(setHandling(text, "pres-rules", BOB, wanted)).toEqual({ done: "same" });
    }
  });

  it("who is allowed is shown everything", () => {
    const text = set(seedRules("pres-rules", "block"), BOB, "allow");
    const { permissions } = judgePresence(readPresenceRules(text), { identity: BOB, sphere: null, now: 0 });
    expect(permissions).toMatchObject({ services: "all", persons: "all", devices: "all", attributes: "all" });
  });

  it("what another wrote stays to the octet: comments, prefixes, rules for others", () => {
    const written = `<?xml version="1.0"?>
<!-- mine -->
<c:ruleset xmlns:c="urn:ietf:params:xml:ns:common-policy" xmlns:p="urn:ietf:params:xml:ns:pres-rules">
  <c:rule id="team"><c:conditions><c:identity>
    <c:many domain="example.com"/>
    <c:one id="sips:carol@OTHER.net"/>
  </c:identity></c:conditions><c:actions><p:sub-handling>allow</p:sub-handling></c:actions></c:rule>
</c:ruleset>`;
    const text = set(set(written, BOB, "confirm"), CAROL, "block");
    expect([handling(text, BOB), handling(text, CAROL), handling(text, "dave@example.com")]).toEqual([
      "confirm",
      "block",
      "allow",
    ]);
    expect(text).toContain('<c:many domain="example.com"><c:except id="sip:bob@example.com"/></c:many>');
    expect(text).toContain("<!-- mine -->");
  });

  it("a rule for everybody grants more than can be taken: it is named, and nothing is changed", () => {
    const text = `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="open"><conditions/><actions>
      <sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">allow</sub-handling></actions></rule></ruleset>`;
    expect(setHandling(text, "pres-rules", BOB, "block")).toEqual({ done: "refused", rule: "open" });
    expect(setHandling(text, "pres-rules", BOB, "allow").done).toBe("changed");
  });

  it("who is let in only at times is taken out of that too", () => {
    const text = `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="work"><conditions>
      <identity><one id="sip:bob@example.com"/></identity><sphere value="work"/></conditions><actions>
      <sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">allow</sub-handling></actions></rule></ruleset>`;
    expect(handling(text, BOB, "work")).toBe("allow");
    expect(handling(set(text, BOB, "block"), BOB, "work")).toBe("block");
  });

  it("messages: allowed and blocked alike", () => {
    const allowed = (text: string, identity: string) =>
      judgeContact(readImRules(text), "MESSAGE", { identity, sphere: null, now: 0 }).allowed;
    const blocked = setHandling(seedRules("im-rules", "allow"), "im-rules", BOB, "block");
    if (blocked.done !== "changed") throw new Error(blocked.done);
    expect([allowed(blocked.text, BOB), allowed(blocked.text, CAROL)]).toEqual([false, true]);
    const again = setHandling(blocked.text, "im-rules", BOB, "allow");
    expect(again.done === "changed" && allowed(again.text, BOB)).toBe(true);
    expect(checkRules("im-rules", blocked.text)).toEqual([]);
  });

  it("who is no SIP user cannot be named", () => {
    const text = seedRules("pres-rules", "allow");
    expect(setHandling(text, "pres-rules", 'o"<&@example.com', "block")).toEqual({ done: "refused", rule: "" });
  });

  it("any order of edits: each has the last that was said of him", () => {
    const people = [BOB, CAROL, "dave@example.com"];
    const edits = fc.array(fc.tuple(fc.constantFrom(...people), fc.constantFrom(...HANDLINGS)), { maxLength: 12 });
    fc.assert(
      fc.property(fc.constantFrom(...HANDLINGS), edits, (from, each) => {
        let text = seedRules("pres-rules", from);
        const last = new Map<string, Handling>();
        for (const [who, wanted] of each) {
          text = set(text, who, wanted);
          last.set(who, wanted);
        }
        for (const who of people) {
          expect(handling(text, who)).toBe(last.get(who) ?? from);
        }
        expect(checkRules("pres-rules", text).filter((fault) => fault.severity === "error")).toEqual([]);
      }),
      { numRuns: 100, seed: 3 },
    );
  });
});
