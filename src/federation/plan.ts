/**
 * What is to be done with a request. Every plan carries the reasoning that led to it, in the order it was found;
 * `codomain explain` prints it, the log line carries it.
 */
export type Plan =
  | RelayPlan
  | ForkPlan
  | RedirectPlan
  | RejectPlan
  | BindPlan;

interface Reasoned {
  readonly reasons: readonly string[];
}

export interface RelayPlan extends Reasoned {
  readonly kind: "relay";
  readonly server: string;
  /** The binding relied on: what a 404 unlearns, what a proving 2xx renews. */
  readonly binding: { readonly origin: string; readonly epoch: number } | null;
  /** Request-URI rewritten to this host (subdomaining); null: left alone. */
  readonly subdomain: string | null;
}

export interface ForkPlan extends Reasoned {
  readonly kind: "fork";
  /** Asked in parallel, one stage after the other; the next only if all of the last said *not here*. No stage is empty. */
  readonly stages: readonly (readonly string[])[];
  /** Servers that cannot be asked now: they make a 404 a 480. */
  readonly unasked: readonly string[];
  /** A learned binding found wrong on the way here: dropped first, while this epoch holds. */
  readonly unlearn: { readonly server: string; readonly epoch: number } | null;
}

export interface RedirectPlan extends Reasoned {
  readonly kind: "redirect";
  readonly server: string;
  /** Host handed out, if the server has a subdomain; else the server's own URI is. */
  readonly subdomain: string | null;
}

export interface RejectPlan extends Reasoned {
  readonly kind: "reject";
  readonly status: number;
  readonly phrase: string;
  /** Seconds; null: no such header. */
  readonly retryAfter: number | null;
  /** Text of a Warning header (399), null: none. */
  readonly warning: string | null;
  readonly unlearn: { readonly server: string; readonly epoch: number } | null;
}

/** A claim: from a server it is judged and answered here; from a client it is relayed to `relayTo` and judged by its 2xx. */
export interface BindPlan extends Reasoned {
  readonly kind: "bind";
  readonly origin: "registered" | "published";
  /** The server claimed for. */
  readonly server: string;
  /** Null: answered by us. */
  readonly relayTo: string | null;
  readonly conflict: "takeover" | "refuse";
  readonly refuseWith: 403 | 302;
  readonly equalRank: boolean;
}
