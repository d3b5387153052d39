import type { PolicyOptions } from "../policy/options.ts";
import type { Expression } from "../provisioning/reduce.ts";

/** The configuration as the program uses it: defaults filled in, names checked, durations in milliseconds, frozen. */
export interface Config {
  /** At least one, lower case. */
  readonly domains: readonly string[];
  /** This proxy's name in leases, forks and the audit trail; differs from proxy to proxy on one database. */
  readonly proxyName: string;
  readonly listen: readonly ListenConfig[];
  readonly database: DatabaseConfig;
  readonly admin: AdminConfig;
  /** In the order written; at least one. */
  readonly servers: readonly ServerConfig[];
  readonly trees: readonly TreeConfig[];
  /** In the order written: the first match wins; none: partitioned. */
  readonly models: readonly ModelRule[];
  readonly clients: ClientsConfig;
  readonly messages: MessagesConfig;
  readonly subscriptions: SubscriptionsConfig;
  readonly exclusive: ExclusiveConfig;
  readonly reconcile: ReconcileConfig;
  /** Of every domain served who decides. */
  readonly policy: PolicyOptions;
  /** `redirect`: 302 in place of relaying. */
  readonly routing: "proxy" | "redirect";
  /** Within this a non-INVITE fork is decided. */
  readonly decisionMs: number;
  /** Follow 3xx by itself (RFC 3261 16.5) instead of forwarding it. */
  readonly recurse: boolean;
  readonly timers: TimersConfig;
  readonly limits: LimitsConfig;
  readonly health: HealthConfig;
  /** How long a learned binding lives. */
  readonly learnedMs: number;
  /** How long "all said 404" is remembered. */
  readonly absentMs: number;
  readonly logging: LoggingConfig;
  /** Where copies of all messages go; null: nowhere. */
  readonly capture: CaptureConfig | null;
}

export type ListenTransport = "udp" | "tcp" | "tls" | "ws" | "wss";

export interface ListenConfig {
  /** As written, for messages. */
  readonly url: string;
  readonly transport: ListenTransport;
  /** An IP address without brackets. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** `host` or `host:port` that Via and Record-Route say in place of the address bound; null: the address bound. */
  readonly advertise: string | null;
  readonly direction: "up" | "down";
  readonly unknown: "refuse" | "client";
  /** Present exactly for tls and wss. */
  readonly tls: TlsConfig | null;
}

/** PEM text; the files were read. */
export interface TlsConfig {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | null;
  readonly verify: boolean;
}

export type DatabaseConfig =
  /** `path`: absolute. */
  { readonly kind: "embedded"; readonly path: string } | { readonly kind: "postgres"; readonly url: string };

export interface AdminConfig {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** null: none is asked for, which only a loopback address may. */
  readonly token: string | null;
}

export interface NodeConfig {
  /** As written. */
  readonly uri: string;
  readonly secure: boolean;
  /** A lower-case name, or an IP address without brackets. */
  readonly host: string;
  /** null: none written; RFC 3263 decides. */
  readonly port: number | null;
  /** null: none written; RFC 3263 decides. */
  readonly transport: ListenTransport | null;
}

export type ProvingMethod = "MESSAGE" | "INVITE" | "SUBSCRIBE" | "PUBLISH" | "OPTIONS";

export interface ServerConfig {
  readonly name: string;
  /** At least one. */
  readonly nodes: readonly NodeConfig[];
  /** `failover`: the first node in rotation, in the order written. */
  readonly balance: "round-robin" | "failover";
  /** Names its certificate or its Via may carry besides its nodes' hosts; lower case. */
  readonly names: readonly string[];
  /** Canonical AoR -> user part or full AoR by which this server knows him. */
  readonly identities: Readonly<Record<string, string>>;
  readonly onward: "none" | "up" | "children" | "both";
  readonly claims: readonly ("register" | "publish")[];
  readonly proves: readonly ProvingMethod[];
  readonly reginfo: "contact" | "whole";
  readonly evict: "reginfo" | "register" | "none";
  readonly preserves: readonly ("session-id" | "instance")[];
  readonly policy: "own" | "none";
  /** Event packages by which is learned who is on it (RFC 3680). */
  readonly offers: readonly "reg"[];
  readonly repoint: boolean;
  /** Host under which its users are handed out, `user@host`; null: none. */
  readonly subdomain: string | null;
  /** Where it takes its users' rules from us; null: nowhere. */
  readonly xcap: XcapConfig | null;
}

