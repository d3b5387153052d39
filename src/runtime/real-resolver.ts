import { lookup, Resolver as NodeResolver } from "node:dns/promises";
import type { Resolver } from "./runtime.ts";

const ABSENT: ReadonlySet<unknown> = new Set(["ENOTFOUND", "ENODATA"]);

/** RFC 6761 6.3: never asked of anybody. */
const LOCAL = /^(?:.*\.)?localhost\.?$/i;

/** DNS by the system's name servers. Addresses that DNS does not have may still come from the hosts file. */
export function realResolver(): Resolver {
  const dns = new NodeResolver({ timeout: 2000, tries: 2 });
  const addresses = async (name: string, family: 4 | 6) => {
    if (LOCAL.test(name)) return [family === 4 ? "127.0.0.1" : "::1"];
    try {
      return await (family === 4 ? dns.resolve4(name) : dns.resolve6(name));
    } catch (error) {
      const local = await orNone(lookup(name, { all: true, family })).catch(() => []);
      if (local.length > 0 || ABSENT.has(codeOf(error))) return local.map((entry) => entry.address);
      throw error;
    }
  };
  return {
    naptr: async (name) => {
      const records = await orNone(dns.resolveNaptr(name));
      return records.map(({ regexp: _, ...record }) => record);
    },
    srv: (name) => orNone(dns.resolveSrv(name)),
    a: (name) => addresses(name, 4),
    aaaa: (name) => addresses(name, 6),
  };
}

async function orNone<T>(answer: Promise<T[]>): Promise<T[]> {
  try {
    return await answer;
  } catch (error) {
    if (ABSENT.has(codeOf(error))) return [];
    throw error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
