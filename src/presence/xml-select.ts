import { attributeNamed, isElement, MalformedDocument, type XmlElement, type XmlNode } from "./xml.ts";

/**
 * Selectors of XML patches (RFC 5261 4.1, 8): the part of XPath that finds one element, attribute, text or namespace.
 * Comments and processing instructions are not in our trees, and `id()` asks for a schema: neither is found.
 */

/** Where a selector leads: the way down by indices into `children`, and what is meant there. */
export interface Selected {
  /** Of an element, or of the element that has the attribute or namespace; a text's own. Empty: the root. */
  readonly path: readonly number[];
  readonly kind: "element" | "text" | "attribute" | "namespace";
  /** Of the attribute; `local` is the prefix of the namespace. */
  readonly name: ExpandedName;
}

export interface ExpandedName {
  readonly uri: string;
  readonly local: string;
  readonly prefix: string;
}

/** Whether the first step of a selector names the root. */
export type IsRoot = (root: XmlElement, name: ExpandedName) => boolean;

/** Prefix -> namespace where the selector stands, "" for the default one (RFC 5261 4.2.1). */
export type Scope = ReadonlyMap<string, string>;

type Predicate =
  | { readonly by: "position"; readonly position: number }
  | { readonly by: "self"; readonly value: string }
  | { readonly by: "child" | "attribute"; readonly name: ExpandedName; readonly value: string };

interface Step {
  /** null: any element. */
  readonly test: ExpandedName | "text" | null;
  readonly predicates: readonly Predicate[];
}

const NAME = "[\\p{L}_][\\p{L}\\p{N}_.\\-\\u00b7]*";
const QNAME = `(?:${NAME}:)?${NAME}`;
const STEP = new RegExp(`(text\\(\\)|\\*|${QNAME})`, "uy");
const PREDICATE = new RegExp(`\\[(?:(\\d{1,6})|(\\.|@?${QNAME})\\s*=\\s*(?:'([^']*)'|"([^"]*)"))\\]`, "uy");
const LAST = new RegExp(`(?:@(${QNAME})|namespace::(${NAME}))$`, "uy");

/**
 * @param isRoot for a root that has more than one name.
 * @throws MalformedDocument where it is no such selector, or leads to nothing or to several.
 */
export function select(root: XmlElement, selector: string, scope: Scope, isRoot: IsRoot = matches): Selected {
  const { steps, last } = parseSelector(selector.trim(), scope);
  const first = steps[0]!;
  let found: number[][] = first.test === null || (first.test !== "text" && isRoot(root, first.test)) ? [[]] : [];
  if (!first.predicates.every((each) => holds(root, 1, each))) found = [];
  for (const step of steps.slice(1)) found = found.flatMap((path) => below(root, path, step));
  if (found.length !== 1) throw new MalformedDocument(`'${selector.slice(0, 60)}' leads to ${found.length} nodes.`);
  const kind = steps[steps.length - 1]!.test === "text" ? "text" : "element";
  return { path: found[0]!, kind: last?.kind ?? kind, name: last?.name ?? NO_NAME };
}

const NO_NAME: ExpandedName = { uri: "", local: "", prefix: "" };

function parseSelector(text: string, scope: Scope): { steps: Step[]; last: Pick<Selected, "kind" | "name"> | null } {
  const steps: Step[] = [];
  let at = text.startsWith("/") ? 1 : 0;
  for (;;) {
    const last = steps.length > 0 ? exec(LAST, text, at) : null;
    if (last?.[1] !== undefined) return { steps, last: { kind: "attribute", name: attributeName(last[1], scope) } };
    if (last?.[2] !== undefined) return { steps, last: { kind: "namespace", name: { ...NO_NAME, local: last[2] } } };
    const step = exec(STEP, text, at);
    if (step === null) throw new MalformedDocument(`'${text.slice(0, 60)}' is no selector.`);
    at += step[0].length;
    const predicates: Predicate[] = [];
    for (let next = exec(PREDICATE, text, at); next !== null; next = exec(PREDICATE, text, at)) {
      predicates.push(predicateOf(next, scope));
      at += next[0].length;
    }
    steps.push({ test: testOf(step[1]!, scope), predicates });
    if (at === text.length) return { steps, last: null };
    if (text[at] !== "/") throw new MalformedDocument(`'${text.slice(0, 60)}' is no selector.`);
    at++;
  }
}

function exec(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function testOf(text: string, scope: Scope): Step["test"] {
  if (text === "*") return null;
  return text === "text()" ? "text" : elementName(text, scope);
}

function predicateOf([, position, name, single, double]: RegExpExecArray, scope: Scope): Predicate {
  if (position !== undefined) return { by: "position", position: Number(position) };
  const value = single ?? double ?? "";
  if (name === ".") return { by: "self", value };
  if (name!.startsWith("@")) return { by: "attribute", name: attributeName(name!.slice(1), scope), value };
  return { by: "child", name: elementName(name!, scope), value };
}

/** RFC 5261 4.2.1: without a prefix it is in the default namespace of the patch. */
function elementName(text: string, scope: Scope): ExpandedName {
  return text.includes(":") ? attributeName(text, scope) : { uri: scope.get("") ?? "", local: text, prefix: "" };
}

/** @throws MalformedDocument for a prefix that nobody declared. */
export function attributeName(text: string, scope: Scope): ExpandedName {
  const colon = text.indexOf(":");
  if (colon < 0) return { uri: "", local: text, prefix: "" };
  const prefix = text.slice(0, colon);
  const uri = prefix === "xml" ? "http://www.w3.org/XML/1998/namespace" : scope.get(prefix);
  if (uri === undefined) throw new MalformedDocument(`The prefix '${prefix}' is not declared.`);
  return { uri, local: text.slice(colon + 1), prefix };
}

function below(root: XmlElement, path: readonly number[], { test, predicates }: Step): number[][] {
  const parent = nodeAt(root, path);
  if (!isElement(parent)) return [];
  let left: number[] = [];
  for (const [index, child] of parent.children.entries()) {
    if (test === "text" ? !isElement(child) : isElement(child) && (test === null || matches(child, test)))
      left.push(index);
  }
  for (const each of predicates) left = left.filter((index, at) => holds(parent.children[index]!, at + 1, each));
  return left.map((index) => [...path, index]);
}

function holds(node: XmlNode, position: number, predicate: Predicate): boolean {
  if (predicate.by === "position") return predicate.position === position;
  const { value } = predicate;
  if (predicate.by === "self") return stringValue(node) === value;
  if (!isElement(node)) return false;
  const { name } = predicate;
  if (predicate.by === "attribute" && name.uri === "") return attributeNamed(node, name.local) === value;
  if (predicate.by === "attribute") return node.attributes.some((each) => matches(each, name) && each.value === value);
  return node.children.some((each) => isElement(each) && matches(each, name) && stringValue(each) === value);
}

function stringValue(node: XmlNode): string {
  return isElement(node) ? node.children.map(stringValue).join("") : node;
}

export function matches(
  a: { readonly uri: string; readonly local: string },
  b: { readonly uri: string; readonly local: string },
): boolean {
  return a.local === b.local && a.uri === b.uri;
}

/** @param path of an element or text that is there. */
export function nodeAt(root: XmlElement, path: readonly number[]): XmlNode {
  let node: XmlNode = root;
  for (const index of path) node = (node as XmlElement).children[index]!;
  return node;
}
