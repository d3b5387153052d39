import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deleteNode, getNode, putNode } from "../../src/xcap/edit.ts";
import { placesOf } from "../../src/xcap/places.ts";
import { type NodeSelector, parseSelector } from "../../src/xcap/selector.ts";

function selector(text: string, bindings: Readonly<Record<string, string>> = {}, namespace = ""): NodeSelector {
  const parsed = parseSelector(text, new Map(Object.entries(bindings)), namespace);
  if ("bad" in parsed) throw new Error(`${text}: ${parsed.bad}`);
  return parsed;
}

/** The document of RFC 4825 8.2.3. */
const DOCUMENT = `<?xml version="1.0"?>
<root>
 <el1 att="first"/>
 <el1 att="second"/>
 <!-- comment -->
 <el2 att="first"/>
</root>
`;

function put(at: string, body: string, text = DOCUMENT) {
  return putNode(text, selector(at), body);
}

describe("insertion (RFC 4825 8.2.3)", () => {
  it.each([
    ['root/el1[@att="third"]', '<el1 att="third"/>'],
    ['root/el1[3][@att="third"]', '<el1 att="third"/>'],
    ['root/*[3][@att="third"]', '<el1 att="third"/>'],
  ])("%s is put in the earliest last place, before comment and white space", (at, body) => {
    expect(put(at, body)).toEqual({
      done: "changed",
      created: true,
      text: DOCUMENT.replace('<el1 att="second"/>', '<el1 att="second"/><el1 att="third"/>'),
    });
  });

  it("an element with no sibling of its name becomes the last, behind comments and white space", () => {
    expect(put("root/el3", '<el3 att="first"/>')).toMatchObject({
      text: DOCUMENT.replace("</root>", '<el3 att="first"/></root>'),
    });
  });

  it.each([
    ['root/el2[@att="2"]', '<el2 att="first"/><el2 att="2"/>'],
    ['root/el2[2][@att="2"]', '<el2 att="first"/><el2 att="2"/>'],
    ['root/el2[1][@att="2"]', '<el2 att="2"/><el2 att="first"/>'],
  ])("%s", (at, becomes) => {
    expect(put(at, '<el2 att="2"/>')).toMatchObject({ text: DOCUMENT.replace('<el2 att="first"/>', becomes) });
  });

  it('root/*[2][@att="2"] is put at the earliest nth place', () => {
    expect(put('root/*[2][@att="2"]', '<el2 att="2"/>')).toMatchObject({
      text: DOCUMENT.replace('<el1 att="first"/>', '<el1 att="first"/><el2 att="2"/>'),
    });
  });

  it("a wildcard at the first place stands before all others", () => {
    expect(put('root/*[1][@att="0"]', '<el2 att="0"/>')).toMatchObject({
      text: DOCUMENT.replace('<el1 att="first"/>', '<el2 att="0"/><el1 att="first"/>'),
    });
  });

  it("into an element that closes itself", () => {
    expect(put("root/el2/in", "<in/>")).toMatchObject({
      text: DOCUMENT.replace('<el2 att="first"/>', '<el2 att="first"><in/></el2>'),
    });
  });

  it.each([
    ['root/el1[@att="third"]', '<el1 att="other"/>'],
    ["root/el1[7]", "<el1/>"],
    ["root/el3[2]", "<el3/>"],
    ["root/el1", "<el1/>"],
    ["root/*", "<el9/>"],
    ["root/el3", "<el4/>"],
    ["other", "<other/>"],
  ])("MUST NOT insert what the selector would not find again: %s of %s", (at, body) => {
    expect(put(at, body)).toMatchObject({ done: "conflict", conflict: { error: "cannot-insert" } });
  });

  it("namespace declarations are kept, redundant ones too", () => {
    const text = '<a xmlns="urn:a" xmlns:p="urn:p"><b/></a>';
    const body = '<c xmlns="urn:a" xmlns:p="urn:p"><p:d/></c>';
    expect(putNode(text, selector("a/c", {}, "urn:a"), body)).toMatchObject({
      text: `<a xmlns="urn:a" xmlns:p="urn:p"><b/>${body}</a>`,
    });
  });

  it("a prefix may be declared where the element is put", () => {
    const text = '<a xmlns="urn:a" xmlns:p="urn:p"/>';
    expect(putNode(text, selector("a/x:c", { x: "urn:p" }, "urn:a"), "<p:c/>")).toMatchObject({ done: "changed" });
    expect(putNode(text, selector("a/x:c", { x: "urn:p" }, "urn:a"), "<q:c/>")).toMatchObject({
      conflict: { error: "not-xml-frag" },
    });
  });
});

