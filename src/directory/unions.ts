import type { SlotState, StoredSubscription } from "./subscriptions.ts";

/**
 * What keeps requests of the unioned models from going round (models.md, "Unioned"): visited rows and credits, taken by
 * unique key before the request they allow is sent, so that every proxy sees them (concurrency.md 8). A visited row goes
 * with the subscription that holds it, or when what it has set off can be back no more; a credit lapses. The port; `memory-unions.ts` and `postgres/unions.ts` pass one
 * contract suite. What is expected is answered as data; what is thrown is a DirectoryUnavailable.
 */

/** Who watches or writes to whom; of a MESSAGE `event` is `MESSAGE` and `digest` tells the one text from the other. */
export interface Pair {
  /** Canonical AoR of the watcher or sender. */
  readonly watcher: string;
  /** Canonical AoR of the presentity or recipient. */
  readonly aor: string;
  readonly event: string;
}

/**
 * One server on one chain. `start`: a SUBSCRIBE of the chain came from it, there as long as the subscription that answered
 * it; each subscription on a chain has one. `leg`: a leg of ours leads to it, there as long as that leg, and in any case
 * for KEPT_MS after it was taken or, where something has come from there since, for RETURNED_MS after that; a server has one
 * that is not gone at most on a chain.
 */
export interface Visited {
  /** Id of the first subscription of the chain, which may have ended before the chain. */
  readonly chain: string;
  /** Null: a client's start. */
  readonly server: string | null;
  readonly role: "start" | "leg";
  /** Id of the subscription whose row this one goes with. */
  readonly holder: string;
  /**
   * What tells this instance of the watcher from others (RFC 7989 Session-ID, `+sip.instance`): of a start what the
   * request brought from a server marked to preserve it, of a leg what it carries. Null: nothing does.
   */
  readonly evidence: string | null;
  /** A `leg`'s server has sent the subscription on to us with that very evidence: it is known to preserve it. */
  readonly echoed: boolean;
  /** A SUBSCRIBE that may be what the `leg` has set off has come from there. */
  readonly returned: boolean;
  /** The leg has ended, but not long ago: its server's own SUBSCRIBEs may be on their way here. */
  readonly gone: boolean;
  /** A `start` of a moment ago: its server may send one for each of the user's others, and more of them be on their way. */
  readonly fresh: boolean;
}

/** A SUBSCRIBE outside a dialog that asks to come in. */
export interface Entry {
  /** The server it comes from; null: a client, from whom nothing can come back. */
  readonly origin: string | null;
  /** What it brings, from a server that is marked to preserve it; else null. */
  readonly evidence: string | null;
  /** What its legs will carry. */
  readonly sent: string | null;
  /** The tag of From is a leg's of ours: the holder of that leg. It is the same subscription moving on. */
  readonly within: string | null;
  /** The servers of the user, without the origin, in order, each once. */
  readonly servers: readonly string[];
  /** Of these, and of the origin: those that send subscriptions on to their children by themselves. */
  readonly onward: readonly string[];
  /** Live chains of one pair that one server begins, at most; one more is a loop. */
  readonly most: number;
}

export type EntryJudgement =
  /** `servers`: those that were free; they are visited now. `chain`: its own id where it begins one. */
  { readonly outcome: "entered"; readonly chain: string; readonly servers: readonly string[] } | Loop;

/**
 * 482: it is on a live chain of this pair, and no server is left for it. `lives` false: of that chain nothing is left, or not
 * where it comes from, or its server has begun as many as it may; if it is none that comes back late, it is let in later: 480.
 */
export interface Loop {
  readonly outcome: "loop";
  readonly chain: string;
  readonly lives: boolean;
}

export type EnterOutcome =
  | {
      readonly outcome: "entered";
      readonly chain: string;
      readonly servers: readonly string[];
      readonly slot: SlotState;
    }
  | Loop
  /** The owner's lease is over. */
  | { readonly outcome: "over" };

