import type { Directory, DirectoryCache } from "../directory/directory.ts";
import type { DecisionSettings } from "../federation/facts.ts";
import type { IdentityTable } from "../federation/identity.ts";
import type { ModelTable } from "../federation/model.ts";
import type { OriginTable } from "../federation/origin.ts";
import type { Policy } from "../policy/policy.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { SipUri } from "../sip/message/uri.ts";
import type { TransactionLayer } from "../sip/transaction/transaction.ts";
import type { Target, TransportLayer } from "../sip/transport/transport.ts";
import type { Telemetry } from "../telemetry/events.ts";
import type { DigestNonces } from "./digest.ts";
import type { Exchange } from "./exchange.ts";
import type { Handlers } from "./handlers.ts";
import type { ImRouting } from "./im-routing.ts";
import type { KnownCredentials } from "./known-credentials.ts";
import type { OpenForks } from "./open-forks.ts";
import type { OpenSpreads } from "./open-spreads.ts";
import type { ProxyOptions } from "./options.ts";
import type { Repeats } from "./repeats.ts";
import type { Rotation } from "./rotation.ts";
import type { RouteKeys } from "./route-header.ts";
import type { SubscriptionForks } from "./subscription-forks.ts";

/** What the steps of the proxy work with. One a process; `options` and the tables made from them change on reload. */
export interface Core {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly transport: TransportLayer;
  readonly transactions: TransactionLayer;
  readonly directory: Directory;
  readonly cache: DirectoryCache;
  readonly rotation: Rotation;
  readonly keys: RouteKeys;
  readonly openForks: OpenForks;
  readonly subscriptionForks: SubscriptionForks;
  readonly nonces: DigestNonces;
  readonly credentials: KnownCredentials;
  readonly imRouting: ImRouting;
  readonly repeats: Repeats;
  readonly openSpreads: OpenSpreads;
  readonly options: ProxyOptions;
  readonly origins: OriginTable;
  readonly models: ModelTable;
  readonly identities: IdentityTable;
  readonly settings: DecisionSettings;
  /** Who may watch whom, who may write to whom. */
  readonly policy: Policy;
  /** What is carried out beside the proxy. */
  readonly handlers: Handlers;
  /** New work outside dialogs is turned away with 503. */
  readonly draining: boolean;
  /** A step threw: it is answered 500 and reported, and nothing else suffers. */
  failed(exchange: Exchange, error: Error): void;
  /** What every branch of this process begins with. */
  readonly branchPrefix: string;
  /** A new branch with the loop detection value as its second part (RFC 5393 4.2.1). */
  branch(loopHash: string): string;
  /** Where these URIs are, in order; at once where no name has to be resolved. Empty: nowhere. Never rejects. */
  locate(uris: readonly SipUri[]): readonly Target[] | Promise<readonly Target[]>;
  /** The server with a node at this address. */
  serverAt(host: string, port: number): string | undefined;
  /** True for a Route value that names this proxy: an address of ours, or a domain of ours (RFC 3261 16.4). */
  isOwnHop(uri: SipUri): boolean;
  /** True for an address of ours, and for a domain of ours at a port we listen on. */
  isOwnName(host: string, port: number | undefined): boolean;
  /** True for our domains, their servers' subdomains, and our own addresses. */
  isOurs(uri: SipUri): boolean;
  /** The user's AoR in his own domain, from what a subdomain, an address of ours or `server` calls him. */
  canonical(aor: string, server: string | null): string;
}
