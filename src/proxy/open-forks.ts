import { LRUCache } from "lru-cache";
import type { Change, Directory, ForkKey, ForkResult, OpenFork } from "../directory/directory.ts";
import { judgeOpenForks, sameKey } from "../federation/open-fork.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** What a request meets that wants to fork. Times are monotonic milliseconds. */
export type Entry =
  /** It may fork; the key is taken, every proxy sees it. */
  | { readonly kind: "opened"; readonly fork: OpenForkHandle }
  /** It comes from a server being asked this very thing: that server does not have him. */
  | { readonly kind: "not-mine" }
  /**
   * Another fork for this user was open and has ended with this; null: what it concluded is in the directory, if
   * anything. Look again, wait no more.
   */
  | { readonly kind: "waited"; readonly result: ForkResult | null }
  /** Its own time ran out while waiting, or too many wait. */
  | { readonly kind: "too-late" };

export interface EntryRequest extends ForkKey {
  readonly asked: readonly string[];
  /** The server it came from; null: no server. */
  readonly origin: string | null;
  readonly deadline: number;
  readonly mayWait: boolean;
}

export interface OpenForkHandle {
  /** What was learned may be relied on from now on; the fork stays open until every branch has ended. */
  release(): void;
  /** @param learnedUntil milliseconds since 1970 until which a binding that was learned holds. */
  close(result: ForkResult, learnedUntil: number): void;
}

/** "again": what was waited for never opened; ask once more. */
type Wake = (result: ForkResult | null | "again") => void;

/** How the last fork for one user ended. */
interface Ending {
  readonly count: number;
  readonly result: ForkResult | null;
  /** Monotonic milliseconds. */
  readonly at: number;
}

interface LocalFork {
  readonly key: OpenFork;
  released: boolean;
  readonly waiters: Set<Wake>;
}

/**
 * The forks that are open, on this proxy and on the others (models.md, "Default routes point at us"): a row in the
 * directory before the first branch leaves, and a local view in front. At most one fork a user is open at a time, unless
 * one has waited in vain before.
 */
