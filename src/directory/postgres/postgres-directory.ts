import type { Runtime, Timer } from "../../runtime/runtime.ts";
import type { Telemetry } from "../../telemetry/events.ts";
import type {
  AuditEntry,
  Change,
  Claim,
  ClaimOutcome,
  Credentials,
  Directory,
  ForkKey,
  ForkResult,
  ImportReport,
  ImportRow,
  Lookup,
  Move,
  NamedUser,
  OpenFork,
  OpenForkOutcome,
  Unbind,
  UnbindOutcome,
  UserQuery,
  UserRecord,
  UserRow,
} from "../directory.ts";
import type { ClaimAsk } from "../judge.ts";
import { Lookups } from "../lookups.ts";
import {
  askOf,
  IMPORT_BATCH,
  isAor,
  learning,
  MOST_USERS,
  movement,
  provisioning,
  recordOf,
  sortImport,
} from "../rows.ts";
import { DOCUMENT_KINDS } from "../user-documents.ts";
import { AUDIT, auditEntryOf, RECORD_AUDIT } from "./audit.ts";
import { type Judged, PostgresClaims } from "./claims.ts";
import { CLEAR_SUBSCRIPTIONS, CLEAR_SUBSCRIPTIONS_BATCH } from "./clear-subscriptions.ts";
import { CLOSE_FORK } from "./close-fork.ts";
import { CREDENTIALS, type CredentialsRow, credentialsOf, PUT_CREDENTIALS } from "./credentials.ts";
import { PostgresEvictions } from "./evictions.ts";
import { Feed } from "./feed.ts";
import { PostgresForks } from "./forks.ts";
import { PostgresLeases } from "./leases.ts";
import { LOOKUP, type LookupRow, lookupOf } from "./lookup.ts";
import { type Migration, migrate, readMigrations } from "./migrate.ts";
import { PostgresMoves } from "./moves.ts";
import { NAMED_USERS } from "./named-users.ts";
import { Notifier } from "./notify.ts";
import { Pool, type PoolOptions, unavailable } from "./pool.ts";
import { PostgresMessages } from "./postgres-messages.ts";
import { PostgresPushes } from "./pushes.ts";
import { PostgresReconciliation } from "./reconciliation.ts";
import { PostgresSubscriptions } from "./subscriptions.ts";
import { CLEAR, CLEAR_BATCH, END_EXPIRED, SWEEP_BATCH } from "./sweep.ts";
import { TELL_VERDICTS } from "./tell-verdicts.ts";
import { outcomeOfUnbind, UNBIND, type UnbindRow, valuesOfUnbind } from "./unbind.ts";
import { PostgresUnions } from "./unions.ts";
import { PostgresDocuments } from "./user-documents.ts";
import { PUT_USERS, REMOVE_USER, type RemovedRow, USERS, USERS_OF_SERVER, userRowOf } from "./users.ts";
import { PostgresWatchers } from "./watchers.ts";

export interface PostgresOptions extends PoolOptions {
  /** This proxy's name in forks, leases and the audit trail; unique among the proxies of one database. */
  readonly proxy: string;
  /** Claims in one statement at most. Default 64. */
  readonly claimBatch?: number;
  /** Who waits for a claim or lookup at most, each. Default 100,000. */
  readonly maxWaiting?: number;
  /** The feed without a wake-up. Default 1000. */
  readonly pollMs?: number;
  /** How often bindings that expired are ended. Default 1000. */
  readonly sweepMs?: number;
  /** How long changes are kept for slow readers. Default 10 minutes. */
  readonly changesKeptMs?: number;
  /** Default 90 days. */
  readonly auditKeptMs?: number;
}

const DAY_MS = 86_400_000;
/** Sweeps from one clearing away to the next. */
const CLEAR_EVERY = 10;
/** After a sweep that took all it may. */
const FULL_SWEEP_MS = 20;
const PROVISION_BATCH = 200;

