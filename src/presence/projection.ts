import { canonicalForm, compareText, prefixesIn, standingAlone } from "./canonical.ts";
import type { Composition } from "./composition.ts";
import { idsOf } from "./ids.ts";
import { PIDF_NAMESPACE } from "./pidf.ts";
import { isComponent, SOURCE_NAMESPACE, withMark, withoutMark } from "./source-mark.ts";
import { element, isElement, type XmlAttribute, type XmlElement } from "./xml.ts";

/**
 * The document that is shown of a composition: every element of every source, known or not, once, with its source written
 * into it (source-mark.ts).
 *
 * - An element that carries the mark of another source of this composition is an echo: that server got it from us, and
 *   what counts is what its own source says now. With the mark of a server that is no source here it is kept, and keeps
 *   its mark: by this way only we know of it.
 * - Of elements that are canonically equal one is shown, as the own one of the source with the least name.
 * - Where ids collide, each of them is renamed by its source (`t1` -> `t1.east`): none keeps a name that meant another
 *   element before.
 * - Tuples first, then notes, then all else (RFC 3863 4.1.1), by source, in the source's order.
 *
 * It depends on nothing but the composition, so every proxy shows the same. Fed back as one more source's document it
 * changes nothing. Attributes of the sources' root elements but `entity` and the `xml:` ones, which their elements get,
 * are kept in a `cdm:presence` element; comments and layout are not kept.
 *
 * A server can set no marks but by its users' devices, and one that is trusted with a user's presence may as well leave
 * out his elements: a forged mark makes nobody's presence appear but his own, under another server's name.
 *
 * @param entity URI of the user.
 * @returns a `presence` element; without any element in it where no source has one.
 */
export function project(composition: Composition, entity: string): XmlElement {
  const kept = keptOf(composition);
  const names = renamedIds(kept);
  const elements = kept.map((each, index) => withMark(each.element, each.source, names[index]!));
  const root = element(PIDF_NAMESPACE, "presence", { entity }, elements);
  return { ...root, declared: prefixesOf(elements) };
}

/** A top-level element of a document, able to stand in any other. */
interface Part {
  readonly element: XmlElement;
  /** Of its mark; null: it has none. */
  readonly mark: string | null;
  readonly form: string;
  readonly index: number;
}

interface Kept extends Part {
  readonly source: string;
  /** The source in whose document it came. */
  readonly carrier: string;
}

function keptOf(composition: Composition): Kept[] {
  const byForm = new Map<string, Kept>();
  for (const [carrier, { document }] of composition) {
    if (typeof document === "string") continue;
    for (const part of partsOf(document)) {
      const source = part.mark ?? carrier;
      if (source !== carrier && composition.has(source)) continue;
      const found = { ...part, source, carrier };
      const other = byForm.get(part.form);
      if (other === undefined || compareClaims(found, other) < 0) byForm.set(part.form, found);
    }
  }
  return [...byForm.values()].sort(compareKept);
}

/** Of equal elements: whose is it? A source's own before what is said of others, the least name among these. */
function compareClaims(a: Kept, b: Kept): number {
  const foreign = Number(a.source !== a.carrier) - Number(b.source !== b.carrier);
  return foreign || compareText(a.source, b.source) || compareText(a.carrier, b.carrier) || a.index - b.index;
}

function compareKept(a: Kept, b: Kept): number {
  return (
    placeOf(a.element) - placeOf(b.element) ||
    compareText(a.source, b.source) ||
    compareText(a.carrier, b.carrier) ||
    a.index - b.index
  );
}

function placeOf({ uri, local }: XmlElement): number {
  if (uri !== PIDF_NAMESPACE) return 2;
  return local === "tuple" ? 0 : local === "note" ? 1 : 2;
}

/** Documents are composed again and again, most of them unchanged. */
const PARTS = new WeakMap<XmlElement, readonly Part[]>();

function partsOf(document: XmlElement): readonly Part[] {
  let parts = PARTS.get(document);
  if (parts === undefined) {
    parts = readParts(document);
    PARTS.set(document, parts);
  }
  return parts;
}

const XML = "http://www.w3.org/XML/1998/namespace";

function readParts(document: XmlElement): Part[] {
  const inherited = document.attributes.filter((each) => each.uri === XML && each.local !== "id");
  const others = document.attributes.filter(
    (each) => each.uri !== XML && !(each.uri === "" && each.local === "entity"),
  );
  const elements: XmlElement[] = document.children.filter(isElement);
  const outside = new Map([...(document.declared ?? [])].filter(([, uri]) => uri !== SOURCE_NAMESPACE));
  if (others.length > 0) elements.push(rootElement(others));
  return elements.map((each, index) => {
    const marked = withoutMark(inheriting(standingAlone(each, outside), inherited));
    return { element: marked.element, mark: marked.source, form: canonicalForm(marked.element), index };
  });
}

function rootElement(attributes: readonly XmlAttribute[]): XmlElement {
  return { uri: SOURCE_NAMESPACE, local: "presence", prefix: "cdm", attributes, children: [] };
}

/** `xml:lang` and the like hold for all that is inside (XML 1.0 2.12). */
function inheriting(inner: XmlElement, inherited: readonly XmlAttribute[]): XmlElement {
  const lacking = inherited.filter(
    ({ local }) => !inner.attributes.some((each) => each.uri === XML && each.local === local),
  );
  return lacking.length === 0 ? inner : { ...inner, attributes: [...inner.attributes, ...lacking] };
}

/** For each its own ids that others have too -> what they are called in the composed document. */
function renamedIds(kept: readonly Kept[]): ReadonlyMap<string, string>[] {
  const ids = kept.map((each) => idsOf(each.element));
  const uses = new Map<string, number>();
  for (const id of ids.flat()) uses.set(id, (uses.get(id) ?? 0) + 1);
  const taken = new Set(uses.keys());
  return kept.map((each, index) => {
    const names = new Map<string, string>();
    if (!isComponent(each.element)) return names;
    for (const id of new Set(ids[index])) if (uses.get(id)! > 1) names.set(id, freeName(id, each.source, taken));
    return names;
  });
}

function freeName(id: string, source: string, taken: Set<string>): string {
  const name = `${id}.${source.replace(/[^\w.-]/g, "_")}`;
  let free = name;
  for (let n = 2; taken.has(free); n++) free = `${name}.${n}`;
  taken.add(free);
  return free;
}

/** Declared once for all: the namespaces of names, each prefix for one, but none that a text could take for its own. */
function prefixesOf(elements: readonly XmlElement[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>([["", PIDF_NAMESPACE]]);
  const used = new Set<string>();
  for (const each of elements) prefixesIn(each, used);
  const add = ({ prefix, uri }: { readonly prefix: string; readonly uri: string }): void => {
    if (prefix === "" || prefix === "xml" || uri === "" || used.has(prefix)) return;
    const known = found.get(prefix);
    if (known === undefined || compareText(uri, known) < 0) found.set(prefix, uri);
  };
  const visit = (each: XmlElement): void => {
    add(each);
    each.attributes.forEach(add);
    for (const child of each.children) if (isElement(child)) visit(child);
  };
  elements.forEach(visit);
  return new Map([...found].sort(([a], [b]) => compareText(a, b)));
}
