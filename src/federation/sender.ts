import { tryAorOf, type Uri } from "../sip/message/uri.ts";
import type { Origin } from "./facts.ts";

/** Who sends or watches, and whether that may be believed: rules that name him match only then. */
export interface Sender {
  /** Canonical AoR; of a URI without a user its host, of one that is no SIP URI the URI as written. */
  readonly aor: string;
  readonly trusted: boolean;
}

/** What of a request tells its sender; a SipRequest is one. */
export interface SenderHeaders {
  readonly from: { readonly uri: Uri };
  /** P-Asserted-Identity; may throw where it is malformed. */
  readonly identities: readonly { readonly uri: Uri }[];
}

/**
 * The P-Asserted-Identity of a trusted server (RFC 3325), else From. Servers are trusted by being configured, a client
 * as the user he authenticated as, another domain for its own users; an unauthenticated client's From proves nothing.
 * @param canonical what a server calls its user -> his AoR here (identity.ts).
 */
export function senderOf(
  request: SenderHeaders,
  origin: Origin,
  canonical: (server: string, aor: string) => string,
): Sender {
  const from = nameOf(request.from.uri);
  switch (origin.kind) {
    case "server": {
      const asserted = assertedBy(request);
      return { aor: canonical(origin.server, asserted ?? from), trusted: true };
    }
    case "client":
      return { aor: from, trusted: origin.authenticated !== null && origin.authenticated === from };
    case "peer":
      return { aor: from, trusted: from.slice(from.lastIndexOf("@") + 1) === origin.domain.toLowerCase() };
    case "unknown":
      return { aor: from, trusted: false };
  }
}

/**
 * By whom rules are asked: a client who has proved who he is counts as himself, whatever his From says, for that is what
 * is asserted of him (RFC 3325 5). One who wants to stay unknown (RFC 3323 4.1.1.3) is nobody.
 */
export function principalOf(origin: Origin, sender: Sender): Sender {
  if (origin.kind !== "client" || origin.authenticated === null || ANONYMOUS.test(sender.aor)) return sender;
  return { aor: origin.authenticated, trusted: true };
}

const ANONYMOUS = /@anonymous\.invalid$/;

/** RFC 3323 4.1.1.3. */
export function isAnonymous(uri: Uri): boolean {
  return uri.kind === "sip" && uri.host.toLowerCase() === "anonymous.invalid";
}

/** RFC 3325 9.1: one SIP or SIPS URI, one tel URI, or both. A malformed one says nothing. */
function assertedBy(request: SenderHeaders): string | undefined {
  let identities: SenderHeaders["identities"];
  try {
    identities = request.identities;
  } catch {
    return undefined;
  }
  const sip = identities.find((each) => each.uri.kind === "sip") ?? identities[0];
  return sip === undefined ? undefined : nameOf(sip.uri);
}

function nameOf(uri: Uri): string {
  return tryAorOf(uri) ?? (uri.kind === "sip" ? uri.host : uri.raw);
}
