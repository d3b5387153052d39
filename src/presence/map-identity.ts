import { MalformedUri } from "../sip/message/errors.ts";
import { parseUri, tryAorOf } from "../sip/message/uri.ts";
import { isElement, MalformedDocument, parseXml, printXml, type XmlElement, type XmlNode } from "./xml.ts";

/**
 * models.md, "Identity and policy": a server's name for a user is that server's own affair. Mapped is every URI that names
 * him and stands alone as an attribute or as the text of an element: in PIDF the `entity` (RFC 3863 4.1.1, with `pres:`
 * or `sip:`) and the contacts that are his address-of-record (4.1.5), in reginfo the `aor`, in watcherinfo the `resource`,
 * in dialog-info the `entity` and identities, in extensions whatever they have. Device contacts have another host and
 * stay, as do `mailto:` and `tel:`, and what is written among other words for people to read.
 *
 * @param from a full AoR, and
 * @param to the one that takes its place; scheme, port, parameters and headers stay.
 * @returns the same element where nothing in it names him.
 */
export function mapIdentity(element: XmlElement, from: string, to: string): XmlElement {
  return mapped(element, namesOf(from, to));
}

/**
 * The same for a body of any type. What is no XML, and XML that cannot be read, is searched for his URIs as text: who gets
 * it may be able to read it, and is not to learn the other name.
 * @param type the Content-Type.
 * @param body octets; comes back untouched where nothing in it names him.
 */
export function mapBody(type: string, body: string, from: string, to: string): string {
  const name = type.split(";")[0]!.trim().toLowerCase();
  if (!name.endsWith("+xml") && !name.endsWith("/xml")) return mapText(body, namesOf(from, to));
  try {
    const root = parseXml(body);
    const renamed = mapIdentity(root, from, to);
    return renamed === root ? body : printXml(renamed);
  } catch (error) {
    if (!(error instanceof MalformedDocument)) throw error;
    return mapText(body, namesOf(from, to));
  }
}

interface Names {
  readonly from: string;
  readonly to: string;
  /** Of what cannot name him nothing more is read. */
  readonly host: string;
}

function namesOf(from: string, to: string): Names {
  return { from, to, host: from.slice(from.lastIndexOf("@") + 1).toLowerCase() };
}

function mapped(element: XmlElement, names: Names): XmlElement {
  const attributes = mapEach(element.attributes, (each) => {
    const value = mapUri(each.value, names);
    return value === each.value ? each : { ...each, value };
  });
  const alone = element.children.length === 1;
  const children = mapEach(element.children, (each: XmlNode) => {
    if (isElement(each)) return mapped(each, names);
    return alone ? mapUri(each, names) : each;
  });
  if (attributes === element.attributes && children === element.children) return element;
  return { ...element, attributes, children };
}

/** The same array where nothing has changed. */
function mapEach<T>(list: readonly T[], change: (each: T) => T): readonly T[] {
  const changed = list.map(change);
  return changed.every((each, index) => each === list[index]) ? list : changed;
}

/** Scheme, user, host and port, and the rest of it; pres: and im: are built as sip: is (RFC 3859 3, RFC 3860 3). */
const URI = /^(\s*)(sips?|pres|im):([!#-;=?A-~]{1,256}@[\w.-]{1,256}?(:\d{1,5})?)([;?][!#-;=?-~]*)?(\s*)$/i;

function mapUri(text: string, { from, to, host }: Names): string {
  if (!text.toLowerCase().includes(host)) return text;
  const match = URI.exec(text);
  if (match === null) return text;
  const [, before, scheme, address, port = "", rest = "", after] = match;
  return aorOfText(`sip:${address}`) === from ? `${before}${scheme}:${to}${port}${rest}${after}` : text;
}

function aorOfText(text: string): string | undefined {
  try {
    return tryAorOf(parseUri(text));
  } catch (error) {
    if (!(error instanceof MalformedUri)) throw error;
    return undefined;
  }
}

const URI_IN_TEXT = /\b(?:sips?|pres|im):[!#-%'-;=A-~]{1,128}@[\w.-]{0,128}\w/gi;

function mapText(text: string, names: Names): string {
  return text.replace(URI_IN_TEXT, (each) => mapUri(each, names));
}