/** One server's leave to send on, or back, what it was sent (models.md, "Unioned, hierarchical" and "peer"). */
export interface Credit extends Pair {
  /** Of a MESSAGE's body; empty for a SUBSCRIBE. */
  readonly digest: string;
  /** The server that may spend it. */
  readonly server: string;
}

export interface Grant extends Credit {
  /** At most MOST_CREDITS. */
  readonly count: number;
  /** True: what it is for may never come to the server; `arrived` says that it has. */
  readonly underWay?: boolean;
}

/** What a credit that was spent was granted for: it has come to its server, may yet come there, or nobody waits for it. */
export type Fate = "arrived" | "under-way" | "gone";

export interface UnionStore {
  /**
   * Judges (`judgeEntry`), and where it may come in inserts the subscription's row with its visited rows, in one
   * transaction under the lock of the pair. Durable when it resolves; safe to repeat under the same id. As with
   * `SubscriptionStore.insert` the subscription is in its owner's index before, and whoever gives up on one whose answer was
   * lost removes it.
   */
  enter(owner: string, subscription: Omit<StoredSubscription, "fence">, entry: Entry): Promise<EnterOutcome>;
  /**
   * One more server for a leg of one's own subscription, which `enter` has let in. `visited`: the chain is there by
   * another way. `lost`: no such row of ours. Safe to repeat: what the holder has already is `taken`.
   * @param evidence what the leg will carry.
   */
  visit(
    owner: string,
    holder: string,
    fence: number,
    server: string,
    evidence: string | null,
  ): Promise<"taken" | "visited" | "lost">;
  /**
   * Gives a leg's server back: its dialog has ended, or its SUBSCRIBE could not be sent. At once it is free for `visit`, on
   * its chain; for what comes in later (`gone`). Safe to repeat.
   */
  leave(owner: string, holder: string, fence: number, server: string): Promise<void>;
  /** Visited rows of a pair, for `explain`. */
  visited(pair: Pair): Promise<readonly Visited[]>;
  /**
   * Commits credits, `count` of each, before the request they are for is sent. Each credit stands in the list once.
   * @param id the caller's name for this granting: a repeat under it grants nothing more.
   * @param until milliseconds since 1970.
   */
  grant(id: string, credits: readonly Grant[], until: number): Promise<void>;
  /**
   * What a granting is for has come to this server: what was spent of it was spent rightly, and the rest lasts for SENT_ON_MS
   * at most. Safe to repeat.
   */
  arrived(id: string, server: string): Promise<void>;
  /**
   * Takes back what of a granting a server has not spent: nothing can come of it any more; and what it has spent before
   * what it was for had come. Safe to repeat.
   */
  revoke(id: string, server: string): Promise<void>;
  /**
   * True: one that had not lapsed was there, and is no more.
   * @param by names the request that spends it, by its transaction and not by its Call-ID and CSeq, which the branches of a
   * fork share. Again with the same is the same spending, as long as the credit would last.
   */
  spend(credit: Credit, by: string): Promise<boolean>;
  /** Of what `by` has spent; `gone` where it is nothing. */
  fate(credit: Credit, by: string): Promise<Fate>;
}

/**
 * A leg's SUBSCRIBE is on its way for 64*T1 at most (RFC 3261 17.1.2.2), and so is what its server then sends to us. Were
 * its row gone before, that would begin a chain of its own: where chains end as they begin, each would set off more of them.
 */
export const KEPT_MS = 64_000;
/** It may send one for each of its children, at once. */
export const RETURNED_MS = 8_000;
/** How long a start is fresh: all are sent at once, each as often as it takes with three of them lost. */
export const FRESH_MS = 5_000;
/** What has come to a server it sends on at once. */
export const SENT_ON_MS = 8_000;
/** Of one server in one granting. */
export const MOST_CREDITS = 64;
