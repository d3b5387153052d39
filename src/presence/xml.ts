import { type SaxesAttributeNS, SaxesParser, type SaxesTagNS } from "saxes";
import { CodomainError } from "../base/errors.ts";

/**
 * XML as presence documents have it: a tree that keeps every element and attribute, known or not, with its namespace.
 * Only UTF-8, no document type, no entities but the five of XML itself, and everything bounded. Comments and processing
 * instructions say nothing about anybody's presence and are dropped.
 *
 * Bodies are strings of octets, one character each, as messages have them; texts in the tree are Unicode.
 */

export interface XmlElement {
  /** Empty: the element is in no namespace. */
  readonly uri: string;
  readonly local: string;
  /** As it was written; printed again where that is possible. */
  readonly prefix: string;
  readonly attributes: readonly XmlAttribute[];
  readonly children: readonly XmlNode[];
  /** Namespaces declared in this tag, prefix -> namespace: contents may use a prefix, as `xsi:type` does. */
  readonly declared?: ReadonlyMap<string, string>;
}

export interface XmlAttribute {
  readonly uri: string;
  readonly local: string;
  readonly prefix: string;
  readonly value: string;
}

/** A string is character data. */
export type XmlNode = XmlElement | string;

export interface XmlLimits {
  readonly octets: number;
  readonly depth: number;
  /** In the whole document. */
  readonly elements: number;
  /** Of one element. */
  readonly attributes: number;
}

export const XML_LIMITS: XmlLimits = Object.freeze({ octets: 65_536, depth: 32, elements: 4096, attributes: 64 });

/** Not well-formed, or not of the kind asked for, or over a limit. */
export class MalformedDocument extends CodomainError {
  constructor(message: string) {
    super("malformed-document", message);
  }
}

const XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace";
const XMLNS_NAMESPACE = "http://www.w3.org/2000/xmlns/";

/** A tag whose end has not come. */
interface Open {
  readonly tag: SaxesTagNS;
  readonly children: XmlNode[];
}

/**
 * Time and memory are linear in the octets.
 * @throws MalformedDocument
 */
export function parseXml(octets: string, limits: XmlLimits = XML_LIMITS): XmlElement {
  if (octets.length > limits.octets) throw new MalformedDocument(`The document has more than ${limits.octets} octets.`);
  const parser = new SaxesParser({ xmlns: true, position: false });
  const open: Open[] = [];
  let root: XmlElement | null = null;
  let elements = 0;
  let attributes = 0;
  const text = (value: string): void => {
    const parent = open[open.length - 1];
    if (parent === undefined || value === "") return;
    const last = parent.children.length - 1;
    const before = parent.children[last];
    if (typeof before === "string") parent.children[last] = before + value;
    else parent.children.push(value);
  };
  parser.on("doctype", () => {
    throw new MalformedDocument("A document type declaration is not accepted.");
  });
  parser.on("xmldecl", ({ encoding }) => {
    if (encoding !== undefined && !/^(?:utf-8|us-ascii)$/i.test(encoding)) {
      throw new MalformedDocument("The document is not in UTF-8.");
    }
  });
  parser.on("opentagstart", () => {
    attributes = 0;
    if (++elements > limits.elements) throw new MalformedDocument(`It has more than ${limits.elements} elements.`);
    if (open.length >= limits.depth) throw new MalformedDocument(`It is nested more than ${limits.depth} deep.`);
  });
  parser.on("attribute", () => {
    if (++attributes > limits.attributes) {
      throw new MalformedDocument(`An element has more than ${limits.attributes} attributes.`);
    }
  });
  parser.on("opentag", (tag) => void open.push({ tag, children: [] }));
  parser.on("closetag", () => {
    const element = elementOf(open.pop()!);
    const parent = open[open.length - 1];
    if (parent === undefined) root = element;
    else parent.children.push(element);
  });
  parser.on("text", text);
  parser.on("cdata", text);
  try {
    parser.write(decoded(octets)).close();
  } catch (error) {
    if (error instanceof MalformedDocument) throw error;
    throw new MalformedDocument(`It is not well-formed: ${(error as Error).message.slice(0, 120)}`);
  }
  if (root === null) throw new MalformedDocument("There is no element in it.");
  return root;
}

function decoded(octets: string): string {
  // Most are in ASCII, which is itself: texts in the tree are pieces of it then, and no copy is made.
  if (!/[^\x00-\x7f]/.test(octets)) return octets;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(octets, "latin1"));
  } catch {
    throw new MalformedDocument("The document is not in UTF-8.");
  }
}

/** Documents are kept in great numbers: lists take what they hold, and those that hold nothing are one. */
function elementOf({ tag, children }: Open): XmlElement {
  const declared = Object.entries(tag.ns);
  const attributes = Object.values(tag.attributes).filter(isNoDeclaration);
  return {
    uri: tag.uri,
    local: tag.local,
    prefix: tag.prefix,
    attributes: attributes.length === 0 ? NONE : attributes.map(attributeOf),
    children: children.length === 0 ? NONE : children.slice(),
    ...(declared.length === 0 ? {} : { declared: new Map(declared) }),
  };
}

const NONE: readonly never[] = Object.freeze([]);

