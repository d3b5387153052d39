import { readdirSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalForm, standingAlone } from "../../src/presence/canonical.ts";
import { closedDocument } from "../../src/presence/closed-document.ts";
import { basicOf, contactOf, entityOf, parsePidf, tuplesOf } from "../../src/presence/pidf.ts";
import { isElement, MalformedDocument, printXml, type XmlElement } from "../../src/presence/xml.ts";
import { documents, realDocuments } from "../support/pidf-documents.ts";
import { hasShared, sharedPath } from "../torture/shared.ts";

const first = (root: XmlElement) => root.children.filter(isElement)[0]!;

describe("a presence document (RFC 3863)", () => {
  it("is read: entity, tuples, basic status, contact", () => {
    const presence = parsePidf(
      '<p:presence xmlns:p="urn:ietf:params:xml:ns:pidf" entity=" pres:a@example.com ">' +
        "<p:tuple id='1'><p:status><p:basic> open\n</p:basic></p:status><p:contact priority='0.8'>tel:+1</p:contact></p:tuple>" +
        "<p:tuple id='2'><p:status><other xmlns='urn:o'>closed</other></p:status></p:tuple>" +
        "<p:tuple id='3'><p:status><p:basic>OPEN</p:basic></p:status></p:tuple></p:presence>",
    );
    expect(entityOf(presence)).toBe("pres:a@example.com");
    expect(tuplesOf(presence).map((each) => [basicOf(each), contactOf(each)])).toEqual([
      ["open", "tel:+1"],
      [null, undefined],
      [null, undefined],
    ]);
  });

  it("of one who is nowhere says closed", () => {
    const presence = parsePidf(closedDocument("o'neil&<\"@example.com"));
    expect(entityOf(presence)).toBe("sip:o'neil&<\"@example.com");
    expect(tuplesOf(presence).map(basicOf)).toEqual(["closed"]);
  });

  it.each([
    ["another root", '<presence xmlns="urn:ietf:params:xml:ns:pidf:other"/>'],
    ["no namespace", "<presence/>"],
    ["a tuple alone", '<tuple xmlns="urn:ietf:params:xml:ns:pidf"/>'],
    ["an entity bomb", '<!DOCTYPE p [<!ENTITY x "y">]><presence xmlns="urn:ietf:params:xml:ns:pidf">&x;</presence>'],
    ["what is cut off", '<presence xmlns="urn:ietf:params:xml:ns:pidf"><tuple>'],
  ])("%s is none", (_, text) => {
    expect(() => parsePidf(text)).toThrow(MalformedDocument);
  });

  it("over a limit is refused", () => {
    const octets = closedDocument("a@example.com");
    const limits = { octets: octets.length - 1, depth: 8, elements: 8, attributes: 8 };
    expect(() => parsePidf(octets, limits)).toThrow(MalformedDocument);
  });
});

describe("nothing is lost: what is printed is canonically what was read", () => {
  it("of any document", () => {
    fc.assert(
      fc.property(documents(), (document) => {
        const again = parsePidf(printXml(document));
        expect(canonicalForm(again)).toBe(canonicalForm(document));
        expect(printXml(again)).toBe(printXml(document));
      }),
      { numRuns: 200, seed: 3863 },
    );
  });

  it.skipIf(!hasShared("data/presence/examples"))(
    "of the documents printed in RFCs (skipped without the examples)",
    () => {
      const found = realDocuments();
      const named = readdirSync(sharedPath("data/presence/examples")).filter((name) => name.endsWith("-presence.xml"));
      expect(found.length).toBeGreaterThan(25);
      expect(named.length).toBeGreaterThan(found.length);
      for (const { name, presence } of found) {
        const again = parsePidf(printXml(presence));
        expect([name, canonicalForm(again)]).toEqual([name, canonicalForm(presence)]);
        expect(printXml(again)).toBe(printXml(presence));
      }
    },
  );

  it("prefixes that stand in contents keep their meaning", () => {
    const presence = parsePidf(
      '<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:xs="urn:xs" xmlns:xsi="urn:xsi" entity="pres:a@example.com">' +
        '<x xmlns="urn:x" xsi:type="xs:string">1</x></presence>',
    );
    const inside = standingAlone(first(presence), presence.declared!);
    expect([...(inside.declared ?? [])]).toEqual([
      ["xs", "urn:xs"],
      ["", "urn:x"],
    ]);
    expect(printXml(inside)).toContain('xmlns:xs="urn:xs"');
  });
});

describe("the canonical form", () => {
  const form = (inner: string, outer = "") =>
    canonicalForm(first(parsePidf(`<presence xmlns="urn:ietf:params:xml:ns:pidf" ${outer}>${inner}</presence>`)));

  it.each([
    ["prefixes", '<a:t xmlns:a="u" a:x="1"/>', '<t xmlns="u" xmlns:b="u" b:x="1"/>'],
    ["the order of attributes", '<t a="1" b="2"/>', '<t b="2" a="1"/>'],
    ["white space between elements", "<t><a/><b/></t>", "<t>\r\n <a/>\t<b/> </t>"],
    ["comments, and how text is written", "<t>a&amp;b</t>", "<t>a<!-- c --><![CDATA[&]]>b</t>"],
  ])("does not depend on %s", (_, a, b) => {
    expect(form(a)).toBe(form(b));
  });

  it.each([
    ["namespace", '<t xmlns="u"/>', '<t xmlns="v"/>'],
    ["attribute", '<t a="1"/>', '<t a="2"/>'],
    ["attribute's namespace", '<t a="1"/>', '<t xmlns:n="u" n:a="1"/>'],
    ["text", "<t>a</t>", "<t>a </t>"],
    ["element's place", "<t><a/><b/></t>", "<t><b/><a/></t>"],
    ["white space that is preserved", '<t xml:space="preserve"><a/></t>', '<t xml:space="preserve"> <a/></t>'],
    ["meaning of a prefix in a text", '<t xmlns:p="u" a="p:x"/>', '<t xmlns:p="v" a="p:x"/>'],
    ["what is text and what is an element", "<t>&lt;a/&gt;</t>", "<t><a/></t>"],
  ])("tells by the %s", (_, a, b) => {
    expect(form(a)).not.toBe(form(b));
  });
});
