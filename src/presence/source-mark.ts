import { withIds } from "./ids.ts";
import { DATA_MODEL_NAMESPACE, PIDF_NAMESPACE } from "./pidf.ts";
import { attributeNamed, childrenOf, isElement, type XmlElement } from "./xml.ts";

/**
 * Where an element of a composed document comes from, written into it, so that it is known again when it comes back by way
 * of another server. In tuples, persons and devices it is an element of ours, for which their schemas leave room:
 *
 *     <cdm:source xmlns:cdm="urn:x-codomain:source" server="east"><cdm:renamed id="t1.east" was="t1"/></cdm:source>
 *
 * `renamed` tells which ids are not the server's own. Other elements, notes among them, have it as an attribute,
 * `cdm:source="east"`. A watcher ignores both (RFC 3863 4.2.3).
 */
export const SOURCE_NAMESPACE = "urn:x-codomain:source";
const PREFIX = "cdm";

export interface Marked {
  /** As the server had it: without mark, with its own ids. */
  readonly element: XmlElement;
  /** Server of the mark; null: it has none. */
  readonly source: string | null;
}

/** A tuple, a person or a device: its ids may be renamed. */
export function isComponent({ uri, local }: XmlElement): boolean {
  if (uri === PIDF_NAMESPACE) return local === "tuple";
  return uri === DATA_MODEL_NAMESPACE && (local === "person" || local === "device");
}

/** @param renamed the server's own ids -> those it gets; of what is no component none. */
export function withMark(element: XmlElement, source: string, renamed: ReadonlyMap<string, string>): XmlElement {
  if (!isComponent(element)) {
    const mark = { uri: SOURCE_NAMESPACE, local: "source", prefix: PREFIX, value: source };
    return { ...element, attributes: [...element.attributes, mark] };
  }
  const names = [...renamed].map(([was, id]) => own("renamed", { id, was }, []));
  const named = withIds(element, renamed);
  const children = [...named.children];
  // RFC 3863 4.4, RFC 4479 5.1: behind a tuple's status, before all else of a person or device.
  const status = children.findIndex((each) => isElement(each) && isStatus(each));
  children.splice(status + 1, 0, own("source", { server: source }, names));
  return { ...named, children };
}

export function withoutMark(element: XmlElement): Marked {
  if (!isComponent(element)) {
    const mark = element.attributes.find(isMark);
    if (mark === undefined) return { element, source: null };
    const attributes = element.attributes.filter((each) => !isMark(each));
    return { element: { ...undeclared(element), attributes }, source: nameOf(mark.value) };
  }
  const [mark] = childrenOf(element, SOURCE_NAMESPACE, "source");
  if (mark === undefined) return { element, source: null };
  const children = element.children.filter((each) => !isElement(each) || !isMark(each));
  const names = new Map<string, string>();
  for (const each of childrenOf(mark, SOURCE_NAMESPACE, "renamed")) {
    const [id, was] = [attributeNamed(each, "id"), attributeNamed(each, "was")];
    if (id !== undefined && was !== undefined) names.set(id, was);
  }
  const source = nameOf(attributeNamed(mark, "server") ?? "");
  return { element: withIds({ ...undeclared(element), children }, names), source };
}

/** The mark alone is taken away: ids stay as they are called here, so nothing tells any more whose it is. */
export function unmarked(element: XmlElement): XmlElement {
  return {
    ...element,
    attributes: element.attributes.filter((each) => !isMark(each)),
    children: element.children.filter((each) => !isElement(each) || !isMark(each)),
  };
}

function undeclared({ declared, ...element }: XmlElement): XmlElement {
  if (declared === undefined) return element;
  return { ...element, declared: new Map([...declared].filter(([, uri]) => uri !== SOURCE_NAMESPACE)) };
}

function own(local: string, attributes: Readonly<Record<string, string>>, children: XmlElement[]): XmlElement {
  const given = Object.entries(attributes).map(([name, value]) => ({ uri: "", local: name, prefix: "", value }));
  return { uri: SOURCE_NAMESPACE, local, prefix: PREFIX, attributes: given, children };
}

export function isMark({ uri, local }: { readonly uri: string; readonly local: string }): boolean {
  return uri === SOURCE_NAMESPACE && local === "source";
}

function isStatus({ uri, local }: XmlElement): boolean {
  return uri === PIDF_NAMESPACE && local === "status";
}

function nameOf(text: string): string | null {
  const name = text.trim();
  return name === "" ? null : name;
}
