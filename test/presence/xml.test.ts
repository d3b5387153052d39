import { readdirSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  attributeNamed,
  childrenOf,
  element,
  MalformedDocument,
  parseXml,
  printXml,
  textOf,
  XML_LIMITS,
  type XmlElement,
  type XmlNode,
} from "../../src/presence/xml.ts";
import { hasShared, sharedBytes, sharedPath } from "../torture/shared.ts";

/** Without prefixes, which are free to change. */
function meaning(node: XmlNode): unknown {
  if (typeof node === "string") return node;
  const attributes = node.attributes.map(({ uri, local, value }) => [uri, local, value]);
  return [node.uri, node.local, attributes.sort(), node.children.map(meaning)];
}

describe("what is read is kept, known or not", () => {
  it("elements, attributes, namespaces, text and CDATA; comments and processing instructions are dropped", () => {
    const root = parseXml(
      '<?xml version="1.0"?><!-- c --><p xmlns="urn:a" xmlns:x="urn:x" x:y="1" y="2">a&amp;b<![CDATA[<c>]]><?pi d?>d<x:e/></p>',
    );
    expect([root.uri, root.local]).toEqual(["urn:a", "p"]);
    expect(root.attributes.map(({ uri, local, value }) => [uri, local, value])).toEqual([
      ["urn:x", "y", "1"],
      ["", "y", "2"],
    ]);
    expect(root.children[0]).toBe("a&b<c>d");
    expect(childrenOf(root, "urn:x", "e")).toHaveLength(1);
    expect(attributeNamed(root, "y")).toBe("2");
  });

  it("bodies are octets, texts are Unicode", () => {
    const octets = Buffer.from("<a b='é'> 𝛼 </a>", "utf8").toString("latin1");
    const root = parseXml(octets);
    expect([attributeNamed(root, "b"), textOf(root)]).toEqual(["é", "𝛼"]);
    expect(Buffer.from(printXml(root), "latin1").toString("utf8")).toContain('<a b="é"> 𝛼 </a>');
  });

  it("a prefix means one namespace in a tag, and what a subtree needs is declared wherever it is put", () => {
    const inner = parseXml('<o:outer xmlns:o="urn:o" xmlns:q="urn:q"><q:inner q:a="1" o:b="2"/></o:outer>')
      .children[0] as XmlElement;
    const moved = element("urn:q2", "holder", {}, [{ ...inner, prefix: "o" }]);
    expect(meaning(parseXml(printXml(moved)))).toEqual(meaning(moved));
  });

  it.skipIf(!hasShared("data/presence/examples"))(
    "every document printed in an RFC means the same after printing it anew (skipped without the examples)",
    () => {
      const names = readdirSync(sharedPath("data/presence/examples")).filter((name) => name.endsWith(".xml"));
      let read = 0;
      for (const name of names) {
        let root: XmlElement;
        try {
          root = parseXml(sharedBytes(`data/presence/examples/${name}`));
        } catch (error) {
          // Some are printed in the RFCs with their namespaces or their ends left out.
          expect(error).toBeInstanceOf(MalformedDocument);
          continue;
        }
        read++;
        expect([name, meaning(parseXml(printXml(root)))]).toEqual([name, meaning(root)]);
      }
      expect(read).toBeGreaterThan(names.length / 2);
    },
  );

  it("any tree means the same after printing and reading", () => {
    const name = fc.constantFrom("a", "b-c", "_d");
    const uri = fc.constantFrom("", "urn:1", "urn:2", "urn:&<\"'");
    const prefix = fc.constantFrom("", "p", "q", "n", "n1");
    const text = fc.string({ unit: "binary", minLength: 1, maxLength: 8 }).filter(isXmlText);
    const attributes = fc.uniqueArray(fc.record({ uri, local: name, prefix, value: text }), {
      selector: (each) => `${each.uri} ${each.local}`,
      maxLength: 3,
    });
    const nodes: fc.Memo<XmlElement> = fc.memo((depth) =>
      fc.record({
        uri,
        local: name,
        prefix,
        attributes,
        children: depth <= 1 ? fc.constant([]) : fc.array(nodes(depth - 1), { maxLength: 3 }),
      }),
    );
    fc.assert(
      fc.property(nodes(4), text, (root, content) => {
        const whole = { ...root, children: [...root.children, content] };
        expect(meaning(parseXml(printXml(whole)))).toEqual(meaning(whole));
      }),
      { numRuns: 300, seed: 3680 },
    );
  });
});

function isXmlText(text: string): boolean {
  return /^[\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]*$/u.test(text);
}

describe("what is refused", () => {
  const bomb = `<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]><a>&y;</a>`;
  it.each([
    ["a document type", "<!DOCTYPE a><a/>"],
    ["an entity bomb", bomb],
    ["an external entity", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'],
    ["an entity nobody declared", "<a>&x;</a>"],
    ["tags that cross", "<a><b></a></b>"],
    ["a tag left open", "<a><b>"],
    ["nothing", ""],
    ["two roots", "<a/><b/>"],
    ["a prefix nobody declared", "<p:a/>"],
    ["the same attribute twice", '<a xmlns:p="u" xmlns:q="u" p:x="1" q:x="2"/>'],
    ["another encoding", '<?xml version="1.0" encoding="ISO-8859-1"?><a/>'],
    ["octets that are no UTF-8", "<a>\xff</a>"],
    ["a character that XML has not", "<a>&#0;</a>"],
    ["what is nested too deep", "<a>".repeat(XML_LIMITS.depth + 1) + "</a>".repeat(XML_LIMITS.depth + 1)],
    ["too many elements", `<a>${"<b/>".repeat(XML_LIMITS.elements)}</a>`],
    ["too many attributes", `<a ${Array.from({ length: 65 }, (_, i) => `a${i}=""`).join(" ")}/>`],
    ["too many octets", `<a>${" ".repeat(XML_LIMITS.octets)}</a>`],
  ])("%s", (_, text) => {
    expect(() => parseXml(text)).toThrow(MalformedDocument);
  });

  it("garbage: a MalformedDocument or a tree, nothing else", () => {
    const part = fc.constantFrom(
      "<",
      ">",
      "a",
      "</a>",
      "<a>",
      "&",
      ";",
      "#x",
      "<![CDATA[",
      "]]>",
      "<!",
      "<?",
      "xmlns",
      '="',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(part, fc.string({ maxLength: 4 })), { maxLength: 40 }), (parts) => {
        try {
          expect(parseXml(parts.join("")).local).toBeTypeOf("string");
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedDocument);
        }
      }),
      { numRuns: 2000, seed: 3680 },
    );
  });
});
