/**
 * Users' rules on their way to servers that keep their own (models.md, "central provisioning"): the port. One row for a
 * user and a server he is or was on: what it should have, and what it has. Nothing is lost by a crash: what is taken and
 * not ended is due again. `memory-pushes.ts` and `postgres/pushes.ts` pass one contract suite.
 */

export const PUSH_STATES = ["waiting", "pushed", "failed"] as const;
export type PushState = (typeof PUSH_STATES)[number];

/** What is to be brought to a server, for whoever took it. */
export interface Push {
  readonly aor: string;
  readonly server: string;
  /** Tag of what the server should have; empty: no document. */
  readonly wanted: string;
  /** Tag of what it has; null: nothing was ever pushed. */
  readonly pushed: string | null;
  /** This one counted; begins at 1 with every change. */
  readonly tries: number;
  /** Of this taking. */
  readonly fence: number;
}

export type PushEnd =
  /** The server has what was wanted. */
  | { readonly end: "pushed"; readonly reductions: readonly string[] }
  /** Nothing is there any more, and nothing is kept of it. */
  | { readonly end: "removed" }
  /** To be tried again. */
  | { readonly end: "failed"; readonly error: string; readonly retryMs: number };

export interface PushRow extends Omit<Push, "fence"> {
  readonly state: PushState;
  /** What of the rules the server cannot express, one sentence each. */
  readonly reductions: readonly string[];
  readonly error: string | null;
  /** Milliseconds since 1970; null: nothing is to be done. */
  readonly dueAt: number | null;
  readonly changedAt: number;
}

export interface PushQuery {
  readonly aor?: string;
  readonly server?: string;
  readonly state?: PushState;
  /** Only those that could not be expressed whole. */
  readonly reduced?: boolean;
  /** Exclusive lower bound: the last row of the page before. */
  readonly after?: { readonly aor: string; readonly server: string };
  /** At most MOST_PUSHES. */
  readonly limit: number;
}

export interface PushCount {
  readonly server: string;
  readonly state: PushState;
  readonly count: number;
  readonly reduced: number;
}

export interface Pushes {
  /**
   * These servers should have what `wanted` names, and so should all that a row is kept of; where they have it, nothing is
   * done. Safe to repeat.
   * @param again also where it was pushed.
   */
  want(aor: string, servers: readonly string[], wanted: string, again?: boolean): Promise<void>;
  /** What is due, for this caller alone until it is ended or `leaseMs` have passed: also where something else is wanted meanwhile. */
  take(limit: number, leaseMs: number): Promise<readonly Push[]>;
  /** What became of it; where something else is wanted meanwhile, that is due at once. Acts once, while nobody else took it. */
  end(push: Push, end: PushEnd): Promise<void>;
  /** By AoR and server. */
  list(query: PushQuery): Promise<readonly PushRow[]>;
  counts(): Promise<readonly PushCount[]>;
}

export const MOST_PUSHES = 1000;
