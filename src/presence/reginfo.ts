import { numberOf, parseVersioned } from "./versioned.ts";
import { attributeNamed, childrenOf, element, printXml, textOf, type XmlElement } from "./xml.ts";

/** Registration information documents, `application/reginfo+xml` (RFC 3680 5). What is not of that namespace is ignored, as it must be. */

export const REGINFO_TYPE = "application/reginfo+xml";
export const REGINFO_NAMESPACE = "urn:ietf:params:xml:ns:reginfo";

export const CONTACT_EVENTS = [
  "registered",
  "created",
  "refreshed",
  "shortened",
  "expired",
  "deactivated",
  "probation",
  "unregistered",
  "rejected",
] as const;
export type ContactEvent = (typeof CONTACT_EVENTS)[number];

/** 5.1: `partial` has only what changed since the document before. */
export interface Reginfo {
  /** Begins at 0 and rises by one with each document of a subscription. */
  readonly version: number;
  readonly state: "full" | "partial";
  readonly registrations: readonly RegistrationState[];
}

export interface RegistrationState {
  /** A URI. */
  readonly aor: string;
  /** The same in every document of a subscription. */
  readonly id: string;
  readonly state: "init" | "active" | "terminated";
  readonly contacts: readonly ContactState[];
}

export interface ContactState {
  readonly id: string;
  readonly uri: string;
  readonly state: "active" | "terminated";
  /** What brought it into that state. */
  readonly event: ContactEvent;
  /** Seconds left; null: not said. */
  readonly expires?: number | null;
  /** Seconds after which it is to be tried again; with `probation`. */
  readonly retryAfter?: number | null;
  /** Seconds. */
  readonly durationRegistered?: number | null;
  readonly callId?: string | null;
  readonly cseq?: number | null;
}

/**
 * Leaves out a registration or contact without what 5.1 demands of it, since other programs' documents are often not
 * valid; the rest is used.
 * @param octets the body of a NOTIFY.
 * @throws MalformedDocument where it is no reginfo document, or has no usable version and state.
 */
export function parseReginfo(octets: string): Reginfo {
  const { root, version, state } = parseVersioned(octets, REGINFO_NAMESPACE, "reginfo", "registration information");
  const registrations = childrenOf(root, REGINFO_NAMESPACE, "registration").map(registrationOf);
  return { version, state, registrations: registrations.filter((each) => each !== null) };
}

function registrationOf(from: XmlElement): RegistrationState | null {
  const aor = attributeNamed(from, "aor");
  const id = attributeNamed(from, "id");
  const state = attributeNamed(from, "state");
  if (aor === undefined || id === undefined) return null;
  if (state !== "init" && state !== "active" && state !== "terminated") return null;
  const contacts = childrenOf(from, REGINFO_NAMESPACE, "contact").map(contactOf);
  return { aor: aor.trim(), id, state, contacts: contacts.filter((each) => each !== null) };
}

function contactOf(from: XmlElement): ContactState | null {
  const id = attributeNamed(from, "id");
  const state = attributeNamed(from, "state");
  const event = CONTACT_EVENTS.find((each) => each === attributeNamed(from, "event"));
  const [uri] = childrenOf(from, REGINFO_NAMESPACE, "uri");
  if (id === undefined || event === undefined || uri === undefined) return null;
  if (state !== "active" && state !== "terminated") return null;
  return {
    id,
    uri: textOf(uri),
    state,
    event,
    expires: numberOf(from, "expires"),
    retryAfter: numberOf(from, "retry-after"),
    durationRegistered: numberOf(from, "duration-registered"),
    callId: attributeNamed(from, "callid") ?? null,
    cseq: numberOf(from, "cseq"),
  };
}

/** The body of a NOTIFY, in octets. */
export function printReginfo(document: Reginfo): string {
  const { version, state, registrations } = document;
  return printXml(element(REGINFO_NAMESPACE, "reginfo", { version, state }, registrations.map(registrationElement)));
}

function registrationElement({ aor, id, state, contacts }: RegistrationState): XmlElement {
  return element(REGINFO_NAMESPACE, "registration", { aor, id, state }, contacts.map(contactElement));
}

function contactElement(contact: ContactState): XmlElement {
  const attributes = {
    id: contact.id,
    state: contact.state,
    event: contact.event,
    "duration-registered": contact.durationRegistered ?? null,
    expires: contact.expires ?? null,
    "retry-after": contact.retryAfter ?? null,
    callid: contact.callId ?? null,
    cseq: contact.cseq ?? null,
  };
  return element(REGINFO_NAMESPACE, "contact", attributes, [element(REGINFO_NAMESPACE, "uri", {}, [contact.uri])]);
}
