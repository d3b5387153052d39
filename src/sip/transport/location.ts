import { CodomainError } from "../../base/errors.ts";
import type { Clock, Random, Resolver, SrvRecord } from "../../runtime/runtime.ts";
import type { Via } from "../message/headers/via.ts";
import type { SipUri } from "../message/uri.ts";
import { canonicalHost, defaultPort, type Family, familyOf } from "./address.ts";
import { CachingResolver } from "./dns-cache.ts";
import { isSecure, orderNaptr, orderSrv, type Service, srvNames } from "./srv-order.ts";
import type { Target, TransportName } from "./transport.ts";

/** RFC 3263: from a URI to the addresses to try, in order. */

/** No way to a URI: its name has no address, no transport fits, or nobody could be asked. */
export class LocationError extends CodomainError {
  constructor(message: string, options?: ErrorOptions) {
    super("location", message, options);
  }
}

export interface LocateOptions {
  /** The transports we can send over. */
  readonly transports: ReadonlySet<TransportName>;
  /** The address families we can send to; default both. IPv6 addresses are tried first. */
  readonly families?: ReadonlySet<Family>;
}

export interface Locator {
  /** The next hops for a URI, best first; never empty. Rejects with LocationError. */
  locate(uri: SipUri, options: LocateOptions): Promise<Target[]>;
  /** The same at once, where the host is numeric and nobody need be asked; undefined for a name. @throws LocationError */
  locateNow(uri: SipUri, options: LocateOptions): Target[] | undefined;
  /** Where a response goes if the source cannot be reached (section 5). Rejects with LocationError. */
  locateResponse(via: Via, transport: TransportName): Promise<Target[]>;
}

/** More are not tried. */
const MAX_TARGETS = 16;

interface Question {
  readonly scheme: "sip" | "sips";
  readonly host: string;
  readonly port: number | undefined;
  /** Given in the URI. */
  readonly transport: TransportName | undefined;
  readonly numeric: Family | undefined;
}

/** RFC 3263 4: TARGET is maddr, else the host. A `transport` we do not know is an error of the URI's. */
function questionOf(uri: SipUri, available: ReadonlySet<TransportName>): Question {
  const host = canonicalHost(uri.params.get("maddr") || uri.host);
  const transport = transportOf(uri);
  if (transport !== undefined && !available.has(transport)) {
    throw new LocationError(`${uri.raw}: no listen point for transport ${transport}`);
  }
  return { scheme: uri.scheme, host, port: uri.port, transport, numeric: familyOf(host) };
}

/** The transport a URI demands; `sips` makes it the secure one (RFC 3261 26.2.2). */
function transportOf(uri: SipUri): TransportName | undefined {
  const named = uri.params.get("transport")?.toLowerCase();
  const sips = uri.scheme === "sips";
  switch (named) {
    case undefined:
    case "":
      return undefined;
    case "tcp":
      return sips ? "tls" : "tcp";
    case "tls":
      return "tls";
    case "ws":
      return sips ? "wss" : "ws";
    case "wss":
      return "wss";
    case "udp":
      if (!sips) return "udp";
      throw new LocationError(`${uri.raw}: sips over UDP does not exist`);
    default:
      throw new LocationError(`${uri.raw}: transport '${named}' is not supported`);
  }
}

/** Without NAPTR and SRV: UDP for sip, TLS for sips (RFC 3263 4.1), or what else there is. */
function plainTransport(question: Question, available: ReadonlySet<TransportName>): TransportName {
  if (question.transport !== undefined) return question.transport;
  const order: readonly TransportName[] = question.scheme === "sips" ? ["tls"] : ["udp", "tcp"];
  const found = order.find((each) => available.has(each));
  if (found !== undefined) return found;
  throw new LocationError(`${question.scheme}:${question.host}: no listen point for ${order.join(" or ")}`);
}

/** RFC 6761 6.3: never asked of a name server. */
function isLocalhost(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost");
}

function loopbacks(families: ReadonlySet<Family> | undefined): string[] {
  return families?.has(4) === false ? ["::1"] : ["127.0.0.1"];
}

function targetsAt(
  transport: TransportName,
  hosts: readonly string[],
  port: number | undefined,
  name: string | undefined,
): Target[] {
  return hosts.map((host) => ({
    transport,
    host: canonicalHost(host),
    port: port ?? defaultPort(transport),
    ...(name === undefined ? {} : { name }),
  }));
}

