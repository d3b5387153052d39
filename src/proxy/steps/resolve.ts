import { DirectoryUnavailable } from "../../base/errors.ts";
import type { Lookup } from "../../directory/directory.ts";
import type { Origin } from "../../federation/facts.ts";
import type { SipRequest } from "../../sip/message/message.ts";
import { aorOf } from "../../sip/message/uri.ts";
import type { Core } from "../core.ts";
import { asSip } from "../next-hop.ts";

export type Known = Lookup | { readonly state: "unavailable" };

/** The canonical AoR a request is for; undefined: no user of ours. REGISTER names him in To (RFC 3261 10.2). */
export function aorFor(core: Core, request: SipRequest, origin: Origin): string | undefined {
  const uri = request.method === "REGISTER" ? request.to.uri : request.uri;
  // RFC 3261 19.1.6: a telephone number is a user of the default domain.
  if (uri.kind === "tel") return `${uri.number}@${core.options.domains[0]}`;
  const sip = asSip(uri);
  if (sip === undefined || sip.user === undefined || !core.isOurs(sip)) return undefined;
  return core.canonical(aorOf(sip), origin.kind === "server" ? origin.server : null);
}

/** What the directory knows of the user: from memory at once where it can be, else from the database. */
export function lookUp(core: Core, aor: string): Known | Promise<Known> {
  return core.cache.peek(aor) ?? core.cache.lookup(aor).catch(unavailable);
}

/**
 * Stands for a user who was not looked up, where that is spared: a server's claim does not depend on what is known of him,
 * but for a record of his own, and of that the claim itself tells.
 */
export const UNREAD: Known = Object.freeze({ state: "no-record", epoch: 0 });

/** From the database, whatever the cache says: for those who have waited, and for what must not race. */
export function lookUpFresh(core: Core, aor: string): Promise<Known> {
  return core.directory.lookup(aor).catch(unavailable);
}

function unavailable(error: unknown): Known {
  if (error instanceof DirectoryUnavailable) return { state: "unavailable" };
  throw error;
}
