import type { Origin } from "./facts.ts";

/**
 * Where a request came from (models.md, "The way of one request"), in this order: a name of its TLS certificate; its
 * source address and port; its source address alone, where one server uses it; the top Via's sent-by, where the source
 * address is one of that server's. Anything else is unknown, and the listener decides.
 */

/** How one server can be told by what it sends. */
export interface OriginServer {
  readonly name: string;
  /** Addresses it sends from. A name for a host is only found in certificates and Via. */
  readonly nodes: readonly { readonly host: string; readonly port?: number | undefined }[];
  /** More names of its certificate and Via. */
  readonly names: readonly string[];
}

export interface OriginPeer {
  readonly domain: string;
  /** Names of its certificate. */
  readonly names: readonly string[];
}

/** What the transport knows of a request's way here. */
export interface OriginInput {
  readonly peerNames: readonly string[];
  readonly sourceHost: string;
  readonly sourcePort: number;
  /** What the listener makes of an origin that is no server. */
  readonly unknown: "refuse" | "client";
  /** The AoR a client proved to be, null: none. */
  readonly authenticated: string | null;
}

/** The top Via, or what has one: a request. Read only where the source address does not tell. */
export interface ViaHolder {
  readonly via: { readonly host: string; readonly port?: number | undefined; readonly transport: string };
}

/** Who sends from, or calls itself by, one host. */
interface Host {
  readonly ports: Map<number, Origin>;
  readonly servers: Set<Origin>;
  /** Null where several servers share it. */
  only: Origin | null;
}

export interface OriginTable {
  /** Null: several carry the name, so that it tells nothing. */
  readonly names: ReadonlyMap<string, Origin | null>;
  readonly hosts: ReadonlyMap<string, Readonly<Host>>;
}

const CLIENT: Origin = Object.freeze({ kind: "client", authenticated: null });
const UNKNOWN: Origin = Object.freeze({ kind: "unknown" });
const DEFAULT_PORTS: readonly number[] = [5060, 5061];

/** The origin of a request; one of kind `unknown` is refused (403). Allocates nothing but for an authenticated client. */
export function identifyOrigin(input: OriginInput, message: ViaHolder, table: OriginTable): Origin {
  const { peerNames } = input;
  for (let i = 0; i < peerNames.length; i++) {
    const named = table.names.get(peerNames[i]!) ?? table.names.get(peerNames[i]!.toLowerCase());
    if (named != null) return named;
  }
  const source = table.hosts.get(input.sourceHost) ?? table.hosts.get(normalHost(input.sourceHost));
  if (source !== undefined) {
    const exact = source.ports.get(input.sourcePort);
    if (exact !== undefined) return exact;
    if (source.only !== null) return source.only;
    const claimed = sentBy(message, table);
    if (claimed !== null && source.servers.has(claimed)) return claimed;
  }
  if (input.authenticated !== null) return { kind: "client", authenticated: input.authenticated };
  return input.unknown === "client" ? CLIENT : UNKNOWN;
}

function sentBy(message: ViaHolder, table: OriginTable): Origin | null {
  const { host, port, transport } = message.via;
  const normal = normalHost(host);
  const called = table.hosts.get(normal);
  if (called === undefined) return table.names.get(normal) ?? null;
  // RFC 3261 18.1.1: without a port, sent-by means the transport's default one.
  return called.ports.get(port ?? (transport.toUpperCase() === "TLS" ? 5061 : 5060)) ?? called.only;
}

/** Compiled once per configuration. Two servers on one address and port: the first is taken. */
export function buildOriginTable(servers: readonly OriginServer[], peers: readonly OriginPeer[] = []): OriginTable {
  const names = new Map<string, Origin | null>();
  const hosts = new Map<string, Host>();
  for (const server of servers) {
    const origin: Origin = Object.freeze({ kind: "server", server: server.name });
    for (const name of server.names) addName(names, name, origin);
    for (const node of server.nodes) {
      const host = normalHost(node.host);
      addName(names, host, origin);
      let entry = hosts.get(host);
      if (entry === undefined) {
        entry = { ports: new Map(), servers: new Set(), only: origin };
        hosts.set(host, entry);
      }
      entry.servers.add(origin);
      if (entry.servers.size > 1) entry.only = null;
      for (const port of node.port === undefined ? DEFAULT_PORTS : [node.port]) {
        if (!entry.ports.has(port)) entry.ports.set(port, origin);
      }
    }
  }
  for (const peer of peers) {
    const origin: Origin = Object.freeze({ kind: "peer", domain: peer.domain });
    for (const name of peer.names) addName(names, name, origin);
  }
  return { names, hosts };
}

function addName(names: Map<string, Origin | null>, name: string, origin: Origin): void {
  const key = normalHost(name);
  const before = names.get(key);
  names.set(key, before === undefined || before === origin ? origin : null);
}

/** Lower case, no brackets, IPv4-mapped addresses as IPv4, IPv6 in its canonical form (RFC 5952). */
export function normalHost(host: string): string {
  let text = host.toLowerCase();
  if (text.startsWith("[") && text.endsWith("]")) text = text.slice(1, -1);
  if (!text.includes(":")) return text;
  const zone = text.indexOf("%");
  if (zone !== -1) text = text.slice(0, zone);
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (mapped !== null) return mapped[1]!;
  try {
    return new URL(`http://[${text}]/`).hostname.slice(1, -1);
  } catch {
    return text;
  }
}
