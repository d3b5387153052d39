import type { ContactState, Reginfo, RegistrationState } from "./reginfo.ts";

/** What a subscriber has learned from the documents of one subscription (RFC 3680 5.2): pure, a new table for each document. */
export interface ReginfoTable {
  /** Of the last document; null: there was none. */
  readonly version: number | null;
  /** By the id of the registration. */
  readonly registrations: ReadonlyMap<string, RegistrationState>;
}

export const EMPTY_TABLE: ReginfoTable = { version: null, registrations: new Map() };

/** Registrations kept of one subscription at most, and contacts of one registration. */
export const TABLE_LIMITS = { registrations: 10_000, contacts: 64 } as const;

export type Applied =
  /** An older document, or the same again. */
  | { readonly outcome: "discarded" }
  /** `gap`: a document was lost, so full state is to be asked for by a refresh. */
  | { readonly outcome: "applied"; readonly table: ReginfoTable; readonly gap: boolean };

/**
 * 5.2; of equal versions the first counts.
 * COMPAT Kamailio 5.6.3 pua_reginfo: each document is a full one of version 0, in the order of the NOTIFYs' CSeqs.
 */
export function applyReginfo(table: ReginfoTable, document: Reginfo): Applied {
  const { version } = table;
  const unversioned = version === 0 && document.version === 0 && document.state === "full";
  if (version !== null && document.version <= version && !unversioned) return { outcome: "discarded" };
  const gap = version !== null && document.version > version + 1 && document.state === "partial";
  const registrations = new Map(document.state === "full" ? [] : table.registrations);
  for (const each of document.registrations) {
    const known = document.state === "full" ? undefined : registrations.get(each.id);
    const merged = known === undefined ? each : { ...each, contacts: mergeContacts(known.contacts, each.contacts) };
    if (merged.state === "terminated") registrations.delete(each.id);
    else if (known !== undefined || registrations.size < TABLE_LIMITS.registrations) {
      registrations.set(each.id, {
        ...merged,
        contacts: merged.contacts.filter(isActive).slice(-TABLE_LIMITS.contacts),
      });
    }
  }
  return { outcome: "applied", table: { version: document.version, registrations }, gap };
}

/** Terminated rows may be removed at any time (5.2). */
function isActive(contact: ContactState): boolean {
  return contact.state === "active";
}

function mergeContacts(known: readonly ContactState[], told: readonly ContactState[]): ContactState[] {
  const rows = new Map(known.map((each) => [each.id, each]));
  for (const each of told) rows.set(each.id, each);
  return [...rows.values()];
}
