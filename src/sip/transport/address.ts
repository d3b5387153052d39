import type { TransportName } from "./transport.ts";

/** Texts of hosts, ports and addresses as they stand in URIs, Via and socket addresses. */

export type Family = 4 | 6;

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const IPV6 = /^[0-9a-f:.]+$/i;

/** 4 or 6 for a numeric address (IPv6 with or without brackets), else undefined. */
export function familyOf(host: string): Family | undefined {
  const first = host.charCodeAt(0);
  if (first >= 48 && first <= 57 && IPV4.test(host)) return 4;
  return host.includes(":") && canonicalIpv6(unbracketed(host)) !== undefined ? 6 : undefined;
}

function unbracketed(host: string): string {
  return host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
}

function canonicalIpv6(host: string): string | undefined {
  const zone = host.indexOf("%");
  const bare = zone < 0 ? host : host.slice(0, zone);
  if (!IPV6.test(bare)) return undefined;
  try {
    const short = new URL(`http://[${bare}]/`).hostname.slice(1, -1);
    return zone < 0 ? short : short + host.slice(zone);
  } catch {
    return undefined;
  }
}

/** One text for one host: lower case, no brackets, no final dot, IPv6 in its shortest form (RFC 5952). */
export function canonicalHost(host: string): string {
  const first = host.charCodeAt(0);
  if (first >= 48 && first <= 57 && IPV4.test(host)) return host;
  const bare = unbracketed(host);
  if (bare.includes(":")) return canonicalIpv6(bare) ?? bare.toLowerCase();
  const lower = bare.toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

/** As written into Via and URIs: IPv6 in brackets. */
export function bracketed(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}

/** `host`, `host:port`, `[v6]:port` -> its parts; undefined for what is none of these. */
export function splitHostPort(text: string): { host: string; port: number | undefined } | undefined {
  const match = /^(\[[^\]]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const port = match[2] === undefined ? undefined : Number(match[2]);
  if (port !== undefined && (port < 1 || port > 65535)) return undefined;
  return { host: match[1]!, port };
}

/** RFC 3261 18.1.1 and RFC 7118 5.5. */
export function defaultPort(transport: TransportName): number {
  switch (transport) {
    case "udp":
    case "tcp":
      return 5060;
    case "tls":
      return 5061;
    case "ws":
      return 80;
    case "wss":
      return 443;
  }
}

export function isLoopback(host: string): boolean {
  return host.startsWith("127.") || host === "::1";
}

export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}
