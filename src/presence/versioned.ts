import { attributeNamed, MalformedDocument, parseXml, type XmlElement } from "./xml.ts";

/** What registration and watcher information have in common (RFC 3680 5.1, RFC 3858 4.1): a count, and whether it is all. */
export interface Versioned {
  readonly root: XmlElement;
  readonly version: number;
  readonly state: "full" | "partial";
}

/** "Versions MUST be representable using a 32 bit integer." */
export const MOST_VERSION = 0xffff_ffff;

/**
 * @param octets the body of a NOTIFY.
 * @param what for people, as in "registration information".
 * @throws MalformedDocument where the root is another, or has no usable version and state.
 */
export function parseVersioned(octets: string, namespace: string, local: string, what: string): Versioned {
  const root = parseXml(octets);
  if (root.uri !== namespace || root.local !== local) throw new MalformedDocument(`It is no ${what} document.`);
  const version = numberOf(root, "version");
  const state = attributeNamed(root, "state");
  if (version === null || version > MOST_VERSION) throw new MalformedDocument("It has no version.");
  if (state !== "full" && state !== "partial") throw new MalformedDocument("It says neither full nor partial.");
  return { root, version, state };
}

/** An attribute that is a whole number; null: it has none, or another thing. */
export function numberOf(from: XmlElement, name: string): number | null {
  const text = attributeNamed(from, name)?.trim();
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}