/** Declarations stand apart: what of them is printed depends on where an element is put. */
function isNoDeclaration(attribute: SaxesAttributeNS): boolean {
  return attribute.uri !== XMLNS_NAMESPACE;
}

function attributeOf({ uri, local, prefix, value }: SaxesAttributeNS): XmlAttribute {
  return { uri, local, prefix, value };
}

export function element(
  uri: string,
  local: string,
  attributes: Readonly<Record<string, string | number | null>>,
  children: readonly XmlNode[] = [],
): XmlElement {
  const given: XmlAttribute[] = [];
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) given.push({ uri: "", local: name, prefix: "", value: String(value) });
  }
  return { uri, local, prefix: "", attributes: given, children };
}

export function isElement(node: XmlNode): node is XmlElement {
  return typeof node !== "string";
}

/** The children of this name; all else is passed over. */
export function childrenOf(parent: XmlElement, uri: string, local: string): XmlElement[] {
  return parent.children.filter((node) => isElement(node) && node.uri === uri && node.local === local) as XmlElement[];
}

/** An attribute of no namespace. */
export function attributeNamed(of: XmlElement, local: string): string | undefined {
  return of.attributes.find((each) => each.local === local && each.uri === "")?.value;
}

/** All character data in it, trimmed of XML's white space. */
export function textOf(of: XmlElement): string {
  return trimmed(characterDataOf(of));
}

function characterDataOf(of: XmlElement): string {
  return of.children.map((node) => (isElement(node) ? characterDataOf(node) : node)).join("");
}

const WHITE = " \t\r\n";

/** In linear time, which no regular expression for the end of a text takes. */
function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && WHITE.includes(text[start]!)) start++;
  while (end > start && WHITE.includes(text[end - 1]!)) end--;
  return text.slice(start, end);
}

/** Octets, with an XML declaration; each namespace is declared where the tree says so, or where it is first needed. */
export function printXml(root: XmlElement): string {
  const out = ['<?xml version="1.0" encoding="UTF-8"?>\n'];
  print(root, new Map([["", ""]]), out);
  return Buffer.from(out.join(""), "utf8").toString("latin1");
}

/** @param scope prefix -> namespace where the element stands. */
function print(node: XmlElement, scope: ReadonlyMap<string, string>, out: string[]): void {
  const names = new Names(scope);
  for (const [prefix, uri] of node.declared ?? []) names.declare(prefix, uri, node);
  const name = names.of(node, true);
  const attributes = node.attributes.map((each) => ` ${names.of(each, false)}="${attributeText(each.value)}"`);
  out.push(`<${name}${names.declarations}${attributes.join("")}`);
  if (node.children.length === 0) {
    out.push("/>");
    return;
  }
  out.push(">");
  for (const child of node.children) {
    if (isElement(child)) print(child, names.scope, out);
    else out.push(characterData(child));
  }
  out.push(`</${name}>`);
}

/** The names in one tag: a prefix that stands in it means one namespace only. */
class Names {
  /** A copy as soon as something is declared here: most tags declare nothing. */
  scope: ReadonlyMap<string, string>;
  declarations = "";
  readonly #used = new Set<string>();

  constructor(scope: ReadonlyMap<string, string>) {
    this.scope = scope;
  }

  /** A default namespace would take an element of none into it, and is left to those inside that are in it. */
  declare(prefix: string, uri: string, { uri: own }: XmlElement): void {
    if (prefix === "xml" || (prefix === "" && own === "" && uri !== "")) return;
    if (this.scope.get(prefix) !== uri) this.#declare(prefix, uri);
    this.#used.add(prefix);
  }

  #declare(prefix: string, uri: string): void {
    this.scope = new Map(this.scope).set(prefix, uri);
    this.declarations += ` xmlns${prefix === "" ? "" : `:${prefix}`}="${attributeText(uri)}"`;
  }

  /** An element may have the default namespace, an attribute never has it. */
  of(name: { readonly uri: string; readonly local: string; readonly prefix: string }, isElementName: boolean): string {
    const { uri, local } = name;
    if (uri === XML_NAMESPACE) return `xml:${local}`;
    if (uri === "" && !isElementName) return local;
    let prefix = uri === "" ? "" : name.prefix;
    if (prefix === "" && !isElementName) prefix = "n";
    for (let n = 1; this.scope.get(prefix) !== uri && this.#used.has(prefix); n++) prefix = `n${n}`;
    if (this.scope.get(prefix) !== uri) this.#declare(prefix, uri);
    this.#used.add(prefix);
    return prefix === "" ? local : `${prefix}:${local}`;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\r": "&#13;",
  "\n": "&#10;",
  "\t": "&#9;",
};

function characterData(text: string): string {
  return allowed(text).replace(/[&<>\r]/g, (each) => ESCAPES[each]!);
}

/** White space too, or a reader would make spaces of it (XML 1.0 3.3.3). */
function attributeText(text: string): string {
  return allowed(text).replace(/[&<>"\r\n\t]/g, (each) => ESCAPES[each]!);
}

/** XML 1.0 2.2: what is no character of XML cannot be written at all. */
function allowed(text: string): string {
  return text.replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd");
}
