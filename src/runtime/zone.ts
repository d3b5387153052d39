import type { NaptrRecord, Resolver, SrvRecord } from "./runtime.ts";

/** What one name answers with. */
export interface ZoneEntry {
  readonly naptr?: readonly NaptrRecord[];
  readonly srv?: readonly SrvRecord[];
  readonly a?: readonly string[];
  readonly aaaa?: readonly string[];
  /** Nobody can be asked about this name: every question rejects. */
  readonly unreachable?: boolean;
}

/** A DNS zone as plain data, name to records; names in any case, with or without the last dot. It may change while it is used. */
export type Zone = Record<string, ZoneEntry>;

/**
 * A resolver that answers from `zone`.
 * @param fallback asked about names the zone does not have; without it they do not exist.
 */
export function zoneResolver(zone: Zone, fallback?: Resolver): Resolver {
  const find = (name: string): ZoneEntry | undefined => {
    const wanted = plain(name);
    const key = Object.keys(zone).find((candidate) => plain(candidate) === wanted);
    const entry = key === undefined ? undefined : zone[key];
    if (entry?.unreachable === true) throw new Error(`No name server answers about ${name}.`);
    return entry;
  };
  const answer =
    <K extends "naptr" | "srv" | "a" | "aaaa">(type: K) =>
    async (name: string) => {
      const entry = find(name);
      if (entry === undefined && fallback !== undefined) return fallback[type](name);
      return entry?.[type] ?? [];
    };
  return {
    naptr: answer("naptr") as Resolver["naptr"],
    srv: answer("srv") as Resolver["srv"],
    a: answer("a") as Resolver["a"],
    aaaa: answer("aaaa") as Resolver["aaaa"],
  };
}

function plain(name: string): string {
  return name.toLowerCase().replace(/\.$/, "");
}
