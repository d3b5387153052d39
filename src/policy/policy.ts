import type { XmlElement } from "../presence/xml.ts";

/**
 * Who may see whom, who may write to whom: the one decision interface, whoever decides (models.md, "Identity and policy").
 * Ways: rules kept in the directory (`root-only`, `central`), an external decision point or an embedded one (`pdp`), or
 * nobody here (`distributed`: each server keeps its own).
 */

/** RFC 5025 3.2.1, in rising order. */
export const HANDLINGS = ["block", "confirm", "polite-block", "allow"] as const;
export type Handling = (typeof HANDLINGS)[number];

export type Contact = "MESSAGE" | "INVITE";

export interface Question {
  /** Canonical AoR of the watcher, sender or caller, and whether it may be believed: rules that name someone do not match one who is not. */
  readonly watcher: string;
  readonly trusted: boolean;
  /** Canonical AoR of the user. */
  readonly aor: string;
  /** Event package of a SUBSCRIBE; empty for others. */
  readonly event: string;
  /** The user's, by his document as it was published (`sphereOf`); null or absent: not known, or they differ (RFC 5025 3.1.2). */
  readonly sphere?: string | null;
}

/** What a watcher may see. */
export interface WatcherVerdict {
  readonly handling: Handling;
  /** What is taken out of a document before he is shown it (RFC 5025 3.3); null: nothing is. Pure. */
  readonly transform: ((presence: XmlElement) => XmlElement) | null;
  /** Tells two transformations apart: the same text, the same transformation. Empty: none. */
  readonly transformKey: string;
  /** Which rule decided, for people: `rule friends`, `default`, `pdp https://…`. */
  readonly rule: string;
  /** When it may be another, milliseconds since 1970 (validity, cache); null: only when a change is told. */
  readonly until: number | null;
  /** It may be another where the user's sphere is. */
  readonly bySphere: boolean;
  /**
   * False: nobody could be asked, and the handling is the one kept for that. A new SUBSCRIBE is better told so (500 with
   * Retry-After) than refused for good; whoever watches already is shown nothing until it is known.
   */
  readonly known: boolean;
}

/** Whether a MESSAGE or INVITE may reach the user. */
export interface SenderVerdict {
  readonly allowed: boolean;
  readonly rule: string;
  /** As of WatcherVerdict. */
  readonly known: boolean;
}

export interface Policy {
  /** False: nothing is decided here, and nobody need ask. */
  readonly active: boolean;
  /** Whether anything is decided here about this user; absent: about all, where it is active. */
  governs?(aor: string): boolean;
  /** At once where it is known. Never rejects: where nobody can be asked, it fails closed or as it was told to. */
  watcher(question: Question): WatcherVerdict | Promise<WatcherVerdict>;
  sender(question: Question, method: Contact): SenderVerdict | Promise<SenderVerdict>;
  /** Told when verdicts about a user may have changed; null: about anybody. Returns the way to end it. */
  onChange(listener: (aor: string | null) => void): () => void;
  /** How it is decided, for people; asks as a request would. @param method null: he wants to watch. */
  explain?(question: Question, method: Contact | null): Promise<PolicyExplanation>;
}

/** Whether anything is decided here about this user: where nothing is anywhere, one comparison. */
export function isGoverned(policy: Policy, aor: string): boolean {
  return policy.active && policy.governs?.(aor) !== false;
}

/** What `codomain explain` and the admin API show of one decision. */
export interface PolicyExplanation {
  /** `distributed`, `root-only`, `central`, `pdp`. */
  readonly way: string;
  /** `allow`, `confirm`, …; of a MESSAGE or INVITE `allow` or `block`. `unknown`: nobody can be asked now. */
  readonly decision: string;
  readonly rule: string;
  /** ISO 8601; null: until a change is told. */
  readonly until: string | null;
  /** For people: the decision first, then how it came about. */
  readonly lines: readonly string[];
}

/** Way `distributed`: each server's own policy is all there is. */
export const NO_POLICY: Policy = {
  active: false,
  watcher: () => ({ ...ALLOWED, rule: "none here" }),
  sender: () => ({ allowed: true, rule: "none here", known: true }),
  onChange: () => () => undefined,
};

/** Everything may be seen. */
export const ALLOWED: WatcherVerdict = {
  handling: "allow",
  transform: null,
  transformKey: "",
  rule: "",
  until: null,
  bySphere: false,
  known: true,
};
