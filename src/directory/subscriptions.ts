/**
 * Subscriptions of which this domain's proxies are the notifier (models.md, "Exclusive"): the port. Each row is written
 * by its owner only, under its fencing epoch (`leases.ts`); `memory-subscriptions.ts` and `postgres/subscriptions.ts`
 * pass one contract suite. What is expected is answered as data; what is thrown is a DirectoryUnavailable.
 */

/** The part of a row that its owner changes. */
export interface SubscriptionState {
  /** The watcher's dialog; text that only the owner reads. */
  readonly dialog: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  /** CSeqs of NOTIFYs up to this one may be used; a new owner begins after it. */
  readonly notifyReserved: number;
  /** The dialog with the server that has the user; null: there is none, the subscription is held. Text that only the owner reads. */
  readonly leg: string | null;
  readonly legServer: string | null;
  /** As `notifyReserved`, of SUBSCRIBEs on the leg. */
  readonly legReserved: number;
  /** The epoch of the binding that was acted upon last. Behind the slot's: work to do (concurrency.md 4). */
  readonly extendedEpoch: number;
}

export interface StoredSubscription extends SubscriptionState {
  /** Our tag in the watcher's dialog; leads any proxy from a request in the dialog to the row. */
  readonly id: string;
  /**
   * `presence`: extended to the one server that has the user. `composed`: to several at once; `leg` is all of their dialogs,
   * `legServer` names them with commas between. `reg`, `winfo`: we are the notifier ourselves (RFC 3680, RFC 3857), and there
   * is never a leg.
   */
  readonly kind: "presence" | "composed" | "reg" | "winfo";
  /** Canonical AoR of the presentity. Of a `reg` subscription to a whole server: `server:NAME`. */
  readonly aor: string;
  /** Canonical AoR. */
  readonly watcher: string;
  /** Server the watcher's request came from; null: a client. */
  readonly origin: string | null;
  readonly event: string;
  /** Rises with every change of hands. */
  readonly fence: number;
}

/**
 * Where the user is, as the statement that inserted, took or looked at the row saw it: the binding that stands, an
 * expired one counting as none, one epoch later.
 */
export interface SlotState {
  readonly server: string | null;
  readonly epoch: number;
}

export type InsertOutcome =
  | { readonly outcome: "inserted"; readonly slot: SlotState }
  /** Neither a record nor a past binding, and these were asked for. */
  | { readonly outcome: "no-record" }
  /** The owner's lease is over. */
  | { readonly outcome: "over" };

export interface TakenSubscription {
  readonly subscription: StoredSubscription;
  readonly slot: SlotState;
}

/** What one's own row says, without the texts. */
export interface OwnedSubscription {
  readonly id: string;
  readonly fence: number;
  readonly extendedEpoch: number;
  readonly slot: SlotState;
}

export interface SubscriptionQuery {
  readonly kind?: StoredSubscription["kind"];
  readonly aor?: string;
  readonly watcher?: string;
  /** True: only those of a presentity with no leg; false: those with a leg. */
  readonly held?: boolean;
  /** Exclusive lower bound of the id, for paging. */
  readonly after?: string;
  /** At most 1000. */
  readonly limit: number;
}

export interface ListedSubscription extends StoredSubscription {
  readonly owner: string;
}

export interface SubscriptionCount {
  /** Of a presentity, with no leg. */
  readonly held: number;
  /** Of a presentity, with a leg. */
  readonly live: number;
  readonly composed: number;
  readonly reg: number;
  readonly winfo: number;
}

export interface SubscriptionStore {
  /**
   * Durable when it resolves; the row's fence is FIRST_FENCE. Inserts of one moment share one statement; each is safe to
   * repeat (the same id again is the same insert). Whoever gives up on one whose answer was lost removes it.
   * @param known only where the user has a record, or was ever bound.
   */
  insert(owner: string, subscription: Omit<StoredSubscription, "fence">, known: boolean): Promise<InsertOutcome>;
  /**
   * Under owner and fence; `lost`: another has it, or it is gone. The whole state, so that a repeat changes nothing; of
   * two for one row the one asked for later stands, in whatever order they get to the database. Batched.
   */
  update(owner: string, id: string, fence: number, state: SubscriptionState): Promise<"done" | "lost">;
  /** Batched. Safe to repeat. */
  remove(owner: string, id: string, fence: number): Promise<void>;
  /**
   * Takes up to `limit` rows (at most MOST_TAKEN) from owners whose lease is over, raising their fence and both reserves
   * by RESERVE, so that what is returned may be used from the old reserve on. Rows that are expired are removed in place
   * of taken. Two that take at once get different rows. Empty: nothing is left but what another is taking, or the
   * taker's own lease is over.
   *
   * A change of the feed that comes between the asking and the answer is newer than `slot` and is about rows that the
   * caller does not know yet: he notes what he hears meanwhile. Where the answer is lost, the rows are his all the same:
   * `owned` shows them.
   */
  take(owner: string, limit: number): Promise<readonly TakenSubscription[]>;
  /**
   * A page of one's own rows in order of the id, at most MOST_OWNED, for the background look and after a break of the
   * feed. One that the caller does not know was taken or inserted under an answer that was lost, unless a take, insert
   * or remove of his was under way: then the next look tells. `load` fetches it.
   * @param after exclusive lower bound; "" for the first page.
   */
  owned(owner: string, after: string, limit: number): Promise<readonly OwnedSubscription[]>;
  /** Those of these (at most MOST_OWNED) that the owner owns, whole. CSeqs begin after the reserve, which is to be raised first. */
  load(owner: string, ids: readonly string[]): Promise<readonly TakenSubscription[]>;
  /** Who owns the row now, for a request that came to the wrong proxy; null: no such row. `contact` null: his lease has lapsed. */
  ownerOf(id: string): Promise<{ readonly owner: string; readonly contact: string | null } | null>;
  /** In order of the id. */
  list(query: SubscriptionQuery): Promise<readonly ListedSubscription[]>;
  /** How many there are, of all owners. Reads every row: for people, not for every second. */
  count(): Promise<SubscriptionCount>;
}

/** CSeqs reserved at a time (concurrency.md 7). */
export const RESERVE = 16;
export const FIRST_FENCE = 1;
export const MOST_TAKEN = 1000;
export const MOST_OWNED = 10_000;
export const MOST_LISTED = 1000;

/** A presentity's, and not extended to any server. */
export function isHeld(subscription: Pick<StoredSubscription, "kind" | "leg">): boolean {
  return subscription.kind === "presence" && subscription.leg === null;
}
