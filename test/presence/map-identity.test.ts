import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalForm } from "../../src/presence/canonical.ts";
import { closedDocument } from "../../src/presence/closed-document.ts";
import { mapBody, mapIdentity } from "../../src/presence/map-identity.ts";
import { contactOf, entityOf, parsePidf, tuplesOf } from "../../src/presence/pidf.ts";
import { printXml } from "../../src/presence/xml.ts";
import { documents, realDocuments } from "../support/pidf-documents.ts";
import { hasShared } from "../torture/shared.ts";

const FROM = "joe.smith@east.example.com";
const TO = "joe@example.com";

function mapped(uri: string): string {
  const root = parsePidf(closedDocument("x@y").replace("sip:x@y", uri));
  return entityOf(mapIdentity(root, FROM, TO)) ?? "";
}

describe("a URI that names the user is mapped (RFC 3863 4.1.1, 4.1.5)", () => {
  it.each([
    ["sip:joe.smith@east.example.com", "sip:joe@example.com"],
    ["pres:joe.smith@east.example.com", "pres:joe@example.com"],
    ["im:joe.smith@east.example.com", "im:joe@example.com"],
    ["SIPS:joe.smith@EAST.example.COM", "SIPS:joe@example.com"],
    ["sip:joe%2Esmith@east.example.com", "sip:joe@example.com"],
    ["sip:joe.smith@east.example.com;gr=urn:uuid:1", "sip:joe@example.com;gr=urn:uuid:1"],
    ["sip:joe.smith@east.example.com:5070;lr?a=b", "sip:joe@example.com:5070;lr?a=b"],
  ])("%s", (from, to) => {
    expect(mapped(from)).toBe(to);
  });

  it.each([
    "sip:joe.smith@east.example.com.au",
    "sip:a.joe.smith@east.example.com",
    "sip:Joe.Smith@east.example.com",
    "sip:joe.smith@192.0.2.1",
    "mailto:joe.smith@east.example.com",
    "joe.smith@east.example.com",
    "sip:joe.smith@east.example.com@example.com",
    "x-sip:joe.smith@east.example.com",
  ])("another's, or no such URI, stays: %s", (uri) => {
    expect(mapped(uri)).toBe(uri);
  });

  it("entity, contacts, notes and extensions; a device's own address stays", () => {
    const root = parsePidf(`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:${FROM}" xmlns:x="urn:x">
      <tuple id="a"><status><basic>open</basic></status><x:e uri="sip:${FROM}">im:${FROM}</x:e><contact priority="1"> sip:${FROM} </contact>
      <note>Call sip:${FROM}, please</note></tuple>
      <tuple id="b"><status/><contact>sip:joe.smith@192.0.2.1:5062</contact></tuple></presence>`);
    const presence = mapIdentity(root, FROM, TO);
    expect(tuplesOf(presence).map(contactOf)).toEqual([`sip:${TO}`, "sip:joe.smith@192.0.2.1:5062"]);
    const printed = printXml(presence);
    expect(printed).toContain(`<x:e uri="sip:${TO}">im:${TO}</x:e>`);
    expect(printed).toContain(`Call sip:${TO}, please`);
    expect(printed).not.toContain(FROM);
  });

  it.each([
    ["reginfo", `<reginfo xmlns="urn:ietf:params:xml:ns:reginfo"><registration aor="sip:${FROM}"/></reginfo>`],
    [
      "watcherinfo",
      `<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo"><w resource="sip:${FROM}"/></watcherinfo>`,
    ],
    ["dialog-info", `<dialog-info entity="sip:${FROM}"><local><identity>sip:${FROM}</identity></local></dialog-info>`],
  ])("in %s too", (kind, text) => {
    expect(mapBody(`application/${kind}+xml`, text, FROM, TO)).not.toContain(FROM);
  });

  it("a document that does not name him is not even printed anew", () => {
    const root = parsePidf(closedDocument(TO));
    expect(mapIdentity(root, FROM, TO)).toBe(root);
    const body = `${closedDocument(TO)}<!-- kept -->`;
    expect(mapBody("application/pidf+xml", body, FROM, TO)).toBe(body);
  });

  it("a body says the same as its tree, mapped", () => {
    const to = fc.constantFrom("a.b@east.example.com", "o'neil&co@example.com");
    fc.assert(
      fc.property(documents(), to, fc.boolean(), (document, there, escaped) => {
        const printed = printXml(document);
        const body = escaped ? printed.replaceAll("alice@", "ali&#99;e@") : printed;
        const mappedBody = parsePidf(mapBody("application/pidf+xml", body, "alice@example.com", there));
        expect(canonicalForm(mappedBody)).toBe(canonicalForm(mapIdentity(parsePidf(body), "alice@example.com", there)));
      }),
      { numRuns: 200, seed: 3863 },
    );
  });

  it.each([
    "<x>sip:joe<!-- -->.smith@east.example.com</x>",
    "<x>sip:joe<![CDATA[.smith@]]>east.example.com</x>",
    "<x>sip:joe<?pi?>.smith@east.example.com</x>",
    "<x>sip:joe&#46;smith@east.example.com</x>",
  ])("no way of writing hides him: %s", (text) => {
    expect(mapBody("application/xml", `<?xml version="1.0"?>${text}`, FROM, TO)).toContain(`<x>sip:${TO}</x>`);
  });

  it("back again: the same document", () => {
    fc.assert(
      fc.property(documents(), (document) => {
        const there = mapIdentity(document, "alice@example.com", "a.b@east.example.com");
        expect(printXml(there)).toContain("pres:a.b@east.example.com");
        expect(canonicalForm(mapIdentity(there, "a.b@east.example.com", "alice@example.com"))).toBe(
          canonicalForm(document),
        );
      }),
      { numRuns: 100, seed: 3863 },
    );
  });

  it.skipIf(!hasShared("data/presence/examples"))("back again: documents from RFCs (skipped without them)", () => {
    let named = 0;
    for (const { presence } of realDocuments()) {
      const from = /^(?:sip|pres):([\w.-]+@[\w.-]+)$/.exec(entityOf(presence) ?? "")?.[1];
      if (from === undefined) continue;
      named++;
      const there = mapIdentity(presence, from, "nobody.here@elsewhere.example");
      expect(entityOf(there)).toContain("nobody.here@elsewhere.example");
      expect(printXml(mapIdentity(there, "nobody.here@elsewhere.example", from))).toBe(printXml(presence));
    }
    expect(named).toBeGreaterThan(20);
  });
});

describe("what cannot be read as XML is searched as text", () => {
  it.each([
    ["text/plain", `Message-Account: sip:${FROM}\r\n`, `Message-Account: sip:${TO}\r\n`],
    ["application/pidf+xml", `<presence entity="pres:${FROM}">`, `<presence entity="pres:${TO}">`],
    ["application/pidf+xml;charset=iso-8859-1", `<p>\xe9 sip:${FROM}.</p>`, `<p>\xe9 sip:${TO}.</p>`],
    ["text/plain", `sip:${FROM}.au sip:x${FROM} ${FROM}`, `sip:${FROM}.au sip:x${FROM} ${FROM}`],
  ])("%s: %s", (type, body, expected) => {
    expect(mapBody(type, body, FROM, TO)).toBe(expected);
  });

  it("in time linear in its length: the square of it would take minutes", () => {
    const body = "sip:".repeat(100_000) + "sip:a@".repeat(100_000);
    expect(mapBody("text/plain", body, FROM, TO)).toBe(body);
    expect(mapBody("application/pidf+xml", `<p>${"é".repeat(100_000)}`, FROM, TO)).toHaveLength(100_003);
  });
});
