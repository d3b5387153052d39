import type { BindingOrigin, Damping } from "../directory/directory.ts";
import type { Routing } from "./routing-choice.ts";

/**
 * What is to be done with a request. Every plan carries the reasoning that led to it, in the order it was found;
 * `codomain explain` prints it, the log line carries it.
 */
export type Plan =
  | RelayPlan
  | ForkPlan
  | RedirectPlan
  | RejectPlan
  | BindPlan
  | HoldPlan
  | StorePlan
  | ReginfoPlan
  | ComposePlan
  | CreditPlan
  | SpreadPlan
  | WatcherinfoPlan;

interface Reasoned {
  /** Shared constants: never changed, cheap to carry. */
  readonly reasons: readonly string[];
}

/** The binding a plan relies on. */
export interface Reliance {
  readonly origin: BindingOrigin;
  readonly epoch: number;
  /**
   * True: a *not here* from the server unlearns the binding on its epoch and has the request decided once more `without`
   * that server (models.md, "Lifetimes"). False: it goes upstream as 404 and the binding stays.
   */
  readonly retry: boolean;
}

/** A learned binding found wrong on the way here: dropped first, while this epoch holds. */
export interface StaleBinding {
  readonly server: string;
  readonly epoch: number;
}

export interface RelayPlan extends Reasoned {
  readonly kind: "relay";
  readonly server: string;
  /** The binding relied on: what a 404 unlearns, what a proving 2xx renews. Null (a home server): a proving 2xx teaches. */
  readonly binding: Reliance | null;
  /** Request-URI rewritten to this host (subdomaining); null: left alone. */
  readonly subdomain: string | null;
  /** Full AoR by which the server knows the user, into Request-URI; null: the same. */
  readonly identity: string | null;
  readonly unlearn: StaleBinding | null;
}

export interface ForkPlan extends Reasoned {
  readonly kind: "fork";
  /** Asked in parallel, one stage after the other; the next only if all of the last said *not here*. No stage is empty. */
  readonly stages: readonly (readonly string[])[];
  /** Servers that cannot be asked now: they make a 404 a 480. */
  readonly unasked: readonly string[];
  /** Of the servers asked, those whose success teaches (their `proves` lists the method). */
  readonly provers: readonly string[];
  /** Server -> full AoR there, where it differs; null: nowhere. */
  readonly identities: Readonly<Record<string, string>> | null;
  readonly unlearn: StaleBinding | null;
}

export interface RedirectPlan extends Reasoned {
  readonly kind: "redirect";
  readonly server: string;
  /** Host handed out, if the server has a subdomain; else the server's own URI is. */
  readonly subdomain: string | null;
  /** Full AoR by which the server knows the user; null: the same. */
  readonly identity: string | null;
}

export interface RejectPlan extends Reasoned {
  readonly kind: "reject";
  readonly status: number;
  readonly phrase: string;
  /** Seconds; null: no such header. */
  readonly retryAfter: number | null;
  /** Text of a Warning header (399), null: none. */
  readonly warning: string | null;
  readonly unlearn: StaleBinding | null;
}

/** A claim: from a server it is judged and answered here; from a client it is relayed to `relayTo` and judged by its 2xx. */
export interface BindPlan extends Reasoned {
  readonly kind: "bind";
  readonly origin: "registered" | "published";
  /**
   * `deregister` gives the user up, where server and epoch still hold; `refresh` renews what the server has; `none` is
   * answered and changes no binding. What a client's REGISTER does only its 2xx tells, so that is `claim`.
   */
  readonly action: "claim" | "deregister" | "refresh" | "none";
  /** The server claimed for. */
  readonly server: string;
  /** Null: answered by us. */
  readonly relayTo: string | null;
  /** As in a relay, where `relayTo` is set and a binding led there. */
  readonly binding: Reliance | null;
  readonly subdomain: string | null;
  readonly identity: string | null;
  readonly conflict: "takeover" | "refuse";
  readonly refuseWith: 403 | 302;
  readonly equalRank: boolean;
  /** Null: takings are not counted. */
  readonly damping: Damping | null;
  /** How much longer than granted the binding lives, so that a refresh a little late is no new binding; milliseconds. */
  readonly graceMs: number;
  readonly unlearn: StaleBinding | null;
}

/** A SUBSCRIBE answered by us back-to-back: kept durably, and extended to whichever server has the user (models.md, "Exclusive"). */
export interface HoldPlan extends Reasoned {
  readonly kind: "hold";
  /** The server it is extended to now; null: the user is on none, it is held. */
  readonly server: string | null;
  /** Of the binding; where `server` is null, of the slot. */
  readonly epoch: number;
  /** True: refused with 404 where the user has no record and was never bound. */
  readonly known: boolean;
  /** Partitioned: one who is on no server is searched for, by the next SUBSCRIBE. */
  readonly searched: boolean;
}

/** A MESSAGE kept until it can be delivered, and answered 202 (models.md, "Stored messages"). */
export interface StorePlan extends Reasoned {
  readonly kind: "store";
  /** True: only if earlier messages of this sender are waiting; else it goes its way. */
  readonly behindOthers: boolean;
  /** Until a server of the user's is up, of whom no binding tells; absent: until he is bound to one that is. */
  readonly until?: "up";
}

/** A SUBSCRIBE to the reg event package of which we are the notifier (RFC 3680). */
export interface ReginfoPlan extends Reasoned {
  readonly kind: "reginfo";
  /** The server that asks. */
  readonly server: string;
  /** Null: for every user this server has. */
  readonly aor: string | null;
}

/** From where a unioned user is looked at: which servers are asked follows from it (`union-view.ts`), now and when the configuration changes. */
export interface UnionView {
  /** Server that asks; null: a client, another domain. */
  readonly from: string | null;
  /** `down`: it asks for its children's, as part of what it was asked itself. `up`: for its user, or as a child of its parent. */
  readonly direction: "up" | "down";
}

/** A SUBSCRIBE to presence answered by us back-to-back, with one document made of all these servers' (models.md, "Unioned"). */
export interface ComposePlan extends Reasoned {
  readonly kind: "compose";
  readonly view: UnionView;
  /** To be asked, in order; which of them are, the visited rows say. Not empty. */
  readonly servers: readonly string[];
  /** Peer: a server on a live chain of the pair is let in to what the chain has not visited, or told 482. */
  readonly visited: boolean;
  /** Credits to be committed before the first leg is opened: how often each server may send the subscription on. */
  readonly credits: Readonly<Record<string, number>>;
}

/** Whether what this server sends comes of what it was sent: a credit is spent if there is one, and it is decided again with `credit`. */
export interface CreditPlan extends Reasoned {
  readonly kind: "credit";
  readonly server: string;
}

/** A MESSAGE or INVITE to a user who is on several servers. */
export interface SpreadPlan extends Reasoned {
  readonly kind: "spread";
  /** In order of configuration. Those that cannot be asked now are not in it. Not empty. */
  readonly servers: readonly string[];
  readonly unasked: readonly string[];
  /** `user`: as the user's own setting and the request's Request-Disposition say; `all`: it is a server's part of the whole. */
  readonly choice: "user" | "all";
  /** Credits to be committed before it is sent: how often each server may send it on (hierarchical), or back (peer). */
  readonly credits: Readonly<Record<string, number>>;
  readonly identities: Readonly<Record<string, string>> | null;
  /** Which of them, and in which order, as it was chosen when it was carried out. */
  readonly routing?: Routing;
}

/** A SUBSCRIBE to watcher information of which we are the notifier (RFC 3857). */
export interface WatcherinfoPlan extends Reasoned {
  readonly kind: "winfo";
}