describe("replacement (RFC 4825 8.2.4)", () => {
  it("of an element: all of it, and white space around it stays", () => {
    expect(put("root/el2", '<el2 new="1">x</el2>')).toEqual({
      done: "changed",
      created: false,
      text: DOCUMENT.replace('<el2 att="first"/>', '<el2 new="1">x</el2>'),
    });
  });

  it("MUST be refused where the selector would not select the new element", () => {
    expect(put('root/el1[@att="second"]', '<el1 att="bad"/>')).toMatchObject({ conflict: { error: "cannot-insert" } });
    expect(put('root/el1[2][@att="second"]', '<el1 att="bad"/>')).toMatchObject({
      conflict: { error: "cannot-insert" },
    });
    expect(put("root/el1[2]", '<el1 att="bad"/>')).toMatchObject({ done: "changed", created: false });
    // The first el1 would be another one then.
    expect(put("root/el1[1]", "<el9/>")).toMatchObject({ conflict: { error: "cannot-insert" } });
  });

  it("of an attribute; not of the one it is selected by", () => {
    expect(put("root/el2/@att", '"new &amp; old"')).toMatchObject({
      text: DOCUMENT.replace('<el2 att="first"/>', '<el2 att="new &amp; old"/>'),
      created: false,
    });
    expect(put('root/el1[@att="second"]/@att', '"x"')).toMatchObject({ conflict: { error: "cannot-insert" } });
    expect(put('root/el1[@att="second"]/@b', "'x'")).toMatchObject({
      text: DOCUMENT.replace('<el1 att="second"/>', "<el1 att=\"second\" b='x'/>"),
      created: true,
    });
  });
});

describe("bodies (RFC 4825 8.2.2)", () => {
  it.each([
    "",
    "text",
    "<el3>",
    "<el3/><el3/>",
    "<el3/>tail",
    "<el3 a=1/>",
    "<!-- c --><el3/>",
    '<?xml version="1.0"?><el3/>',
    "<!DOCTYPE el3><el3/>",
    "<el3>&unknown;</el3>",
    "</root><root>",
    "</around><around>",
  ])("%j is no fragment of one element", (body) => {
    expect(put("root/el3", body)).toMatchObject({ done: "conflict", conflict: { error: "not-xml-frag" } });
  });

  it.each(["", "x", '"', '"a', '"a"b"', '"<"', '"&"', '"a\' b="c', '"x" b="y"'])(
    "%j is no attribute's value",
    (body) => {
      expect(put("root/el2/@b", body)).toMatchObject({ conflict: { error: "not-xml-att-value" } });
    },
  );

  it("without a parent the closest ancestor is told", () => {
    expect(put("root/el2/no/deeper", "<deeper/>")).toMatchObject({
      conflict: { error: "no-parent", ancestor: "~~/*/*%5B3%5D" },
    });
    expect(put("other/el2/no", "<no/>")).toMatchObject({ conflict: { error: "no-parent", ancestor: "" } });
    expect(getNode(DOCUMENT, selector("*/*[3]"))?.text).toBe('<el2 att="first"/>');
  });
});

describe("deletion (RFC 4825 8.4)", () => {
  it("MUST preserve the white space around", () => {
    expect(deleteNode(DOCUMENT, selector('root/el1[@att="first"]'))).toMatchObject({
      text: DOCUMENT.replace('<el1 att="first"/>', ""),
    });
    expect(deleteNode(DOCUMENT, selector("root/el2/@att"))).toMatchObject({
      text: DOCUMENT.replace('<el2 att="first"/>', "<el2/>"),
    });
  });

  it("MUST NOT be done where the selector then leads to another element", () => {
    expect(deleteNode(DOCUMENT, selector("root/el1[1]"))).toMatchObject({ conflict: { error: "cannot-delete" } });
    expect(deleteNode(DOCUMENT, selector("root/*[1]"))).toMatchObject({ conflict: { error: "cannot-delete" } });
    expect(deleteNode(DOCUMENT, selector("root/el1[2]"))).toMatchObject({ done: "changed" });
    expect(deleteNode(DOCUMENT, selector('root/*[1][@att="first"]'))).toMatchObject({ done: "changed" });
  });

  it.each(["root/el9", "root/el1", "root/*", "root/el2/@no", "other"])("%s leads to nothing, or to several", (at) => {
    expect(deleteNode(DOCUMENT, selector(at))).toEqual({ done: "nothing" });
  });
});

