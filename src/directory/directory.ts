import type { Evictions } from "./evictions.ts";
import type { Leases } from "./leases.ts";
import type { MessageStore } from "./messages.ts";
import type { Moves } from "./moves.ts";
import type { Pushes } from "./pushes.ts";
import type { Reconciliation } from "./reconciliation.ts";
import type { SubscriptionStore } from "./subscriptions.ts";
import type { UnionStore } from "./unions.ts";
import type { DocumentKind, UserDocuments } from "./user-documents.ts";
import type { WatcherStore } from "./watchers.ts";

/**
 * Where users are: the port. `postgres/` is the real one, `memory.ts` its twin for the simulation; both pass the same
 * contract suite. Expected outcomes are data, never exceptions; what is thrown is a DirectoryUnavailable.
 * An AoR here is canonical: `user@host`, host in lower case, no scheme, no parameters.
 */

export const ORIGINS = ["learned", "published", "registered", "admin", "provisioned"] as const;
export type BindingOrigin = (typeof ORIGINS)[number];

export type ModelName = "partitioned" | "exclusive" | "unioned";

/** One change of `server` (unbound counts as a server) raises the epoch by one; it is never reset. */
export interface Binding {
  readonly aor: string;
  readonly server: string;
  readonly origin: BindingOrigin;
  readonly epoch: number;
  /** Milliseconds since 1970; null: does not expire. */
  readonly expiresAt: number | null;
}

interface Slot {
  /** Of the slot; 0 where there is none. */
  readonly epoch: number;
  /** Present where messages are stored for him (messages.ts). */
  readonly stored?: true;
}

/** What the directory knows of one AoR. */
export type Lookup =
  /** Neither a record nor a binding, ever. */
  | (Slot & { readonly state: "no-record" })
  /** A record or a past binding, but bound nowhere. */
  | (Slot & { readonly state: "no-binding"; readonly user: UserRecord | null })
  | (Slot & { readonly state: "bound"; readonly user: UserRecord | null; readonly binding: Binding })
  /** Every server said 404 a moment ago. `until`: milliseconds since 1970. */
  | (Slot & { readonly state: "all-said-404"; readonly until: number });

/** A user's own record: what an admin provisioned about him. Beats the configuration's `models`. */
export interface UserRecord {
  readonly aor: string;
  /** null: the configuration's `models` decide. */
  readonly model: ModelName | null;
  /** Free-form model settings, as in the configuration (`conflict`, `style`, `tree`, …). */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Server name -> the user part (or full AoR) by which that server knows him. */
  readonly identities: Readonly<Record<string, string>>;
}

/** Digest credentials (RFC 8760): H(user:realm:password) per algorithm, lower-case hex. */
export interface Credentials {
  readonly aor: string;
  readonly realm: string;
  readonly md5: string | null;
  readonly sha256: string | null;
  /** The same with his whole AoR for `user`; absent: not known, or `user` is that already. */
  readonly whole?: { readonly md5: string | null; readonly sha256: string | null };
}

/** What a REGISTER or PUBLISH is ordered by (RFC 3261 10.3 step 7). */
export interface ClaimOrder {
  readonly callId: string;
  readonly cseq: number;
  /** Milliseconds since 1970 at which the granted registration ends. */
  readonly expiresAt: number;
}

/**
 * Flap damping: `limit` takings of one user from another server are let through at a stretch, and are forgotten evenly
 * over `windowMs`. One more is refused, and so is whatever comes before he was left where he is for a whole window.
 */
export interface Damping {
  readonly limit: number;
  readonly windowMs: number;
}

export interface Claim {
  readonly aor: string;
  readonly server: string;
  readonly origin: BindingOrigin;
  readonly expiresAt: number | null;
  readonly conflict: "takeover" | "refuse";
  /** True in the exclusive model, where admin, registered and published rank equal. */
  readonly equalRank: boolean;
  /** Absent for admin and provisioned claims, which nothing orders. */
  readonly order?: ClaimOrder;
  /** Absent: it is not counted, and nothing that was counted refuses it. */
  readonly damping?: Damping;
  /** True: acts only where this server has the user already (RFC 3903: a conditional PUBLISH claims nobody). Has no `order`. */
  readonly refreshOnly?: boolean;
  /**
   * Who did it: an admin's name, a server, a client's AoR. On record are what admins do, and every taking of a user from
   * another server; not first bindings, refreshes, deregistrations and what is learned and unlearned.
   */
  readonly actor: string;
}