export function createLocator(resolver: Resolver, random: Random, clock: Clock): Locator {
  return new DnsLocator(new CachingResolver(resolver, clock), random);
}

class DnsLocator implements Locator {
  readonly #dns: Resolver;
  readonly #random: Random;

  constructor(dns: Resolver, random: Random) {
    this.#dns = dns;
    this.#random = random;
  }

  locateNow(uri: SipUri, options: LocateOptions): Target[] | undefined {
    const question = questionOf(uri, options.transports);
    const { host, port } = question;
    const local = isLocalhost(host);
    if (question.numeric === undefined && !local) return undefined;
    const hosts = local ? loopbacks(options.families) : [host];
    return targetsAt(plainTransport(question, options.transports), hosts, port, local ? host : undefined);
  }

  async locate(uri: SipUri, options: LocateOptions): Promise<Target[]> {
    const now = this.locateNow(uri, options);
    if (now !== undefined) return now;
    const question = questionOf(uri, options.transports);
    try {
      const targets = await this.#byName(question, options);
      if (targets.length > 0) return targets;
    } catch (error) {
      if (error instanceof LocationError) throw error;
      throw new LocationError(`${question.host}: the name could not be resolved`, { cause: error });
    }
    throw new LocationError(`${question.host}: the name has no address`);
  }

  async locateResponse(via: Via, transport: TransportName): Promise<Target[]> {
    const host = canonicalHost(via.host);
    if (familyOf(host) !== undefined) return targetsAt(transport, [host], via.port, undefined);
    const scheme = isSecure(transport) ? "sips" : "sip";
    const question: Question = { scheme, host, port: via.port, transport, numeric: undefined };
    try {
      const targets = await this.#byName(question, { transports: new Set([transport]) });
      if (targets.length > 0) return targets;
    } catch (error) {
      throw new LocationError(`${host}: the name could not be resolved`, { cause: error });
    }
    throw new LocationError(`${host}: the name has no address`);
  }

  async #byName(question: Question, options: LocateOptions): Promise<Target[]> {
    if (question.port === undefined) {
      const found = await this.#byService(question, options);
      if (found !== undefined) return found;
    }
    const transport = plainTransport(question, options.transports);
    const hosts = await this.#addresses(question.host, options.families);
    return targetsAt(transport, hosts, question.port, question.host).slice(0, MAX_TARGETS);
  }

  /** Undefined where the domain has no SRV records at all. */
  async #byService(question: Question, options: LocateOptions): Promise<Target[] | undefined> {
    const { host, scheme, transport } = question;
    let services: Service[] = [];
    if (transport === undefined) {
      // Name servers that fail on this type but know SRV are in use: a failure counts as no record.
      const records = await this.#dns.naptr(host).catch(() => []);
      services = orderNaptr(records, scheme, options.transports);
    }
    if (services.length === 0) services = srvNames(host, scheme, transport, options.transports);
    const answers = await Promise.all(services.map((each) => this.#dns.srv(each.srv)));
    if (answers.every((records) => records.length === 0)) return undefined;
    const targets: Target[] = [];
    for (const [index, service] of services.entries()) {
      for (const record of orderSrv(answers[index]!, this.#random)) {
        if (targets.length >= MAX_TARGETS) return targets;
        targets.push(...(await this.#atServer(service.transport, record, host, options.families)));
      }
    }
    return targets.slice(0, MAX_TARGETS);
  }

  /** RFC 5922 4: the name to be verified is the domain asked for, not the server that DNS named. */
  async #atServer(
    transport: TransportName,
    record: SrvRecord,
    domain: string,
    families: ReadonlySet<Family> | undefined,
  ): Promise<Target[]> {
    const hosts = await this.#addresses(record.name.replace(/\.$/, ""), families).catch(() => []);
    return targetsAt(transport, hosts, record.port, domain);
  }

  async #addresses(name: string, families: ReadonlySet<Family> | undefined): Promise<string[]> {
    const asked: Promise<readonly string[]>[] = [];
    if (families === undefined || families.has(6)) asked.push(this.#dns.aaaa(name));
    if (families === undefined || families.has(4)) asked.push(this.#dns.a(name));
    const answers = await Promise.allSettled(asked);
    const hosts = answers.flatMap((each) => (each.status === "fulfilled" ? each.value : []));
    const failed = answers.find((each) => each.status === "rejected");
    if (hosts.length === 0 && failed !== undefined) throw failed.reason;
    return hosts;
  }
}
