import type { Directory } from "../directory/directory.ts";
import type { Origin, ServerFacts } from "../federation/facts.ts";
import type { UnionView } from "../federation/plan.ts";
import type { Sender } from "../federation/sender.ts";
import type { Policy } from "../policy/policy.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { SipUri } from "../sip/message/uri.ts";
import type { Outbound } from "../sip/transaction/outbound.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import type { ListenPoint } from "../sip/transport/transport.ts";
import type { Telemetry } from "../telemetry/events.ts";

/** What the subscription layer asks of the program around it, and no more. */

export interface SubscriptionParts {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly directory: Pick<Directory, "leases" | "subscriptions" | "unions" | "onChange">;
  readonly outbound: Outbound;
  readonly servers: ServerDesk;
  /** Who may watch whom. */
  readonly policy: Policy;
  /** Where this proxy listens; empty before it does. */
  readonly points: () => readonly ListenPoint[];
}

/** What is known of the domain's servers. */
export interface ServerDesk {
  /** Whether a dialog with it can be a leg of ours (`repoint`). */
  takesLegs(server: string): boolean;
  /**
   * A partitioned user is there, by an active NOTIFY, or is not, by a 404: what was learned of him is renewed, or dropped at this
   * epoch.
   */
  learned(aor: string, server: string, epoch: number, isThere: boolean): void;
  /** How a server is asked about a user; from memory at once where it can be. Never rejects. */
  nameOn(aor: string, server: string): ServerName | Promise<ServerName>;
  /** Which of a unioned user's servers are asked, as it is now; from memory at once where it can be. Never rejects. */
  union(aor: string, view: UnionView): UnionFound | Promise<UnionFound>;
  /** It is one of the servers of this unioned user, or may be. */
  isMember(aor: string, server: string): boolean;
  /** Where it cannot be asked the whole is shown without it (`unreachable: without`, `policy: none`). */
  mayBeMissing(server: string): boolean;
  /** What it does with requests, and leaves alone of them. */
  traits(server: string): Pick<ServerFacts, "onward" | "preserves"> | null;
  /** A node of one of the servers, which are trusted (RFC 3325). */
  isServer(host: string, port: number): boolean;
  /** Told of every server that comes back into rotation. Returns the way to end it. */
  onUp(listener: (server: string) => void): () => void;
}

/** `elsewise`: he is of another model now, or on no server. `away`: nobody can say for the moment. */
export type UnionFound = UnionNow | "elsewise" | "away";

export interface UnionNow {
  /** In order, none twice. Not empty. */
  readonly servers: readonly string[];
  /** How often each of them will send it on, where only credits tell. */
  readonly credits: Readonly<Record<string, number>>;
  /** Peer: a visited row is taken before a server is asked. */
  readonly visited: boolean;
  /**
   * Of each that sends it on to its own children: who is asked in its place where it drops out. Others, and it is to be
   * asked anew.
   */
  readonly below: Readonly<Record<string, readonly string[]>>;
  /** Who asks is the root of a tree: its own users' requests and what it sends on cannot be told apart, and need not be. */
  readonly fromRoot: boolean;
}

export interface ServerName {
  /** Full AoR by which the server knows him. */
  readonly identity: string;
  /** The Request-URI: the identity, or the user under the server's subdomain. */
  readonly uri: string;
}

/** A request handed over by the proxy. */
export interface Handed {
  readonly transaction: ServerTransaction;
  /** As it is to be read: our own Route values are gone. */
  readonly request: SipRequest;
  readonly origin: Origin;
  /** Canonical AoR it is for; empty in a dialog. */
  readonly aor: string;
  readonly event: string;
  readonly sender: Sender;
  /** Names this request where a credit was spent for it (`UnionStore.spend`); else empty. */
  readonly spender: string;
  respond(response: SipResponse): void;
}

export type InDialog =
  | "answered"
  /** Another proxy owns the dialog: it is to be sent there. */
  | { readonly forwardTo: SipUri };
