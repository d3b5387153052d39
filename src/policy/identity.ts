import { domainToASCII } from "node:url";
import { MalformedUri } from "../sip/message/errors.ts";
import { parseUri, tryAorOf } from "../sip/message/uri.ts";

/**
 * Identities as rules compare them (RFC 4745 7.2, RFC 5025 3.1.1.2): of a SIP or SIPS URI its canonical AoR, so that both
 * schemes name one user; a tel URI without visual separators (RFC 3966 4); of any other URI the text, its scheme in lower
 * case. Schemes else are never equal, not even with the same number in them.
 */
export function identityOf(text: string): string {
  const uri = text.trim();
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(uri)?.[1]?.toLowerCase();
  if (scheme === "sip" || scheme === "sips") return sipIdentity(uri);
  if (scheme === "tel")
    return `tel:${uri
      .slice(4)
      .toLowerCase()
      .replace(/[-.()]/g, "")}`;
  return scheme === undefined ? uri : scheme + uri.slice(scheme.length);
}

function sipIdentity(uri: string): string {
  try {
    const parsed = parseUri(uri);
    return tryAorOf(parsed) ?? (parsed.kind === "sip" ? parsed.host : uri);
  } catch (error) {
    if (!(error instanceof MalformedUri)) throw error;
    return uri;
  }
}

/** Of a watcher or sender; empty: he is of none, as one known by his telephone number alone. */
export function domainOf(identity: string): string {
  if (/^[A-Za-z][A-Za-z0-9+.-]*:/.test(identity)) return "";
  return asciiDomain(identity.slice(identity.lastIndexOf("@") + 1));
}

/** RFC 4745 7.1.3: percent-encoding undone, then ToASCII; empty: it is no domain, and equals none. */
export function asciiDomain(text: string): string {
  try {
    return domainToASCII(decodeURIComponent(text.trim())).toLowerCase();
  } catch {
    return "";
  }
}
