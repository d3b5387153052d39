/**
 * Servers that must be told of the users they have lost, by a third-party REGISTER (models.md, "Eviction"): the port.
 * A row is made in the very statement that takes the user from the server, so that no crash comes between the two; it is
 * gone when the server has answered. `memory-evictions.ts` and `postgres/evictions.ts` pass one contract suite.
 */

export interface Eviction {
  readonly aor: string;
  /** The server that lost him. */
  readonly server: string;
  /** Of the binding that took his place. */
  readonly epoch: number;
  /** This one counted; begins at 1. */
  readonly tries: number;
}

export interface GivenUp {
  readonly aor: string;
  readonly server: string;
  /** `back`: he is bound there again. `too-old`: it could not be told in `KEPT_MS`. */
  readonly reason: "back" | "too-old";
}

export interface Evictions {
  /** Whose losses are written down from now on, of users of the exclusive model; replaces the list. */
  configure(servers: readonly string[]): void;
  /**
   * What is due, for this caller alone: to everybody else it is due again after `FIRST_RETRY_MS`, which doubles with each
   * try. What has become pointless is removed and told.
   */
  take(limit: number): Promise<{ readonly taken: readonly Eviction[]; readonly givenUp: readonly GivenUp[] }>;
  /** The server has answered. Acts while it is the same loss. Safe to repeat. */
  end(eviction: Eviction): Promise<void>;
  /**
   * Users whom this server has had and lost within the last minutes, whatever became of them since; the latest first.
   * For those who may have missed it: a server that subscribes anew, a proxy that takes over.
   */
  lostLately(server: string, limit: number): Promise<readonly string[]>;
}

/** Longer than a REGISTER may take (Timer F, 32 s). */
export const FIRST_RETRY_MS = 40_000;
export const MOST_RETRY_MS = 3_600_000;
export const KEPT_MS = 86_400_000;

/** From one try to the next. @param tries those made, 1 and more. */
export function retryMs(tries: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** Math.min(tries - 1, 16), MOST_RETRY_MS);
}
