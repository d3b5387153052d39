import { expect, it } from "vitest";
import { setHandling } from "../../src/admin/rule-edits.ts";
import { checkRules } from "../../src/policy/check-rules.ts";
import { parseXml, textOf } from "../../src/presence/xml.ts";

/** What anybody may write into a document costs time in proportion to its length: white space above all. */

const BLANKS = " ".repeat(60_000);
const COMMON = "urn:ietf:params:xml:ns:common-policy";
const PRESENCE = "urn:ietf:params:xml:ns:pres-rules";

/** Far more than it takes, far less than what is quadratic does. */
const MOST_MS = 500;

/** The least of some tries: what is quadratic takes long in each, what the machine was busy with meanwhile does not. */
function timed(run: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5 && least >= MOST_MS; i++) {
    const began = performance.now();
    run();
    least = Math.min(least, performance.now() - began);
  }
  return least;
}

it("a text is trimmed at its ends only", () => {
  expect(textOf(parseXml("<a> \n x <b> y </b>\t</a>"))).toBe("x  y");
  expect(textOf(parseXml("<a> \n </a>"))).toBe("");
});

it("white space inside of a text", () => {
  const root = parseXml(`<a>x${BLANKS}y</a>`);
  expect(timed(() => textOf(root))).toBeLessThan(MOST_MS);
});

it("white space inside of a text that is nested deep", () => {
  const inner = `${"<p:x>".repeat(20)}x${BLANKS}y${"</p:x>".repeat(20)}`;
  const rule = `<rule id="a"><transformations><p:provide-services><p:class>${inner}</p:class></p:provide-services></transformations></rule>`;
  const rules = `<ruleset xmlns="${COMMON}" xmlns:p="${PRESENCE}">${rule}</ruleset>`;
  expect(timed(() => checkRules("pres-rules", rules))).toBeLessThan(MOST_MS);
});

it("white space in a comment before a rule that is taken out", () => {
  const rule = `<rule id="a"><conditions><identity><one id="sip:bob@example.com"/></identity></conditions><actions><sub-handling xmlns="${PRESENCE}">allow</sub-handling></actions></rule>`;
  const rules = `<ruleset xmlns="${COMMON}"><!--${BLANKS}x-->\r\n \t${rule}</ruleset>`;
  let text = "";
  const ms = timed(() => {
    const edit = setHandling(rules, "pres-rules", "bob@example.com", "block");
    text = edit.done === "changed" ? edit.text : "";
  });
  expect([ms < MOST_MS, text.includes(`x-->  <rule`)]).toEqual([true, true]);
});
