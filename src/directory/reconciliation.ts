/**
 * What the sweep keeps that asks servers whether they really have their users: whose turn it is, how far it has come,
 * what it found. One proxy sweeps at a time; two for a moment do no harm, since whatever is repaired is repaired on the
 * epoch. `memory-reconciliation.ts` and `postgres/reconciliation.ts` pass one contract suite.
 */

/**
 * `repaired`: his server does not have him, and he was unbound. `pinned`: it does not have him, but an admin put him
 * there. `conflict`: it does not have him, and another server has.
 */
export const FINDING_KINDS = ["repaired", "pinned", "conflict"] as const;
export type FindingKind = (typeof FINDING_KINDS)[number];

export interface NewFinding {
  readonly aor: string;
  readonly kind: FindingKind;
  /** Where he is, or was, bound. */
  readonly server: string;
  readonly epoch: number;
  /** One sentence. */
  readonly detail: string;
}

export interface Finding extends NewFinding {
  /** Rises; text of digits. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface SweepState {
  /** Whose turn it is; null: nobody's. */
  readonly owner: string | null;
  /** The last user looked at in this round; empty: none yet. */
  readonly cursor: string;
  /** Users, in this round. */
  readonly checked: number;
  readonly rounds: number;
  /** Milliseconds since 1970; null: none yet. */
  readonly roundBeganAt: number | null;
  readonly roundEndedAt: number | null;
}

export interface FindingQuery {
  /** Older than this id, for paging; the newest come first. */
  readonly before?: string;
  /** At most 1000. */
  readonly limit: number;
}

export interface Reconciliation {
  /** Takes the turn, or keeps it; null: another has it. */
  take(owner: string, leaseMs: number): Promise<SweepState | null>;
  /** So many users more, up to this one; false: another has the turn. */
  advance(owner: string, cursor: string, checked: number): Promise<boolean>;
  /** The round is over. Forgets findings that are too old or too many. */
  endRound(owner: string, keptMs: number): Promise<boolean>;
  /** Another may take the turn at once. */
  release(owner: string): Promise<void>;
  state(): Promise<SweepState>;
  /** In place of what was noted of him under this kind. */
  note(finding: NewFinding): Promise<void>;
  /** Nothing is wrong with him any more: forgets all but repairs. */
  settle(aor: string): Promise<void>;
  findings(query: FindingQuery): Promise<readonly Finding[]>;
}

export const MOST_FINDINGS = 10_000;
