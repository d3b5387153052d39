import type { BindingOrigin, Claim, Unbind } from "../directory/directory.ts";
import type { NameAddr } from "../sip/message/headers/name-addr.ts";
import type { ClaimFacts } from "./facts.ts";
import { normalHost, type OriginTable } from "./origin.ts";
import type { BindPlan } from "./plan.ts";

/** What a REGISTER or PUBLISH says, and what becomes of it in the directory (RFC 3261 10, RFC 3903; models.md, "Exclusive"). */

/** A REGISTER or its 2xx; a SipMessage is one. */
export interface RegisterHeaders {
  readonly callId: string;
  readonly cseq: { readonly number: number };
  readonly expires: number | undefined;
  /** Empty where the header is missing. */
  readonly contacts: readonly NameAddr[] | "*";
}

/** A PUBLISH; a SipRequest is one. */
export interface PublishHeaders extends Omit<RegisterHeaders, "contacts"> {
  readonly event: { readonly package: string } | undefined;
  has(name: string): boolean;
  readonly body: string;
}

/** Seconds. */
export interface ExpiryOptions {
  /** Taken where neither the Contact nor the request names one (RFC 3261 10.2.1.1). */
  readonly default: number;
  /** The most that is granted. */
  readonly max: number;
  /** Less than this, though not zero and under an hour, is answered 423 with Min-Expires; 0: anything goes. */
  readonly min: number;
}

export const EXPIRY: ExpiryOptions = Object.freeze({ default: 3600, max: 86_400, min: 0 });

export type Registration =
  /** No Contact: asks what is bound and changes nothing (10.2.3). */
  | { readonly kind: "query" }
  /** `Contact: *`. */
  | { readonly kind: "remove-all" }
  | { readonly kind: "update"; readonly contacts: readonly RegisteredContact[] }
  /** RFC 3261 10.3 steps 6 and 7. `minExpires` with 423. */
  | { readonly kind: "fault"; readonly status: 400 | 423; readonly reason: string; readonly minExpires: number | null };

export interface RegisteredContact {
  readonly contact: NameAddr;
  /** Granted, seconds; 0 removes it. */
  readonly expires: number;
}

/** RFC 3261 10.3 steps 6 and 7: what is asked, with the expiry granted for each contact. */
export function registrationOf(request: RegisterHeaders, options: ExpiryOptions = EXPIRY): Registration {
  const { contacts } = request;
  if (contacts === "*") {
    if (request.expires === 0) return { kind: "remove-all" };
    return { kind: "fault", status: 400, reason: "Contact: * wants Expires: 0", minExpires: null };
  }
  if (contacts.length === 0) return { kind: "query" };
  const granted: RegisteredContact[] = [];
  for (const contact of contacts) {
    const wanted = expiresOf(contact, request.expires) ?? options.default;
    if (wanted > 0 && wanted < 3600 && wanted < options.min) {
      return { kind: "fault", status: 423, reason: "Interval Too Brief", minExpires: options.min };
    }
    granted.push({ contact, expires: Math.min(wanted, options.max) });
  }
  return { kind: "update", contacts: granted };
}

/** The contact's own `expires` beats the header (10.2.1.1). One that is no number counts as 3600 (10.2). */
function expiresOf(contact: NameAddr, header: number | undefined): number | undefined {
  const own = contact.params.get("expires");
  if (own === undefined) return header;
  return /^\d{1,10}$/.test(own) ? Number(own) : 3600;
}

/**
 * Whose REGISTER it is: of the sending server for its user, where a contact is that server itself (or all are to go);
 * else a client's, which the server only passes on.
 * @param server the origin; null: no server.
 */
export function claimOfRegister(registration: Registration, server: string | null, table: OriginTable): ClaimFacts {
  if (server === null || registration.kind === "query" || registration.kind === "fault") return "client";
  if (registration.kind === "remove-all") return "deregister";
  const own = registration.contacts.filter((each) => isAt(each.contact, server, table));
  if (own.length === 0) return "client";
  return own.some((each) => each.expires > 0) ? "claim" : "deregister";
}

