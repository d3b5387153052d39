import { MalformedUri } from "../sip/message/errors.ts";
import { parseUri, tryAorOf } from "../sip/message/uri.ts";
import { isElement, MalformedDocument, parseXml, printXml, type XmlElement, type XmlNode } from "./xml.ts";

/**
 * models.md, "Identity and policy": a server's name for a user is that server's own affair. Mapped is every URI that names
 * him in an attribute or text: in PIDF the `entity` (RFC 3863 4.1.1, with `pres:` or `sip:`) and the contacts that are his
 * address-of-record (4.1.5), in reginfo the `aor`, in watcherinfo the `resource`, in dialog-info the `entity` and
 * identities, in notes and extensions whatever they have. Device contacts have another host and stay, as do `mailto:` and
 * `tel:`.
 *
 * @param from full AoR, and
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
 * @param body octets; comes back untouched where nothing in it names him, and mostly else.
 */
export function mapBody(type: string, body: string, from: string, to: string): string {
  const name = type.split(";")[0]!.trim().toLowerCase();
  const isXml = name.endsWith("+xml") || name.endsWith("/xml");
  if (!isXml || (isPlain(body) && !/[&<>"']/.test(to))) return mapText(body, namesOf(from, to));
  try {
    const root = parseXml(body);
    const renamed = mapIdentity(root, from, to);
    return renamed === root ? body : printXml(renamed);
  } catch (error) {
    if (!(error instanceof MalformedDocument)) throw error;
    return mapText(body, namesOf(from, to));
  }
}

/** XML in which every text stands as it is meant and in one piece: it need not be read, which takes ten times as long. */
function isPlain(body: string): boolean {
  return !/&|<!|(?<!^)<\?/.test(body);
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
    const value = mapText(each.value, names);
    return value === each.value ? each : { ...each, value };
  });
  const children = mapEach(element.children, (each: XmlNode) =>
    isElement(each) ? mapped(each, names) : mapText(each, names),
  );
  if (attributes === element.attributes && children === element.children) return element;
  return { ...element, attributes, children };
}

/** The same array where nothing has changed. */
function mapEach<T>(list: readonly T[], change: (each: T) => T): readonly T[] {
  const changed = list.map(change);
  return changed.every((each, index) => each === list[index]) ? list : changed;
}

/** Scheme, user and host; pres: and im: are built as sip: is (RFC 3859 3, RFC 3860 3). Not where it only begins so. */
const URI = /(?<![\w.+-])(sips?|pres|im):([!#-%'-;=A-~]{1,128}@[\w.-]{0,128}\w)(?!@)/gi;

function mapText(text: string, { from, to, host }: Names): string {
  if (!text.toLowerCase().includes(host)) return text;
  return text.replace(URI, (whole, scheme: string, address: string) =>
    aorOfText(`sip:${address}`) === from ? `${scheme}:${to}` : whole,
  );
}

function aorOfText(text: string): string | undefined {
  try {
    return tryAorOf(parseUri(text));
  } catch (error) {
    if (!(error instanceof MalformedUri)) throw error;
    return undefined;
  }
}
