import { MalformedUri } from "../sip/message/errors.ts";
import { equalUris, parseUri, type Uri } from "../sip/message/uri.ts";

/**
 * URIs by which rules select services and devices (RFC 5025 3.3.1.1, 3.3.1.3: "based on URI equivalence"): RFC 3261 19.1.4,
 * RFC 3966 4, of URNs RFC 8141 3.1 and RFC 4122 3; all else by its scheme without case and the rest as it is.
 */
export interface ComparableUri {
  readonly text: string;
  /** null: it cannot be read, and equals its own text only. */
  readonly uri: Uri | null;
}

export function comparableUri(text: string): ComparableUri {
  const form = urnForm(text.trim());
  try {
    return { text: form, uri: parseUri(form) };
  } catch (error) {
    if (!(error instanceof MalformedUri)) throw error;
    return { text: form, uri: null };
  }
}

export function sameUri(a: ComparableUri, b: ComparableUri): boolean {
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
