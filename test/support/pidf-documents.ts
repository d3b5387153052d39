import { readdirSync } from "node:fs";
import fc from "fast-check";
import { DATA_MODEL_NAMESPACE, PIDF_NAMESPACE, parsePidf, RPID_NAMESPACE } from "../../src/presence/pidf.ts";
import { element, MalformedDocument, type XmlElement, type XmlNode } from "../../src/presence/xml.ts";
import { sharedBytes, sharedPath } from "../torture/shared.ts";

const UNKNOWN_NAMESPACE = "urn:example:unknown";
const EXAMPLES = "data/presence/examples";

/** Presence documents as they are printed in RFCs; those with a misprint that no reader takes are left out. */
export function realDocuments(): { readonly name: string; readonly presence: XmlElement }[] {
  const names = readdirSync(sharedPath(EXAMPLES)).filter((name) => name.endsWith(".xml"));
  return names.sort().flatMap((name) => {
    try {
      return [{ name, presence: parsePidf(sharedBytes(`${EXAMPLES}/${name}`).trimStart()) }];
    } catch (error) {
      if (!(error instanceof MalformedDocument)) throw error;
      return [];
    }
  });
}

const text = fc.constantFrom("x", " a  b ", "é𝛼", "&<>\"'\r\n", "sip:alice@example.com", "p:q", "cdm:x");
const prefix = fc.constantFrom("", "p", "q");
const id = fc.constantFrom("t1", "t2", "a", "t1.east");

function node(uri: string, local: string, given: Partial<XmlElement>): XmlElement {
  return { ...element(uri, local, {}), ...given };
}

function idAttribute(value: string) {
  return { uri: "", local: "id", prefix: "", value };
}

const extension: fc.Arbitrary<XmlElement> = fc
  .record({
    uri: fc.constantFrom(UNKNOWN_NAMESPACE, "", "urn:example:other"),
    local: fc.constantFrom("e", "f"),
    prefix,
    value: text,
    inner: fc.array(fc.oneof(text, fc.constant(element(UNKNOWN_NAMESPACE, "g", { id: "t1" }))), { maxLength: 2 }),
  })
  .map(({ uri, local, prefix: own, value, inner }) =>
    node(uri, local, {
      prefix: uri === "" ? "" : own,
      attributes: [{ uri: "urn:example:attributes", local: "k", prefix: "k", value }],
      children: merged(inner),
    }),
  );

const activities = fc
  .record({
    id: fc.option(
      id.map((each) => `r-${each}`),
      { nil: undefined },
    ),
    note: text,
  })
  .map((each) =>
    node(RPID_NAMESPACE, "activities", {
      prefix: "rpid",
      attributes: each.id === undefined ? [] : [idAttribute(each.id)],
      children: [element(RPID_NAMESPACE, "note", {}, [each.note])],
    }),
  );

const note = fc.record({ text, lang: fc.constantFrom(undefined, "en") }).map((each) =>
  node(PIDF_NAMESPACE, "note", {
    attributes:
      each.lang === undefined
        ? []
        : [{ uri: "http://www.w3.org/XML/1998/namespace", local: "lang", prefix: "xml", value: each.lang }],
    children: [each.text],
  }),
);

const tuple = fc
  .record({ id, basic: fc.constantFrom("open", "closed"), more: fc.array(extension, { maxLength: 2 }), note })
  .map((each) =>
    node(PIDF_NAMESPACE, "tuple", {
      attributes: [idAttribute(each.id)],
      children: [
        "\n ",
        element(PIDF_NAMESPACE, "status", {}, [element(PIDF_NAMESPACE, "basic", {}, [each.basic])]),
        ...each.more,
        element(PIDF_NAMESPACE, "contact", { priority: "0.5" }, ["sip:alice@example.com"]),
        each.note,
      ],
    }),
  );

const component = fc
  .record({ id, local: fc.constantFrom("person", "device"), activities, more: fc.array(extension, { maxLength: 1 }) })
  .map((each) =>
    node(DATA_MODEL_NAMESPACE, each.local, {
      prefix: "dm",
      attributes: [idAttribute(each.id)],
      children: [each.activities, ...each.more],
    }),
  );

/** Generated presence documents: few ids and few contents, so that they collide and repeat. */
export function documents(): fc.Arbitrary<XmlElement> {
  return fc
    .record({
      elements: fc.array(fc.oneof(tuple, component, note, extension), { maxLength: 4 }),
      root: fc.array(text, { maxLength: 1 }),
    })
    .map(({ elements, root }) =>
      node(PIDF_NAMESPACE, "presence", {
        attributes: [
          { uri: "", local: "entity", prefix: "", value: "pres:alice@example.com" },
          ...root.map((value) => ({ uri: "urn:example:root", local: "r", prefix: "r", value })),
        ],
        children: elements,
      }),
    );
}

/** Two texts beside each other are one. */
function merged(nodes: readonly XmlNode[]): XmlNode[] {
  const out: XmlNode[] = [];
  for (const each of nodes) {
    const last = out[out.length - 1];
    if (typeof each === "string" && typeof last === "string") out[out.length - 1] = last + each;
    else out.push(each);
  }
  return out;
}
