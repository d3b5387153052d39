import { MalformedDocument } from "../presence/xml.ts";
import type { Conflict } from "./conflict.ts";
import { type Place, placesOf, scopeAt } from "./places.ts";
import { type Found, find, type NodeSelector, named, type Step } from "./selector.ts";

/** A document with one element or attribute put into it or taken out (RFC 4825 8.2, 8.4), pure: text to text. */

export type Edited =
  | { readonly done: "changed"; readonly text: string; readonly created: boolean }
  /** RFC 4825 8.4: what is to be deleted is not there. */
  | { readonly done: "nothing" }
  | { readonly done: "conflict"; readonly conflict: Conflict };

/**
 * RFC 4825 8.2.3, 8.2.4.
 * @param text a document that can be read.
 * @param selector leads to no namespaces.
 * @param body of the request.
 */
export function putNode(text: string, selector: NodeSelector, body: string): Edited {
  const root = placesOf(text);
  return selector.terminal === null ? putElement(text, root, selector, body) : putAttribute(text, root, selector, body);
}

function putElement(text: string, root: Place, selector: NodeSelector, body: string): Edited {
  const { steps } = selector;
  const target = find(root, selector);
  const parent = steps.length === 1 ? null : placeOf(find(root, { steps: steps.slice(0, -1), terminal: null }));
  if (parent === undefined) return noParent(root, steps);
  const fragment = body.trim();
  if (!isOneElement(fragment, parent)) {
    return conflict(
      "not-xml-frag",
      "The body is not one well-formed element, with prefixes that mean something there.",
    );
  }
  if (target.found === "element") {
    const { start, end } = target.place;
    return verified(text.slice(0, start) + fragment + text.slice(end), selector, start, false);
  }
  const at = parent === null ? null : insertionPoint(parent, steps[steps.length - 1]!);
  if (parent === null || at === null) return cannotInsert();
  if (at < parent.tagEnd + 1 || parent.close === null) return intoEmpty(text, parent, fragment, selector);
  return verified(text.slice(0, at) + fragment + text.slice(at), selector, at, true);
}

/** A tag that closed itself is opened. */
function intoEmpty(text: string, parent: Place, fragment: string, selector: NodeSelector): Edited {
  const before = `${text.slice(0, parent.tagEnd)}>`;
  return verified(`${before}${fragment}</${parent.name}>${text.slice(parent.end)}`, selector, before.length, true);
}

/** RFC 4825 8.2.3: as early as the position allows, with as many siblings as possible behind; null: nowhere. */
function insertionPoint(parent: Place, { name, position, attribute }: Step): number | null {
  const same = named(parent.children, name);
  const atEnd = parent.close ?? parent.tagEnd;
  if (position === null) {
    // `*[@x="y"]` is not bound to a place: behind all others.
    if (name === null) return parent.children.length > 0 && attribute === null ? null : atEnd;
    return same.at(-1)?.end ?? atEnd;
  }
  if (position === 1) return same[0]?.start ?? atEnd;
  return same[position - 2]?.end ?? null;
}

function isOneElement(fragment: string, parent: Place | null): boolean {
  if (!/^<[^!?/]/.test(fragment)) return false;
  const open = `<around${declarationsOf(parent)}>`;
  try {
    const around = placesOf(`${open}${fragment}</around>`);
    const [only] = around.children;
    return around.children.length === 1 && only?.start === open.length && only.end === open.length + fragment.length;
  } catch (error) {
    if (error instanceof MalformedDocument) return false;
    throw error;
  }
}