export class OpenForks {
  readonly #runtime: Runtime;
  readonly #directory: Directory;
  readonly #maxWaiting: number;
  readonly #local = new Map<string, Set<LocalFork>>();
  /** Waiting here for a fork of another proxy, by recipient. */
  readonly #remote = new Map<string, Set<Wake>>();
  /** Recipient -> endings seen, and the last one: one that ended between our question and our waiting is not missed. */
  readonly #endings = new LRUCache<string, Ending>({
    max: 10_000,
  });
  readonly #unsubscribe: () => void;
  #waiting = 0;
  /** Endings told so far, of everybody: no two have the same number, whatever was forgotten between them. */
  #told = 0;

  constructor(runtime: Runtime, directory: Directory, maxWaiting: number) {
    this.#runtime = runtime;
    this.#directory = directory;
    this.#maxWaiting = maxWaiting;
    this.#unsubscribe = directory.onChange((change) => this.#changed(change));
  }

  stop(): void {
    this.#unsubscribe();
  }

  /** A server has come up: what all the others said is no answer any more. */
  forgetAbsent(): void {
    this.#endings.clear();
  }

  get size(): number {
    return this.#local.size;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** The same where the fork may be another proxy's, and has ended in something learned meanwhile. Never rejects. */
  async isReturnedAnywhere(request: ForkKey, origin: string): Promise<boolean> {
    try {
      return judgeOpenForks(await this.#directory.openForksFor(request.recipient), request, origin) === "not-mine";
    } catch {
      return false;
    }
  }

  /** True for a request that a server being asked sends back to us: checked before anything else is decided. */
  isReturned(recipient: string, sender: string, method: string, event: string, origin: string): boolean {
    const forks = this.#local.get(recipient);
    if (forks === undefined) return false;
    return this.#judge(forks, { recipient, sender, method, event }, origin) === "not-mine";
  }

  #judge(forks: Iterable<LocalFork>, key: ForkKey, origin: string | null): "not-mine" | "wait" | "open-own" {
    return judgeOpenForks(
      [...forks].map((fork) => fork.key),
      key,
      origin,
    );
  }

  /** Rejects with DirectoryUnavailable. */
  async enter(request: EntryRequest): Promise<Entry> {
    const local = this.#local.get(request.recipient);
    if (local !== undefined) {
      if (this.#judge(local, request, request.origin) === "not-mine") return { kind: "not-mine" };
      const inTheWay = [...local].find((fork) => (request.mayWait ? !fork.released : sameKey(fork.key, request)));
      if (inTheWay !== undefined) return this.#wait(inTheWay.waiters, request, [inTheWay.key]);
    }
    const ended = this.#endings.get(request.recipient);
    if (
      request.mayWait &&
      ended?.result?.result === "all-said-404" &&
      this.#runtime.clock.now() - ended.at < FRESH_MS
    ) {
      return { kind: "waited", result: ended.result };
    }
    return this.#open(request);
  }

  async #open(request: EntryRequest): Promise<Entry> {
    const { sender, recipient, method, event, asked } = request;
    const expiresAt = this.#runtime.clock.wall() + Math.max(0, request.deadline - this.#runtime.clock.now()) + GRACE_MS;
    const fork: LocalFork = {
      key: { id: "", sender, recipient, method, event, asked, owner: this.#directory.proxy, expiresAt },
      released: false,
      waiters: new Set(),
    };
    const endings = this.#endings.get(recipient)?.count ?? 0;
    this.#add(recipient, fork);
    let outcome: Awaited<ReturnType<Directory["openFork"]>>;
    try {
      outcome = await this.#directory.openFork({ sender, recipient, method, event, asked, expiresAt }, request.mayWait);
    } catch (error) {
      this.#remove(recipient, fork, "again");
      throw error;
    }
    if (outcome.outcome === "opened") {
      const { id } = outcome;
      return {
        kind: "opened",
        fork: {
          release: () => this.#release(fork, null),
          close: (result, learnedUntil) => {
            // Who comes while the result is being written waits for it. A row that cannot be deleted now expires by itself.
            const written = this.#directory.closeFork(id, recipient, result, learnedUntil).catch(() => undefined);
            void written.then(() => this.#remove(recipient, fork, result));
          },
        },
      };
    }
    this.#remove(recipient, fork, "again");
    const verdict = judgeOpenForks(outcome.forks, request, request.origin);
    if (verdict === "not-mine") return { kind: "not-mine" };
    // A name that no directory can hold is nobody's.
    if (outcome.forks.length === 0) return { kind: "not-mine" };
    const ended = this.#endings.get(recipient);
    if ((ended?.count ?? 0) !== endings) {
      if (this.#runtime.clock.now() >= request.deadline) return { kind: "too-late" };
      return { kind: "waited", result: ended?.result ?? null };
    }
    let waiters = this.#remote.get(recipient);
    if (waiters === undefined) {
      waiters = new Set();
      this.#remote.set(recipient, waiters);
    }
    return this.#wait(waiters, request, outcome.forks);
  }

  #wait(waiters: Set<Wake>, request: EntryRequest, forks: readonly OpenFork[]): Promise<Entry> {
    if (this.#waiting >= this.#maxWaiting) {
      this.#dropIfEmpty(request.recipient, waiters);
      return Promise.resolve({ kind: "too-late" });
    }
    this.#waiting++;
    return new Promise((resolve) => {
      const done = (entry: Entry | Promise<Entry>): void => {
        if (!waiters.delete(wake)) return;
        this.#waiting--;
        timer.cancel();
        this.#dropIfEmpty(request.recipient, waiters);
        resolve(entry);
      };
      const wake: Wake = (result) => done(result === "again" ? this.enter(request) : { kind: "waited", result });
      waiters.add(wake);
      const remaining = Math.max(0, request.deadline - this.#runtime.clock.now());
      // Nobody tells of a fork whose proxy has died; once its row is over it is in nobody's way.
      const open = Math.max(0, Math.max(...forks.map((fork) => fork.expiresAt)) - this.#runtime.clock.wall());
      // An INVITE may ring for minutes and conclude nothing: it keeps nobody else from asking.
      const patience = Math.min(remaining, open, forks.every(isInvite) ? INVITE_PATIENCE_MS : remaining);
      const timer = this.#runtime.timers.after(patience, () =>
        done(patience < remaining ? { kind: "waited", result: null } : { kind: "too-late" }),
      );
    });
  }

  /** The waiters of another proxy's fork; those of a local one go with it. */
  #dropIfEmpty(recipient: string, waiters: Set<Wake>): void {
    if (waiters.size === 0 && this.#remote.get(recipient) === waiters) this.#remote.delete(recipient);
  }

  #add(recipient: string, fork: LocalFork): void {
    const forks = this.#local.get(recipient);
    if (forks === undefined) this.#local.set(recipient, new Set([fork]));
    else forks.add(fork);
  }

  #release(fork: LocalFork, result: ForkResult | null | "again"): void {
    fork.released = true;
    for (const wake of [...fork.waiters]) wake(result);
  }

  #remove(recipient: string, fork: LocalFork, result: ForkResult | null | "again"): void {
    const forks = this.#local.get(recipient);
    forks?.delete(fork);
    if (forks?.size === 0) this.#local.delete(recipient);
    this.#release(fork, result);
  }

  #changed(change: Change): void {
    if (change.kind === "reset") {
      for (const aor of [...this.#remote.keys()]) this.#wakeRemote(aor, null);
    } else if (change.kind === "fork-closed" || (change.kind === "binding" && change.server !== null)) {
      const result = change.kind === "fork-closed" ? change.result : null;
      this.#endings.set(change.aor, { count: ++this.#told, result, at: this.#runtime.clock.now() });
      this.#wakeRemote(change.aor, result);
    }
  }

  #wakeRemote(aor: string, result: ForkResult | null): void {
    const waiters = this.#remote.get(aor);
    if (waiters === undefined) return;
    this.#remote.delete(aor);
    for (const wake of [...waiters]) wake(result);
  }
}

function isInvite(fork: ForkKey): boolean {
  return fork.method === "INVITE";
}

const INVITE_PATIENCE_MS = 1_000;

/** How long "all said 404" is taken from here: until the cache has confirmed it. */
const FRESH_MS = 250;

/** How long a fork's row outlives its deadline, for answers that cross. */
export const GRACE_MS = 2_000;
