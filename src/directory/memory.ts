import { DirectoryUnavailable } from "../base/errors.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
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
} from "./directory.ts";
import { GroupCommit } from "./group-commit.ts";
import { type ClaimAsk, type ClaimJudgement, currentBinding, judgeClaim, judgeUnbind, type Slot } from "./judge.ts";
import { type AuditQuery, MemoryAudit } from "./memory-audit.ts";
import { MemoryDocuments } from "./memory-documents.ts";
import { MemoryEvictions } from "./memory-evictions.ts";
import { MemoryFeed } from "./memory-feed.ts";
import { MemoryForks } from "./memory-forks.ts";
import { type MemoryAccess, MemoryLeases } from "./memory-leases.ts";
import { isFlagged, MemoryMessages } from "./memory-messages.ts";
import { MemoryMoves } from "./memory-moves.ts";
import { MemoryPushes } from "./memory-pushes.ts";
import { MemoryReconciliation } from "./memory-reconciliation.ts";
import { type MemoryOptions, MemoryStore } from "./memory-store.ts";
import { MemorySubscriptions } from "./memory-subscriptions.ts";
import type { Statement } from "./memory-transaction.ts";
import { MemoryUnions } from "./memory-unions.ts";
import { MemoryUsers } from "./memory-users.ts";
import { MemoryWatchers } from "./memory-watchers.ts";
import { askOf, isAor, learning, movement, provisioning, recordOf, sortImport } from "./rows.ts";

/** One simulated database; every proxy takes its own Directory from it. */
export interface MemoryDatabase {
  directory(proxy: string): Directory;
  /** True: nobody reaches it, feeds break. False: it is back; feeds are reset. What was committed stands. */
  setAway(away: boolean): void;
  /** The next commits stand, their answers are lost. */
  loseNextAnswers(count: number): void;
  /** The newest committed rows of a table, for tests that look on. */
  rows(table: string): ReadonlyArray<readonly [key: string, value: unknown]>;
  /** Called within each commit that changes what others are told of. Returns the way to end it. */
  onCommit(run: () => void): () => void;
  /** Transactions that have written and not ended: zero once traffic has ended. */
  readonly openTransactions: number;
}

/** The in-memory twin (architecture.md): the same contract as Postgres, on the runtime's clock, timers and chance. */
export function createMemoryDatabase(runtime: Runtime, options: MemoryOptions = {}): MemoryDatabase {
  const store = new MemoryStore(runtime, options);
  const directories = new Set<MemoryDirectory>();
  return {
    directory(proxy) {
      const directory = new MemoryDirectory(store, proxy);
      directories.add(directory);
      return directory;
    },
    setAway(away) {
      store.setAway(away);
      for (const each of directories) each.databaseChanged();
    },
    loseNextAnswers: (count) => store.loseNextAnswers(count),
    rows: (table) => store.newest(table),
    onCommit: (run) => store.onCommit(run),
    get openTransactions() {
      return store.log.openTransactions;
    },
  };
}

function unordered({ order: _order, ...ask }: ClaimAsk): ClaimAsk {
  return ask;
}

interface Judged extends ClaimJudgement {
  /** Messages are stored for him. */
  readonly stored: boolean;
}

const STORED = { stored: true } as const;
const NOTHING = {};
const SWEEP_MS = 1000;

class MemoryDirectory implements Directory {
  readonly proxy: string;
  readonly leases: MemoryLeases;
  readonly evictions: MemoryEvictions;
  readonly subscriptions: MemorySubscriptions;
  readonly messages: MemoryMessages;
  readonly unions: MemoryUnions;
  readonly documents: MemoryDocuments;
  readonly watchers: MemoryWatchers;
  readonly moves: MemoryMoves;
  readonly reconciliation: MemoryReconciliation;
  readonly pushes: MemoryPushes;
  readonly #store: MemoryStore;
  readonly #claims: GroupCommit<ClaimAsk, Judged | null>;
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #feed: MemoryFeed;
  readonly #forks: MemoryForks;
  readonly #users: MemoryUsers;
  readonly #audit: MemoryAudit;
  #sweep: Timer | null = null;
  #available = true;