/** AttValue of XML 1.0. */
const VALUE = /^(?:"(?:[^<&"]|&(?:\w+|#\d+|#x[\da-fA-F]+);)*"|'(?:[^<&']|&(?:\w+|#\d+|#x[\da-fA-F]+);)*')$/;

function putAttribute(text: string, root: Place, selector: NodeSelector, body: string): Edited {
  const { steps, terminal } = selector;
  const owner = placeOf(find(root, { steps, terminal: null }));
  if (owner === undefined || owner === null) return noParent(root, steps);
  if (!VALUE.test(body))
    return conflict("not-xml-att-value", "The body is not the value of an attribute in its quotes.");
  const target = find(root, selector);
  if (target.found === "attribute") {
    const { valueStart, end } = target.attribute;
    return verified(text.slice(0, valueStart) + body + text.slice(end), selector, owner.start, false);
  }
  if (terminal?.kind !== "attribute") return cannotInsert();
  const { uri, local } = terminal.name;
  const prefix = uri === "" ? "" : prefixOf(uri, owner);
  if (prefix === null) return conflict("cannot-insert", `No prefix stands for the namespace ${uri} there.`);
  const written = ` ${prefix}${local}=${body}`;
  return verified(text.slice(0, owner.tagEnd) + written + text.slice(owner.tagEnd), selector, owner.start, true);
}

function prefixOf(uri: string, place: Place): string | null {
  if (uri === "http://www.w3.org/XML/1998/namespace") return "xml:";
  for (const [prefix, each] of scopeAt(place)) if (each === uri && prefix !== "") return `${prefix}:`;
  return null;
}

/** The very selector finds what was put (RFC 4825 8.2.3, 8.2.4), or nothing is done. @param start of the element, or of the attribute's. */
function verified(text: string, selector: NodeSelector, start: number, created: boolean): Edited {
  let after: Found;
  try {
    after = find(placesOf(text), selector);
  } catch (error) {
    if (!(error instanceof MalformedDocument)) throw error;
    return conflict("schema-validation-error", error.message);
  }
  const place = placeOf(after);
  if (place == null || place.start !== start) return cannotInsert();
  return { done: "changed", text, created };
}

/** RFC 4825 8.4. White space around it stays. */
export function deleteNode(text: string, selector: NodeSelector): Edited {
  const root = placesOf(text);
  const target = find(root, selector);
  if (target.found !== "element" && target.found !== "attribute") return { done: "nothing" };
  if (target.found === "element" && target.place.parent === null) {
    return conflict("schema-validation-error", "A document has a root: delete the document itself.");
  }
  const { start, end } = target.found === "element" ? target.place : target.attribute;
  const left = text.slice(0, start) + text.slice(end);
  if (find(placesOf(left), selector).found !== "none") {
    return conflict("cannot-delete", "The same selector would lead to another element afterwards.");
  }
  return { done: "changed", text: left, created: false };
}

/** What GET gives of a node (RFC 4825 8.3); null: nothing is selected. */
export function getNode(
  text: string,
  selector: NodeSelector,
): { readonly kind: "element" | "attribute" | "namespaces"; readonly text: string } | null {
  const found = find(placesOf(text), selector);
  switch (found.found) {
    case "element":
      return { kind: "element", text: text.slice(found.place.start, found.place.end) };
    case "attribute":
      return { kind: "attribute", text: text.slice(found.attribute.valueStart, found.attribute.end) };
    case "namespaces":
      return { kind: "namespaces", text: bindingsText(found.place) };
    default:
      return null;
  }
}

/** RFC 4825 10. */
function bindingsText(place: Place): string {
  return `<${place.name}${declarationsOf(place)}/>`;
}

/** All namespaces in scope, as declarations, the default one first. */
function declarationsOf(place: Place | null): string {
  return [...scopeAt(place)]
    .filter(([prefix]) => prefix !== "xml")
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([prefix, uri]) => ` xmlns${prefix === "" ? "" : `:${prefix}`}="${escaped(uri)}"`)
    .join("");
}

function escaped(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");
}

function placeOf(found: Found): Place | null | undefined {
  return found.found === "none" || found.found === "several" ? undefined : found.place;
}

/** With the closest ancestor there is, as a URI relative to the document. */
function noParent(root: Place, steps: readonly Step[]): Edited {
  let reached: Place | null = null;
  for (let count = 1; count < steps.length; count++) {
    const found = find(root, { steps: steps.slice(0, count), terminal: null });
    if (found.found !== "element") break;
    reached = found.place;
  }
  const ancestor = reached === null ? "" : positional(reached);
  return { done: "conflict", conflict: { error: "no-parent", phrase: "There is no one such parent.", ancestor } };
}

/** By positions, which need no namespaces: `index/~~/*`, `index/~~/*%5B1%5D/*%5B2%5D`. */
function positional(place: Place): string {
  const steps: string[] = [];
  for (let each: Place = place; each.parent !== null; each = each.parent) {
    steps.unshift(`*%5B${each.parent.children.indexOf(each) + 1}%5D`);
  }
  return `~~/${["*", ...steps].join("/")}`;
}

function cannotInsert(): Edited {
  return conflict("cannot-insert", "The same selector would not lead to what is put.");
}

function conflict(error: Exclude<Conflict["error"], "no-parent" | "uniqueness-failure">, phrase: string): Edited {
  return { done: "conflict", conflict: { error, phrase } };
}