describe("selection (RFC 4825 6.3, 6.4)", () => {
  /** The document of 6.4. */
  const NAMESPACES = `<?xml version="1.0"?>
<foo xmlns="urn:test:default-namespace">
  <ns1:bar xmlns:ns1="urn:test:namespace1-uri"
           xmlns="urn:test:namespace1-uri">
    <baz/>
    <ns2:baz xmlns:ns2="urn:test:namespace2-uri"/>
  </ns1:bar>
  <ns3:hi xmlns:ns3="urn:test:namespace3-uri">
    <there/>
  </ns3:hi>
</foo>`;
  const [ONE, TWO] = ["urn:test:namespace1-uri", "urn:test:namespace2-uri"];
  const DEFAULT = "urn:test:default-namespace";

  it.each([
    ["foo/a:bar/b:baz", { a: ONE, b: ONE }, "<baz/>"],
    ["foo/a:bar/b:baz", { a: ONE, b: TWO }, `<ns2:baz xmlns:ns2="${TWO}"/>`],
    ["d:foo/a:bar/b:baz", { a: ONE, b: TWO, d: DEFAULT }, `<ns2:baz xmlns:ns2="${TWO}"/>`],
  ])("%s with %j", (at, bindings, text) => {
    expect(getNode(NAMESPACES, selector(at, bindings, DEFAULT))).toEqual({ kind: "element", text });
  });

  it("namespace bindings in scope (10): the element's name, the default, every prefix", () => {
    const found = getNode(NAMESPACES, selector("df:foo/df2:bar/df2:baz/namespace::*", { df: DEFAULT, df2: ONE }));
    expect(found).toEqual({ kind: "namespaces", text: `<baz xmlns="${ONE}" xmlns:ns1="${ONE}"/>` });
  });

  it("a declaration is no attribute", () => {
    const found = selector(`foo[@xmlns="${DEFAULT}"]`, {}, DEFAULT);
    expect(getNode(NAMESPACES, found)).toBeNull();
  });

  it("slashes, brackets and references in a value are part of it", () => {
    const text = '<r><a u="http://x/[1]"/><a u="&quot;&amp;&#65;"/></r>';
    expect(getNode(text, selector('r/a[@u="http://x/[1]"]'))?.text).toBe('<a u="http://x/[1]"/>');
    expect(getNode(text, selector('r/a[@u="&quot;&amp;A"]'))?.text).toBe('<a u="&quot;&amp;&#65;"/>');
  });

  it.each(["", "/root", "root/", "root//a", "root[@a]", "root[a='1']", "text()", "root[1][2]", "root/@a/b", "id('x')"])(
    "%j is a selector that is not understood",
    (at) => {
      expect(parseSelector(at, new Map(), "")).toEqual({ bad: "unknown" });
    },
  );

  it("a prefix that nothing binds is told", () => {
    expect(parseSelector("p:a/@q:b", new Map(), "")).toEqual({ bad: "prefix", prefix: "p" });
  });
});

describe("places", () => {
  it("tags inside comments, character data, instructions and values are none", () => {
    const text =
      "\ufeff<?xml version='1.0'?><!-- <a> --><r x='a>b' y=\"&lt;/r>\"><![CDATA[<b/>]]><?pi <c/>?><d  z = '1' /><e>\u{1f600}</e ></r><!--</r>-->";
    const root = placesOf(text);
    expect(text.slice(root.start, root.end)).toMatch(/^<r [\s\S]*<\/r>$/);
    expect(root.children.map(({ start, end }) => text.slice(start, end))).toEqual([
      "<d  z = '1' />",
      "<e>\u{1f600}</e >",
    ]);
  });

  const name = fc.constantFrom("a", "b", "c");
  const tree: fc.Arbitrary<string> = fc.letrec<{ node: string }>((tie) => ({
    node: fc
      .tuple(
        name,
        fc.constantFrom("", ' id="1"', ' id="2"', " id='>'"),
        fc.array(fc.oneof({ maxDepth: 3 }, fc.constantFrom(" ", "<!--<a>-->", "x", "<![CDATA[<b>]]>"), tie("node")), {
          maxLength: 4,
        }),
      )
      .map(([local, attribute, inner]) =>
        inner.length === 0 ? `<${local}${attribute}/>` : `<${local}${attribute}>${inner.join("")}</${local}>`,
      ),
  })).node;
  const step = fc
    .tuple(fc.oneof(name, fc.constant("*")), fc.constantFrom("", "[1]", "[2]"), fc.constantFrom("", '[@id="1"]'))
    .map((parts) => parts.join(""));
  const path = fc.array(step, { minLength: 1, maxLength: 3 }).map((steps) => steps.join("/"));

  it("GET(PUT(x)) is x, and a PUT again changes nothing (7.4)", () => {
    let changes = 0;
    fc.assert(
      fc.property(tree, path, tree, (text, at, body) => {
        const edited = putNode(text, selector(at), body);
        if (edited.done !== "changed") return;
        changes++;
        expect(getNode(edited.text, selector(at))?.text).toBe(body);
        expect(putNode(edited.text, selector(at), body)).toEqual({
          done: "changed",
          created: false,
          text: edited.text,
        });
      }),
      { numRuns: 500, seed: 1 },
    );
    expect(changes).toBeGreaterThan(50);
  });

  it("after a DELETE nothing is selected (7.5)", () => {
    let changes = 0;
    fc.assert(
      fc.property(tree, path, (text, at) => {
        const edited = deleteNode(text, selector(at));
        if (edited.done !== "changed") return;
        changes++;
        expect(getNode(edited.text, selector(at))).toBeNull();
        expect(deleteNode(edited.text, selector(at))).toEqual({ done: "nothing" });
      }),
      { numRuns: 2000, seed: 2 },
    );
    expect(changes).toBeGreaterThan(20);
  });
});