export interface XcapConfig {
  /** Without a slash at its end. */
  readonly url: string;
  readonly user: string | null;
  readonly password: string | null;
  readonly expresses: readonly Expression[];
}

export interface TreeConfig {
  readonly name: string;
  readonly root: string;
  /** Server -> its children; servers without children are left out. */
  readonly children: Readonly<Record<string, readonly string[]>>;
}

export type ModelRule = {
  /** `user@host`, where `*` stands for any run of characters. */
  readonly match: string;
} & (
  | { readonly model: "partitioned" }
  | { readonly model: "exclusive"; readonly conflict: "takeover" | "refuse"; readonly refuseWith: 403 | 302 }
  | { readonly model: "unioned"; readonly style: "hierarchical"; readonly tree: string }
  | { readonly model: "unioned"; readonly style: "peer"; readonly servers: readonly string[] }
);

export interface ClientsConfig {
  readonly authenticate: "none" | "digest";
  readonly realm: string;
  /** Where an unbound user's REGISTER goes, and a partitioned user's PUBLISH; null: nowhere. */
  readonly home: string | null;
}

export interface MessagesConfig {
  readonly absent: "refuse" | "store";
  readonly keepMs: number;
  readonly rememberMs: number;
  readonly perRecipient: number;
  readonly octetsPerRecipient: number;
  readonly perSender: number;
  readonly routing: "all" | "mostactive" | "roundrobin" | "weighted";
  readonly copies: boolean;
}

export interface SubscriptionsConfig {
  readonly hold: "known" | "any";
  readonly holdEvents: readonly string[];
  readonly unreachable: "wait" | "without";
  readonly longestExpiryMs: number;
  /** 0: no least. */
  readonly shortestExpiryMs: number;
  readonly notifyIntervalMs: number;
  /** What one proxy keeps at most. */
  readonly perWatcher: number;
  readonly perUser: number;
  readonly perOrigin: number;
  readonly most: number;
}

/** Claims in the exclusive model. */
export interface ExclusiveConfig {
  /** How much longer than granted a binding lives. */
  readonly graceMs: number;
  /** So many takings of one user by another server at a stretch, forgotten over a window; null: as many as there are. */
  readonly damping: { readonly limit: number; readonly windowMs: number } | null;
}

/** The check of the directory against the servers. */
export interface ReconcileConfig {
  /** 0: none. */
  readonly usersPerSecond: number;
  readonly restMs: number;
}

/** Milliseconds; RFC 3261 17.1.1.1 and 16.6 step 11. */
export interface TimersConfig {
  readonly t1: number;
  readonly t2: number;
  readonly t4: number;
  readonly c: number;
}

export interface LimitsConfig {
  /** From one source address that is no server's; 0: no limit. */
  readonly messagesPerSecond: number;
  readonly connections: number;
  readonly connectionsPerSource: number;
  /** A connection without traffic is closed after this many milliseconds. */
  readonly connectionIdleMs: number;
  /** Live transactions; more are answered 503. */
  readonly transactions: number;
  /** Octets of completed transactions kept to answer retransmissions. */
  readonly completedBytes: number;
  /** Users in the directory cache. */
  readonly cacheEntries: number;
}

export interface HealthConfig {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Consecutive ones that take a node out of rotation. */
  readonly failures: number;
}

export type LogLevel = "off" | "error" | "warn" | "info" | "debug";

export interface LoggingConfig {
  readonly level: LogLevel;
}

/** A Homer collector, by HEP version 3 over UDP. */
export interface CaptureConfig {
  /** An IP address without brackets. */
  readonly host: string;
  readonly port: number;
  readonly agent: number;
  readonly key: string | null;
}

/** Freezes a value and all it holds. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const each of Object.values(value)) deepFreeze(each);
  }
  return value;
}
