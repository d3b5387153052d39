import type { UserRecord } from "../directory/directory.ts";

/**
 * A user's names on servers that know him by another one (models.md, "Identity and policy"). An identity is a full AoR
 * or a user part, which then stands before the AoR's own host. The user's record beats the configuration.
 */

export interface IdentityServer {
  readonly name: string;
  /** Canonical AoR -> the user part or AoR this server knows him by. */
  readonly identities: Readonly<Record<string, string>>;
}

export interface IdentityTable {
  /** AoR -> server -> full AoR there. */
  readonly outward: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** Server -> full AoR there -> AoR. */
  readonly inward: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly records: RecordNames;
}

/** The identities that stand in users' records, as they are known here. */
export interface RecordNames {
  /** Users who have any. */
  readonly size: number;
  /** As the record has them; undefined: none. */
  identitiesOf(aor: string): Readonly<Record<string, string>> | undefined;
  /** AoR of the user whom the server calls by this full AoR. */
  whoIs(server: string, identity: string): string | undefined;
}

export const NO_RECORD_NAMES: RecordNames = Object.freeze({
  size: 0,
  identitiesOf: () => undefined,
  whoIs: () => undefined,
});

export function buildIdentityTable(
  servers: readonly IdentityServer[],
  records: RecordNames = NO_RECORD_NAMES,
): IdentityTable {
  const outward = new Map<string, Record<string, string>>();
  const inward = new Map<string, Map<string, string>>();
  for (const server of servers) {
    for (const [aor, text] of Object.entries(server.identities)) {
      const identity = fullIdentity(text, aor);
      if (identity === aor) continue;
      const names = outward.get(aor) ?? Object.create(null);
      names[server.name] = identity;
      outward.set(aor, names);
      const users = inward.get(server.name) ?? new Map<string, string>();
      users.set(identity, aor);
      inward.set(server.name, users);
    }
  }
  return { outward, inward, records };
}

/** True: every server calls everybody alike. */
export function isNamedAlike({ outward, records }: IdentityTable): boolean {
  return outward.size === 0 && records.size === 0;
}

/**
 * Server -> full AoR there, only where it differs; null: nowhere.
 * @param record null: the caller has none, so what is known of it counts.
 */
export function identitiesOf(
  table: IdentityTable,
  aor: string,
  record: UserRecord | null,
): Readonly<Record<string, string>> | null {
  const configured = table.outward.get(aor) ?? null;
  const own = record?.identities ?? (table.records.size > 0 ? table.records.identitiesOf(aor) : undefined);
  if (own === undefined || isEmpty(own)) return configured;
  const names: Record<string, string> = Object.assign(Object.create(null), configured);
  for (const [server, text] of Object.entries(own)) {
    const identity = fullIdentity(text, aor);
    if (identity === aor) delete names[server];
    else names[server] = identity;
  }
  return isEmpty(names) ? null : names;
}

/** The way out: what `server` calls the user. */
export function identityOn(
  table: IdentityTable,
  aor: string,
  server: string,
  record: UserRecord | null = null,
): string {
  return identitiesOf(table, aor, record)?.[server] ?? aor;
}

/** The way in: who is meant by an AoR in a request from `server`. */
export function canonicalFrom({ inward, records }: IdentityTable, server: string, aor: string): string {
  const recorded = records.size > 0 ? records.whoIs(server, aor) : undefined;
  return recorded ?? inward.get(server)?.get(aor) ?? aor;
}

/**
 * Those that may know the user: none that calls another by his address, for it would take a request to him for one to that
 * other, whose rules are other ones.
 */
export function serversFor<S extends { readonly name: string }>(
  table: IdentityTable,
  aor: string,
  record: UserRecord | null,
  servers: readonly S[],
): readonly S[] {
  if (isNamedAlike(table)) return servers;
  const names = identitiesOf(table, aor, record);
  const isAnothers = ({ name }: S): boolean => names?.[name] === undefined && canonicalFrom(table, name, aor) !== aor;
  return servers.some(isAnothers) ? servers.filter((each) => !isAnothers(each)) : servers;
}

/** @param text the user part or AoR by which a server knows the user. */
export function fullIdentity(text: string, aor: string): string {
  const at = text.lastIndexOf("@");
  if (at === -1) return `${text}${aor.slice(aor.lastIndexOf("@"))}`;
  return text.slice(0, at + 1) + text.slice(at + 1).toLowerCase();
}

function isEmpty(record: object): boolean {
  for (const _ in record) return false;
  return true;
}
