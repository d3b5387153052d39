import { isElement, type XmlElement, type XmlNode } from "./xml.ts";

/**
 * A text that two elements have in common exactly if they say the same: expanded names instead of prefixes, attributes in
 * order, comments and the white space between elements left out (`xml:space="preserve"` keeps it). Prefixes that stand in
 * contents are compared with what they mean.
 */
export function canonicalForm(element: XmlElement): string {
  return JSON.stringify(formOf(element, { used: prefixesIn(element), scope: new Map(), preserve: false }));
}

/** Where a document's elements may be told apart by nothing else, this does: a total order, the same on every machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The same element able to stand anywhere: prefixes that its contents use are declared by itself, as `outside` has them. */
export function standingAlone(element: XmlElement, outside: ReadonlyMap<string, string>): XmlElement {
  if (outside.size === 0) return element;
  const used = prefixesIn(element);
  const needed = [...outside].filter(([prefix]) => used.has(prefix));
  if (needed.length === 0) return element;
  return { ...element, declared: new Map([...needed, ...(element.declared ?? [])]) };
}

/** What may be prefixes in texts and attribute values. Many a word before a colon is none: only declared ones count. */
export function prefixesIn(element: XmlElement, found: Set<string> = new Set()): Set<string> {
  for (const { value } of element.attributes) for (const prefix of prefixesOf(value)) found.add(prefix);
  for (const child of element.children) {
    if (isElement(child)) prefixesIn(child, found);
    else for (const prefix of prefixesOf(child)) found.add(prefix);
  }
  return found;
}

const PREFIX = /(?<![\w.:\-\p{L}])([\p{L}_][\w.\-\p{L}]*):/gu;

function prefixesOf(text: string): readonly string[] {
  return text.includes(":") ? Array.from(text.matchAll(PREFIX), (match) => match[1]!) : [];
}

type Form = string | readonly Form[];

interface Place {
  /** Prefixes that stand anywhere in contents, and of these */
  readonly used: ReadonlySet<string>;
  /** what they mean here. */
  readonly scope: ReadonlyMap<string, string>;
  readonly preserve: boolean;
}

function formOf(node: XmlElement, outside: Place): Form {
  const space = node.attributes.find((each) => each.local === "space" && each.uri === XML)?.value;
  const preserve = space === undefined ? outside.preserve : space === "preserve";
  const place = { used: outside.used, scope: scopeIn(node, outside), preserve };
  const attributes = node.attributes.map(({ uri, local, value }) => [uri, local, textForm(value, place)]);
  attributes.sort(([a, b], [c, d]) => compareText(a as string, c as string) || compareText(b as string, d as string));
  const kept = preserve ? node.children : meaningful(node.children);
  const children = kept.map((each) => (isElement(each) ? formOf(each, place) : textForm(each, place)));
  return [node.uri, node.local, attributes, children];
}

function scopeIn(node: XmlElement, { used, scope }: Place): ReadonlyMap<string, string> {
  let here: Map<string, string> | null = null;
  const tell = (prefix: string, uri: string): void => {
    if (prefix === "" || !used.has(prefix) || (here ?? scope).get(prefix) === uri) return;
    here ??= new Map(scope);
    here.set(prefix, uri);
  };
  for (const [prefix, uri] of node.declared ?? []) tell(prefix, uri);
  tell(node.prefix, node.uri);
  for (const { prefix, uri } of node.attributes) tell(prefix, uri);
  return here ?? scope;
}

/** With the meaning of what are prefixes in it. */
function textForm(text: string, { scope }: Place): Form {
  if (scope.size === 0) return text;
  const bound = prefixesOf(text).filter((prefix) => scope.has(prefix));
  return bound.length === 0 ? text : [text, ...bound.map((prefix) => scope.get(prefix)!)];
}

/** White space is a document's layout where it stands between elements. */
function meaningful(children: readonly XmlNode[]): readonly XmlNode[] {
  return children.some(isElement) ? children.filter((each) => isElement(each) || /[^ \t\r\n]/.test(each)) : children;
}

const XML = "http://www.w3.org/XML/1998/namespace";
