import type { NaptrRecord, Random, SrvRecord } from "../../runtime/runtime.ts";
import type { TransportName } from "./transport.ts";

/** The pure halves of RFC 3263: which records apply, and in which order their targets are tried. */

export interface Service {
  readonly transport: TransportName;
  /** The name to ask for SRV records. */
  readonly srv: string;
}

/** RFC 3263 4.1 and RFC 7118 5.5. */
const NAPTR_SERVICES: Readonly<Record<string, TransportName>> = {
  "SIP+D2U": "udp",
  "SIP+D2T": "tcp",
  "SIPS+D2T": "tls",
  "SIP+D2W": "ws",
  "SIPS+D2W": "wss",
};

/** Service and protocol labels for a transport (RFC 3263 4.2); none are registered for WebSocket. */
const SRV_LABELS: Readonly<Partial<Record<TransportName, string>>> = {
  udp: "_sip._udp",
  tcp: "_sip._tcp",
  tls: "_sips._tcp",
};

/** What is asked without NAPTR records, the scheme's default first (RFC 3263 4.1). */
const PREFERENCE: readonly TransportName[] = ["udp", "tcp", "tls"];

export function isSecure(transport: TransportName): boolean {
  return transport === "tls" || transport === "wss";
}

/** The services of a domain, most preferred first: records by order and preference, those that do not apply left out. */
export function orderNaptr(
  records: readonly NaptrRecord[],
  scheme: "sip" | "sips",
  available: ReadonlySet<TransportName>,
): Service[] {
  const services: Service[] = [];
  const sorted = [...records].sort((a, b) => a.order - b.order || a.preference - b.preference);
  for (const record of sorted) {
    const transport = NAPTR_SERVICES[record.service.toUpperCase()];
    // A record with another flag than "s" names no SRV record (RFC 3263 4.1).
    if (transport === undefined || record.flags.toLowerCase() !== "s" || !available.has(transport)) continue;
    if (scheme === "sips" && !isSecure(transport)) continue;
    services.push({ transport, srv: record.replacement.replace(/\.$/, "") });
  }
  return services;
}

/** The SRV names to ask for where there are no NAPTR records, or the transport is given. */
export function srvNames(
  domain: string,
  scheme: "sip" | "sips",
  transport: TransportName | undefined,
  available: ReadonlySet<TransportName>,
): Service[] {
  const wanted = transport === undefined ? PREFERENCE.filter((each) => available.has(each)) : [transport];
  const services: Service[] = [];
  for (const each of wanted) {
    const labels = SRV_LABELS[each];
    if (labels === undefined || (scheme === "sips" && !isSecure(each))) continue;
    services.push({ transport: each, srv: `${labels}.${domain}` });
  }
  return services;
}

/** RFC 2782, usage rules: ascending priority, and within one by chance in proportion to weight. */
export function orderSrv(records: readonly SrvRecord[], random: Pick<Random, "integer">): SrvRecord[] {
  // A single record with the target "." says that the service is not offered here.
  const offered = records.filter((each) => each.name !== "." && each.name !== "");
  const ordered: SrvRecord[] = [];
  const priorities = [...new Set(offered.map((each) => each.priority))].sort((a, b) => a - b);
  for (const priority of priorities) {
    const left = offered.filter((each) => each.priority === priority).sort((a, b) => a.weight - b.weight);
    while (left.length > 0) {
      const total = left.reduce((sum, each) => sum + each.weight, 0);
      // RFC 2782: a number from 0 to the sum, both included; the first whose running sum reaches it. Weight 0 comes first.
      const drawn = random.integer(total + 1);
      let running = 0;
      const chosen = left.findIndex((each) => {
        running += each.weight;
        return running >= drawn;
      });
      ordered.push(...left.splice(chosen, 1));
    }
  }
  return ordered;
}