function isAt(contact: NameAddr, server: string, table: OriginTable): boolean {
  const { uri } = contact;
  if (uri.kind !== "sip") return false;
  const host = normalHost(uri.host);
  const entry = table.hosts.get(host);
  const port = uri.port ?? (uri.scheme === "sips" ? 5061 : 5060);
  const found = entry === undefined ? table.names.get(host) : (entry.ports.get(port) ?? entry.only);
  return found?.kind === "server" && found.server === server;
}

/**
 * Whose PUBLISH it is. Only an initial one of presence with an open tuple claims: one with SIP-If-Match refreshes,
 * changes or ends a publication (RFC 3903 4.1), and with Expires 0 gives the user up.
 */
export function claimOfPublish(request: PublishHeaders, server: string | null): ClaimFacts {
  if (server === null || request.event?.package !== "presence") return "client";
  if (request.has("SIP-If-Match")) return request.expires === 0 ? "deregister" : "refresh";
  return request.expires !== 0 && hasOpenTuple(request.body) ? "claim" : "none";
}

/** RFC 3863 4.1.4: `<basic>open</basic>` under any prefix. Linear in the text; comments and CDATA are not looked into. */
export function hasOpenTuple(pidf: string): boolean {
  return /<(?:[\w.-]{1,64}:)?basic\s{0,16}>\s{0,64}open\s{0,64}<\//.test(pidf);
}

/**
 * What a plan's claim asks of the directory. The binding outlives what was granted by the grace time; whether a refresh
 * is late is judged by what was granted.
 * @param expiresAt as granted, milliseconds since 1970.
 */
export function claimFor(
  plan: BindPlan,
  aor: string,
  request: { readonly callId: string; readonly cseq: { readonly number: number } },
  expiresAt: number,
  actor: string,
): Claim {
  return {
    aor,
    server: plan.server,
    origin: plan.origin,
    expiresAt: expiresAt + plan.graceMs,
    conflict: plan.conflict,
    equalRank: plan.equalRank,
    ...(plan.damping === null ? {} : { damping: plan.damping }),
    // RFC 3903 orders publications by their entity-tags, which are judged before.
    ...(plan.action === "refresh"
      ? { refreshOnly: true }
      : { order: { callId: request.callId, cseq: request.cseq.number, expiresAt } }),
    actor,
  };
}

/** In the exclusive model claims rank equal, so that whoever logs out ends an admin's binding too; none ends a provisioned one. */
const ENDS_EQUAL: readonly BindingOrigin[] = Object.freeze(["learned", "published", "registered", "admin"]);

/**
 * What a deregistration asks of the directory: it acts only on its own server, and of a relayed one on the epoch it was
 * sent under. What was learned stays: he who has logged out still lives there.
 */
export function unbindFor(
  plan: BindPlan,
  aor: string,
  request: { readonly callId: string; readonly cseq: { readonly number: number } },
  actor: string,
): Unbind {
  return {
    aor,
    server: plan.server,
    ...(plan.binding !== null ? { epoch: plan.binding.epoch } : {}),
    origins: plan.equalRank ? ENDS_EQUAL : [plan.origin],
    order: { callId: request.callId, cseq: request.cseq.number },
    actor,
  };
}

/** The expiry of a server's own claim, seconds: of its contacts the latest. */
export function grantedExpires(registration: Registration): number {
  if (registration.kind !== "update") return 0;
  return registration.contacts.reduce((latest, each) => Math.max(latest, each.expires), 0);
}

/**
 * A client's REGISTER is judged by its 2xx, which lists all contacts (RFC 3261 10.3 step 8): the user is unbound only
 * when none is left, and his expiry is the latest, so that one of two phones logging out unbinds nobody.
 * @returns seconds; 0: nothing is registered any more.
 */
export function registeredFor(response: RegisterHeaders, options: ExpiryOptions = EXPIRY): number {
  if (response.contacts === "*") return 0;
  return response.contacts.reduce((latest, contact) => {
    return Math.max(latest, Math.min(expiresOf(contact, response.expires) ?? options.default, options.max));
  }, 0);
}

/** The Contact values of a 200 (RFC 3261 10.3 step 8): each with the expiry granted, those removed left out. */
export function grantedContacts(registration: Registration): readonly string[] {
  if (registration.kind !== "update") return [];
  return registration.contacts
    .filter((each) => each.expires > 0)
    .map(({ contact, expires }) => `<${contact.uri.raw}>;expires=${expires}`);
}
