/**
 * Watchers who were put off (confirm) and wait for the user's decision, whether their subscriptions still run or are over
 * (RFC 3857 4.7.1, pending and waiting), and what tells the other proxies that somebody's watchers have changed. The
 * port; `memory-watchers.ts` and `postgres/watchers.ts` pass one contract suite.
 */

export interface PutOffWatcher {
  /** Canonical AoR of the user. */
  readonly aor: string;
  /** Canonical AoR. */
  readonly watcher: string;
  /** Whether he was believed to be the watcher. */
  readonly trusted: boolean;
  readonly event: string;
}

export interface WaitingWatcher extends PutOffWatcher {
  /** When he asked first; milliseconds since 1970. */
  readonly since: number;
}

export interface WatcherStore {
  /**
   * Remembered for so long. Of one user the newest MOST_OF_USER are kept, those who were believed before others; one watcher is put off by MOST_OF_WATCHER
   * users at most and is then not remembered by more (RFC 3857 4.7.1: "policies which prohibit a particular subscriber
   * from having more than some number of pending or waiting subscriptions"). Safe to repeat.
   */
  putOff(watcher: PutOffWatcher, keptMs: number): Promise<void>;
  /** They wait no more. Safe to repeat. */
  decided(watchers: readonly PutOffWatcher[]): Promise<void>;
  /** Of this user and event package, those who were believed first, and the newest of them. */
  waiting(aor: string, event: string): Promise<readonly WaitingWatcher[]>;
  /** Tells a change `watchers` of each of these users (at most MOST_TOLD) of whom somebody is told. */
  tell(aors: readonly string[]): Promise<void>;
}

export const MOST_OF_USER = 200;
export const MOST_OF_WATCHER = 200;
export const MOST_TOLD = 1000;
