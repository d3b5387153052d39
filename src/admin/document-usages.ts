import type { DocumentKind } from "../directory/user-documents.ts";
import type { Usage } from "../xcap/answer.ts";
import { placesOf } from "../xcap/places.ts";

/** The kinds of documents as XCAP application usages (RFC 4825 5). */
export const USAGES: Readonly<Record<DocumentKind, Usage>> = {
  // RFC 5025 9.
  "pres-rules": {
    auid: "pres-rules",
    type: "application/auth-policy+xml",
    namespace: "urn:ietf:params:xml:ns:pres-rules",
    understands: ["urn:ietf:params:xml:ns:common-policy", "urn:ietf:params:xml:ns:pres-rules"],
    check: (text) => void placesOf(text),
  },
  "im-rules": {
    auid: "im-rules",
    type: "application/auth-policy+xml",
    namespace: "urn:x-codomain:im-rules",
    understands: ["urn:ietf:params:xml:ns:common-policy", "urn:x-codomain:im-rules"],
    check: (text) => void placesOf(text),
  },
  "im-routing": {
    auid: "im-routing",
    type: "application/im-routing+xml",
    namespace: "urn:x-codomain:im-routing",
    understands: ["urn:x-codomain:im-routing"],
    check: (text) => void placesOf(text),
  },
};

export function usageOf(auid: string): { readonly kind: DocumentKind; readonly usage: Usage } | undefined {
  return isKind(auid) ? { kind: auid, usage: USAGES[auid] } : undefined;
}

function isKind(text: string): text is DocumentKind {
  return Object.hasOwn(USAGES, text);
}
