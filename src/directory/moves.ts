/**
 * Users moved in bulk: the journal, as a port. A *batch* is a list of *steps*, one a user; it is filled first, then run by
 * one proxy at a time under a lease and a fencing epoch, and whoever takes it over goes on where the journal ends. Each
 * step is `Directory.move`, a test-and-set of its own: the journal says what was done, never what may be done.
 * `memory-moves.ts` and `postgres/moves.ts` pass one contract suite. Every write may be repeated with the same outcome.
 */

/**
 * `filling`: whoever made it still adds steps. `running`: its owner fills it, then works on it. `paused`: kept as it is.
 * `cancelled` and `done` are final; of a cancelled one the steps that were not begun stay `waiting`.
 */
export type BatchState = "filling" | "running" | "paused" | "cancelled" | "done";

/**
 * `waiting`; `preparing` (second legs go up) or `moving`: begun, its epoch written down before the move is sent; `moved`;
 * `refused`, with a reason; `undone`: was moved, and another batch moved the user back. The first three are *open*.
 */
export const STEP_STATES = ["waiting", "preparing", "moving", "moved", "refused", "undone"] as const;
export type StepState = (typeof STEP_STATES)[number];

export const OPEN_STEPS: readonly StepState[] = ["waiting", "preparing", "moving"];

/** Where the steps of a batch come from. */
export type BatchSource =
  /** Its maker adds them. */
  | { readonly kind: "list" }
  /** All who are bound to a server when it is filled. */
  | { readonly kind: "server"; readonly from: string; readonly to: string }
  /** What another batch moved, the other way round. */
  | { readonly kind: "undo"; readonly of: string };

export interface NewBatch {
  /** Chosen by the caller, so that a repeat makes no second one. */
  readonly id: string;
  readonly source: BatchSource;
  /** Users a second, at most. */
  readonly rate: number;
  readonly makeBeforeBreak: boolean;
  readonly actor: string;
}

export interface MoveBatch extends NewBatch {
  readonly state: BatchState;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly endedAt: number | null;
  /** False: `total` still grows. */
  readonly filled: boolean;
  readonly total: number;
  readonly moved: number;
  readonly refused: number;
  /** Of those moved, how many another batch moved back. */
  readonly undone: number;
  /** Who runs it, or ran it last; null: nobody yet. */
  readonly owner: string | null;
}

export interface NewStep {
  /** From 1, in the order of work; the same position again is the same step. */
  readonly position: number;
  readonly aor: string;
  /** Acts only while he is there; null: wherever he is. */
  readonly from: string | null;
  readonly to: string;
}

export interface MoveStep extends NewStep {
  readonly state: StepState;
  /** Acts only at this epoch, which an undo asks for; null: any. */
  readonly onlyEpoch: number | null;
  /** Of his binding as it was when the step was begun; the move acts on no other. */
  readonly epochBefore: number | null;
  /** Of the binding the move made. */
  readonly epoch: number | null;
  /** Why it was refused. */
  readonly reason: string | null;
  /** Milliseconds since 1970. */
  readonly begunAt: number | null;
  readonly endedAt: number | null;
}

/** Whose batch it is now. */
export interface BatchHold {
  readonly id: string;
  readonly owner: string;
  /** Rises with every change of hands. */
  readonly fence: number;
}

export interface BegunStep {
  readonly position: number;
  /** Where he is. */
  readonly from: string;
  readonly epoch: number;
}

export interface EndedStep {
  readonly position: number;
  readonly state: "moved" | "refused";
  readonly epoch: number | null;
  readonly reason: string | null;
}

export type BatchOrder = "start" | "pause" | "resume" | "cancel";

export type SteerOutcome =
  | { readonly outcome: "done"; readonly batch: MoveBatch }
  /** Not in this state. */
  | { readonly outcome: "refused"; readonly batch: MoveBatch }
  | { readonly outcome: "no-such-batch" };

/** From which states an order may be given, and what it makes of them. An order already obeyed is obeyed again. */
export const ORDERS: Readonly<Record<BatchOrder, { readonly from: readonly BatchState[]; readonly to: BatchState }>> = {
  start: { from: ["filling", "running"], to: "running" },
  pause: { from: ["running", "paused"], to: "paused" },
  resume: { from: ["paused", "running"], to: "running" },
  cancel: { from: ["filling", "running", "paused", "cancelled"], to: "cancelled" },
};

/** An answer to the owner: how the batch stands, or `lost`: it is another's now, or gone. */
export type Standing = BatchState | "lost";

export interface BatchQuery {
  /** Of users who are not finished with: batches that are filling, running or paused. */
  readonly open?: boolean;
  /** Older ones than this id, for paging; the newest come first. */
  readonly before?: string;
  /** At most 1000. */
  readonly limit: number;
}

export interface StepQuery {
  readonly states?: readonly StepState[];
  /** Behind this position. */
  readonly after?: number;
  /** At most 1000. */
  readonly limit: number;
}

export interface Moves {
  /** Of a list: in state `filling`; else `running`. `no-such-batch`: what is to be undone is not there. `refused`: it runs. */
  create(batch: NewBatch): Promise<SteerOutcome>;
  /** At most 1000 steps. `refused`: it is no longer being filled. */
  add(id: string, steps: readonly NewStep[]): Promise<SteerOutcome>;
  steer(id: string, order: BatchOrder): Promise<SteerOutcome>;
  batch(id: string): Promise<MoveBatch | null>;
  batches(query: BatchQuery): Promise<readonly MoveBatch[]>;
  /** In order of position. */
  steps(id: string, query: StepQuery): Promise<readonly MoveStep[]>;
  /** Steps of this user that are open, in batches that run or are paused. */
  openOf(aor: string): Promise<readonly (MoveStep & { readonly batch: string })[]>;

  /** A running batch that nobody has: made this owner's, its fence raised. @param mine those it runs already. */
  take(owner: string, mine: readonly string[], leaseMs: number): Promise<(BatchHold & { batch: MoveBatch }) | null>;
  renew(hold: BatchHold, leaseMs: number): Promise<Standing>;
  /** Another may take it at once. */
  release(hold: BatchHold): Promise<void>;
  /** Adds the next steps of a `server` or `undo` source. */
  fill(hold: BatchHold, limit: number): Promise<"more" | "filled" | "lost">;
  /** Writes down what is about to be moved, and from which epoch. */
  begin(hold: BatchHold, steps: readonly BegunStep[], state: "preparing" | "moving"): Promise<Standing>;
  end(hold: BatchHold, steps: readonly EndedStep[]): Promise<Standing>;
  /** `done` where no step is open any more. */
  complete(hold: BatchHold): Promise<Standing>;

  /** Tells every proxy, by the change feed, that these users are about to move. @param until milliseconds since 1970. */
  prepare(users: readonly { readonly aor: string; readonly server: string }[], until: number): Promise<void>;
  /** Forgets batches that ended longer ago than this, and those that were never started; a bounded piece of work. */
  clear(olderThanMs: number): Promise<void>;
}

export const MOST_STEPS = 1000;