export type ClaimOutcome =
  /** The holder now is the claimant. `changed`: it was not before. */
  | {
      readonly outcome: "bound";
      readonly binding: Binding;
      readonly changed: boolean;
      readonly previous: string | null;
    }
  /** Another server holds the user (`refuse`, or a higher origin). */
  | { readonly outcome: "held-by"; readonly binding: Binding }
  /** A repeated or overtaken (Call-ID, CSeq), or a refresh of a superseded claim. `binding`: who holds him, if anyone. */
  | { readonly outcome: "stale"; readonly binding: Binding | null }
  /** He was taken from one server by another too often lately (`damping`). `binding`: who holds him. */
  | { readonly outcome: "damped"; readonly binding: Binding };

export interface Unbind {
  readonly aor: string;
  /** Acts only while these still hold; absent: whatever holds. */
  readonly server?: string;
  readonly epoch?: number;
  /** Acts only on these origins; absent: any. */
  readonly origins?: readonly BindingOrigin[];
  /** A deregistration's own order: the claim with this Call-ID is ended. */
  readonly order?: { readonly callId: string; readonly cseq: number };
  readonly actor: string;
}

export type UnbindOutcome =
  | { readonly outcome: "unbound"; readonly epoch: number; readonly previous: Binding }
  /** Nothing was bound, or not what was named. */
  | { readonly outcome: "stale"; readonly binding: Binding | null }
  /** By its `order` it was sent before something that was done already (RFC 3261 10.3 step 7). */
  | { readonly outcome: "overtaken"; readonly binding: Binding | null };

export interface Move {
  readonly aor: string;
  readonly to: string;
  /** Acts only while he is on this server; absent: wherever he is. */
  readonly from?: string;
  /** Acts only at this epoch, together with `from`; absent: any. Of one who is on `to` already nothing is asked. */
  readonly epoch?: number;
  /** As in a claim: true in the exclusive model, where `provisioned` alone pins a user. */
  readonly equalRank?: boolean;
  readonly actor: string;
}

/** A fork that is open: recorded before its first request leaves, so that every proxy sees it (concurrency.md 8). */
export interface ForkKey {
  /** Canonical AoR of the sender (watcher). */
  readonly sender: string;
  readonly recipient: string;
  readonly method: string;
  /** Event package, empty where the method has none. */
  readonly event: string;
}

export interface OpenFork extends ForkKey {
  readonly id: string;
  /** Servers being asked or still to be asked. */
  readonly asked: readonly string[];
  /** The proxy that forks. */
  readonly owner: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export type OpenForkOutcome =
  | { readonly outcome: "opened"; readonly id: string }
  /** One or more forks for this recipient are open. */
  | { readonly outcome: "open-elsewhere"; readonly forks: readonly OpenFork[] };

/** What ended a fork, told to everyone who waits on it. */
export type ForkResult =
  | { readonly result: "learned"; readonly server: string }
  | { readonly result: "all-said-404" }
  /** Nothing can be concluded: somebody could not be asked, or a 2xx that proves nothing. */
  | { readonly result: "inconclusive" };

export type Change =
  /** Drop what is cached of this AoR. `server` and `previous` for those who act on moves. */
  | {
      readonly kind: "binding";
      readonly aor: string;
      readonly server: string | null;
      readonly previous: string | null;
      readonly epoch: number;
    }
  | { readonly kind: "user"; readonly aor: string }
  /** A document about him was written or removed (user-documents.ts). */
  | { readonly kind: "document"; readonly aor: string; readonly document: DocumentKind }
  | { readonly kind: "fork-closed"; readonly aor: string; readonly fork: string; readonly result: ForkResult }
  /**
   * A move that makes before it breaks is about to happen: second legs go up to `server` now, and come down again where
   * no binding change followed by `until` (milliseconds since 1970). A hint: nothing may depend on its arrival.
   */
  | { readonly kind: "preparing"; readonly aor: string; readonly server: string; readonly until: number }
  /** Who watches him has changed, or what they may see. Told where somebody is told of it (RFC 3857). */
  | { readonly kind: "watchers"; readonly aor: string }
  /** A decision point decides otherwise about him; empty: about anybody (policy/service.ts). */
  | { readonly kind: "verdicts"; readonly aor: string }
  /** The feed was interrupted: drop everything. */
  | { readonly kind: "reset" };

export interface UserRow {
  readonly aor: string;
  readonly record: UserRecord | null;
  readonly binding: Binding | null;
  readonly epoch: number;
}

export interface UserQuery {
  /** AoR prefix. */
  readonly prefix?: string;
  readonly server?: string;
  /** Exclusive lower bound, for paging. */
  readonly after?: string;
  /** At most 1000. */
  readonly limit: number;
}

export type NamedUser = Pick<UserRecord, "aor" | "identities">;

/** One line of an import: a record, and with a `server` a provisioned binding. */
export interface ImportRow {
  readonly aor: string;
  readonly model: ModelName | null;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly identities?: Readonly<Record<string, string>>;
  /** Null: the record only; a binding that stands is left alone. */
  readonly server: string | null;
}

export interface ImportReport {
  readonly imported: number;
  /** `index` counts the rows given, from 0. */
  readonly refused: ReadonlyArray<{ readonly index: number; readonly aor: string; readonly reason: string }>;
}

export interface AuditEntry {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly actor: string;
  readonly action: string;
  readonly aor: string | null;
  readonly before: unknown;
  readonly after: unknown;
}

export interface Directory {
  /** From the database, never from the cache. */
  lookup(aor: string): Promise<Lookup>;
  claim(claim: Claim): Promise<ClaimOutcome>;
  /**
   * By somebody who has not looked the user up, which the claim thus spares. Null, and nothing was done: he has a record of
   * his own, which may decide otherwise. `stored` as in Lookup.
   */
  claimUnread(claim: Claim): Promise<{ readonly outcome: ClaimOutcome; readonly stored: boolean } | null>;
  unbind(unbind: Unbind): Promise<UnbindOutcome>;
  /** An admin's move: one test-and-set, origin `admin`. */
  move(move: Move): Promise<ClaimOutcome>;
  /** Binds with origin `learned`; never replaces a live binding of a higher origin, renews an equal one. */
  learn(aor: string, server: string, expiresAt: number): Promise<ClaimOutcome>;
  /** Drops a learned binding while server and epoch still hold. */
  unlearn(aor: string, server: string, epoch: number): Promise<UnbindOutcome>;
  /** Takes the key before the first branch is sent. `join: false`: open even where another fork for the recipient is open. */
  openFork(fork: ForkKey & { asked: readonly string[]; expiresAt: number }, join: boolean): Promise<OpenForkOutcome>;
  /** The forks that are open for a recipient, on every proxy. */
  openForksFor(recipient: string): Promise<readonly OpenFork[]>;
  /**
   * Ends it and tells every proxy. `learned` binds in the same transaction.
   * @param expiresAt of that binding, milliseconds since 1970.
   */
  closeFork(id: string, recipient: string, result: ForkResult, expiresAt: number): Promise<void>;

