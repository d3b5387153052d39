import { isElement, MalformedDocument, parseXml, type XmlElement } from "../presence/xml.ts";

/**
 * Where the elements and attributes of a document stand in its text. XCAP changes a document as text: white space,
 * comments, prefixes and declarations that a client wrote are kept as they are (RFC 4825 6.3, 8.2.3).
 */

export interface Place {
  readonly element: XmlElement;
  readonly parent: Place | null;
  /** Elements only. */
  readonly children: readonly Place[];
  readonly attributes: readonly AttributePlace[];
  /** As written, with its prefix. */
  readonly name: string;
  /** Of `<`. */
  readonly start: number;
  /** Behind the last attribute: of `>` or `/>` of the first tag. */
  readonly tagEnd: number;
  /** Of `</`; null: the tag closes itself. */
  readonly close: number | null;
  /** Behind the last `>`. */
  readonly end: number;
}

/** Of an attribute that is no namespace declaration, in the order of `element.attributes`. */
export interface AttributePlace {
  /** Of the white space before it. */
  readonly start: number;
  /** Of the value, with its quotes. */
  readonly valueStart: number;
  readonly end: number;
}

interface Open {
  readonly element: XmlElement;
  readonly parent: Open | null;
  readonly children: Open[];
  readonly attributes: readonly AttributePlace[];
  readonly name: string;
  readonly start: number;
  readonly tagEnd: number;
  close: number | null;
  end: number;
}

/** The octets of a text, as the XML reader has them. */
export function octetsOf(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** Comments, sections of character data, processing instructions; end tags; start tags. Of a text that is well-formed. */
const TOKEN =
  /<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>|<\?[\s\S]*?\?>|<\/[^>]*>|<([^\s/>!?][^\s/>]*)((?:\s+[^\s=>/]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>/g;
const ATTRIBUTE = /\s+([^\s=>/]+)\s*=\s*("[^"]*"|'[^']*')/g;

/**
 * @param text Unicode.
 * @throws MalformedDocument
 */
export function placesOf(text: string): Place {
  const elements = preorder(parseXml(octetsOf(text)));
  let at = 0;
  let root: Open | null = null;
  let parent: Open | null = null;
  for (const match of text.matchAll(TOKEN)) {
    const [token, name] = match;
    const start = match.index;
    if (token.startsWith("</")) {
      if (parent === null) throw unlikely();
      parent.close = start;
      parent.end = start + token.length;
      parent = parent.parent;
    } else if (name !== undefined) {
      const element = elements[at++];
      if (element === undefined) throw unlikely();
      const tagEnd = start + 1 + name.length + match[2]!.length;
      const attributes = attributesOf(match[2]!, start + 1 + name.length);
      if (attributes.length !== element.attributes.length) throw unlikely();
      const place: Open = {
        element,
        parent,
        children: [],
        attributes,
        name,
        start,
        tagEnd,
        close: null,
        end: start + token.length,
      };
      if (parent === null) root ??= place;
      else parent.children.push(place);
      if (match[3] !== "/") parent = place;
    }
  }
  if (root === null || parent !== null || at !== elements.length) throw unlikely();
  return root;
}

function unlikely(): MalformedDocument {
  return new MalformedDocument("Its tags cannot be told apart.");
}

function attributesOf(text: string, offset: number): AttributePlace[] {
  const found: AttributePlace[] = [];
  for (const match of text.matchAll(ATTRIBUTE)) {
    if (match[1] === "xmlns" || match[1]!.startsWith("xmlns:")) continue;
    const end = offset + match.index + match[0].length;
    found.push({ start: offset + match.index, valueStart: end - match[2]!.length, end });
  }
  return found;
}

function preorder(element: XmlElement, out: XmlElement[] = []): XmlElement[] {
  out.push(element);
  for (const child of element.children) if (isElement(child)) preorder(child, out);
  return out;
}

/** The namespaces in scope at an element, prefix -> namespace; "" the default one, where there is one. */
export function scopeAt(place: Place | null): ReadonlyMap<string, string> {
  const scope = new Map<string, string>();
  for (let each = place; each !== null; each = each.parent) {
    for (const [prefix, uri] of each.element.declared ?? []) if (!scope.has(prefix)) scope.set(prefix, uri);
  }
  for (const [prefix, uri] of scope) if (uri === "") scope.delete(prefix);
  return scope;
}
