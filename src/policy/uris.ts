import { MalformedUri } from "../sip/message/errors.ts";
import { equalUris, parseUri, tryAorOf, type Uri } from "../sip/message/uri.ts";

/**
 * URIs by which rules select services and devices (RFC 5025 3.3.1.1, 3.3.1.3: "based on URI equivalence"): RFC 3261 19.1.4,
 * RFC 3966 4, of URNs RFC 8141 3.1 and RFC 4122 3; all else by its scheme without case and the rest as it is.
 */
interface ComparableUri {
  readonly text: string;
  /** null: it cannot be read, and equals its own text only. */
  readonly uri: Uri | null;
  /** Of URIs that are equal it is the same. */
  readonly group: string;
}

/**
 * How many URIs of one group are looked at: of one user, that is, with other parameters. Nobody needs as many, and who
 * writes more into his rules to keep us busy is granted less.
 */
const MOST_ALIKE = 16;

/** A set of URIs that says quickly whether one is in it. */
export class UriSet {
  readonly #groups = new Map<string, ComparableUri[]>();

  add(text: string): void {
    const uri = comparableUri(text);
    const group = this.#groups.get(uri.group) ?? [];
    if (group.length < MOST_ALIKE) this.#groups.set(uri.group, [...group, uri]);
  }

  has(text: string): boolean {
    if (this.#groups.size === 0) return false;
    const uri = comparableUri(text);
    return this.#groups.get(uri.group)?.some((each) => sameUri(each, uri)) === true;
  }
}

function comparableUri(text: string): ComparableUri {
  const form = urnForm(text.trim());
  try {
    const uri = parseUri(form);
    return { text: form, uri, group: groupOf(uri) };
  } catch (error) {
    if (!(error instanceof MalformedUri)) throw error;
    return { text: form, uri: null, group: form };
  }
}

function groupOf(uri: Uri): string {
  // An IPv6 address can be written in many ways.
  if (uri.kind === "sip") return `${uri.scheme}:${uri.host.startsWith("[") ? "" : (tryAorOf(uri) ?? uri.host)}`;
  return uri.kind === "tel" ? `tel:${uri.number}` : `${uri.scheme}:${uri.opaque}`;
}

function sameUri(a: ComparableUri, b: ComparableUri): boolean {
  if (a.text === b.text) return true;
  return a.uri !== null && b.uri !== null && equalUris(a.uri, b.uri);
}

/** As it is written: rules compare it with regard to case (RFC 5025 3.3.1.3). */
export function schemeOf(uri: string): string {
  return /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(uri)?.[1] ?? "";
}

function urnForm(text: string): string {
  const match = /^urn:([^:]+):(.*)$/is.exec(text);
  if (match === null) return text;
  const namespace = match[1]!.toLowerCase();
  return `urn:${namespace}:${namespace === "uuid" ? match[2]!.toLowerCase() : match[2]!}`;
}
