import type { WatcherVerdict } from "../policy/policy.ts";
import { sphereOf } from "../policy/sphere.ts";
import { closedDocument, PIDF } from "../presence/closed-document.ts";
import { MalformedDocument, printXml, type XmlElement } from "../presence/xml.ts";
import { type Content, Document, treeOf } from "./documents.ts";

/** Transformations of one document that are kept; what is more is made again each time. */
const MOST_OF_ONE = 64;

/**
 * What is left of a document under a transformation (RFC 5025 3.3): read, transformed and printed once for each document
 * and transformation, and shared by all watchers who are shown the same. It lives as long as the document.
 */
export class Veils {
  readonly #known = new WeakMap<Content, Map<string, Content>>();

  /** One that cannot be read is not shown: nobody knows what is in it. The user is shown closed in its place. */
  under(content: Content, { transform, transformKey }: WatcherVerdict, aor: string): Content {
    if (transform === null) return content;
    let known = this.#known.get(content);
    if (known === undefined) {
      known = new Map();
      this.#known.set(content, known);
    }
    const before = known.get(transformKey);
    if (before !== undefined) return before;
    const presence = presenceOf(content);
    const veiled = presence === null ? closedFor(aor) : new Document(PIDF, printXml(transform(presence)));
    if (known.size < MOST_OF_ONE) known.set(transformKey, veiled);
    return veiled;
  }
}

/** The user as one who is nowhere: all that a polite block shows of him. */
export function closedFor(aor: string): Content {
  return new Document(PIDF, closedDocument(aor));
}

/** True: whoever has been shown the one has been shown the other. */
export function isSameContent(a: Content, b: Content): boolean {
  if (a === b) return true;
  return a instanceof Document && b instanceof Document && a.type === b.type && a.text === b.text;
}

/** The user's, by what was published (RFC 5025 3.1.2); read once for each document. */
export class Spheres {
  readonly #known = new WeakMap<Content, string | null>();

  in(content: Content): string | null {
    const known = this.#known.get(content);
    if (known !== undefined) return known;
    const presence = presenceOf(content);
    const sphere = presence === null ? null : sphereOf(presence);
    this.#known.set(content, sphere);
    return sphere;
  }
}

/** Null: it is no presence document, or none that can be read. */
export function presenceOf(content: Content): XmlElement | null {
  try {
    if (content.presence !== undefined) return content.presence;
    if (!(content instanceof Document) || !IS_PIDF.test(content.type)) return null;
    return treeOf(content);
  } catch (error) {
    if (!(error instanceof MalformedDocument)) throw error;
    return null;
  }
}

const IS_PIDF = /^application\/pidf\+xml[ \t]*(;|$)/i;
