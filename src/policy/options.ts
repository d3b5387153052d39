import type { Defaults } from "./decider.ts";
import type { Handling } from "./policy.ts";

/**
 * Who decides about the users of a domain (models.md, "Identity and policy"). `distributed`: each of their servers by itself.
 * `root-only`: we, by the users' rules. `central`: the same, and the rules are pushed to the servers too. `pdp`: a decision
 * point.
 */
export const WAYS = ["distributed", "root-only", "central", "pdp"] as const;
export type Way = (typeof WAYS)[number];

export interface PolicyOptions {
  /** By domain, in lower case; of what is in none nothing is decided. */
  readonly domains: Readonly<Record<string, DomainPolicy>>;
  /** For the domains whose way is `pdp`; null: there are none. */
  readonly point: PointOptions | null;
}

export interface DomainPolicy extends Defaults {
  readonly way: Way;
}

export type PointOptions =
  | ({ readonly kind: "authzen" } & AuthzenOptions)
  | ({ readonly kind: "cedar" } & CedarOptions);

/** A decision point that speaks the OpenID AuthZEN Authorization API 1.0. */
export interface AuthzenOptions {
  /** Its identifier: the base of its endpoints. */
  readonly url: string;
  /** Bearer token; null: none. */
  readonly token: string | null;
  /** PEM text; null: the system's authorities. */
  readonly ca: string | null;
  /** For one question, from asking to the answer. */
  readonly timeoutMs: number;
  /** How long a decision is believed. 0: asked every time. */
  readonly cacheMs: number;
  /** Decisions remembered at most. */
  readonly entries: number;
  /** How long beyond that the last decision stands in while the point is away. */
  readonly staleMs: number;
  /** What is decided while nobody can be asked and nothing stands in; `block` is told apart from a decision (Policy). */
  readonly unavailable: Handling;
  /** Questions in one request, and requests under way, at most. */
  readonly batch: number;
  readonly connections: number;
}

/** Policies evaluated here, in Cedar. */
export interface CedarOptions {
  /** For people. */
  readonly file: string;
  readonly text: string;
}

export const NO_POLICY_OPTIONS: PolicyOptions = { domains: {}, point: null };
