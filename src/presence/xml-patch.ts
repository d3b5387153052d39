import { standingAlone } from "./canonical.ts";
import { attributeNamed, isElement, MalformedDocument, type XmlElement, type XmlNode } from "./xml.ts";
import { attributeName, type ExpandedName, type IsRoot, matches, nodeAt, type Scope, select } from "./xml-select.ts";

/**
 * Patches of XML documents (RFC 5261): `add`, `replace` and `remove`, each on the document as the one before has left it.
 * Namespaces count, not prefixes: names keep the prefix they have, so the rules of 4.2.3 about which prefix is to be taken
 * are not followed; the result says the same.
 */

/** An `add`, `replace` or `remove` in whatever namespace the format has them. */
export interface Patch {
  readonly operation: XmlElement;
  /** The namespaces in scope where it stands. */
  readonly scope: Scope;
}

/**
 * @param isRoot for a root that has more than one name.
 * @returns a new tree.
 * @throws MalformedDocument where a patch cannot be applied without doubt (RFC 5261 5); nothing is to be taken of it then.
 */
export function applyPatch(root: XmlElement, { operation, scope }: Patch, isRoot?: IsRoot): XmlElement {
  const selector = attributeNamed(operation, "sel");
  if (selector === undefined) throw new MalformedDocument("A patch selects nothing.");
  const { path, kind, name } = select(root, selector, scope, isRoot);
  const content = operation.children.map((each) => (isElement(each) ? standingAlone(each, scope) : each));
  switch (operation.local) {
    case "add":
      if (kind === "element" || kind === "text") return add(root, path, operation, content, scope);
      break;
    case "replace":
      if (kind === "element") return replaceElement(root, path, content);
      if (kind === "text") return spliced(root, path, 0, 1, content.length === 0 ? [] : [onlyText(content)]);
      return changed(root, path, (each) => withValue(each, kind, name, onlyText(content)));
    case "remove":
      if (kind === "element") return removeElement(root, path, attributeNamed(operation, "ws"));
      if (kind === "text") return spliced(root, path, 0, 1, []);
      return changed(root, path, (each) => withValue(each, kind, name, null));
  }
  throw new MalformedDocument(`'${operation.local}' of that is no patch.`);
}

/** 4.3. */
function add(root: XmlElement, path: readonly number[], operation: XmlElement, content: XmlNode[], scope: Scope) {
  const type = attributeNamed(operation, "type");
  if (type !== undefined) return changed(root, path, (each) => withNew(each, type, onlyText(content), scope));
  switch (attributeNamed(operation, "pos")) {
    case undefined:
      return changed(root, path, (each) => ({ ...each, children: merged([...each.children, ...content]) }));
    case "prepend":
      return changed(root, path, (each) => ({ ...each, children: merged([...content, ...each.children]) }));
    case "before":
      return spliced(root, path, 0, 0, content);
    case "after":
      return spliced(root, path, 1, 0, content);
    default:
      throw new MalformedDocument("An addition has no such place.");
  }
}

/** 4.3.2, 4.3.3. */
function withNew(element: XmlElement, type: string, value: string, scope: Scope): XmlElement {
  const prefix = /^namespace::(.+)$/.exec(type)?.[1];
  if (prefix !== undefined) return { ...element, declared: new Map(element.declared).set(prefix, value) };
  if (!type.startsWith("@")) throw new MalformedDocument("What is to be added is no attribute.");
  const name = attributeName(type.slice(1), scope);
  if (element.attributes.some((each) => matches(each, name))) throw new MalformedDocument("The attribute is there.");
  return { ...element, attributes: [...element.attributes, { ...name, value }] };
}

/** @param value null: it is removed. */
function withValue(
  element: XmlElement,
  kind: "attribute" | "namespace",
  name: ExpandedName,
  value: string | null,
): XmlElement {
  if (kind === "namespace") {
    const declared = new Map(element.declared);
    if (!declared.delete(name.local)) throw new MalformedDocument("The prefix is not declared there.");
    return { ...element, declared: value === null ? declared : declared.set(name.local, value) };
  }
  if (!element.attributes.some((each) => matches(each, name)))
    throw new MalformedDocument("There is no such attribute.");
  const attributes = element.attributes.flatMap((each) => {
    if (!matches(each, name)) return [each];
    return value === null ? [] : [{ ...each, value }];
  });
  return { ...element, attributes };
}

/** 4.4.1. White space around the new element is the patch's layout. */
function replaceElement(root: XmlElement, path: readonly number[], content: readonly XmlNode[]): XmlElement {
  const nodes = content.filter((each) => isElement(each) || !isWhiteSpace(each));
  const [only] = nodes;
  if (only === undefined || nodes.length > 1 || !isElement(only)) {
    throw new MalformedDocument("An element is replaced by one element.");
  }
  return spliced(root, path, 0, 1, [only]);
}

/** 4.5. */
function removeElement(root: XmlElement, path: readonly number[], ws: string | undefined): XmlElement {
  if (ws !== undefined && !["before", "after", "both"].includes(ws)) throw new MalformedDocument("No such ws.");
  const before = ws === "before" || ws === "both" ? 1 : 0;
  const after = ws === "after" || ws === "both" ? 1 : 0;
  const siblings = siblingsOf(root, path);
  const at = path[path.length - 1]!;
  for (const index of [...(before ? [at - 1] : []), ...(after ? [at + 1] : [])]) {
    const each = siblings[index];
    if (each === undefined || isElement(each) || !isWhiteSpace(each))
      throw new MalformedDocument("No white space there.");
  }
  return spliced(root, path, -before, before + 1 + after, []);
}

function siblingsOf(root: XmlElement, path: readonly number[]): readonly XmlNode[] {
  if (path.length === 0) throw new MalformedDocument("The root stays, and stays alone.");
  return (nodeAt(root, path.slice(0, -1)) as XmlElement).children;
}

/** Among the siblings of what is at `path`: from `offset` on, `count` are replaced. */
function spliced(
  root: XmlElement,
  path: readonly number[],
  offset: number,
  count: number,
  content: readonly XmlNode[],
) {
  const children = [...siblingsOf(root, path)];
  children.splice(path[path.length - 1]! + offset, count, ...content);
  return changed(root, path.slice(0, -1), (parent) => ({ ...parent, children: merged(children) }));
}

function changed(root: XmlElement, path: readonly number[], change: (element: XmlElement) => XmlElement): XmlElement {
  const [index, ...rest] = path;
  if (index === undefined) return change(root);
  const child = root.children[index]!;
  if (!isElement(child)) throw new MalformedDocument("A text has nothing inside.");
  return { ...root, children: root.children.with(index, changed(child, rest, change)) };
}

/** 4.3.5: no text beside another. */
function merged(nodes: readonly XmlNode[]): XmlNode[] {
  const out: XmlNode[] = [];
  for (const each of nodes) {
    const last = out[out.length - 1];
    if (typeof each === "string" && typeof last === "string") out[out.length - 1] = last + each;
    else if (each !== "") out.push(each);
  }
  return out;
}

function onlyText(content: readonly XmlNode[]): string {
  if (content.some(isElement)) throw new MalformedDocument("A text is expected in a patch.");
  return content.join("");
}

function isWhiteSpace(text: string): boolean {
  return !/[^ \t\r\n]/.test(text);
}