/** The directory on PostgreSQL 15 and newer. Every verb is one statement, so nothing is ever half done. */
export class PostgresDirectory implements Directory {
  readonly proxy: string;
  readonly leases: PostgresLeases;
  readonly subscriptions: PostgresSubscriptions;
  readonly evictions: PostgresEvictions;
  readonly moves: PostgresMoves;
  readonly reconciliation: PostgresReconciliation;
  readonly pushes: PostgresPushes;
  readonly messages: PostgresMessages;
  readonly unions: PostgresUnions;
  readonly documents: PostgresDocuments;
  readonly watchers: PostgresWatchers;
  readonly #runtime: Runtime;
  readonly #options: PostgresOptions;
  readonly #pool: Pool;
  readonly #feed: Feed;
  readonly #notifier: Notifier;
  readonly #claims: PostgresClaims;
  readonly #forks: PostgresForks;
  readonly #lookups: Lookups;
  readonly #listeners = new Set<(change: Change) => void>();
  #migrations: readonly Migration[] | null = null;
  #sweep: Timer | null = null;
  /** When changes and audit rows are next cleared away, monotonic milliseconds. */
  #clearAt = 0;
  #started = false;

  constructor(runtime: Runtime, telemetry: Telemetry, options: PostgresOptions) {
    this.#runtime = runtime;
    this.#options = options;
    this.proxy = options.proxy;
    this.#pool = new Pool(runtime, telemetry, options);
    this.evictions = new PostgresEvictions(this.#pool);
    this.leases = new PostgresLeases(runtime, this.#pool, options.proxy);
    this.subscriptions = new PostgresSubscriptions(runtime, this.#pool, options);
    this.reconciliation = new PostgresReconciliation(this.#pool);
    this.pushes = new PostgresPushes(this.#pool);
    this.moves = new PostgresMoves(this.#pool, (changes) => {
      for (const change of changes) this.#emit(change);
      this.#wakeAll();
    });
    this.messages = new PostgresMessages(this.#pool, options.proxy, (aor) => this.#changed({ kind: "user", aor }));
    this.unions = new PostgresUnions(runtime, this.#pool);
    this.documents = new PostgresDocuments(this.#pool, (aor, document) =>
      this.#changed({ kind: "document", aor, document }),
    );
    this.watchers = new PostgresWatchers(this.#pool, (aor) => this.#changed({ kind: "watchers", aor }));
    this.#notifier = new Notifier(runtime, this.#pool, options.proxy);
    const { proxy, pollMs = 1000, changesKeptMs: keptMs = 600_000 } = options;
    const feed = { proxy, pollMs, heldPollMs: 50, keptMs };
    this.#feed = new Feed(runtime, this.#pool, feed, (change) => this.#emit(change));
    const maxWaiting = options.maxWaiting ?? 100_000;
    const soon = (run: () => void) => runtime.timers.soon(run);
    const batch = options.claimBatch ?? 64;
    this.#claims = new PostgresClaims(this.#pool, { batch, maxWaiting, soon, evicted: () => this.evictions.servers });
    this.#forks = new PostgresForks(this.#pool, { owner: options.proxy, maxWaiting, soon });
    this.#lookups = new Lookups({ run: (aors) => this.#lookupAll(aors), maxBatch: 256, lanes: 4, maxWaiting, soon });
  }

  get available(): boolean {
    return this.#pool.up;
  }

  /** Connects, brings the tables up to date, begins to listen. Rejects where the database cannot be used, saying why. */
  async start(): Promise<void> {
    if (this.#started) return;
    this.#migrations ??= await readMigrations();
    const client = this.#pool.client();
    client.on("error", () => undefined);
    try {
      await client.connect();
    } catch (error) {
      throw unavailable("connect", error);
    }
    try {
      await migrate(client, this.#migrations);
    } finally {
      await client.end().catch(() => undefined);
    }
    try {
      await this.#feed.start();
    } catch (error) {
      throw unavailable("listen", error);
    }
    this.#started = true;
    this.#scheduleSweep();
  }

  /** Ends for good: a directory that was stopped is not started again. */
  async stop(): Promise<void> {
    this.#started = false;
    this.#sweep?.cancel();
    this.#sweep = null;
    this.#notifier.stop();
    await this.#feed.stop();
    await this.#pool.end();
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async lookup(aor: string): Promise<Lookup> {
    return isAor(aor) ? this.#lookups.submit(aor) : { state: "no-record", epoch: 0 };
  }

  async claim(claim: Claim): Promise<ClaimOutcome> {
    return (await this.#submit(askOf(claim)))!.outcome;
  }

  async claimUnread(claim: Claim): Promise<{ outcome: ClaimOutcome; stored: boolean } | null> {
    return this.#submit(askOf(claim, true));
  }

  async move(move: Move): Promise<ClaimOutcome> {
    return (await this.#submit(movement(move)))!.outcome;
  }

  async learn(aor: string, server: string, expiresAt: number): Promise<ClaimOutcome> {
    return (await this.#submit(learning(aor, server, expiresAt, null, this.proxy)))!.outcome;
  }

  unlearn(aor: string, server: string, epoch: number): Promise<UnbindOutcome> {
    return this.unbind({ aor, server, epoch, origins: ["learned"], actor: this.proxy });
  }

  async unbind(unbind: Unbind): Promise<UnbindOutcome> {
    if (!isAor(unbind.aor)) return { outcome: "stale", binding: null };
    const [row] = await this.#pool.run<UnbindRow>(UNBIND, valuesOfUnbind(unbind));
    const outcome = outcomeOfUnbind(row);
    if (outcome.outcome === "unbound") {
      const { epoch, previous } = outcome;
      this.#changed({ kind: "binding", aor: unbind.aor, server: null, previous: previous.server, epoch });
    }
    return outcome;
  }

  async openFork(
    fork: ForkKey & { asked: readonly string[]; expiresAt: number },
    join: boolean,
  ): Promise<OpenForkOutcome> {
    if (!isAor(fork.recipient)) return { outcome: "open-elsewhere", forks: [] };
    const id = `${this.proxy}-${this.#runtime.random.token(16)}`;
    return this.#forks.open(id, fork, join);
  }

  async openForksFor(recipient: string): Promise<readonly OpenFork[]> {
    if (!isAor(recipient)) return [];
    return this.#forks.openFor(recipient);
  }

  async closeFork(id: string, recipient: string, result: ForkResult, expiresAt: number): Promise<void> {
    if (!isAor(recipient)) return;
    if (result.result === "learned") {
      await this.#submit(learning(recipient, result.server, expiresAt, id, this.proxy));
      return;
    }
    await this.#pool.run(CLOSE_FORK, [id, recipient, result.result]);
    this.#changed({ kind: "fork-closed", aor: recipient, fork: id, result });
  }

  async users(query: UserQuery): Promise<readonly UserRow[]> {
    const limit = Math.max(0, Math.min(query.limit, MOST_USERS));
    const values: unknown[] = [query.prefix ?? "", query.after ?? "", limit];
    const rows =
      query.server === undefined
        ? await this.#pool.run<LookupRow>(USERS, values)
        : await this.#pool.run<LookupRow>(USERS_OF_SERVER, [...values, query.server]);
    return rows.map(userRowOf).filter((row) => row !== null);
  }

  namedUsers(after: string, limit: number): Promise<readonly NamedUser[]> {
    return this.#pool.run<NamedUser>(NAMED_USERS, [after, Math.max(0, Math.min(limit, MOST_USERS))]);
  }

  async user(aor: string): Promise<UserRow | null> {
    if (!isAor(aor)) return null;
    const [row] = await this.#pool.run<LookupRow>(LOOKUP, [[aor]]);
    return row === undefined ? null : userRowOf(row);
  }

  async putUser(record: UserRecord, actor: string): Promise<void> {
    await this.#pool.run(PUT_USERS, [JSON.stringify([record]), actor]);
    this.#changed({ kind: "user", aor: record.aor });
  }

  async removeUser(aor: string, actor: string): Promise<boolean> {
    if (!isAor(aor)) return false;
    const [row] = await this.#pool.run<RemovedRow>(REMOVE_USER, [aor, actor, DOCUMENT_KINDS]);
    if (row?.removed !== true) return false;
    for (const document of row.documents) this.#emit({ kind: "document", aor, document });
    this.#changed({ kind: "user", aor });
    return true;
  }

  async credentials(aor: string): Promise<Credentials | null> {
    if (!isAor(aor)) return null;
    const [row] = await this.#pool.run<CredentialsRow>(CREDENTIALS, [aor]);
    return row === undefined ? null : credentialsOf(row);
  }

  async putCredentials(credentials: Credentials, actor: string): Promise<void> {
    const { aor, realm, md5, sha256, whole } = credentials;
    const values = [aor, realm, md5, sha256, actor, whole?.md5 ?? null, whole?.sha256 ?? null];
    await this.#pool.run(PUT_CREDENTIALS, values);
  }

  async importUsers(rows: readonly ImportRow[], actor: string): Promise<ImportReport> {
    const { taken, refused } = sortImport(rows);
    for (let from = 0; from < taken.length; from += IMPORT_BATCH) {
      const batch = taken.slice(from, from + IMPORT_BATCH);
      await this.#pool.run(PUT_USERS, [JSON.stringify(batch.map(recordOf)), actor]);
      for (let at = 0; at < batch.length; at += PROVISION_BATCH) {
        const asks = batch.slice(at, at + PROVISION_BATCH).flatMap((row) => provisioning(row, actor));
        if (asks.length > 0) await this.#claims.judge(asks.sort((a, b) => (a.aor < b.aor ? -1 : 1)));
      }
      for (const row of batch) this.#emit({ kind: "user", aor: row.aor });
    }
    this.#wakeAll();
    return { imported: taken.length, refused };
  }

  async tellVerdicts(aor: string): Promise<void> {
    if (aor !== "" && !isAor(aor)) return;
    await this.#pool.run(TELL_VERDICTS, [aor]);
    this.#wakeAll();
  }

  async audit(query: { aor?: string; limit: number; before?: string }): Promise<readonly AuditEntry[]> {
    const limit = Math.max(0, Math.min(query.limit, MOST_USERS));
    const rows = await this.#pool.run<AuditEntry>(AUDIT, [query.aor ?? null, query.before ?? null, limit]);
    return rows.map(auditEntryOf);
  }

  async recordAudit(entry: Omit<AuditEntry, "id" | "at">): Promise<void> {
    const { actor, action, aor, before, after } = entry;
    await this.#pool.run(RECORD_AUDIT, [actor, action, aor, json(before), json(after)]);
  }

  /** Null only where it is `unread`. */
  async #submit(ask: ClaimAsk): Promise<Judged | null> {
    // One that cannot be stored must not spoil the statement it would share.
    if (!isAor(ask.aor)) return { outcome: { outcome: "stale", binding: null }, tell: false, stored: false };
    const judged = await this.#claims.submit(ask);
    if (judged === null) return null;
    const { outcome, tell } = judged;
    if (tell && outcome.outcome === "bound") {
      const { server, epoch } = outcome.binding;
      this.#changed({ kind: "binding", aor: ask.aor, server, previous: outcome.previous, epoch });
    }
    if (ask.fork !== null) {
      const server = outcome.binding?.server ?? ask.server;
      this.#changed({ kind: "fork-closed", aor: ask.aor, fork: ask.fork, result: { result: "learned", server } });
    }
    return judged;
  }

  async #lookupAll(aors: readonly string[]): Promise<Lookup[]> {
    const rows = await this.#pool.run<LookupRow>(LOOKUP, [aors]);
    const byAor = new Map(rows.map((row) => [row.aor, row]));
    return aors.map((aor) => lookupOf(byAor.get(aor) as LookupRow));
  }

  #changed(change: Change): void {
    this.#emit(change);
    this.#feed.wakeOwn();
    this.#notifier.wake();
  }

  /** Our own reader, and everybody else's: of what nobody here has heard yet. */
  #wakeAll(): void {
    this.#feed.wake();
    this.#notifier.wake();
  }

  #emit(change: Change): void {
    for (const listener of [...this.#listeners]) listener(change);
  }

  #scheduleSweep(full = false): void {
    this.#sweep = this.#runtime.timers.after(full ? FULL_SWEEP_MS : (this.#options.sweepMs ?? 1000), () => {
      const again = (more: boolean) => {
        if (this.#started) this.#scheduleSweep(more);
      };
      this.#sweepOnce().then(again, () => again(false));
    });
  }

  /** True: there is more to do than one statement may take, so the next follows soon. */
  async #sweepOnce(): Promise<boolean> {
    const [row] = await this.#pool.run<{ ended: number; looked: number }>(END_EXPIRED, []);
    if (row !== undefined && row.ended > 0) this.#wakeAll();
    const full = row !== undefined && row.looked >= SWEEP_BATCH;
    const now = this.#runtime.clock.now();
    if (now < this.#clearAt) return full;
    const kept = [this.#options.changesKeptMs ?? 600_000, this.#options.auditKeptMs ?? 90 * DAY_MS];
    const [gone] = await this.#pool.run<{ cleared: number }>(CLEAR, kept);
    const [ended] = await this.#pool.run<{ removed: number }>(CLEAR_SUBSCRIPTIONS, []);
    const fullClear = (gone?.cleared ?? 0) >= CLEAR_BATCH || (ended?.removed ?? 0) >= CLEAR_SUBSCRIPTIONS_BATCH;
    if (!fullClear) this.#clearAt = now + CLEAR_EVERY * (this.#options.sweepMs ?? 1000);
    return full || fullClear;
  }
}

function json(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}
