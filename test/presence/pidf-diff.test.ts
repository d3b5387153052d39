import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalForm } from "../../src/presence/canonical.ts";
import { closedDocument } from "../../src/presence/closed-document.ts";
import { entityOf, parsePidf } from "../../src/presence/pidf.ts";
import {
  diffPresence,
  fullPresence,
  MOST_PATCHES,
  type PartialPresence,
  parsePidfDiff,
  updatePresence,
} from "../../src/presence/pidf-diff.ts";
import { MalformedDocument, parseXml, printXml, type XmlElement } from "../../src/presence/xml.ts";
import { applyPatch } from "../../src/presence/xml-patch.ts";
import { documents } from "../support/pidf-documents.ts";
import { hasShared, sharedBytes } from "../torture/shared.ts";

const NAMESPACES =
  'xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" xmlns:x="urn:x" entity="pres:a@b"';

function full(inner: string, version = 1): PartialPresence {
  const update = updatePresence(
    null,
    parsePidfDiff(`<p:pidf-full ${NAMESPACES} version="${version}">${inner}</p:pidf-full>`),
  );
  if (update.outcome !== "applied") throw new Error(update.outcome);
  return update.state;
}

function diff(patches: string, version = 2) {
  return parsePidfDiff(`<p:pidf-diff ${NAMESPACES} version="${version}">${patches}</p:pidf-diff>`);
}

/** What is inside of the root after a patch. */
function patched(inner: string, patches: string): string {
  const update = updatePresence(full(inner), diff(patches));
  if (update.outcome !== "applied") return update.outcome;
  const { declared: _, ...presence } = update.state.presence;
  return printXml({ ...presence, attributes: [] }).replace(/^.*\n<presence[^>]*>|<\/presence>$/g, "");
}

