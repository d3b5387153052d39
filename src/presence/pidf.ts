import {
  attributeNamed,
  childrenOf,
  MalformedDocument,
  parseXml,
  textOf,
  type XmlElement,
  type XmlLimits,
} from "./xml.ts";

/**
 * Presence documents, `application/pidf+xml` (RFC 3863), with what stands in them of the data model (RFC 4479), RPID
 * (RFC 4480), capabilities (RFC 5196), locations (RFC 4119) and of anybody else. A document is its tree (xml.ts):
 * nothing of it is thrown away, so it is printed by `printXml` as it was read. The functions here only look.
 *
 * Documents are never refused on their schema: clients leave out `entity` and ids, and put elements in any order.
 */

export const PIDF_NAMESPACE = "urn:ietf:params:xml:ns:pidf";
/** `person`, `device` and `deviceID` (RFC 4479 5.1). */
export const DATA_MODEL_NAMESPACE = "urn:ietf:params:xml:ns:pidf:data-model";
/** RFC 4480 5.1. */
export const RPID_NAMESPACE = "urn:ietf:params:xml:ns:pidf:rpid";

/**
 * @param octets the body of a NOTIFY or PUBLISH.
 * @returns the `presence` element.
 * @throws MalformedDocument where it is not well-formed, over a limit, or no presence document.
 */
export function parsePidf(octets: string, limits?: XmlLimits): XmlElement {
  const root = parseXml(octets, limits);
  if (root.uri !== PIDF_NAMESPACE || root.local !== "presence") {
    throw new MalformedDocument("It is no presence document.");
  }
  return root;
}

/** Whose presence it is, a URI (RFC 3863 4.1.1); undefined where it does not say. */
export function entityOf(presence: XmlElement): string | undefined {
  return attributeNamed(presence, "entity")?.trim();
}

export function tuplesOf(presence: XmlElement): XmlElement[] {
  return childrenOf(presence, PIDF_NAMESPACE, "tuple");
}

/** RFC 3863 4.1.4; null: it does not say, or neither. */
export function basicOf(tuple: XmlElement): "open" | "closed" | null {
  for (const status of childrenOf(tuple, PIDF_NAMESPACE, "status")) {
    for (const basic of childrenOf(status, PIDF_NAMESPACE, "basic")) {
      const text = textOf(basic);
      if (text === "open" || text === "closed") return text;
    }
  }
  return null;
}

/** The URI by which the tuple's service is reached (RFC 3863 4.1.5); undefined where it does not say. */
export function contactOf(tuple: XmlElement): string | undefined {
  const [contact] = childrenOf(tuple, PIDF_NAMESPACE, "contact");
  return contact === undefined ? undefined : textOf(contact);
}
