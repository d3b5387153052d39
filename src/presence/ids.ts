import { DATA_MODEL_NAMESPACE, PIDF_NAMESPACE, RPID_NAMESPACE } from "./pidf.ts";
import { isElement, type XmlAttribute, type XmlElement } from "./xml.ts";

/**
 * The ids of a presence document (XML Schema's ID: no two in a document may be equal): of tuples (RFC 3863 4.1.2), persons
 * and devices (RFC 4479 3.7), of RPID's elements (RFC 4480 3.2), of shapes in locations (`gml:id`, RFC 4119), and
 * `xml:id`. What is called `id` elsewhere may be anything.
 */
const WITH_ID = new Set([PIDF_NAMESPACE, DATA_MODEL_NAMESPACE, RPID_NAMESPACE]);
const XML = "http://www.w3.org/XML/1998/namespace";
const XLINK = "http://www.w3.org/1999/xlink";
const GML = /^http:\/\/www\.opengis\.net\/gml(?:\/|$)/;

function isId({ uri }: XmlElement, attribute: XmlAttribute): boolean {
  if (attribute.local !== "id") return false;
  return attribute.uri === "" ? WITH_ID.has(uri) : attribute.uri === XML || GML.test(attribute.uri);
}

/** In the order of the document. */
export function idsOf(element: XmlElement): string[] {
  const found = element.attributes.filter((each) => isId(element, each)).map((each) => each.value);
  for (const child of element.children) if (isElement(child)) found.push(...idsOf(child));
  return found;
}

/** @param names old id -> new; references to them by `xlink:href` follow. */
export function withIds(element: XmlElement, names: ReadonlyMap<string, string>): XmlElement {
  if (names.size === 0) return element;
  const attributes = element.attributes.map((each) => {
    const value = newValue(element, each, names);
    return value === undefined ? each : { ...each, value };
  });
  const children = element.children.map((each) => (isElement(each) ? withIds(each, names) : each));
  return { ...element, attributes, children };
}

function newValue(element: XmlElement, each: XmlAttribute, names: ReadonlyMap<string, string>): string | undefined {
  if (isId(element, each)) return names.get(each.value);
  if (each.uri !== XLINK || each.local !== "href" || !each.value.startsWith("#")) return undefined;
  const target = names.get(each.value.slice(1));
  return target === undefined ? undefined : `#${target}`;
}
