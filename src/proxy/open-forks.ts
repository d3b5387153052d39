import { LRUCache } from "lru-cache";
import type { Change, Directory, ForkKey, ForkResult, OpenFork } from "../directory/directory.ts";
import { judgeOpenForks } from "../federation/open-fork.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** What a request meets that wants to fork. Times are monotonic milliseconds. */
export type Entry =
  /** It may fork; the key is taken, every proxy sees it. */
  | { readonly kind: "opened"; readonly fork: OpenForkHandle }
  /** It comes from a server being asked this very thing: that server does not have him. */
  | { readonly kind: "not-mine" }
  /** Another fork for this user was open and has ended: look again, wait no more. */
  | { readonly kind: "waited" }
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
  close(result: ForkResult): void;
}

/** `again`: what was waited for never opened; ask once more. */
type Wake = (again: boolean) => void;

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
  /** Recipient -> count of endings seen: one that ended between our question and our waiting is not missed. */
  readonly #endings = new LRUCache<string, number>({ max: 10_000 });
  readonly #unsubscribe: () => void;
  #waiting = 0;

  constructor(runtime: Runtime, directory: Directory, maxWaiting: number) {
    this.#runtime = runtime;
    this.#directory = directory;
    this.#maxWaiting = maxWaiting;
    this.#unsubscribe = directory.onChange((change) => this.#changed(change));
  }

  stop(): void {
    this.#unsubscribe();
  }

  get size(): number {
    return this.#local.size;
  }

  get waiting(): number {
    return this.#waiting;
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
      const open = [...local].find((fork) => !fork.released);
      if (request.mayWait && open !== undefined) return this.#wait(open.waiters, request);
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
    const endings = this.#endings.get(recipient) ?? 0;
    this.#add(recipient, fork);
    let outcome: Awaited<ReturnType<Directory["openFork"]>>;
    try {
      outcome = await this.#directory.openFork({ sender, recipient, method, event, asked, expiresAt }, request.mayWait);
    } catch (error) {
      this.#remove(recipient, fork, true);
      throw error;
    }
    if (outcome.outcome === "opened") {
      const { id } = outcome;
      return {
        kind: "opened",
        fork: {
          release: () => this.#release(fork, false),
          close: (result) => {
            this.#remove(recipient, fork, false);
            // A row that cannot be deleted now expires by itself.
            this.#directory.closeFork(id, recipient, result, expiresAt).catch(() => undefined);
          },
        },
      };
    }
    this.#remove(recipient, fork, true);
    const verdict = judgeOpenForks(outcome.forks, request, request.origin);
    if (verdict === "not-mine") return { kind: "not-mine" };
    if (!request.mayWait) return { kind: "too-late" };
    if ((this.#endings.get(recipient) ?? 0) !== endings || outcome.forks.length === 0) {
      return this.#runtime.clock.now() >= request.deadline ? { kind: "too-late" } : { kind: "waited" };
    }
    let waiters = this.#remote.get(recipient);
    if (waiters === undefined) {
      waiters = new Set();
      this.#remote.set(recipient, waiters);
    }
    return this.#wait(waiters, request);
  }

  #wait(waiters: Set<Wake>, request: EntryRequest): Promise<Entry> {
    if (this.#waiting >= this.#maxWaiting) return Promise.resolve({ kind: "too-late" });
    this.#waiting++;
    return new Promise((resolve) => {
      const done = (entry: Entry | Promise<Entry>): void => {
        if (!waiters.delete(wake)) return;
        this.#waiting--;
        timer.cancel();
        resolve(entry);
      };
      const wake = (again: boolean): void => done(again ? this.enter(request) : { kind: "waited" });
      waiters.add(wake);
      const remaining = Math.max(0, request.deadline - this.#runtime.clock.now());
      const timer = this.#runtime.timers.after(remaining, () => done({ kind: "too-late" }));
    });
  }

  #add(recipient: string, fork: LocalFork): void {
    const forks = this.#local.get(recipient);
    if (forks === undefined) this.#local.set(recipient, new Set([fork]));
    else forks.add(fork);
  }

  #release(fork: LocalFork, again: boolean): void {
    fork.released = true;
    for (const wake of [...fork.waiters]) wake(again);
  }

  #remove(recipient: string, fork: LocalFork, again: boolean): void {
    const forks = this.#local.get(recipient);
    forks?.delete(fork);
    if (forks?.size === 0) this.#local.delete(recipient);
    this.#release(fork, again);
  }

  #changed(change: Change): void {
    if (change.kind === "reset") {
      for (const aor of [...this.#remote.keys()]) this.#wakeRemote(aor);
    } else if (change.kind === "fork-closed" || (change.kind === "binding" && change.server !== null)) {
      this.#endings.set(change.aor, (this.#endings.get(change.aor) ?? 0) + 1);
      this.#wakeRemote(change.aor);
    }
  }

  #wakeRemote(aor: string): void {
    const waiters = this.#remote.get(aor);
    if (waiters === undefined) return;
    this.#remote.delete(aor);
    for (const wake of [...waiters]) wake(false);
  }
}

/** How long a fork's row outlives its deadline, for answers that cross. */
const GRACE_MS = 2_000;
