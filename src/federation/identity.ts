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
}

export function buildIdentityTable(servers: readonly IdentityServer[]): IdentityTable {
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
  return { outward, inward };
}

/** Server -> full AoR there, only where it differs; null: nowhere. */
export function identitiesOf(
  table: IdentityTable,
  aor: string,
  record: UserRecord | null,
): Readonly<Record<string, string>> | null {
  const configured = table.outward.get(aor) ?? null;
  if (record === null || isEmpty(record.identities)) return configured;
  const names: Record<string, string> = Object.assign(Object.create(null), configured);
  for (const [server, text] of Object.entries(record.identities)) {
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

/**
 * The way in: who is meant by an AoR in a request from `server`. Identities of the configuration are known here; those
 * of a record only where the caller has it, because nothing leads from such a name to the record.
 */
export function canonicalFrom(
  table: IdentityTable,
  server: string,
  aor: string,
  record: UserRecord | null = null,
): string {
  const own = record?.identities[server];
  if (record !== null && own !== undefined && fullIdentity(own, record.aor) === aor) return record.aor;
  return table.inward.get(server)?.get(aor) ?? aor;
}

function fullIdentity(text: string, aor: string): string {
  const at = text.lastIndexOf("@");
  if (at === -1) return `${text}${aor.slice(aor.lastIndexOf("@"))}`;
  return text.slice(0, at + 1) + text.slice(at + 1).toLowerCase();
}

function isEmpty(record: object): boolean {
  for (const _ in record) return false;
  return true;
}
