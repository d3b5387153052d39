import type { DecisionSettings, ModelFacts, Onward } from "../federation/facts.ts";
import type { Algorithm } from "../federation/routing-choice.ts";
import type { SipUri } from "../sip/message/uri.ts";

/** One federated server, as the proxy is told of it. */
export interface ServerOptions {
  readonly name: string;
  /** Where it listens; more than one for a cluster. Never empty. */
  readonly nodes: readonly SipUri[];
  readonly balance: "round-robin" | "failover";
  /** Names that its certificate or Via may carry besides its addresses. */
  readonly names: readonly string[];
  /** Canonical AoR -> the user part or AoR this server knows him by. */
  readonly identities: Readonly<Record<string, string>>;
  readonly onward: Onward;
  /** It never denies a watcher by itself. */
  readonly neverDenies: boolean;
  /** End-to-end headers that it leaves alone. */
  readonly preserves: readonly ("session-id" | "instance")[];
  readonly claims: readonly ("register" | "publish")[];
  readonly proves: readonly string[];
  /** Subdomain its users are handed out or rewritten under; null: none. */
  readonly subdomain: string | null;
  /** Whether a dialog with it can be one leg of a back-to-back subscription. */
  readonly repoint: boolean;
  /** Event packages it offers about registrations with it. */
  readonly offers: readonly "reg"[];
  /** How it is told to let go of a user it has lost. */
  readonly evict: "reginfo" | "register" | "none";
  /** What of a reginfo document it acts on: a terminated contact, or only a terminated registration. */
  readonly reginfo: "contact" | "whole";
}

export interface ModelRule {
  /** Glob over the canonical AoR. */
  readonly match: string;
  readonly model: ModelFacts;
}

/** What the proxy layer needs to know; server.ts makes it from the configuration. Replaced whole on reload. */
export interface ProxyOptions {
  /** Lower case; the first is the default one. */
  readonly domains: readonly string[];
  readonly servers: readonly ServerOptions[];
  readonly models: readonly ModelRule[];
  readonly routing: "proxy" | "redirect";
  /** Follow the contacts of a 3xx ourselves (RFC 3261 16.7 step 4). */
  readonly recurse: boolean;
  readonly clients: {
    readonly authenticate: "none" | "digest";
    readonly realm: string;
    readonly home: string | null;
  };
  /** Non-INVITE decisions fall within this time of receipt, milliseconds. */
  readonly decisionMs: number;
  /** For whom subscriptions are held, and of which event packages while the user is on no server. */
  readonly hold: { readonly users: "known" | "any"; readonly events: readonly string[] };
  /** What becomes of a MESSAGE that cannot be delivered now. */
  readonly absentMessages: "refuse" | "store";
  /** MESSAGEs to users of several servers. */
  readonly imRouting: {
    /** Of users who have no setting of their own. */
    readonly algorithm: Algorithm;
    /** What such a user writes from one of his servers is shown to the others. */
    readonly copies: boolean;
  };
  /** Trees over servers, and whether some listener is for what goes down in them. */
  readonly unions: DecisionSettings["unions"];
  /** Claims in the exclusive model. */
  readonly exclusive: DecisionSettings["exclusive"];
  /** Timer C, milliseconds; more than 3 minutes (RFC 3261 16.6 step 11). */
  readonly timerCMs: number;
  readonly learnedMs: number;
  /** Retry-After of a 480 or 500, seconds. */
  readonly retryAfterS: number;
  readonly health: {
    /** Milliseconds between probes of a node; 0: no probes. */
    readonly intervalMs: number;
    /** Consecutive failures that take a node out of rotation. */
    readonly failures: number;
    readonly timeoutMs: number;
  };
  /** Requests that may wait on open forks, and forked SUBSCRIBEs remembered for their NOTIFYs, at most. */
  readonly maxWaiting: number;
}