  constructor(store: MemoryStore, proxy: string) {
    this.#store = store;
    this.proxy = proxy;
    const access: MemoryAccess = { ask: (work) => this.#ask(work), write: (work) => this.#write(work) };
    this.leases = new MemoryLeases(store, access, proxy);
    this.evictions = new MemoryEvictions(store, access, () => this.#now());
    this.subscriptions = new MemorySubscriptions(store, access);
    this.messages = new MemoryMessages(
      store,
      (answer) => this.#guard(answer),
      (aor) => this.#emit({ kind: "user", aor }),
    );
    this.watchers = new MemoryWatchers(store, access, (aor) => this.#emit({ kind: "watchers", aor }));
    this.unions = new MemoryUnions(store, access, (answer) => this.#guard(answer));
    this.moves = new MemoryMoves(store, access, (change) => this.#emit(change));
    this.reconciliation = new MemoryReconciliation(access, () => this.#now());
    this.pushes = new MemoryPushes(access, () => this.#now());
    this.#audit = new MemoryAudit(store, access);
    this.#forks = new MemoryForks(store, access, proxy, (change) => this.#emit(change));
    this.documents = new MemoryDocuments(
      access,
      this.#audit,
      (change) => this.#emit(change),
      () => this.#now(),
    );
    this.#users = new MemoryUsers(store, access, this.#audit, (change) => this.#emit(change));
    this.#feed = new MemoryFeed(store, (change) => this.#emit(change));
    this.#claims = new GroupCommit({
      key: (ask) => ask.aor,
      run: (batch) => this.#guard(this.#store.autocommit((statement) => this.#judge(statement, batch))),
      maxBatch: 64,
      lanes: 2,
      maxWaiting: 100_000,
      splits: () => false,
      soon: (run) => void Promise.resolve().then(run),
    });
  }

  get available(): boolean {
    return this.#available;
  }

  async start(): Promise<void> {
    if (this.#feed.running) return;
    this.#store.reach();
    this.#feed.start();
    this.#scheduleSweep();
  }

  async stop(): Promise<void> {
    this.#feed.stop();
    this.#sweep?.cancel();
    this.#sweep = null;
  }

  /** The feed breaks when the database goes away, and what came between is made good by a reset. */
  databaseChanged(): void {
    if (!this.#feed.running) return;
    this.#available = !this.#store.isAway;
    if (this.#available) this.#feed.reset();
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  lookup(aor: string): Promise<Lookup> {
    return this.#ask(async (s) => {
      const slot = s.read<Slot>("slots", aor);
      const user = s.read<UserRecord>("users", aor) ?? null;
      const { epoch, binding } = currentBinding(aor, slot, this.#now());
      const stored = isFlagged(s, aor) ? STORED : NOTHING;
      if (binding !== null) return { state: "bound", epoch, user, binding, ...stored };
      if (user === null && epoch === 0) return { state: "no-record", epoch, ...stored };
      return { state: "no-binding", epoch, user, ...stored };
    });
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
    const outcome = await this.#write(async (s) => {
      const slot = await s.lock<Slot>("slots", unbind.aor);
      const judged = judgeUnbind(slot, unbind, this.#now());
      if (judged.slot !== null) s.write("slots", unbind.aor, judged.slot);
      if (judged.outcome.outcome === "unbound") {
        const { epoch, previous } = judged.outcome;
        s.tell({ kind: "binding", aor: unbind.aor, server: null, previous: previous.server, epoch });
        if (unbind.order === undefined && unbind.origins === undefined) {
          this.#audit.note(
            s,
            unbind.actor,
            "unbind",
            unbind.aor,
            { server: previous.server, origin: previous.origin },
            null,
          );
        }
      }
      return judged.outcome;
    });
    if (outcome.outcome === "unbound") {
      const { epoch, previous } = outcome;
      this.#emit({ kind: "binding", aor: unbind.aor, server: null, previous: previous.server, epoch });
    }
    return outcome;
  }

  openFork(fork: ForkKey & { asked: readonly string[]; expiresAt: number }, join: boolean): Promise<OpenForkOutcome> {
    return this.#forks.open(fork, join);
  }

  openForksFor(recipient: string): Promise<readonly OpenFork[]> {
    return this.#forks.openFor(recipient);
  }

  async closeFork(id: string, recipient: string, result: ForkResult, expiresAt: number): Promise<void> {
    if (result.result === "learned") {
      await this.#submit(learning(recipient, result.server, expiresAt, id, this.proxy));
    } else {
      await this.#forks.close(id, recipient, result);
    }
  }

  users(query: UserQuery): Promise<readonly UserRow[]> {
    return this.#users.list(query);
  }

  namedUsers(after: string, limit: number): Promise<readonly NamedUser[]> {
    return this.#users.named(after, limit);
  }

  user(aor: string): Promise<UserRow | null> {
    return this.#users.one(aor);
  }

  putUser(record: UserRecord, actor: string): Promise<void> {
    return this.#users.put(record, actor);
  }

  removeUser(aor: string, actor: string): Promise<boolean> {
    return this.#users.remove(aor, actor);
  }

  credentials(aor: string): Promise<Credentials | null> {
    return this.#users.credentials(aor);
  }

  putCredentials(credentials: Credentials, actor: string): Promise<void> {
    return this.#users.putCredentials(credentials, actor);
  }

  async importUsers(rows: readonly ImportRow[], actor: string): Promise<ImportReport> {
    const { taken, refused } = sortImport(rows);
    for (const row of taken) {
      await this.putUser(recordOf(row), actor);
      for (const ask of provisioning(row, actor)) await this.#submit(ask);
    }
    return { imported: taken.length, refused };
  }

  async tellVerdicts(aor: string): Promise<void> {
    if (aor === "" || isAor(aor)) await this.#write(async (s) => s.tell({ kind: "verdicts", aor }));
  }

  audit(query: AuditQuery): Promise<readonly AuditEntry[]> {
    return this.#audit.list(query);
  }

  recordAudit(entry: Omit<AuditEntry, "id" | "at">): Promise<void> {
    return this.#audit.record(entry);
  }

  /** The statement of the claim: every row is locked in the order of the batch before it is judged. */
  async #judge(s: Statement, batch: readonly ClaimAsk[]): Promise<Array<Judged | null>> {
    const judgements: Array<Judged | null> = [];
    for (const ask of batch) {
      if (ask.unread === true && s.read<UserRecord>("users", ask.aor) !== undefined) {
        judgements.push(null);
        continue;
      }
      const slot = await s.lock<Slot>("slots", ask.aor);
      const judged = judgeClaim(slot, this.#store.options.unsafeRefreshClaims ? unordered(ask) : ask, this.#now());
      s.write("slots", ask.aor, judged.slot);
      if (judged.tell) {
        const { server, epoch } = judged.slot;
        s.tell({ kind: "binding", aor: ask.aor, server, previous: judged.previous, epoch });
      }
      if (judged.outcome.outcome === "bound" && judged.outcome.changed && judged.previous !== null && ask.equalRank) {
        await this.evictions.note(s, ask.aor, judged.previous, judged.slot.epoch);
      }
      const byAdmin = ask.origin === "admin" || ask.origin === "provisioned";
      if (judged.outcome.outcome === "bound" && judged.outcome.changed && (judged.previous !== null || byAdmin)) {
        this.#audit.note(s, ask.actor, "bind", ask.aor, judged.previous && { server: judged.previous }, {
          server: ask.server,
          origin: ask.origin,
        });
      }
      if (ask.fork !== null) {
        await this.#forks.closeRows(s, ask.fork, ask.aor);
        s.tell({
          kind: "fork-closed",
          aor: ask.aor,
          fork: ask.fork,
          result: { result: "learned", server: judged.slot.server ?? ask.server },
        });
      }
      judgements.push({ ...judged, stored: isFlagged(s, ask.aor) });
    }
    return judgements;
  }

  /** Null only where it is `unread`. */
  async #submit(ask: ClaimAsk): Promise<{ outcome: ClaimOutcome; stored: boolean } | null> {
    if (!isAor(ask.aor)) return { outcome: { outcome: "stale", binding: null }, stored: false };
    const judged = await this.#claims.submit(ask);
    if (judged === null) return null;
    const { outcome, tell, stored } = judged;
    if (tell && outcome.outcome === "bound") {
      const { server, epoch } = outcome.binding;
      this.#emit({ kind: "binding", aor: ask.aor, server, previous: outcome.previous, epoch });
    }
    if (ask.fork !== null) {
      const server = outcome.binding?.server ?? ask.server;
      this.#emit({ kind: "fork-closed", aor: ask.aor, fork: ask.fork, result: { result: "learned", server } });
    }
    return { outcome, stored };
  }

  async #sweepExpired(): Promise<void> {
    await this.#write(async (s) => {
      const now = this.#now();
      const due = s.scan<Slot>("slots").filter(([, slot]) => slot.expiresAt !== null && slot.expiresAt <= now);
      for (const [aor] of due.sort(([a], [b]) => (a < b ? -1 : 1))) {
        const slot = await s.lock<Slot>("slots", aor);
        if (slot?.expiresAt == null || slot.expiresAt > now) continue;
        const epoch = slot.epoch + 1;
        s.write("slots", aor, { ...slot, server: null, origin: null, epoch, expiresAt: null });
        s.tell({ kind: "binding", aor, server: null, previous: slot.server, epoch });
      }
      await this.#forks.sweep(s);
    });
  }

  #scheduleSweep(): void {
    this.#sweep = this.#store.runtime.timers.after(SWEEP_MS, () => {
      const again = () => {
        if (this.#feed.running) this.#scheduleSweep();
      };
      this.#sweepExpired()
        .then(() => this.subscriptions.sweep())
        .then(() => this.unions.sweep())
        .then(() => this.watchers.sweep())
        .then(again, again);
    });
  }

  #emit(change: Change): void {
    for (const listener of [...this.#listeners]) listener(change);
  }

  #ask<T>(work: (statement: Statement) => Promise<T>): Promise<T> {
    return this.#guard(this.#store.ask(work));
  }

  #write<T>(work: (statement: Statement) => Promise<T>): Promise<T> {
    return this.#guard(this.#store.autocommit(work));
  }

  async #guard<T>(answer: Promise<T>): Promise<T> {
    try {
      const value = await answer;
      this.#available = true;
      return value;
    } catch (error) {
      if (error instanceof DirectoryUnavailable && this.#store.isAway) this.#available = false;
      throw error;
    }
  }

  #now(): number {
    return this.#store.runtime.clock.wall();
  }
}