describe("a subscriber of partial presence (RFC 5263 4.5)", () => {
  it("takes the whole as if it had come as PIDF", () => {
    const { presence, version } = full("<note>n</note>", 7);
    expect(version).toBe(7);
    expect(canonicalForm(presence)).toBe(
      canonicalForm(
        parsePidf('<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:a@b"><note>n</note></presence>'),
      ),
    );
  });

  it("takes the next; discards what is not newer; asks for the whole where one was lost", () => {
    const state = full("<note>n</note>", 7);
    const add = '<p:add sel="*"><note>m</note></p:add>';
    expect(updatePresence(state, diff(add, 8))).toMatchObject({ outcome: "applied", state: { version: 8 } });
    expect(updatePresence(state, diff(add, 7)).outcome).toBe("discarded");
    expect(updatePresence(state, diff(add, 9)).outcome).toBe("refresh");
    expect(updatePresence(null, diff(add, 1)).outcome).toBe("refresh");
    const whole = parsePidfDiff(`<p:pidf-full ${NAMESPACES} version="20"/>`);
    expect(updatePresence(state, whole)).toMatchObject({ outcome: "applied", state: { version: 20 } });
  });

  it("takes one that says no version in its turn, and counts on from the last that did", () => {
    const unversioned = parsePidfDiff(`<p:pidf-diff ${NAMESPACES}><p:add sel="*"><note>m</note></p:add></p:pidf-diff>`);
    expect(updatePresence(full("", 7), unversioned)).toMatchObject({ outcome: "applied", state: { version: 7 } });
  });

  it("asks for the whole where a patch fits nowhere; nothing of it is taken", () => {
    const state = full("<note>n</note>");
    const before = printXml(state.presence);
    const update = updatePresence(state, diff('<p:remove sel="*/note"/><p:remove sel="*/note"/>'));
    expect(update.outcome).toBe("refresh");
    expect(printXml(state.presence)).toBe(before);
  });

  it("does not take another user's", () => {
    const of = `<p:pidf-diff ${NAMESPACES.replace("a@b", "c@b")} version="2"/>`;
    expect(updatePresence(full(""), parsePidfDiff(of)).outcome).toBe("refresh");
  });

  it("is not made to grow for ever", () => {
    let state = full("<note>n</note>");
    const more = `<p:add sel="*"><note>${"x".repeat(30_000)}</note></p:add>`;
    const outcomes = [2, 3, 4].map((version) => {
      const update = updatePresence(state, diff(more, version));
      if (update.outcome === "applied") state = update.state;
      return update.outcome;
    });
    expect(outcomes).toEqual(["applied", "applied", "refresh"]);
    expect(() => diff('<p:remove sel="*/note"/>'.repeat(MOST_PATCHES + 1))).toThrow(MalformedDocument);
  });

  it.each(['<presence xmlns="urn:ietf:params:xml:ns:pidf"/>', "<pidf-diff/>", "<p"])("is told by no %s", (text) => {
    expect(() => parsePidfDiff(text)).toThrow(MalformedDocument);
  });

  it.skipIf(!hasShared("data/presence/examples"))(
    "RFC 5262 6 and RFC 5263 5, step by step (skipped without them)",
    () => {
      const read = (name: string) => parsePidfDiff(sharedBytes(`data/presence/examples/${name}.xml`).trimStart());
      const from = updatePresence(null, read("rfc5262-002-pidf_full"));
      const to = updatePresence(null, read("rfc5262-004-pidf_full"));
      if (from.outcome !== "applied" || to.outcome !== "applied") throw new Error("not read");
      const after = updatePresence(from.state, read("rfc5262-003-pidf_diff"));
      if (after.outcome !== "applied") throw new Error(JSON.stringify(after));
      expect(after.state.version).toBe(568);
      const form = (presence: XmlElement) => canonicalForm(presence).replace(/This is a new tuple[^"]*/, "");
      // The RFC prints another word and another indentation in the note than in the patch.
      expect(form(after.state.presence)).toBe(form(to.state.presence));

      const first = updatePresence(null, read("rfc5263-001-pidf_full"));
      if (first.outcome !== "applied") throw new Error("not read");
      const second = updatePresence(first.state, read("rfc5263-002-pidf_diff"));
      expect(second).toMatchObject({ outcome: "applied", state: { version: 2 } });
    },
  );
});

describe("patches (RFC 5261)", () => {
  const tuple = '<tuple id="a"><status><basic>open</basic></status></tuple>';

  it.each([
    ["4.3.1 an element, last", '<p:add sel="*"><note>n</note></p:add>', `${tuple}<note>n</note>`],
    ["4.3 an element, first", '<p:add sel="presence" pos="prepend"><note>n</note></p:add>', `<note>n</note>${tuple}`],
    ["4.3.4 before", '<p:add sel="*/tuple" pos="before"><note>n</note></p:add>', `<note>n</note>${tuple}`],
    ["4.3.4 after", `<p:add sel="*/*[@id='a']" pos="after"><note>n</note></p:add>`, `${tuple}<note>n</note>`],
    ["4.3.2 an attribute", `<p:add sel="*/*[1]" type="@u">Bob</p:add>`, tuple.replace('"a"', '"a" u="Bob"')],
    ["4.4.1 an element for another", '<p:replace sel="*/tuple">\n<note/>\n</p:replace>', "<note/>"],
    ["4.4.2 an attribute", '<p:replace sel="*/tuple/@id">b</p:replace>', tuple.replace('"a"', '"b"')],
    ["4.4.2 by nothing", '<p:replace sel="*/tuple/@id"/>', tuple.replace('"a"', '""')],
    [
      "4.4.6 a text",
      '<p:replace sel="/p:pidf-full/tuple/status/basic/text()">closed</p:replace>',
      tuple.replace("open", "closed"),
    ],
    [
      "4.4.6 by nothing",
      '<p:replace sel="*/tuple/status/basic/text()[1]"/>',
      tuple.replace(">open<", "><").replace("<basic></basic>", "<basic/>"),
    ],
    ["4.5.1 an element", "<p:remove sel=\"*/tuple[status='open']\"/>", ""],
    ["4.5.2 an attribute", '<p:remove sel="*/tuple/@id"/>', tuple.replace(' id="a"', "")],
    [
      "4.5.6 a text",
      `<p:remove sel="*/*/*/basic[.='open']/text()"/>`,
      tuple.replace("<basic>open</basic>", "<basic/>"),
    ],
    [
      "4.3.5 texts become one",
      '<p:add sel="*/tuple/status/basic">ed<note/>x</p:add>',
      tuple.replace("open", "opened<note/>x"),
    ],
  ])("%s: %s", (_, patch, result) => {
    expect(patched(tuple, patch)).toBe(result);
  });

  it("4.5 takes white space away with an element, where there is some", () => {
    const inner = "<note>1</note> <note>2</note>\n<note>3</note>";
    expect(patched(inner, '<p:remove sel="*/note[2]"/>')).toBe("<note>1</note> \n<note>3</note>");
    expect(patched(inner, '<p:remove sel="*/note[2]" ws="before"/>')).toBe("<note>1</note>\n<note>3</note>");
    expect(patched(inner, '<p:remove sel="*/note[2]" ws="after"/>')).toBe("<note>1</note> <note>3</note>");
    expect(patched(inner, '<p:remove sel="*/note[2]" ws="both"/>')).toBe("<note>1</note><note>3</note>");
    expect(patched(inner, '<p:remove sel="*/note[1]" ws="before"/>')).toBe("refresh");
    expect(patched(inner, '<p:remove sel="*/note[1]" ws="all"/>')).toBe("refresh");
  });

  it("4.2.1 the prefixes of a selector are the patch's own", () => {
    const inner = '<q:e xmlns:q="urn:x" q:k="1"/><q:e xmlns:q="urn:y"/>';
    expect(patched(inner, '<p:remove sel="*/x:e"/>')).toBe('<q:e xmlns:q="urn:y"/>');
    expect(patched(inner, "<p:remove sel=\"*/y:e[@x:k='1']\" xmlns:y='urn:x'/>")).toBe('<q:e xmlns:q="urn:y"/>');
    expect(patched(inner, '<p:remove sel="*/z:e"/>')).toBe("refresh");
    expect(patched(inner, '<p:remove sel="*/e"/>')).toBe("refresh");
  });

  it("4.2.3 prefixes in what is added keep their meaning", () => {
    const added = patched("", '<p:add sel="*"><e xmlns="urn:y" t="x:v"/></p:add>');
    expect(added).toMatch(/^<e(?: xmlns="urn:y"| xmlns:x="urn:x"){2} t="x:v"\/>$/);
  });

  it("4.3.3, 4.5.3 a namespace is declared for contents, and no more", () => {
    const inner = '<e xmlns="urn:y" t="v:w"/>';
    const declared = patched(inner, '<p:add sel="*/*" type="namespace::v">urn:v</p:add>');
    expect(declared).toContain('xmlns:v="urn:v"');
    expect(patched(declared, '<p:remove sel="*/*/namespace::v"/>')).toBe(inner);
    expect(patched(declared, '<p:replace sel="*/*/namespace::v">urn:w</p:replace>')).toContain('xmlns:v="urn:w"');
    expect(patched(inner, '<p:remove sel="*/*/namespace::v"/>')).toBe("refresh");
  });

  it.each([
    ["several", '<p:remove sel="*/note"/>'],
    ["none", '<p:remove sel="*/tuple"/>'],
    ["the root", '<p:remove sel="*"/>'],
    ["a root beside the root", '<p:add sel="*" pos="after"><note/></p:add>'],
    ["an element where a text is", '<p:replace sel="*/note[1]/text()"><note/></p:replace>'],
    ["a text where an element is", '<p:replace sel="*/note[1]">x</p:replace>'],
    ["an attribute that is not there", '<p:replace sel="*/note[1]/@k">x</p:replace>'],
    ["an attribute that is there", '<p:add sel="*" type="@entity">x</p:add>'],
    ["a place that is none", '<p:add sel="*/note[1]" pos="inside"/>'],
    ["inside of a text", '<p:add sel="*/note[1]/text()">x</p:add>'],
    ["a comment", '<p:remove sel="*/comment()[1]"/>'],
    ["an id", "<p:remove sel=\"id('a')\"/>"],
    ["no selector", "<p:remove/>"],
    ["another root", '<p:remove sel="tuple/note[1]"/>'],
    ["a root that is another's", "<p:remove sel=\"*[@entity='pres:c@b']/note[1]\"/>"],
    ["garbage", '<p:remove sel="*/note[1"/>'],
    ["garbage, too", '<p:remove sel=""/>'],
    ["another operation", '<p:move sel="*/note[1]"/>'],
  ])("5 what cannot be done without doubt is not done: %s", (_, patch) => {
    expect(patched("<note>1</note><note>2</note>", patch)).toBe("refresh");
  });

  it("selectors and contents of any kind: applied, or a MalformedDocument", () => {
    const part = fc.constantFrom(
      "*",
      "/",
      "note",
      "x:e",
      "[1]",
      "[@id='t1']",
      "[.='x']",
      "text()",
      "@id",
      "[",
      "'",
      ":",
      " ",
    );
    const selector = fc.array(part, { maxLength: 8 }).map((parts) => parts.join(""));
    const scope = new Map([["", "urn:ietf:params:xml:ns:pidf"]]);
    fc.assert(
      fc.property(documents(), selector, fc.constantFrom("add", "replace", "remove"), (document, sel, local) => {
        const operation = parseXml(`<${local} sel="${sel}"><note>n</note></${local}>`);
        try {
          expect(parsePidf(printXml(applyPatch(document, { operation, scope })))).toBeDefined();
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedDocument);
        }
      }),
      { numRuns: 1000, seed: 5261 },
    );
  });
});

describe("offered (RFC 5263 4.4)", () => {
  it("what a subscriber makes of the differences is what there is", () => {
    fc.assert(
      fc.property(fc.array(documents(), { minLength: 2, maxLength: 4 }), (all) => {
        let state: PartialPresence | null = null;
        let before: XmlElement | null = null;
        for (const [index, each] of all.entries()) {
          const version = index + 1;
          const told: XmlElement = (before && diffPresence(before, each, version)) ?? fullPresence(each, version);
          const update = updatePresence(state, parsePidfDiff(printXml(told)));
          if (update.outcome !== "applied") throw new Error(JSON.stringify(update));
          state = update.state;
          before = each;
          expect(state.version).toBe(version);
          expect(canonicalForm(state.presence)).toBe(canonicalForm(each));
        }
      }),
      { numRuns: 200, seed: 5263 },
    );
  });

  it("one element more is one patch; another user is no difference", () => {
    const of = (inner: string) => parsePidf(closedDocument("a@b").replace("</presence>", `${inner}</presence>`));
    expect(diffPresence(of("<note>1</note>"), of("<note>1</note><note>2</note>"), 2)?.children).toHaveLength(1);
    expect(diffPresence(of("<note>1</note>"), of("<note>1</note>"), 2)?.children).toEqual([]);
    expect(diffPresence(of(""), parsePidf(closedDocument("c@b")), 2)).toBeNull();
    expect(entityOf(fullPresence(of(""), 1))).toBe("sip:a@b");
  });
});