  users(query: UserQuery): Promise<readonly UserRow[]>;
  /** Those whose record has identities, in order of their AoR. @param after exclusive. @param limit at most 1000. */
  namedUsers(after: string, limit: number): Promise<readonly NamedUser[]>;
  user(aor: string): Promise<UserRow | null>;
  putUser(record: UserRecord, actor: string): Promise<void>;
  /** Removes record, binding, credentials and documents; the slot with its epoch stays. False: there was none of them. */
  removeUser(aor: string, actor: string): Promise<boolean>;
  credentials(aor: string): Promise<Credentials | null>;
  putCredentials(credentials: Credentials, actor: string): Promise<void>;
  audit(query: { aor?: string; limit: number; before?: string }): Promise<readonly AuditEntry[]>;
  recordAudit(entry: {
    actor: string;
    action: string;
    aor: string | null;
    before: unknown;
    after: unknown;
  }): Promise<void>;

  /** Tells every proxy, this one too and only by the feed. @param aor empty: about anybody. */
  tellVerdicts(aor: string): Promise<void>;

  readonly leases: Leases;
  readonly evictions: Evictions;
  readonly subscriptions: SubscriptionStore;
  readonly messages: MessageStore;
  readonly unions: UnionStore;
  readonly documents: UserDocuments;
  readonly watchers: WatcherStore;
  readonly moves: Moves;
  readonly reconciliation: Reconciliation;
  readonly pushes: Pushes;

  /** In batches, each its own transaction; a refused row stops nobody. Safe to repeat. */
  importUsers(rows: readonly ImportRow[], actor: string): Promise<ImportReport>;

  /**
   * Every change of every proxy, in commit order, at least once. This proxy's own changes are told once more, out of
   * order, before the promise of the write resolves, so that its cache never answers with what it has just replaced.
   * Returns the way to end it.
   */
  onChange(listener: (change: Change) => void): () => void;
  /** Whether the last contact with the database succeeded. */
  readonly available: boolean;
  /** This proxy's name in leases and forks. */
  readonly proxy: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** The bounded cache in front of a Directory; what it answers may be a moment old (the feed drops it on change). */
export interface DirectoryCache {
  /** Synchronous, from memory; undefined: not known here. */
  peek(aor: string): Lookup | undefined;
  /** From memory, else from the database, by the fill rule (concurrency.md 6). Rejects with DirectoryUnavailable where neither knows. */
  lookup(aor: string): Promise<Lookup>;
  /** Forgets one user: of a binding that was only extended nobody is told. */
  forget(aor: string): void;
  /** Forgets every "all said 404", for when a server comes up. */
  forgetAbsent(): void;
  readonly size: number;
}
